//! A JSON object of which only the top level is parsed. Everything below stays the very bytes the caller sent.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::{SHOWN_CHARS, members::twice};

/// Most fields of an object. The longest request that any provider documents has about fifty.
const FIELDS_MAX: usize = 1_000;

/// The fields of an object in the order they came.
#[derive(Clone, Debug, Default)]
pub struct RawObject(Vec<(String, Box<RawValue>)>);

impl RawObject {
    /// Reads an object.
    ///
    /// # Errors
    /// When the bytes are no JSON object, or a field is there twice: two readers could then disagree on what it says.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The raw JSON of a field.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }

    /// A field read as `T`; `None` when it is absent or `null`.
    ///
    /// # Errors
    /// When the field has another type.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, serde_json::Error> {
        self.get(name).map_or(Ok(None), |raw| serde_json::from_str::<Option<T>>(raw.get()))
    }

    /// Sets a field, in its place if it is there, else at the end.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        let Ok(raw) = serde_json::value::to_raw_value(value) else { return };
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = raw,
            None => self.0.push((name.to_owned(), raw)),
        }
    }

    /// Names and values, in the order they came.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// The fields' names, in the order they came.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Gives a field another name, in its place; a field that has this name already makes the old one vanish.
    pub fn rename(&mut self, old: &str, new: &str) {
        if self.get(new).is_some() {
            self.0.retain(|(name, _)| name != old);
        } else if let Some((name, _)) = self.0.iter_mut().find(|(name, _)| name == old) {
            new.clone_into(name);
        }
    }

    /// Takes a field out. `false` when it was not there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(field, _)| field != name);
        self.0.len() < before
    }

    /// The object as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::with_capacity(8);
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    if fields.len() == FIELDS_MAX {
                        return Err(A::Error::custom(format_args!("it has more than {FIELDS_MAX} fields")));
                    }
                    fields.push((name.into_owned(), map.next_value()?));
                }
                if let Some(name) = twice(|| fields.iter().map(|(name, _)| name.as_str())) {
                    let name: String = name.chars().take(SHOWN_CHARS).collect();
                    return Err(A::Error::custom(format_args!("duplicate field \"{name}\"")));
                }
                Ok(RawObject(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_top_level_keeps_its_bytes() {
        let text = r#"{"model":"m","temperature":1.10,"messages":[ {"role" : "user","n":12345678901234567890123} ]}"#;
        let mut object = RawObject::parse(text.as_bytes()).unwrap();
        assert_eq!(object.to_bytes(), text.as_bytes());
        object.set("model", &"other");
        object.set("max_tokens", &5);
        let changed = text.replace("\"m\"", "\"other\"").replace("} ]}", "} ],\"max_tokens\":5}");
        assert_eq!(object.to_bytes(), changed.as_bytes());
    }

    #[test]
    fn a_field_that_stands_there_twice_is_refused() {
        let error = RawObject::parse(br#"{"model":"a","model":"b"}"#).unwrap_err().to_string();
        assert!(error.contains("duplicate field \"model\""), "{error}");
        assert!(RawObject::parse(b"[1]").is_err());
        for count in [3, 15, 16, 17, 40] {
            let names = (0..count).map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>().join(",");
            assert_eq!(RawObject::parse(format!("{{{names}}}").as_bytes()).unwrap().names().count(), count);
            for again in [0, count - 1] {
                let error = RawObject::parse(format!("{{{names},\"{again}\":0}}").as_bytes()).unwrap_err().to_string();
                assert!(error.contains(&format!("duplicate field \"{again}\"")), "{error}");
            }
        }
    }
}
