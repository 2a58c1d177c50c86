//! Managing spend keys from Rust, over a socket, as a program that uses the crate does it.

use std::time::Duration;

use lava_mcp::{
    Lava,
    client::{Change, ChatOptions, ClientError, CreatedKey, KeyUpdate, NewKey, PageQuery, RateLimitObject, RequestLimitObject},
    domain::{Cycle, Money, RateLimit, RequestLimit, RequestShape, Secret, SpendLimit, Status},
};
use serde_json::json;

use crate::{cli::program, server::Gateway};

const MODEL: &str = "gpt-4o-mini";

/// A gateway in the sandbox, and a client of it.
fn serve(home: &tempfile::TempDir) -> (Gateway, Lava) {
    let mut command = program(home.path());
    command.arg("--sandbox");
    let gateway = Gateway::start(home.path(), command);
    let lava = Lava::new(gateway.secret.clone()).unwrap().with_base_url(&gateway.address).unwrap();
    (gateway, lava)
}

fn limit(dollars: i32, cycle: Cycle) -> SpendLimit {
    SpendLimit { amount: Money::from_dollars(dollars), cycle }
}

/// Asks a model; the code of the refusal if it came to that.
async fn ask(lava: &Lava, key: &Secret, model: &str) -> Result<String, String> {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 9});
    match lava.client().chat(key, serde_json::from_value(body).unwrap(), &ChatOptions::default(), None).await {
        Ok(answer) => Ok(answer.message["content"].as_str().unwrap().to_owned()),
        Err(ClientError::Refused { code, .. }) => Err(code),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_spend_key_in_rust() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, lava) = serve(&home);
    assert_eq!(lava.base_url(), format!("{}/", gateway.address));
    let keys = lava.spend_keys();

    let request = NewKey {
        allowed_providers: Some(vec!["openai".into(), "anthropic".into()]),
        allowed_models: Some(vec![MODEL.into(), "gpt-4o".into()]),
        spend_limit: Some(limit(50, Cycle::Monthly)),
        request_limit: Some(RequestLimit { count: 500, cycle: Cycle::Weekly }),
        rate_limit: Some(RateLimit { rpm: 60, burst: Some(10) }),
        expires_at: Some("2126-01-31T00:00:00Z".parse().unwrap()),
        ..NewKey::named("Agent - Production")
    };
    let CreatedKey { key, object } = keys.create(&request).await.unwrap();
    let id = object.spend_key_id.clone();
    assert!(key.expose().starts_with("lava_sk_") && key.expose().starts_with(object.key_preview.trim_end_matches('*')));
    assert_eq!((object.name.as_str(), object.status.as_str(), object.request_shape.as_str()), ("Agent - Production", "active", "openai"));
    assert_eq!((&object.allowed_providers, &object.allowed_models), (&request.allowed_providers, &request.allowed_models));
    assert_eq!(object.spend_limit.as_ref().unwrap().to_limit(), request.spend_limit);
    assert_eq!(object.request_limit, Some(RequestLimitObject { count: 500, cycle: Cycle::Weekly }));
    assert_eq!(object.rate_limit, Some(RateLimitObject { rpm: 60, burst: Some(10) }));
    assert_eq!(object.expires_at.as_deref(), Some("2126-01-31T00:00:00Z"));
    assert_eq!((object.current_requests, object.last_used_at.as_deref()), (0, None));

    // Use, and monitor.
    assert!(ask(&lava, &key, MODEL).await.unwrap().contains("sandbox"));
    let listed = keys.list(&PageQuery::default()).await.unwrap();
    let [seen] = &listed.data[..] else { panic!("{listed:?}") };
    assert_eq!((&seen.spend_key_id, seen.current_requests, seen.last_used_at.is_some()), (&id, 1, true));
    let mut spent = Money::ZERO;
    for _ in 0..100 {
        // What was spent is booked a moment after the answer.
        spent = keys.retrieve(&id).await.unwrap().current_spend.parse().unwrap();
        if spent > Money::ZERO {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(spent > Money::ZERO && spent < Money::from_dollars(1), "{spent}");

    // Change: one thing is set, one is lifted, the rest stays.
    let update = KeyUpdate {
        allowed_models: Change::Set(vec![MODEL.into()]),
        spend_limit: Change::Set(limit(100, Cycle::Monthly)),
        expires_at: Change::Lift,
        ..KeyUpdate::default()
    };
    assert!(ask(&lava, &key, "gpt-4o").await.is_ok());
    let updated = keys.update(&id, &update).await.unwrap();
    assert_eq!(updated.spend_limit.as_ref().unwrap().to_limit(), Some(limit(100, Cycle::Monthly)));
    assert_eq!((updated.allowed_models, updated.expires_at), (Some(vec![MODEL.to_owned()]), None));
    assert_eq!((&updated.name, updated.rate_limit, updated.request_limit), (&object.name, object.rate_limit, object.request_limit));
    assert_eq!((updated.allowed_providers, updated.current_requests), (object.allowed_providers, 2));
    assert_eq!(ask(&lava, &key, "gpt-4o").await, Err("model_not_allowed".to_owned()));
    assert!(ask(&lava, &key, MODEL).await.is_ok(), "the key itself is the same");

    // Pause and resume.
    for (status, shown, answer) in [(Status::Paused, "paused", Err("key_paused".to_owned())), (Status::Active, "active", Ok(()))] {
        let changed = keys.update(&id, &KeyUpdate { status: Some(status), ..KeyUpdate::default() }).await.unwrap();
        assert_eq!(changed.status, shown);
        assert_eq!(ask(&lava, &key, MODEL).await.map(drop), answer);
    }

    // Rotate: same key object, new value.
    let rotated = keys.rotate(&id).await.unwrap();
    assert_ne!(rotated.key.expose(), key.expose());
    assert_eq!((&rotated.object.spend_key_id, rotated.object.current_requests), (&id, 4));
    assert_eq!(ask(&lava, &key, MODEL).await, Err("invalid_api_key".to_owned()));
    assert!(ask(&lava, &rotated.key, MODEL).await.is_ok());

    // Revoke.
    keys.revoke(&id).await.unwrap();
    assert_eq!(ask(&lava, &rotated.key, MODEL).await, Err("invalid_api_key".to_owned()));
    assert!(keys.list(&PageQuery::default()).await.unwrap().data.is_empty());
    for gone in [keys.retrieve(&id).await.err(), keys.revoke(&id).await.err(), keys.rotate(&id).await.err()] {
        assert!(matches!(gone, Some(ClientError::Refused { status: 404, .. })), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_shape_does_not_open_the_other() {
    let home = tempfile::tempdir().unwrap();
    let (_gateway, lava) = serve(&home);
    let request = NewKey {
        request_shape: RequestShape::Anthropic,
        allowed_providers: Some(vec!["anthropic".into()]),
        spend_limit: Some(limit(100, Cycle::Monthly)),
        ..NewKey::named("Agent - Anthropic")
    };
    let created = lava.spend_keys().create(&request).await.unwrap();
    assert_eq!(created.object.request_shape, "anthropic");
    assert_eq!(ask(&lava, &created.key, MODEL).await, Err("request_shape_not_allowed".to_owned()));
    let update = KeyUpdate { request_shape: Some(RequestShape::Openai), allowed_providers: Change::Lift, ..KeyUpdate::default() };
    lava.spend_keys().update(&created.object.spend_key_id, &update).await.unwrap();
    assert!(ask(&lava, &created.key, MODEL).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_field_is_named() {
    let home = tempfile::tempdir().unwrap();
    let (_gateway, lava) = serve(&home);
    let fine = || NewKey::named("fine");
    for (request, field) in [
        (NewKey::named(""), "name"),
        (NewKey { allowed_models: Some(Vec::new()), ..fine() }, "allowed_models"),
        (NewKey { allowed_providers: Some(vec![String::new()]), ..fine() }, "allowed_providers"),
        (NewKey { spend_limit: Some(limit(0, Cycle::Daily)), ..fine() }, "spend_limit"),
        (NewKey { request_limit: Some(RequestLimit { count: 0, cycle: Cycle::Daily }), ..fine() }, "request_limit"),
        (NewKey { rate_limit: Some(RateLimit { rpm: 0, burst: None }), ..fine() }, "rate_limit"),
        (NewKey { expires_at: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..fine() }, "expires_at"),
    ] {
        let error = lava.spend_keys().create(&request).await.unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(matches!(error, ClientError::Refused { status: 400, .. }) && error.to_string().contains(field), "{error}");
    }
    let error = lava.spend_keys().list(&PageQuery { limit: Some(101), cursor: None }).await.unwrap_err();
    assert_eq!(error.field(), Some("limit"), "{error}");
    assert!(lava.spend_keys().list(&PageQuery::default()).await.unwrap().data.is_empty(), "a refused key is not made");

    // What is wrong with the caller rather than a field names none.
    let spend_key = lava.spend_keys().create(&fine()).await.unwrap();
    for (key, status) in [("aks_live_unknown".to_owned(), 401), (spend_key.key.expose().to_owned(), 403)] {
        let stranger = Lava::new(key).unwrap().with_base_url(&lava.base_url()).unwrap();
        let error = stranger.spend_keys().list(&PageQuery::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused { status: is, .. } if is == status) && error.field().is_none(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_read_page_by_page() {
    let home = tempfile::tempdir().unwrap();
    let (_gateway, lava) = serve(&home);
    for number in 0..12 {
        lava.spend_keys().create(&NewKey::named(format!("key {number}"))).await.unwrap();
        // Keys of one millisecond are in no order.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let first = lava.spend_keys().list(&PageQuery::default()).await.unwrap();
    assert_eq!((first.data.len(), first.has_more), (10, true));
    let mut names = Vec::new();
    let mut query = PageQuery { limit: Some(5), cursor: None };
    for size in [5, 5, 2] {
        let page = lava.spend_keys().list(&query).await.unwrap();
        let is_last = size == 2;
        assert_eq!((page.data.len(), page.has_more, page.next_cursor.is_none()), (size, !is_last, is_last));
        names.extend(page.data.into_iter().map(|key| key.name));
        query.cursor = page.next_cursor;
    }
    assert_eq!(names, (0..12).rev().map(|number| format!("key {number}")).collect::<Vec<_>>(), "newest first, each once");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_told_from_a_refusal() {
    // A port on which nobody listens: bound and let go again.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lava = Lava::new("aks_test_x").unwrap().with_base_url(&format!("http://{closed}")).unwrap();
    let error = lava.spend_keys().list(&PageQuery::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)) && !error.to_string().contains("aks_test"), "{error}");
}

#[path = "../../examples/manage_spend.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for a terminal")]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs_to_its_end() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, lava) = serve(&home);
    example::manage(&lava).await.unwrap();
    assert!(lava.spend_keys().list(&PageQuery::default()).await.unwrap().data.is_empty(), "it leaves no key behind");
    let requests = lava.client().requests(&Secret::new(gateway.secret.clone()), 10).await.unwrap();
    assert_eq!(requests.len(), 2, "both kinds of key were used");
}
