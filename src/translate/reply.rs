//! What a reply or a chunk of a stream tells the meter, in whatever dialect.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::mend::tolerated;
use crate::domain::{Usage, decimal::scaled_up};

/// What one chunk of a stream, or a whole reply, says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The usage reported so far, if it is there. A stream may report it in parts; each counter only ever grows.
    pub usage: Option<Usage>,
    /// What other models used for the same answer, by name; it is not part of `usage`.
    pub others: Vec<(String, Usage)>,
    /// Searches that the provider made for it, so far.
    pub searches: u64,
    /// The service that it says it was.
    pub service: Service,
    /// Bytes of text, reasoning and tool arguments.
    pub visible_bytes: u64,
    /// Whether there is usage in it and no part of the answer: the extra chunk of OpenAI's `include_usage`.
    pub is_usage_only: bool,
    /// Whether it reports an error, beside a part of the answer or instead of it.
    pub is_error: bool,
    /// Whether it says that an answer has come to its end; what usage it reports is then the whole of it.
    pub is_finish: bool,
    /// Whether it says that the stream is complete.
    pub is_end: bool,
}

/// How the service that an answer reports is priced. What an account is set to can be another than what was asked for; a larger one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// As the price list says, or less.
    #[default]
    Listed,
    /// In a place that was chosen, which is a tenth more. Source: "Data residency pricing", docs.claude.com/en/docs/about-claude/pricing.
    InAPlace,
    /// Above the price list, and nobody here knows how far.
    Unlisted,
}

/// Whether a field says nothing, or one of these words.
pub(super) fn says_only(raw: Option<&RawValue>, words: &[&str]) -> bool {
    raw.is_none_or(|raw| matches!(unquoted(raw.get()), "" | "null") || words.contains(&unquoted(raw.get())))
}

/// A number of tokens as providers write it: whole, as a float (which is rounded up), or as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = unquoted(<&RawValue>::deserialize(deserializer)?.get());
        let count = scaled_up(text, 0).and_then(|count| u64::try_from(count).ok());
        count.map(Self).ok_or_else(|| D::Error::custom("not a count"))
    }
}

/// The number of an optional count; zero when it is absent.
pub(super) fn count(count: Option<Count>) -> u64 {
    count.unwrap_or_default().0
}

/// A raw JSON value, without the quotes if it is a text.
fn unquoted(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map_or(raw, str::trim)
}

/// The text of a value below the fields of a path such as `usage.cost`; `None` when it is not there, or is `null`.
pub fn value_at(payload: &[u8], path: &str) -> Option<String> {
    let mut raw: &RawValue = serde_json::from_slice(payload).ok()?;
    for name in path.split('.') {
        let object: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        raw = object.get(name)?;
    }
    Some(unquoted(raw.get())).filter(|text| *text != "null").map(str::to_owned)
}

/// Whether a text is a JSON object, whatever is in it: also `NaN` and the like, which Python writes and reads.
pub fn is_object(text: &[u8]) -> bool {
    let is_strictly = |text: &[u8]| serde_json::from_slice::<HashMap<Cow<'_, str>, IgnoredAny>>(text).is_ok();
    is_strictly(text) || (begins_as_object(text) && is_strictly(&tolerated(text)))
}

/// Whether a text begins as a JSON object does; a list could be taken for the fields of one.
pub(super) fn begins_as_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// Bytes of all texts below a JSON value, but for those of roles, ids and kinds. Read without keeping anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextBytes(pub(super) u64);

impl<'de> Deserialize<'de> for TextBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = TextBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<TextBytes, E> {
                Ok(TextBytes(text.len() as u64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextBytes, A::Error> {
                let mut sum = 0;
                while let Some(TextBytes(bytes)) = items.next_element()? {
                    sum += bytes;
                }
                Ok(TextBytes(sum))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<TextBytes, A::Error> {
                let mut sum = 0;
                while let Some(Name { is_text }) = fields.next_key()? {
                    if is_text {
                        sum += fields.next_value::<TextBytes>()?.0;
                    } else {
                        fields.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(TextBytes(sum))
            }

            fn visit_bool<E>(self, _: bool) -> Result<TextBytes, E> {
                Ok(TextBytes(0))
            }

            fn visit_i64<E>(self, _: i64) -> Result<TextBytes, E> {
                Ok(TextBytes(0))
            }

            fn visit_u64<E>(self, _: u64) -> Result<TextBytes, E> {
                Ok(TextBytes(0))
            }

            fn visit_f64<E>(self, _: f64) -> Result<TextBytes, E> {
                Ok(TextBytes(0))
            }

            fn visit_unit<E>(self) -> Result<TextBytes, E> {
                Ok(TextBytes(0))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// The name of a field, reduced to whether its texts are part of the answer.
struct Name {
    is_text: bool,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IsText;
        impl Visitor<'_> for IsText {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name { is_text: !matches!(name, "role" | "id" | "type") })
            }
        }
        deserializer.deserialize_identifier(IsText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_wherever_they_stand() {
        for (json, bytes) in [
            (r#"{"role":"assistant","content":"thé"}"#, 4),
            (r#"{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"ab","arguments":"{}"}}]}"#, 4),
            (r#"{"content":null,"n":1,"x":-2,"y":1.5,"z":[true,"a\n"]}"#, 2),
            ("null", 0),
        ] {
            assert_eq!(serde_json::from_str::<TextBytes>(json).unwrap().0, bytes, "{json}");
        }
    }
}
