//! Finds the JSON in the body of an error, also where it is broken: in a stream, with something after it, with broken characters, or as a text within other JSON.

use std::borrow::Cow;

use serde_json::Value;

use super::reason::words;
use crate::translate::{
    mend::{mended, tolerated},
    sse::{self, BYTE_ORDER_MARK, Event, Splitter},
};

/// How often an error may quote another one as a text.
const QUOTES_MAX: usize = 3;
/// How deep in an object such a text is looked for.
const DEPTH_MAX: usize = 8;

/// The JSON value in a body: the whole of it, the first document of several, or an event of a stream.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let mut value = read(&decoded(body))?;
    unquote(&mut value, DEPTH_MAX, QUOTES_MAX);
    Some(value)
}

fn read(text: &[u8]) -> Option<Value> {
    if sse::is_stream(text) == Some(true) { from_events(text) } else { from_json(text) }
}

/// The event that says something, or else the first one.
fn from_events(text: &[u8]) -> Option<Value> {
    let mut splitter = Splitter::default();
    splitter.push(text).ok()?;
    let mut events: Vec<Event> = std::iter::from_fn(|| splitter.next_event()).collect();
    events.push(Event::unfinished(&splitter.into_rest()));
    let mut values: Vec<Value> = events.iter().filter_map(|event| from_json(&event.data()?)).collect();
    let telling = values.iter().position(|value| words(value).is_some()).unwrap_or_default();
    (telling < values.len()).then(|| values.swap_remove(telling))
}

fn from_json(text: &[u8]) -> Option<Value> {
    let strict = |text: &[u8]| serde_json::from_slice(text).ok().or_else(|| first_document(text));
    strict(text).or_else(|| strict(&tolerated(text)).filter(|value| value.is_object() || value.is_array()))
}

/// What comes after an object does not matter; a word or a number is only JSON when nothing does.
fn first_document(text: &[u8]) -> Option<Value> {
    let first = serde_json::Deserializer::from_slice(text).into_iter::<Value>().next()?.ok()?;
    let object = first.as_array().map_or(Some(&first), |items| items.first())?;
    let is_telling = object.as_object().is_some_and(|object| !object.is_empty());
    is_telling.then_some(first)
}

/// UTF-8 without a mark, broken characters replaced. A zero byte beside the first character is UTF-16.
fn decoded(body: &[u8]) -> Cow<'_, [u8]> {
    let unit: Option<fn([u8; 2]) -> u16> = match body {
        [0xFF, 0xFE, ..] | [b'{' | b'[', 0, ..] => Some(u16::from_le_bytes),
        [0xFE, 0xFF, ..] | [0, b'{' | b'[', ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    let Some(unit) = unit else { return mended(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)) };
    let units: Vec<u16> = body.as_chunks().0.iter().map(|pair| unit(*pair)).collect();
    let text = String::from_utf16_lossy(&units);
    Cow::Owned(mended(text.trim_start_matches('\u{feff}').as_bytes()).into_owned())
}

/// Puts an error in the place of the text that quotes it.
fn unquote(value: &mut Value, depth: usize, quotes: usize) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(text) => {
            let text = text.trim_start();
            let is_json = text.starts_with(['{', '[']) || sse::is_stream(text.as_bytes()) == Some(true);
            let inner = if is_json && quotes > 0 { read(text.as_bytes()) } else { None };
            if let Some(mut inner) = inner.filter(|inner| !inner.is_string() && words(inner).is_some()) {
                unquote(&mut inner, DEPTH_MAX, quotes - 1);
                *value = inner;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| unquote(item, depth, quotes)),
        Value::Object(object) => object.values_mut().for_each(|item| unquote(item, depth, quotes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn broken_json_is_read_as_far_as_it_goes() {
        let utf16 = |bytes: fn(u16) -> [u8; 2]| "\u{feff}{\"a\":\"é\"}".encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for (body, value) in [
            (&br#"{"a":"x \ud800 y"}"#[..], Some(json!({"a": "x \u{fffd} y"}))),
            (b"{\"a\":\"caf\xe9\"}", Some(json!({"a": "caf\u{fffd}"}))),
            (br#"{"a":"\ud83d\ude00"}"#, Some(json!({"a": "😀"}))),
            (br#"{"a":NaN,"b":[-Infinity,Infinity],"c":"NaN \" NaN"}"#, Some(json!({"a": null, "b": [null, null], "c": "NaN \" NaN"}))),
            (b"{\"a\":\"one\ntwo\tthree\"}", Some(json!({"a": "one two three"}))),
            (b"{\"a\":1}\n{\"b\":2}", Some(json!({"a": 1}))),
            (b"{\"a\":NaN} garbage", Some(json!({"a": null}))),
            (b"[{\"a\":1}] garbage", Some(json!([{"a": 1}]))),
            (b": comment\n\ndata: {\"a\":1}\n\n", Some(json!({"a": 1}))),
            (b": comment\r\rid: 7\revent: error\rdata: {\"a\":\rdata: 1}", Some(json!({"a": 1}))),
            (
                b"retry: 5\r\n\r\ndata: {\"type\":\"ping\"}\r\n\r\ndata: {\"error\":\"x\"}\r\n\r\ndata: [DONE]\r\n\r\n",
                Some(json!({"error": "x"})),
            ),
            (b"\xef\xbb\xbfdata: {\"a\":1}\n\n", Some(json!({"a": 1}))),
            (&utf16(u16::to_le_bytes), Some(json!({"a": "é"}))),
            (&utf16(u16::to_be_bytes), Some(json!({"a": "é"}))),
            (&utf16(u16::to_le_bytes)[2..], Some(json!({"a": "é"}))),
            (b"42 is not the answer", None),
            (b"{} is what came", None),
            (b"[1] see below", None),
            (b"data: [DONE]\n\n", None),
            (b"{\"a\": \"cut o", None),
            (b"NaN\\", None),
            (b"NaN", None),
            (b"", None),
        ] {
            assert_eq!(parse(body), value, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn only_a_text_that_quotes_an_error_is_replaced_by_it() {
        let twice = json!({"message": json!({"message": json!({"error": "x"}).to_string()}).to_string()});
        for (body, value) in [
            (json!({"m": r#"{"message":"x"}"#}), json!({"m": {"message": "x"}})),
            (json!({"m": " [{\"message\":\"x\"}]\n"}), json!({"m": [{"message": "x"}]})),
            (json!({"m": "data: {\"error\":\"x\"}\n\n"}), json!({"m": {"error": "x"}})),
            (json!({"m": r#"{"a":1}"#}), json!({"m": r#"{"a":1}"#})),
            (json!({"m": "{no json}"}), json!({"m": "{no json}"})),
            (json!({"m": "data: none"}), json!({"m": "data: none"})),
            (twice, json!({"message": {"message": {"error": "x"}}})),
        ] {
            assert_eq!(parse(body.to_string().as_bytes()), Some(value), "{body}");
        }
    }
}
