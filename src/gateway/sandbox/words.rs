//! What the sandbox says, counted and cut in tokens.

use serde_json::Value;

use crate::gateway::tokens::vocabulary;

/// How much of the prompt is repeated in the answer, in characters.
const ECHO_CHARS: usize = 160;

/// What is said in a conversation.
pub(super) fn speech(model: &str, said: &str) -> String {
    let shown: String = said.chars().take(ECHO_CHARS).collect();
    let dots = if said.chars().count() > ECHO_CHARS { "…" } else { "" };
    format!(
        "This is the lava-mcp sandbox answering in place of {model}: no request left this machine and no money was spent. You wrote: “{shown}{dots}”"
    )
}

/// What is thought before it.
pub(super) fn thought(model: &str) -> String {
    format!(
        "No model is thinking: this is the lava-mcp sandbox in place of {model}. A model would now work out what was asked, which tools help, and what to answer."
    )
}

/// What a JSON object of no given form says.
pub(super) const NOTE: &str = "This is the lava-mcp sandbox; no request left this machine.";

/// All texts of a message, or of a bare text.
pub(super) fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(texts).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => ["content", "text"].iter().filter_map(|name| fields.get(*name)).map(texts).collect(),
        _ => String::new(),
    }
}

/// What a person wrote last in a message. Programs put what they have to say before it, in parts of their own.
pub(super) fn last_text(message: &Value) -> String {
    let content = &message["content"];
    let parts = content.as_array().into_iter().flatten().rev().map(texts).find(|text| !text.is_empty());
    parts.unwrap_or_else(|| texts(content))
}

pub(super) fn count(text: &str) -> u64 {
    vocabulary().map_or(text.len(), |vocabulary| vocabulary.count(text)) as u64
}

/// Why a text ends where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All was said.
    Whole,
    /// At the cap on the output.
    Cap,
    /// Before a text at which the caller wants an end.
    Stop(String),
}

/// A text as a model writes it: token by token, until it ends.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) tokens: Vec<Vec<u8>>,
    pub(super) end: End,
}

impl Written {
    /// Writes a text, up to a number of tokens and the first of some texts at which to stop.
    pub(super) fn new(text: &str, cap: u64, stops: &[String]) -> Self {
        let found = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min();
        let (text, end) = found.map_or((text, End::Whole), |(at, stop)| (&text[..at], End::Stop(stop.clone())));
        let mut tokens: Vec<Vec<u8>> = match vocabulary() {
            Some(vocabulary) => vocabulary.encode(text).iter().map(|token| vocabulary.decode(&[*token])).collect(),
            None => vec![text.as_bytes().to_vec()],
        };
        let kept = usize::try_from(cap).unwrap_or(usize::MAX);
        let end = if kept < tokens.len() { End::Cap } else { end };
        tokens.truncate(kept);
        Self { tokens, end }
    }

    pub(super) fn count(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// The text. A character that was cut in two is left out.
    pub(super) fn text(&self) -> String {
        self.pieces().concat()
    }

    /// The text of each token. A character can span tokens: it comes with the last of them.
    pub(super) fn pieces(&self) -> Vec<String> {
        let mut open = Vec::new();
        let mut piece = |token: &Vec<u8>| {
            open.extend_from_slice(token);
            String::from_utf8(std::mem::take(&mut open)).unwrap_or_else(|error| {
                open = error.into_bytes();
                String::new()
            })
        };
        self.tokens.iter().map(&mut piece).collect()
    }
}
