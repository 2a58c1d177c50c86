//! Providers' keys that a person has put into a vault: it is opened when a key is needed, and again when a provider did not accept the key.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Request, StatusCode};
use lava_mcp::{
    domain::Secret,
    gateway::{Credentials, KeyVault},
};
use serde_json::json;

use crate::harness::{Harness, chat_request, request, send};

/// A vault whose key for `fake` is another one each time it is opened, and how often it was.
fn vault() -> (Credentials, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let vault = KeyVault {
        names: Arc::new(|| Arc::new(HashSet::from(["fake".to_owned()]))),
        load: Arc::new(move || {
            let key = format!("sk-vault-{}", count.fetch_add(1, Ordering::SeqCst) + 1);
            Box::pin(async move { Ok(HashMap::from([("fake".to_owned(), Secret::new(key))])) })
        }),
    };
    (Credentials::new(HashMap::new(), Arc::new(|_| None), Some(vault)), opened)
}

struct Asked<'a> {
    harness: &'a Harness,
    router: Router,
}

impl Asked<'_> {
    /// Asks, and returns the key that the provider was shown.
    async fn with(&self, request: Request<Body>, status: StatusCode) -> String {
        let answer = send(&self.router, request).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let head = self.harness.upstream.seen().pop().unwrap().head;
        let shown = head.lines().find_map(|line| line.strip_prefix("authorization: bearer "));
        shown.unwrap_or_else(|| panic!("no key in {head}")).trim().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vault_is_opened_again_only_when_its_key_was_not_accepted() {
    let harness = Harness::start().await;
    let (credentials, opened) = vault();
    let asked = Asked { harness: &harness, router: harness.second_with(credentials).await };
    let (key, _) = harness.key_with_limit("5.00").await;
    let chat = |script| chat_request(&key, script, json!({}));
    let opened = || opened.load(Ordering::SeqCst);
    assert_eq!(opened(), 0, "nobody has needed a key yet");
    for _ in 0..3 {
        assert_eq!(asked.with(chat("ok"), StatusCode::OK).await, "sk-vault-1");
    }
    asked.with(chat("status-500"), StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!((asked.with(chat("ok"), StatusCode::OK).await.as_str(), opened()), ("sk-vault-1", 1), "other failures are not the key's");

    // A key that a caller has brought says nothing of ours.
    let token = STANDARD.encode(json!({"secret_key": harness.secret.expose(), "provider_key": "sk-of-the-caller"}).to_string());
    let path = format!("/v1/forward?u={}/chat/completions", harness.upstream.url);
    let body = json!({"model": "status-401", "messages": [], "max_tokens": 1});
    let brought = request(Method::POST, &path, Some(&token), body);
    assert_eq!(asked.with(brought, StatusCode::UNAUTHORIZED).await, "sk-of-the-caller");
    assert_eq!((asked.with(chat("ok"), StatusCode::OK).await.as_str(), opened()), ("sk-vault-1", 1));

    assert_eq!(asked.with(chat("status-401"), StatusCode::BAD_GATEWAY).await, "sk-vault-1");
    assert_eq!((asked.with(chat("ok"), StatusCode::OK).await.as_str(), opened()), ("sk-vault-2", 2), "the person has put in a new key");
    harness.finish().await;
}
