//! What an owner looks at and decides: the lid over all keys, holds, unverified charges, and models whose prices were wrong.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    fake_upstream::USED,
    harness::{Harness, chat_request, request, send},
};

const ACCOUNT: &str = "/v1/lava_mcp/account";
const HOLDS: &str = "/v1/lava_mcp/holds";
const MISPRICED: &str = "/v1/lava_mcp/mispriced";

#[tokio::test]
async fn a_write_off_gives_the_money_back_once() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    harness.limit_account(json!({"amount": "2.00", "cycle": "monthly"})).await;
    let hold = harness.crash(&id, "0.50").await;

    let object = harness.object(&id).await;
    assert_eq!((&object["current_spend"], &object["lava_mcp"]["suspect"]), (&json!("0.5000000000"), &json!("0.50")), "{object}");
    let listed = harness.manage(Method::GET, "/v1/spend_keys", Value::Null).await.json();
    assert_eq!(listed["data"][0]["lava_mcp"]["suspect"], "0.50");
    let holds = harness.manage(Method::GET, HOLDS, Value::Null).await.json();
    let [suspect] = &holds["suspect"].as_array().unwrap()[..] else { panic!("{holds}") };
    assert_eq!(holds["open"], json!([]));
    let request_id = suspect["request_id"].as_str().unwrap().to_owned();
    let expected = json!({
        "hold_id": hold, "spend_key_id": id, "request_id": request_id, "amount": "0.50", "provider": "fake", "model": "never",
        "endpoint": "POST https://fake/v1", "opened_at": "2026-11-24T12:00:00Z",
    });
    assert_eq!(suspect, &expected);

    // Sixty cents do not fit beside it.
    let dear = json!({"max_tokens": 300_000});
    assert_eq!(harness.chat(&key, "ok", dear.clone()).await.code(), "insufficient_budget");
    let path = format!("{HOLDS}/{hold}/write_off");
    let off = harness.manage(Method::POST, &path, json!({"reason": "the provider did not bill it"})).await;
    assert_eq!((off.status, off.json()), (StatusCode::OK, json!({"hold_id": hold, "written_off": "0.50"})));
    let object = harness.object(&id).await;
    assert_eq!((&object["current_spend"], &object["lava_mcp"]["suspect"]), (&json!("0.0000000000"), &json!("0.00")));
    assert_eq!(harness.manage(Method::GET, ACCOUNT, Value::Null).await.json()["remaining"], "2.00");
    assert_eq!(harness.manage(Method::GET, HOLDS, Value::Null).await.json(), json!({"open": [], "unverified": [], "suspect": []}));
    assert_eq!(harness.chat(&key, "ok", dear).await.status, StatusCode::OK);

    let again = harness.manage(Method::POST, &path, json!({"reason": "again"})).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "already_written_off"));
    assert_eq!(again.header("x-should-retry"), Some("false"));
    harness.settled().await;
    assert_eq!(harness.object(&id).await["current_spend"], "0.0000250000", "given back once");
    // The charge, its correction and the reason stay in the books.
    let seen = harness.manage(Method::GET, &format!("/v1/requests/{request_id}"), Value::Null).await.json();
    assert_eq!(seen["cost"], "0.0000000000");
    let attempts = seen["lava_mcp"]["attempts"].as_array().unwrap();
    assert_eq!(attempts.iter().map(|attempt| &attempt["outcome"]).collect::<Vec<_>>(), ["suspect", "correction"]);
    assert_eq!((&attempts[1]["cost"], &attempts[1]["note"]), (&json!("-0.50"), &json!("the provider did not bill it")));
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_write_offs_at_once_one_counts() {
    let harness = Harness::start().await;
    let (_, id) = harness.key_with_limit("1.00").await;
    let hold = harness.crash(&id, "0.50").await;
    harness.crash(&id, "0.25").await;
    let routers = [harness.router.clone(), harness.second().await];
    let offs = (0..20).map(|at| {
        let (router, path) = (routers[at % 2].clone(), format!("{HOLDS}/{hold}/write_off"));
        let asked = request(Method::POST, &path, Some(harness.secret.expose()), json!({"reason": "not billed"}));
        tokio::spawn(async move { send(&router, asked).await.status.as_u16() })
    });
    let mut statuses: Vec<u16> = futures_util::future::join_all(offs).await.into_iter().map(Result::unwrap).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [&[200][..], &[409; 19]].concat());
    let object = harness.object(&id).await;
    assert_eq!((&object["current_spend"], &object["lava_mcp"]["suspect"]), (&json!("0.2500000000"), &json!("0.25")));
    harness.finish().await;
}

#[tokio::test]
async fn a_write_off_needs_a_secret_key_of_the_account_and_a_reason() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let hold = harness.crash(&id, "0.50").await;
    let path = format!("{HOLDS}/{hold}/write_off");
    let good = json!({"reason": "not billed"});
    for body in [json!({}), json!({"reason": ""}), json!({"reason": " "}), json!({"reason": 5}), json!({"reason": "x".repeat(256)})] {
        let refused = harness.manage(Method::POST, &path, body.clone()).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!("reason")), "{body}");
    }
    let refused = harness.manage(Method::POST, &path, json!({"reason": "a", "amount": "0.10"})).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!("amount")));
    assert_eq!(harness.send(request(Method::POST, &path, Some(&key), good.clone())).await.status, StatusCode::FORBIDDEN);
    let sandbox = harness.gateway.create_secret_key("sandbox", true).await.unwrap();
    for _ in 0..2 {
        assert_eq!(harness.send(request(Method::POST, &path, Some(sandbox.expose()), good.clone())).await.status, StatusCode::NOT_FOUND);
        harness.manage(Method::POST, &path, json!({"reason": "ä".repeat(255)})).await;
    }
    // Only an unverified charge can be taken back, not what was measured.
    harness.chat(&key, "ok", Value::Null).await;
    harness.settled().await;
    let measured = harness.sql("SELECT hold_id FROM entry WHERE kind = 'charge'", |row| row.get::<_, String>(0)).remove(0);
    for hold in [measured.as_str(), "hold_nobody"] {
        let refused = harness.manage(Method::POST, &format!("{HOLDS}/{hold}/write_off"), good.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (404, "not_found"), "{hold}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn holds_are_seen_by_those_they_belong_to() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let (other, other_id) = harness.key_with_limit("1.00").await;
    let lost = harness.crash(&other_id, "0.10").await;
    let asked = tokio::spawn({
        let (router, asked) = (harness.router.clone(), chat_request(&key, "slow-600", Value::Null));
        async move { send(&router, asked).await }
    });
    while harness.open_holds() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let seen = |key: &str, query: &str| {
        let asked = request(Method::GET, &format!("{HOLDS}{query}"), Some(key), Value::Null);
        let answer = harness.send(asked);
        async move {
            let answer = answer.await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            let ids =
                |list: &str| answer.json()[list].as_array().unwrap().iter().map(|hold| hold["spend_key_id"].clone()).collect::<Vec<_>>();
            (ids("open"), ids("suspect"))
        }
    };
    let secret = harness.secret.expose();
    let (one, two, none) = (vec![json!(id)], vec![json!(other_id)], Vec::new());
    assert_eq!(seen(secret, "").await, (one.clone(), two.clone()));
    assert_eq!(seen(secret, &format!("?spend_key_id={id}")).await, (one.clone(), none.clone()));
    assert_eq!(seen(&key, "").await, (one.clone(), none.clone()));
    assert_eq!(seen(&other, &format!("?spend_key_id={other_id}")).await, (none.clone(), two.clone()));
    let sandbox = harness.gateway.create_secret_key("sandbox", true).await.unwrap();
    assert_eq!(seen(sandbox.expose(), "").await, (none.clone(), none.clone()));
    let holds = harness.manage(Method::GET, HOLDS, Value::Null).await.json();
    let (open, held) = (&holds["open"][0], &harness.object(&id).await["lava_mcp"]["held"]);
    assert_eq!((&open["amount"], &open["provider"], &open["model"]), (held, &json!("fake"), &json!("slow-600")));
    assert!(open["endpoint"].as_str().unwrap().ends_with("/v1/chat/completions"), "{open}");

    for (key, wanted, status) in [(key.as_str(), other_id.as_str(), 403), (secret, "spk_nobody", 404), (sandbox.expose(), &id, 404)] {
        let refused = harness.send(request(Method::GET, &format!("{HOLDS}?spend_key_id={wanted}"), Some(key), Value::Null)).await;
        assert_eq!(refused.status.as_u16(), status, "{}", refused.text());
    }
    // A key that is gone leaves its charge behind, and it can be taken back.
    harness.manage(Method::DELETE, &format!("/v1/spend_keys/{other_id}"), Value::Null).await;
    assert_eq!(seen(secret, &format!("?spend_key_id={other_id}")).await, (none, two));
    let off = harness.manage(Method::POST, &format!("{HOLDS}/{lost}/write_off"), json!({"reason": "not billed"})).await;
    assert_eq!(off.json()["written_off"], "0.10");
    assert_eq!(asked.await.unwrap().status, StatusCode::OK);
    harness.finish().await;
}

#[tokio::test]
async fn a_model_that_bills_too_much_is_not_sold_under_a_limit_until_somebody_has_looked() {
    let harness = Harness::start().await;
    let (limited, id) = harness.key_with_limit("1.00").await;
    let (free, _) = harness.key(json!({})).await;
    // It bills a million tokens where a hundred were asked for.
    assert_eq!(harness.chat(&limited, "lies", Value::Null).await.status, StatusCode::OK);
    let entry = harness.entries().await.remove(0);
    let billed_n = i64::try_from(USED.0 * 1_000 + 1_000_000 * 2_000).unwrap();
    assert_eq!((entry.kind.as_str(), entry.basis.as_str(), entry.amount_n), ("charge", "measured", billed_n));
    assert!(entry.held_n < billed_n);
    assert_eq!(harness.object(&id).await["current_spend"], "2.0000110000", "booked in full, beyond the limit");

    harness.manage(Method::PUT, &format!("/v1/spend_keys/{id}"), json!({"spend_limit": {"amount": "100.00", "cycle": "daily"}})).await;
    let refused = harness.chat(&limited, "lies", Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "mispriced"), "{}", refused.text());
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert!(refused.text().contains("fake/lies"), "{}", refused.text());
    assert_eq!(harness.chat(&limited, "ok", Value::Null).await.status, StatusCode::OK, "other models are sold");
    assert_eq!(harness.chat(&free, "lies", Value::Null).await.status, StatusCode::OK, "nothing is promised without a limit");
    harness.limit_account(json!({"amount": "1000.00", "cycle": "total"})).await;
    assert_eq!(harness.chat(&free, "lies", Value::Null).await.code(), "mispriced", "the lid over all keys is a limit too");
    assert_eq!(harness.upstream.seen().len(), 3, "what was refused did not reach the provider");

    let listed = harness.manage(Method::GET, MISPRICED, Value::Null).await.json();
    let [model] = &listed["data"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&model["provider"], &model["model"], &model["billed"]), (&json!("fake"), &json!("lies"), &json!("2.000011")));
    let held: f64 = model["held"].as_str().unwrap().parse().unwrap();
    assert!(held > 0.0 && held < 0.01 && model["request_id"].as_str().unwrap().starts_with("req_"), "{model}");

    let lies = format!("{MISPRICED}?provider=fake&model=lies");
    for (method, path) in [(Method::GET, MISPRICED), (Method::DELETE, &*lies)] {
        assert_eq!(harness.send(request(method, path, Some(&limited), Value::Null)).await.status, StatusCode::FORBIDDEN);
    }
    let sandbox = harness.gateway.create_secret_key("sandbox", true).await.unwrap();
    let refused = harness.send(request(Method::DELETE, &lies, Some(sandbox.expose()), Value::Null)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    for (query, status) in [("provider=fake&model=ok", 404), ("provider=fake", 400), ("model=lies", 400)] {
        let refused = harness.manage(Method::DELETE, &format!("{MISPRICED}?{query}"), Value::Null).await;
        assert_eq!(refused.status.as_u16(), status, "{query}");
    }
    assert_eq!(harness.chat(&limited, "lies", Value::Null).await.code(), "mispriced");
    assert_eq!(harness.manage(Method::DELETE, &lies, Value::Null).await.json(), json!({"success": true}));
    assert_eq!(harness.manage(Method::DELETE, &lies, Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(harness.manage(Method::GET, MISPRICED, Value::Null).await.json(), json!({"data": []}));
    assert_eq!(harness.chat(&limited, "lies", Value::Null).await.status, StatusCode::OK);
    harness.settled().await;
    assert_eq!(harness.chat(&limited, "lies", Value::Null).await.code(), "mispriced", "it has done it again");
    harness.finish().await;
}

#[tokio::test]
async fn the_account_tells_where_it_stands() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({})).await;
    harness.chat(&key, "ok", Value::Null).await;
    harness.settled().await;
    let show = || async { harness.manage(Method::GET, ACCOUNT, Value::Null).await.json() };
    let without =
        json!({"spend_limit": null, "current_spend": "0.0000250000", "held": "0.00", "remaining": null, "resets_at": null, "test": false});
    assert_eq!(show().await, without, "without a limit: all that was spent");
    let limited = harness.limit_account(json!({"amount": "5", "cycle": "weekly"})).await;
    let expected = json!({
        "spend_limit": {"amount": "5.00", "cycle": "weekly"}, "current_spend": "0.0000250000", "held": "0.00", "remaining": "4.999975",
        "resets_at": "2026-11-30T00:00:00Z", "test": false,
    });
    assert_eq!((&limited, &show().await), (&expected, &expected));
    // A key without a limit of its own has what is left of that one.
    let own = harness.send(request(Method::GET, "/v1/spend_keys/self", Some(&key), Value::Null)).await.json();
    assert_eq!(own["lava_mcp"]["remaining"], "4.999975");
    let sandbox = harness.gateway.create_secret_key("sandbox", true).await.unwrap();
    let theirs = harness.send(request(Method::GET, ACCOUNT, Some(sandbox.expose()), Value::Null)).await.json();
    assert_eq!((&theirs["test"], &theirs["current_spend"], &theirs["spend_limit"]), (&json!(true), &json!("0.0000000000"), &Value::Null));
    for method in [Method::GET, Method::PUT] {
        assert_eq!(harness.send(request(method, ACCOUNT, Some(&key), json!({"spend_limit": null}))).await.status, StatusCode::FORBIDDEN);
    }
    harness.clock.set("2026-11-30T00:00:00Z");
    assert_eq!(show().await["current_spend"], "0.0000000000", "a new week");
    assert_eq!(harness.limit_account(Value::Null).await, without);
    harness.finish().await;
}

#[tokio::test]
async fn a_limit_of_the_account_is_checked_as_that_of_a_key() {
    let harness = Harness::start().await;
    for limit in [
        json!({"amount": 5, "cycle": "daily"}),
        json!({"amount": "0", "cycle": "daily"}),
        json!({"amount": "5", "cycle": "hourly"}),
        json!("5"),
    ] {
        let of_account = harness.manage(Method::PUT, ACCOUNT, json!({"spend_limit": limit})).await;
        let of_key = harness.manage(Method::POST, "/v1/spend_keys", json!({"name": "a", "spend_limit": limit})).await;
        assert_eq!((of_account.status, of_account.json()), (StatusCode::BAD_REQUEST, of_key.json()), "{limit}");
    }
    for (body, param) in [(json!({}), json!("spend_limit")), (json!({"limit": null}), json!("limit")), (json!([]), Value::Null)] {
        let refused = harness.manage(Method::PUT, ACCOUNT, body.clone()).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &param), "{body}");
    }
    assert_eq!(harness.manage(Method::GET, ACCOUNT, Value::Null).await.json()["spend_limit"], Value::Null);
    harness.finish().await;
}
