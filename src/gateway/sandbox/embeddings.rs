//! The sandbox's embeddings: vectors that depend on nothing but the input.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::words::{count, texts};

/// Numbers of an embedding, where the caller does not say how many.
const DIMENSIONS: u64 = 16;
/// Most numbers of one.
const DIMENSIONS_MAX: u64 = 4_096;

pub(super) fn answer(model: &str, body: &Value) -> Value {
    let inputs: Vec<&Value> = match body.get("input") {
        // A list of tokens is one input.
        Some(Value::Array(items)) if !items.iter().all(Value::is_number) => items.iter().collect(),
        Some(other) => vec![other],
        None => Vec::new(),
    };
    let length = |input: &&Value| input.as_array().map_or_else(|| count(&texts(input)), |tokens| tokens.len() as u64);
    let tokens: u64 = inputs.iter().map(length).sum();
    let dimensions = body.get("dimensions").and_then(Value::as_u64).unwrap_or(DIMENSIONS).min(DIMENSIONS_MAX);
    let is_packed = body.get("encoding_format").is_some_and(|format| format == "base64");
    let embedding = |input: &Value| {
        let numbers = vector(&input.to_string(), dimensions);
        if is_packed {
            let bytes: Vec<u8> = numbers.iter().filter_map(|number| number.parse::<f32>().ok()).flat_map(f32::to_le_bytes).collect();
            Value::String(STANDARD.encode(bytes))
        } else {
            numbers.iter().filter_map(|number| serde_json::from_str::<Value>(number).ok()).collect()
        }
    };
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| json!({"object": "embedding", "index": index, "embedding": embedding(input)}))
        .collect();
    json!({"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
}

fn vector(text: &str, dimensions: u64) -> Vec<String> {
    let number = |at: u64| {
        let seed = crc32fast::hash(format!("{at}:{text}").as_bytes()) % 2_001;
        format!("{}{}.{:03}", if seed < 1_000 { "-" } else { "" }, seed.abs_diff(1_000) / 1_000, seed.abs_diff(1_000) % 1_000)
    };
    (0..dimensions).map(number).collect()
}
