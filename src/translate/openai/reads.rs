//! What a model reads of a chat request.

use serde_json::value::RawValue;

use crate::translate::{
    BadRequest,
    bounds::{Readable, Reader, Walk},
    members::Members,
    raw::RawObject,
    rendering::decoded,
};

/// Fields that the model does not read. Source: OpenAI's API reference, and those of the providers that share its dialect.
const NOT_READ: [&str; 41] = [
    "audio",
    "frequency_penalty",
    "ignore_eos",
    "include_reasoning",
    "length_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "min_p",
    "min_tokens",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "provider",
    "random_seed",
    "reasoning_format",
    "repetition_penalty",
    "safety_identifier",
    "seed",
    "service_tier",
    "session_id",
    "skip_special_tokens",
    "stop",
    "stop_token_ids",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "top_a",
    "top_k",
    "top_logprobs",
    "top_p",
    "usage",
    "user",
];
/// Fields that are part of every template, whatever they say.
const READ: [&str; 7] = ["enable_thinking", "guided_choice", "reasoning", "reasoning_effort", "thinking", "thinking_budget", "verbosity"];
/// Members of a message and of its parts that say what it costs.
const MESSAGE: [&str; 8] = ["audio", "content", "function_call", "name", "role", "tool_call_id", "tool_calls", "type"];
const PART: [&str; 8] = ["file", "image", "image_url", "input_audio", "source", "text", "type", "url"];
/// Members of a part that are the image itself.
const IMAGE: [&str; 6] = ["detail", "image", "image_url", "source", "type", "url"];

/// The chat completions dialect.
pub(super) struct Chat;

impl Readable for Chat {
    fn read<R: Reader>(body: &RawObject, walk: &mut Walk<'_, R>) -> Result<(), BadRequest> {
        const MESSAGES: BadRequest = BadRequest::Field { field: "messages", expected: "must be an array of messages" };
        let messages = body.get("messages").map_or("[]", RawValue::get);
        for message in serde_json::from_str::<Vec<&RawValue>>(messages).map_err(|_| MESSAGES)? {
            walk.piece();
            if let Some(members) = walk.members(message, &MESSAGE)? {
                read_message(&members, walk)?;
            } else {
                walk.json(message);
            }
        }
        for (name, raw) in body.fields().filter(|(name, raw)| raw.get() != "null" && NOT_READ.binary_search(name).is_err()) {
            match name {
                "tools" | "functions" => walk.tools(raw)?,
                "tool_choice" | "function_call" => walk.tool_choice(raw),
                "response_format" => {
                    walk.features().form = true;
                    walk.json(raw);
                }
                _ if READ.contains(&name) => walk.json(raw),
                _ => {
                    walk.features().is_special = true;
                    walk.member(name, raw);
                }
            }
        }
        Ok(())
    }
}

fn read_message<R: Reader>(message: &Members<'_>, walk: &mut Walk<'_, R>) -> Result<(), BadRequest> {
    let role = message.text("role");
    let is_result = matches!(role.as_deref(), Some("tool" | "function"));
    walk.features().system |= matches!(role.as_deref(), Some("system" | "developer"));
    for (name, raw) in message.iter().filter(|(_, raw)| raw.get() != "null") {
        match name {
            "role" | "name" | "tool_call_id" | "refusal" | "reasoning_content" => walk.text_or_json(raw),
            "content" if raw.get().starts_with('[') => read_parts(raw, is_result, walk)?,
            "content" if raw.get().starts_with('"') => {
                if is_result {
                    walk.json(raw)
                } else {
                    walk.text_or_json(raw)
                }
            }
            "content" => {
                // What cannot be read here may still be read by the provider.
                walk.unbounded();
                walk.json(raw);
            }
            // Refers to sound that the provider keeps.
            "audio" => walk.unbounded(),
            _ => walk.member(name, raw),
        }
    }
    Ok(())
}

fn read_parts<R: Reader>(parts: &RawValue, is_result: bool, walk: &mut Walk<'_, R>) -> Result<(), BadRequest> {
    let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(parts.get()) else {
        walk.unbounded();
        return Ok(());
    };
    for part in parts {
        walk.piece();
        let Some(members) = walk.members(part, &PART)? else {
            walk.json(part);
            continue;
        };
        match members.text("type").as_deref() {
            Some("text" | "input_text" | "output_text" | "refusal") if !is_result => {
                members.iter().for_each(|(name, raw)| match name {
                    "type" => {}
                    "text" | "refusal" => walk.text_or_json(raw),
                    _ => walk.member(name, raw),
                });
            }
            Some("text" | "input_text" | "output_text" | "refusal") => walk.json(part),
            Some("image_url" | "input_image" | "image") if is_image(part) => {
                walk.image();
                members.iter().filter(|(name, _)| !IMAGE.contains(name)).for_each(|(name, raw)| walk.member(name, raw));
            }
            Some("input_audio") => {
                walk.features().media = true;
                walk.json(part);
            }
            _ => {
                walk.unbounded();
                walk.json(part);
            }
        }
    }
    Ok(())
}

/// Some providers take any kind of data where an image is expected; minutes of video have more tokens than an image.
fn is_image(part: &RawValue) -> bool {
    let text = decoded(part.get());
    let is_data = |at: usize| at >= 4 && text.as_bytes()[at - 4..at].eq_ignore_ascii_case(b"data");
    let mut kinds = text.match_indices(':').filter(|(at, _)| is_data(*at)).map(|(at, _)| &text.as_bytes()[at + 1..]);
    kinds.all(|kind| kind.get(..6).is_some_and(|kind| kind.eq_ignore_ascii_case(b"image/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_names_are_found() {
        assert!(NOT_READ.is_sorted() && READ.is_sorted() && MESSAGE.is_sorted() && PART.is_sorted());
        assert!(READ.iter().all(|name| !NOT_READ.contains(name)));
    }

    #[test]
    fn data_that_is_not_an_image_is_seen_however_it_is_written() {
        let part = |url: &str| RawValue::from_string(format!(r#"{{"type":"image_url","image_url":{{"url":"{url}"}}}}"#)).unwrap();
        for url in ["https://x/y.png", "data:image/png;base64,AAAA", "DATA:Image/PNG;base64,AAAA"] {
            assert!(is_image(&part(url)), "{url}");
        }
        for url in ["data:video/mp4;base64,AAAA", "d\\u0061ta:video/mp4,AA", "Data:application/pdf;base64,AA", "data:;base64,AA", "data:"] {
            assert!(!is_image(&part(url)), "{url}");
        }
    }
}
