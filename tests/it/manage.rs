//! The spend keys API as its callers see it.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Harness, request};

#[tokio::test]
async fn a_key_has_all_its_fields_and_is_told_once() {
    let harness = Harness::start().await;
    let settings = json!({
        "name": "Agent - Production", "request_shape": "anthropic", "allowed_providers": ["openai", "anthropic"],
        "allowed_models": ["gpt-4o-mini"], "spend_limit": {"amount": "50.00", "cycle": "monthly"}, "request_limit": {"count": 100, "cycle": "weekly"},
        "rate_limit": {"rpm": 60}, "expires_at": "2027-01-31T00:00:00Z",
    });
    let created = harness.manage(Method::POST, "/v1/spend_keys", settings.clone()).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let object = created.json();
    for (name, value) in settings.as_object().unwrap() {
        match name.as_str() {
            "rate_limit" => assert_eq!(object[name], json!({"rpm": 60, "burst": null})),
            _ => assert_eq!(&object[name], value, "{name}"),
        }
    }
    let key = object["key"].as_str().unwrap();
    assert!(key.starts_with("lava_sk_"));
    assert_eq!(object["key_preview"], format!("{}****", &key[..16]));
    assert_eq!((&object["current_spend"], &object["total_requests"]), (&json!("0.0000000000"), &json!(0)));
    let id = object["spend_key_id"].as_str().unwrap();
    assert!(harness.object(id).await.get("key").is_none());
    harness.finish().await;
}

#[tokio::test]
async fn an_update_changes_what_is_sent_and_null_lifts() {
    let harness = Harness::start().await;
    let (_, id) = harness.key(json!({"name": "a", "spend_limit": {"amount": "5", "cycle": "daily"}, "allowed_models": ["m"]})).await;
    let updated = harness.manage(Method::PUT, &format!("/v1/spend_keys/{id}"), json!({"name": "b", "allowed_models": null})).await.json();
    assert_eq!(
        (&updated["name"], &updated["allowed_models"], &updated["spend_limit"]["amount"]),
        (&json!("b"), &Value::Null, &json!("5.00"))
    );
    harness.finish().await;
}

#[tokio::test]
async fn a_bad_field_is_named() {
    let harness = Harness::start().await;
    for (body, field, says) in [
        (json!({}), "name", "255"),
        (json!({"name": ""}), "name", "255"),
        (json!({"name": "x".repeat(256)}), "name", "255"),
        (json!({"name": "a", "status": "off"}), "status", "paused"),
        (json!({"name": "a", "request_shape": "google"}), "request_shape", "anthropic"),
        (json!({"name": "a", "allowed_models": []}), "allowed_models", "1 to 1000"),
        (json!({"name": "a", "allowed_models": "gpt"}), "allowed_models", "array"),
        (json!({"name": "a", "spend_limit": {"amount": 5, "cycle": "daily"}}), "spend_limit", "amount"),
        (json!({"name": "a", "spend_limit": {"amount": "0", "cycle": "daily"}}), "spend_limit", "above zero"),
        (json!({"name": "a", "spend_limit": {"amount": "-1", "cycle": "daily"}}), "spend_limit", "above zero"),
        (json!({"name": "a", "spend_limit": {"amount": "5", "cycle": "hourly"}}), "spend_limit", "daily, weekly, monthly, total"),
        (json!({"name": "a", "request_limit": {"count": 0, "cycle": "daily"}}), "request_limit", "between 1 and"),
        (json!({"name": "a", "rate_limit": {"rpm": 0}}), "rate_limit", "between 1 and"),
        (json!({"name": "a", "expires_at": "tomorrow"}), "expires_at", "2027"),
        (json!({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}), "expires_at", "future"),
        (json!({"name": "a", "limit": 5}), "limit", "no such field"),
    ] {
        let refused = harness.manage(Method::POST, "/v1/spend_keys", body.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
        let error = refused.json()["error"].clone();
        assert_eq!(error["param"], field, "{body}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{body}: {error}");
    }
    assert_eq!(harness.manage(Method::POST, "/v1/spend_keys", json!([1])).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(harness.sql("SELECT count(*) FROM spend_key WHERE id <> owner", |row| row.get::<_, i64>(0))[0], 0);
    harness.finish().await;
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let harness = Harness::start().await;
    for at in 0..12 {
        harness.key(json!({"name": format!("key {at}")})).await;
    }
    let first = harness.manage(Method::GET, "/v1/spend_keys", Value::Null).await.json();
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (10, &json!(true)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = harness.manage(Method::GET, &format!("/v1/spend_keys?limit=100&cursor={cursor}"), Value::Null).await.json();
    assert_eq!((second["data"].as_array().unwrap().len(), &second["has_more"], &second["next_cursor"]), (2, &json!(false), &Value::Null));
    let names: std::collections::HashSet<String> =
        [&first, &second].iter().flat_map(|page| page["data"].as_array().unwrap()).map(|key| key["name"].to_string()).collect();
    assert_eq!(names.len(), 12);
    assert_eq!(harness.manage(Method::GET, "/v1/spend_keys?limit=101", Value::Null).await.status, StatusCode::BAD_REQUEST);
    harness.finish().await;
}

#[tokio::test]
async fn each_kind_of_key_opens_its_own_doors_only() {
    let harness = Harness::start().await;
    let (key, id) = harness.key(json!({})).await;
    for (method, path) in [
        (Method::GET, "/v1/spend_keys".to_owned()),
        (Method::GET, format!("/v1/spend_keys/{id}")),
        (Method::DELETE, format!("/v1/spend_keys/{id}")),
    ] {
        assert_eq!(harness.send(request(method, &path, Some(&key), Value::Null)).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(harness.send(request(Method::GET, "/v1/spend_keys/self", Some(&key), Value::Null)).await.json()["spend_key_id"], id);
    // A secret key pays from a budget of its own, which is no spend key to be managed.
    assert_eq!(harness.chat(harness.secret.expose(), "ok", Value::Null).await.status, StatusCode::OK);
    let listed = harness.manage(Method::GET, "/v1/spend_keys", Value::Null).await.json();
    assert!(listed["data"].as_array().unwrap().iter().all(|key| !key["spend_key_id"].as_str().unwrap().starts_with("aks_")), "{listed}");
    // Every secret key of the account manages its keys; one of the sandbox does not see live ones.
    let second = harness.gateway.create_secret_key("second", false).await.unwrap();
    assert_eq!(
        harness.send(request(Method::GET, &format!("/v1/spend_keys/{id}"), Some(second.expose()), Value::Null)).await.status,
        StatusCode::OK
    );
    let other = harness.gateway.create_secret_key("other", true).await.unwrap();
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let body = if method == Method::PUT { json!({"name": "mine"}) } else { Value::Null };
        assert_eq!(
            harness.send(request(method, &format!("/v1/spend_keys/{id}"), Some(other.expose()), body)).await.status,
            StatusCode::NOT_FOUND
        );
    }
    harness.finish().await;
}

#[tokio::test]
async fn in_a_sandbox_a_live_secret_key_sees_the_keys_it_makes() {
    let harness = Harness::start_with(true).await;
    let (_, id) = harness.key(json!({})).await;
    assert_eq!(harness.object(&id).await["lava_mcp"]["test"], true);
    assert_eq!(harness.manage(Method::GET, "/v1/spend_keys", Value::Null).await.json()["data"][0]["spend_key_id"], id);
    harness.finish().await;
}

#[tokio::test]
async fn allow_lists_hold_for_every_spelling_and_every_fallback() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({"allowed_models": ["ok", "slow-*"]})).await;
    for (script, status) in [("ok", 200), ("slow-1", 200), ("trickle", 403)] {
        assert_eq!(harness.chat(&key, script, Value::Null).await.status.as_u16(), status, "{script}");
    }
    let mut asked = crate::harness::chat_request(&key, "ok", Value::Null);
    asked.headers_mut().insert("x-lava-fallbacks", r#"[{"model":"fake/trickle"}]"#.parse().unwrap());
    let refused = harness.send(asked).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "model_not_allowed"));
    let (key, _) = harness.key(json!({"allowed_providers": ["openai"]})).await;
    let refused = harness.chat(&key, "ok", Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "provider_not_allowed"));
    let (key, _) = harness.key(json!({"request_shape": "anthropic"})).await;
    let refused = harness.chat(&key, "ok", Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "request_shape_not_allowed"));
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("This key only allows anthropic request shape, but received openai. `lava-mcp keys create NAME --shape openai --spend-limit 5/day`"),
        "{message}"
    );
    harness.finish().await;
}
