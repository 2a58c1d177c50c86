//! The life of a spend key in Rust: made with limits, used, changed, rotated, watched, revoked.
//!
//! ```sh
//! LAVA_SECRET_KEY=aks_… cargo run --example manage_spend
//! ```
//!
//! With `LAVA_API_URL` it speaks to a gateway of your own. To try it where nothing costs anything, start `lava-mcp --sandbox gateway`, make a key with
//! `lava-mcp --sandbox secret-keys create`, and set `LAVA_API_URL=http://127.0.0.1:4040`.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "an example prints, and has no settings but the environment")]

use lava_mcp::{
    Lava,
    client::{Change, ChatOptions, KeyUpdate, NewKey, PageQuery},
    domain::{Cycle, Money, RateLimit, RequestShape, SpendLimit},
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut lava = Lava::new(std::env::var("LAVA_SECRET_KEY").map_err(|_| "set LAVA_SECRET_KEY")?)?;
    if let Ok(url) = std::env::var("LAVA_API_URL") {
        lava = lava.with_base_url(&url)?;
    }
    manage(&lava).await
}

/// The whole life, against any gateway.
pub async fn manage(lava: &Lava) -> Result<(), Box<dyn std::error::Error>> {
    // Create a spend key.
    let spend_key = lava
        .spend_keys()
        .create(&NewKey {
            allowed_providers: Some(vec!["openai".into(), "anthropic".into()]),
            allowed_models: Some(vec!["gpt-4o-mini".into(), "claude-sonnet-4-20250514".into()]),
            spend_limit: Some(SpendLimit { amount: Money::from_dollars(50), cycle: Cycle::Monthly }),
            rate_limit: Some(RateLimit { rpm: 60, burst: None }),
            ..NewKey::named("Agent - Production")
        })
        .await?;
    let id = &spend_key.object.spend_key_id;
    // Save this at once: the whole key is only told now.
    println!("Spend key: {}", spend_key.key.expose());
    println!("Key ID: {id}");

    // Use it, here or as the key of any OpenAI client whose base URL is `lava.base_url()`.
    let body = serde_json::from_value(json!({
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "Hello!"}],
    }))?;
    let completion = lava.client().chat(&spend_key.key, body, &ChatOptions::default(), None).await?;
    println!("{} says: {}", completion.model, completion.message["content"].as_str().unwrap_or_default());

    // A key for Anthropic's messages API. Anthropic's own clients take the base URL without `/v1/`.
    let anthropic_key = lava
        .spend_keys()
        .create(&NewKey {
            request_shape: RequestShape::Anthropic,
            allowed_providers: Some(vec!["anthropic".into()]),
            spend_limit: Some(SpendLimit { amount: Money::from_dollars(100), cycle: Cycle::Monthly }),
            ..NewKey::named("Agent - Anthropic")
        })
        .await?;
    let body = serde_json::from_value(json!({
        "model": "claude-sonnet-4-20250514",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello!"}],
    }))?;
    let message = lava.client().messages(&anthropic_key.key, &body).await?;
    println!("{} says: {}", message["model"].as_str().unwrap_or_default(), message["content"][0]["text"].as_str().unwrap_or_default());

    // Change what it may do; the key stays the same.
    lava.spend_keys()
        .update(
            id,
            &KeyUpdate {
                allowed_models: Change::Set(vec!["gpt-4o-mini".into()]), // Restrict to a cheaper model
                spend_limit: Change::Set(SpendLimit { amount: Money::from_dollars(100), cycle: Cycle::Monthly }), // Increase limit
                ..KeyUpdate::default()
            },
        )
        .await?;

    // Give it a new value; the old one stops working at once.
    let rotated = lava.spend_keys().rotate(id).await?;
    println!("New key: {}", rotated.key.expose()); // Told once

    // Monitor what is spent.
    let keys = lava.spend_keys().list(&PageQuery::default()).await?;
    for key in &keys.data {
        let limit = key.spend_limit.as_ref().map_or("none", |limit| &limit.amount);
        println!("{}: ${} spent (limit: ${limit})", key.name, key.current_spend);
        println!("  {} requests, last used: {}", key.current_requests, key.last_used_at.as_deref().unwrap_or("never"));
    }

    // End both for good.
    lava.spend_keys().revoke(id).await?;
    lava.spend_keys().revoke(&anthropic_key.object.spend_key_id).await?;
    Ok(())
}
