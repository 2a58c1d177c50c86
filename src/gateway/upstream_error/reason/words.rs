//! The words of an error, wherever they are: one message, or one for each field that is wrong.

use serde_json::{Map, Value};

use super::{DEPTH_MAX, LISTED_MAX, RAW, field};

/// Where the error is, of which an object is only the wrapping.
const WRAPPED: [&str; 4] = ["error", "Error", "fault", "ResponseMetadata"];
/// Where the words of an error are, the most telling first.
const WORDS: [&str; 17] = [
    "message",
    "Message",
    "msg",
    "detail",
    "error_description",
    "error_message",
    "errorMessage",
    "ErrorMessage",
    "error_msg",
    "err_msg",
    "description",
    "details",
    "reason",
    "status_msg",
    "faultstring",
    "text",
    "base_resp",
];

/// What an error says in words.
pub(in crate::gateway::upstream_error) fn words(value: &Value) -> Option<String> {
    within(value, DEPTH_MAX)
}

fn within(value: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned),
        Value::Array(items) => joined(items.iter().filter_map(|item| within(item, depth))),
        Value::Object(object) => of_object(value, object, depth),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn of_object(value: &Value, object: &Map<String, Value>, depth: usize) -> Option<String> {
    let of = |name: &str| object.get(name).and_then(|value| within(value, depth));
    let first_of = |names: &[&str]| names.iter().find_map(|name| of(name));
    let listed = field::LISTS.iter().find_map(|name| {
        let list = object.get(*name)?;
        let by_name = field::by_name(list).and_then(|fields| {
            joined(fields.iter().filter_map(|(name, said)| Some(at(field::name(name).as_deref(), within(said, depth)?))))
        });
        by_name.or_else(|| within(list, depth))
    });
    // What a reseller quotes of the provider behind it.
    let quoted = value.pointer(RAW).and_then(|raw| within(raw, depth));
    let mut said = String::new();
    for text in [of("title"), first_of(&WRAPPED), first_of(&WORDS), listed, quoted].into_iter().flatten() {
        if text.contains(&said) {
            said = text;
        } else if !said.contains(&text) {
            said.push_str(if said.ends_with(['.', '!', '?', ':']) { " " } else { ": " });
            said.push_str(&text);
        }
    }
    (!said.is_empty()).then(|| at(field::beside(object).as_deref(), said))
}

/// Words about a field, which say its name.
fn at(field: Option<&str>, said: String) -> String {
    match field {
        Some(field) if !names(&said, field) => format!("{field}: {said}"),
        _ => said,
    }
}

/// Whether a text has this name in it, and not only its letters.
fn names(text: &str, field: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(field).any(|(at, _)| !text[..at].ends_with(goes_on) && !text[at + field.len()..].starts_with(goes_on))
}

fn joined(said: impl Iterator<Item = String>) -> Option<String> {
    let said: Vec<String> = said.take(LISTED_MAX).collect();
    (!said.is_empty()).then(|| said.join("; "))
}
