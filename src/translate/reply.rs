//! What a reply or a chunk of a stream tells the meter, in whatever dialect.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::domain::Usage;

/// What one chunk of a stream, or a whole reply, says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The usage reported so far, if it is there. A stream may report it in parts; each counter only ever grows.
    pub usage: Option<Usage>,
    /// Bytes of text, reasoning and tool arguments.
    pub visible_bytes: u64,
    /// Whether there is nothing but usage in it: the extra chunk of OpenAI's `include_usage`.
    pub is_usage_only: bool,
    /// Whether it is an error report instead of an answer.
    pub is_error: bool,
    /// Whether it says that an answer has come to its end; what usage it reports is then the whole of it.
    pub is_finish: bool,
    /// Whether it says that the stream is complete.
    pub is_end: bool,
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
