//! What an error of a provider says, in whichever of their shapes: OpenAI's, Anthropic's, Google's, FastAPI's, Mistral's, Cohere's, AWS's, problem+json, bare text, a page.

use serde_json::{Map, Value};

use crate::gateway::lengths::cut;

/// The longest message, and the longest where a body has no message of its own.
const MESSAGE_CHARS_MAX: usize = 2_000;
const BODY_CHARS_MAX: usize = 500;
/// The longest code, type and parameter.
const NAME_CHARS_MAX: usize = 200;
/// How deep a message may be, and how many of a list are told.
const DEPTH_MAX: usize = 6;
const LISTED_MAX: usize = 8;
/// Where the words of an error are, the most telling first.
const WORDS: [&str; 12] = [
    "message",
    "Message",
    "msg",
    "detail",
    "errors",
    "error_description",
    "error_message",
    "description",
    "details",
    "reason",
    "status_msg",
    "text",
];

/// What an error says.
#[derive(Debug, Default, PartialEq)]
pub(in crate::gateway) struct Reason {
    /// Empty when it says nothing.
    pub(in crate::gateway) message: String,
    /// A text or a number.
    pub(in crate::gateway) code: Option<Value>,
    /// What providers call `type`.
    pub(in crate::gateway) kind: Option<String>,
    /// The field that is wrong.
    pub(in crate::gateway) param: Option<String>,
}

/// The JSON value in an error: the body, or the first event of a stream that is nothing but an error.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let read = |text: &[u8]| serde_json::from_slice(text).ok();
    let is_stream = body.starts_with(b"data:") || body.starts_with(b"event:");
    let mut events = body.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:")).take_while(|_| is_stream);
    read(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).or_else(|| events.find_map(read))
}

impl Reason {
    /// Reads a body, which was parsed if it is JSON. `hide` takes out what must not be told, before anything is cut.
    pub(super) fn read(body: &[u8], parsed: Option<&Value>, is_markup: bool, hide: impl Fn(&str) -> String) -> Self {
        let message = |text: &str, chars_max: usize| cut(&one_line(&hide(text)), chars_max);
        let name = |text: &str| Some(message(text, NAME_CHARS_MAX)).filter(|name| !name.is_empty());
        let Some(value) = parsed else {
            let text = String::from_utf8_lossy(body);
            let text = text.trim_start_matches('\u{feff}').trim_start();
            let is_markup = is_markup || text.starts_with('<');
            return Self { message: message(&if is_markup { page(text) } else { text.to_owned() }, BODY_CHARS_MAX), ..Self::default() };
        };
        let said = words(value, DEPTH_MAX).map(|words| message(&words, MESSAGE_CHARS_MAX)).filter(|words| !words.is_empty());
        let is_empty =
            matches!(value, Value::Null) || value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        let rest = || if is_empty { String::new() } else { message(&value.to_string(), BODY_CHARS_MAX) };
        let facts = Facts::of(value);
        Self {
            message: said.unwrap_or_else(rest),
            code: facts
                .code()
                .and_then(|code| if let Value::String(text) = code { name(text).map(Value::from) } else { Some(code.clone()) }),
            kind: facts.kind().and_then(name),
            param: facts.param().as_deref().and_then(name),
        }
    }

    /// Whether money is used up at the provider: that does not pass by waiting.
    pub(in crate::gateway) fn is_quota(&self) -> bool {
        let is_it = |name: &str| matches!(name, "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active");
        self.code.as_ref().and_then(Value::as_str).is_some_and(is_it) || self.kind.as_deref().is_some_and(is_it)
    }
}

/// The objects that say what an error is: the error itself, what it comes in, and the parts of its message.
struct Facts<'a>(Vec<&'a Map<String, Value>>);

impl<'a> Facts<'a> {
    fn of(value: &'a Value) -> Self {
        let (mut objects, mut parts) = (Vec::new(), Vec::new());
        let object = |value: &'a Value| if let Value::Array(items) = value { items.first()?.as_object() } else { value.as_object() };
        let mut next = object(value);
        while let Some(found) = next.filter(|_| objects.len() < DEPTH_MAX) {
            objects.insert(0, found);
            next = ["error", "Error"].iter().find_map(|name| found.get(*name).and_then(object));
        }
        next = objects.first().copied();
        while let Some(found) = next.filter(|_| parts.len() < DEPTH_MAX) {
            next = ["errors", "message", "detail"].iter().find_map(|name| found.get(*name).and_then(object));
            parts.extend(next);
        }
        objects.extend(parts);
        Self(objects)
    }

    fn texts(&self, names: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
        self.0.clone().into_iter().flat_map(move |object| names.iter().filter_map(|name| object.get(*name).and_then(Value::as_str)))
    }

    fn code(&self) -> Option<&'a Value> {
        let is_code = |code: &&Value| code.is_number() || code.as_str().is_some_and(|code| !code.is_empty());
        self.0.iter().find_map(|object| object.get("code").filter(is_code))
    }

    /// Google says it as a status, AWS behind the name of a namespace; Anthropic says on the outside only that it is an error.
    fn kind(&self) -> Option<&'a str> {
        let mut kinds = self.texts(&["type", "status", "error_type", "__type"]);
        let kind = kinds.find(|kind| !kind.is_empty() && !matches!(*kind, "error" | "about:blank" | "failed" | "fail"))?;
        Some(if kind.contains("://") { kind } else { kind.rsplit_once('#').map_or(kind, |(_, name)| name) })
    }

    /// The field that a provider names, as a name or as the path to it.
    fn param(&self) -> Option<String> {
        let named = self.texts(&["param"]).find(|param| !param.is_empty()).map(str::to_owned);
        named.or_else(|| self.0.iter().find_map(|object| object.get("loc")).and_then(place))
    }
}

/// The path to a field as FastAPI says it, without the part of the request that it is in.
fn place(loc: &Value) -> Option<String> {
    let pieces =
        loc.as_array()?.iter().filter_map(|piece| piece.as_str().map(str::to_owned).or_else(|| piece.as_u64().map(|n| n.to_string())));
    let path: Vec<String> = pieces.skip_while(|piece| matches!(piece.as_str(), "body" | "query" | "path" | "header")).collect();
    (!path.is_empty()).then(|| path.join("."))
}

/// The words of an error, wherever they are.
fn words(value: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned),
        Value::Array(items) => {
            let said: Vec<String> = items.iter().filter_map(|item| words(item, depth)).take(LISTED_MAX).collect();
            (!said.is_empty()).then(|| said.join("; "))
        }
        Value::Object(object) => {
            let of = |name: &str| object.get(name).and_then(|value| words(value, depth));
            // What a reseller quotes of the provider behind it.
            let quoted = object.get("metadata").and_then(|metadata| metadata.get("raw")).and_then(|raw| {
                raw.as_str()
                    .and_then(|raw| serde_json::from_str(raw).ok())
                    .and_then(|inner: Value| words(&inner, depth))
                    .or_else(|| words(raw, depth))
            });
            let main = WORDS.iter().find_map(|name| of(name)).or_else(|| of("base_resp"));
            let mut said: Vec<String> = Vec::new();
            for text in [of("title"), of("error").or_else(|| of("Error")), main, quoted].into_iter().flatten() {
                if !said.iter().any(|before| before.contains(&text)) {
                    said.retain(|before| !text.contains(before.as_str()));
                    said.push(text);
                }
            }
            let said = Some(said.join(": ")).filter(|said| !said.is_empty())?;
            Some(object.get("loc").and_then(place).map_or_else(|| said.clone(), |place| format!("{place}: {said}")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A text without line breaks and controls.
fn one_line(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !c.is_control());
    shown.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The title and the words of a page, without its markup.
fn page(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let between = |open: &str, close: &str| {
        let start = lower.find(open).and_then(|at| Some(at + lower.get(at..)?.find('>')? + 1))?;
        let end = start + lower.get(start..)?.find(close)?;
        text.get(start..end)
    };
    let title = one_line(&decoded(between("<title", "</title").unwrap_or_default()));
    let words = one_line(&decoded(&without_markup(text, &lower)));
    match words.strip_prefix(title.as_str()).map_or(words.as_str(), str::trim) {
        "" => title,
        rest if title.is_empty() => rest.to_owned(),
        rest => format!("{title}: {rest}"),
    }
}

/// What is between tags, outside of what nobody sees.
fn without_markup(text: &str, lower: &str) -> String {
    let mut words = String::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('<').map(|open| at + open) {
        words.push_str(&text[at..open]);
        words.push(' ');
        let unseen = ["head", "style", "script", "!--"].iter().find(|name| lower[open + 1..].starts_with(**name));
        let close = match unseen {
            Some(&"!--") => lower[open..].find("-->").map(|end| open + end + 3),
            Some(name) if !lower[open + 1 + name.len()..].starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let end = lower[open..].find(&format!("</{name}")).map_or(open, |end| open + end);
                lower[end..].find('>').map(|length| end + length + 1)
            }
            _ => lower[open..].find('>').map(|length| open + length + 1),
        };
        let Some(close) = close else { return words };
        at = close;
    }
    words.push_str(&text[at..]);
    words
}

fn decoded(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c))
}

#[cfg(test)]
mod tests;
