//! What an error of a provider says, in whichever of their shapes: OpenAI's, Anthropic's, Google's, FastAPI's, Laravel's, Zod's, AWS's, problem+json, bare text, a page.
//!
//! No provider has a branch of its own: each name that one of them uses is in a list.

mod facts;
mod field;
mod page;
mod words;

use serde_json::{Map, Value};

pub(super) use self::words::words;
use self::{facts::Facts, page::page};
use crate::gateway::lengths::cut;

/// The longest message, and the longest where a body has no message of its own.
const MESSAGE_CHARS_MAX: usize = 2_000;
const BODY_CHARS_MAX: usize = 500;
/// The longest code, type and parameter.
const NAME_CHARS_MAX: usize = 200;
/// How deep an error may be, and how many of a list are told.
const DEPTH_MAX: usize = 6;
const LISTED_MAX: usize = 8;
/// Where a reseller quotes the provider behind it.
const RAW: &str = "/metadata/raw";

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
        let said = words(value).map(|words| message(&words, MESSAGE_CHARS_MAX)).filter(|words| !words.is_empty());
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

    /// With a type that was stated elsewhere, if it has none.
    pub(super) fn or_kind(mut self, kind: Option<String>) -> Self {
        self.kind = self.kind.or_else(|| Some(cut(&kind?, NAME_CHARS_MAX)));
        self
    }

    /// Whether money is used up at the provider: that does not pass by waiting.
    pub(in crate::gateway) fn is_quota(&self) -> bool {
        let is_it = |name: &str| matches!(name, "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active");
        self.code.as_ref().and_then(Value::as_str).is_some_and(is_it) || self.kind.as_deref().is_some_and(is_it)
    }

    /// Whether it speaks of the key or of who is asking, and not of what is asked.
    pub(in crate::gateway) fn is_about_the_key(&self) -> bool {
        const WORDS: [&str; 8] = [
            "apikey",
            "authentic",
            "credential",
            "accesskey",
            "clienttoken",
            "unrecognizedclient",
            "securitytoken",
            "signaturedoesnotmatch",
        ];
        const NAMES: [&str; 8] = [
            "401",
            "unauthorized",
            "unauthorizederror",
            "invalidkey",
            "invalidtoken",
            "expiredtoken",
            "expiredtokenexception",
            "invalidsignatureexception",
        ];
        const SENTENCES: [&str; 5] = ["invalidapikey", "apikeynotvalid", "apikeyisinvalid", "apikeyisnotvalid", "incorrectapikey"];
        let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<String>();
        let is_it = |name: &str| {
            let name = plain(name);
            NAMES.contains(&name.as_str()) || WORDS.iter().any(|word| name.contains(word))
        };
        let says_so = || {
            let message = plain(&self.message);
            SENTENCES.iter().any(|sentence| message.contains(sentence))
        };
        let code = self.code.as_ref().map(|code| code.as_str().map_or_else(|| code.to_string(), str::to_owned));
        code.as_deref().is_some_and(is_it) || self.kind.as_deref().is_some_and(is_it) || says_so()
    }
}

/// A text without line breaks and controls.
fn one_line(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !c.is_control());
    shown.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
