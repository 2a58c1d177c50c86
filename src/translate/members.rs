//! The members of a JSON object below the top level of a body, borrowed from it; and names that one reader takes for another.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Up to so many names are compared with each other; beyond that they are looked up.
const FEW: usize = 16;

/// Names and values in the order they came. A name that is there twice is an error: two readers could take different ones.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// A member that is a text, as it was sent.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).filter(|raw| raw.get().starts_with('"')).map(|raw| super::rendering::decoded(raw.get()))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(4);
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                let names = || members.iter().map(|(name, _)| &**name);
                match twice(names) {
                    Some(name) => Err(A::Error::custom(format_args!("duplicate field \"{name}\""))),
                    None => Ok(Members(members)),
                }
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A name that is not copied where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The first name that is there a second time; in a time that grows with the number of names and not with its square.
pub(super) fn twice<'a, I: Iterator<Item = &'a str>>(names: impl Fn() -> I) -> Option<&'a str> {
    if names().nth(FEW).is_some() {
        let mut seen = HashSet::new();
        return names().find(|name| !seen.insert(*name));
    }
    names().enumerate().find(|(at, name)| names().take(*at).any(|other| other == *name)).map(|(_, name)| name)
}

/// The known name that a name differs from only by case, hyphens or underscores: readers written in Go, and some others, take it for that name.
pub(super) fn look_alike<I: Iterator<Item = &'static str>>(name: &str, known: impl Fn() -> I) -> Option<&'static str> {
    if known().any(|known| known == name) {
        return None;
    }
    known().find(|known| fold(known).eq(fold(name)))
}

/// Case folded both ways, so that the long s and the Kelvin sign are the letters that they are folded to.
fn fold(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_there_twice_is_found_among_few_and_many() {
        for count in [2, FEW, FEW + 1, 500] {
            let mut names: Vec<String> = (0..count).map(|at| format!("n{at}")).collect();
            assert_eq!(twice(|| names.iter().map(String::as_str)), None, "{count}");
            names.push("n1".to_owned());
            assert_eq!(twice(|| names.iter().map(String::as_str)), Some("n1"), "{count}");
        }
    }

    #[test]
    fn an_object_gives_its_members_in_order() {
        let members: Members<'_> = serde_json::from_str(r#"{"a":1,"b":"t\u0041\n","\u0063":null}"#).unwrap();
        let all: Vec<_> = members.iter().map(|(name, raw)| (name, raw.get())).collect();
        assert_eq!(all, [("a", "1"), ("b", r#""t\u0041\n""#), ("c", "null")]);
        assert_eq!((members.get("c").map(RawValue::get), members.get("d").map(RawValue::get)), (Some("null"), None));
        assert_eq!((members.text("b").as_deref(), members.text("a"), members.text("d")), (Some("tA\n"), None, None));
        for (json, said) in
            [(r#"{"a":1,"\u0061":2}"#, "duplicate field \"a\""), ("[]", "expected a JSON object"), ("7", "expected a JSON object")]
        {
            let error = serde_json::from_str::<Members<'_>>(json).unwrap_err().to_string();
            assert!(error.contains(said), "{json}: {error}");
        }
    }

    #[test]
    fn names_that_readers_confuse_are_found() {
        const KNOWN: [&str; 3] = ["max_tokens", "messages", "model"];
        for (name, like) in [
            ("Model", Some("model")),
            ("MAX_TOKENS", Some("max_tokens")),
            ("maxTokens", Some("max_tokens")),
            ("max-to\u{212a}ens", Some("max_tokens")),
            ("me\u{17f}\u{17f}ages", Some("messages")),
            ("model", None),
            ("mode", None),
            ("models", None),
            ("", None),
        ] {
            assert_eq!(look_alike(name, || KNOWN.into_iter()), like, "{name}");
        }
    }
}
