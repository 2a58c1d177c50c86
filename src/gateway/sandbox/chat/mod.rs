//! The sandbox in the OpenAI dialect: chat completions, plain and streamed.

mod check;
mod choice;
mod logprobs;

use serde_json::{Value, json};

use self::choice::Choice;
use super::{Made, Refusal, ids, input};
use crate::translate::sse::Event;

/// What is known of a request beside its body.
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// Whether the caller of a stream asked for the usage.
    pub(super) wants_usage: bool,
}

/// Answers a request.
pub(super) fn answer(body: &Value, asked: &Asked<'_>) -> Result<Made, Refusal> {
    check::check(body)?;
    let count = body["n"].as_u64().unwrap_or(1);
    let choice = choice::make(body, asked.model)?;
    let answer = Answer { id: ids::completion(), asked, tier: tier(body), usage: usage(body, &choice, count), count, choice };
    Ok(if body["stream"] == true { Made::Stream(answer.to_events()) } else { Made::Plain(answer.to_reply()) })
}

fn tier(body: &Value) -> &'static str {
    if body["service_tier"] == "flex" { "flex" } else { "default" }
}

fn usage(body: &Value, choice: &Choice, count: u64) -> Value {
    let (input, output) = (input::of_chat(body), choice.tokens.saturating_mul(count));
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": choice.reasoning.saturating_mul(count), "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

struct Answer<'a> {
    id: String,
    asked: &'a Asked<'a>,
    tier: &'static str,
    usage: Value,
    /// How many times the choice is given.
    count: u64,
    choice: Choice,
}

impl Answer<'_> {
    fn to_reply(&self) -> Value {
        let choices: Vec<Value> = (0..self.count)
            .map(|index| {
                json!({
                    "index": index, "message": self.choice.message(), "logprobs": self.choice.logprobs(),
                    "finish_reason": self.choice.finish_reason,
                })
            })
            .collect();
        json!({
            "id": self.id, "object": "chat.completion", "created": self.asked.now, "model": self.asked.model, "choices": choices,
            "usage": self.usage, "service_tier": self.tier, "system_fingerprint": ids::FINGERPRINT,
        })
    }

    fn chunk(&self, choices: &Value) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.asked.now, "model": self.asked.model,
            "service_tier": self.tier, "system_fingerprint": ids::FINGERPRINT, "choices": choices,
        });
        if self.asked.wants_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn to_events(&self) -> Vec<Event> {
        let mut chunks = Vec::new();
        for index in 0..self.count {
            for (delta, logprobs) in self.choice.deltas() {
                chunks.push(self.chunk(&json!([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null}])));
            }
            chunks.push(self.chunk(&json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": self.choice.finish_reason}])));
        }
        let mut last = self.chunk(&json!([]));
        last["usage"] = self.usage.clone();
        chunks.push(last);
        chunks.iter().map(|chunk| Event::new(None, chunk)).chain([Event::done()]).collect()
    }
}
