//! How likely each token was. The sandbox is always sure, and always has the same few other words in mind.

use serde_json::{Value, json};

/// Tokens that are never chosen, enough for the most that can be asked for.
const OTHERS: [&str; 19] = [
    " the", " a", " of", " and", " to", " in", " is", " that", " it", " for", " as", " on", " with", " was", " at", " by", " an", " be",
    " or",
];

/// What is said of tokens, with as many others as were asked for.
pub(super) fn of(tokens: &[Vec<u8>], others: u64) -> Value {
    let content: Vec<Value> = tokens.iter().map(|token| of_token(token, others)).collect();
    json!({"content": content, "refusal": null})
}

fn of_token(token: &[u8], others: u64) -> Value {
    let text = String::from_utf8_lossy(token);
    let own = json!({"token": text, "logprob": -0.01, "bytes": token});
    let rest = OTHERS.iter().filter(|other| **other != text).enumerate().map(|(at, other)| {
        // Each a little less likely than the one before.
        let logprob: Value = serde_json::from_str(&format!("-{}.5", at + 5)).unwrap_or_default();
        json!({"token": other, "logprob": logprob, "bytes": other.as_bytes()})
    });
    let top: Vec<Value> = [own.clone()].into_iter().chain(rest).take(usize::try_from(others).unwrap_or(usize::MAX)).collect();
    json!({"token": text, "logprob": -0.01, "bytes": token, "top_logprobs": top})
}
