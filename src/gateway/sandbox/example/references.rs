//! Where the addresses in a schema lead: to a place (a JSON pointer), to an anchor or to a schema with its own `$id`, all within the document.

use std::{collections::HashMap, ptr, rc::Rc};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

/// Keywords that name another schema by its address.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Keywords whose members are schemas by names.
const BY_NAME: [&str; 6] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
/// Keywords that hold values, which are no schemas.
const VALUES: [&str; 5] = ["const", "enum", "default", "examples", "example"];
/// Bytes of addresses that are kept of one document: schemas come from callers.
const ROOM: usize = 1 << 20;

/// A document, or a schema within one that has an address of its own.
struct Resource<'s> {
    address: String,
    root: &'s Value,
}

impl<'s> Resource<'s> {
    /// An address as it is meant here. What is no URL is only ever the same as itself.
    fn full(&self, address: &str) -> String {
        Url::parse(&self.address).and_then(|own| own.join(address)).map_or_else(|_| address.to_owned(), String::from)
    }
}

/// The schemas of a document by their addresses.
pub(super) struct References<'s> {
    /// The document itself.
    own: Rc<Resource<'s>>,
    named: HashMap<String, &'s Value>,
    /// The resources of those schemas that refer to something and do not belong to the document itself.
    around: HashMap<*const Map<String, Value>, Rc<Resource<'s>>>,
    room: usize,
}

impl<'s> References<'s> {
    pub(super) fn new(root: &'s Value) -> Self {
        // A document that does not say where it is has to be somewhere.
        let own = Rc::new(Resource { address: "https://schema.invalid/".to_owned(), root });
        let mut references = Self { own: Rc::clone(&own), named: HashMap::new(), around: HashMap::new(), room: ROOM };
        references.read(root, &own);
        references
    }

    fn read(&mut self, place: &'s Value, around: &Rc<Resource<'s>>) {
        match place {
            Value::Array(items) => items.iter().for_each(|item| self.read(item, around)),
            Value::Object(schema) => {
                let around = self.enter(place, schema, around);
                for (keyword, member) in schema {
                    match member {
                        _ if VALUES.contains(&keyword.as_str()) => {}
                        Value::Object(members) if BY_NAME.contains(&keyword.as_str()) => {
                            members.values().for_each(|member| self.read(member, &around));
                        }
                        member => self.read(member, &around),
                    }
                }
            }
            _ => {}
        }
    }

    /// Keeps what a schema says of its own address, and returns where it belongs.
    fn enter(&mut self, place: &'s Value, schema: &'s Map<String, Value>, around: &Rc<Resource<'s>>) -> Rc<Resource<'s>> {
        let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
        let mut around = Rc::clone(around);
        match text("$id").map(|id| id.split_once('#').unwrap_or((id, ""))) {
            // Before 2019-09 this was an anchor.
            Some(("", anchor)) => self.name_anchor(&around, anchor, place),
            Some((id, _)) if self.take_room(around.address.len() + id.len()) => {
                let own = Rc::new(Resource { address: around.full(id), root: place });
                self.named.entry(own.address.clone()).or_insert(place);
                if ptr::eq(place, self.own.root) {
                    self.own = Rc::clone(&own);
                }
                around = own;
            }
            _ => {}
        }
        ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text).for_each(|anchor| self.name_anchor(&around, anchor, place));
        if !ptr::eq(around.root, self.own.root) && REFERENCES.iter().any(|keyword| schema.contains_key(*keyword)) {
            self.around.insert(schema, Rc::clone(&around));
        }
        around
    }

    fn name_anchor(&mut self, around: &Resource<'s>, anchor: &str, place: &'s Value) {
        if !anchor.is_empty() && self.take_room(around.address.len() + 2 * anchor.len()) {
            self.named.entry(format!("{}#{anchor}", around.address)).or_insert(place);
            // Also for those that look for it from elsewhere.
            self.named.entry(format!("#{anchor}")).or_insert(place);
        }
    }

    fn take_room(&mut self, bytes: usize) -> bool {
        let left = self.room.checked_sub(bytes);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// The schema at an address that another one has.
    pub(super) fn resolve(&self, from: &Map<String, Value>, address: &str) -> Option<&'s Value> {
        let around = self.around.get(&ptr::from_ref(from)).unwrap_or(&self.own);
        let (document, written) = address.split_once('#').unwrap_or((address, ""));
        // RFC 6901, section 6: in an address a pointer is percent-encoded.
        let fragment = percent_decode_str(written).decode_utf8_lossy();
        let is_pointer = fragment.is_empty() || fragment.starts_with('/');
        if document.is_empty() {
            return if is_pointer {
                // Some write it as if their own `$id` were not there, or without encoding it.
                [around, &self.own].into_iter().find_map(|own| own.root.pointer(&fragment).or_else(|| own.root.pointer(written)))
            } else {
                let of_own = self.named.get(&format!("{}#{fragment}", around.address));
                of_own.or_else(|| self.named.get(&format!("#{fragment}"))).copied()
            };
        }
        let full = around.full(document);
        if is_pointer { self.named.get(&full)?.pointer(&fragment) } else { self.named.get(&format!("{full}#{fragment}")).copied() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gateway::sandbox::example::of;

    #[test]
    fn an_address_within_the_document_leads_to_its_schema() {
        let third = json!({"const": 3});
        let defs = |name: &str| json!({"$defs": {name: third}});
        for (document, address) in [
            (defs("Box<string>"), "#/$defs/Box%3Cstring%3E"),
            (defs("Box<string>"), "#/$defs/Box<string>"),
            (defs("A b/c~d"), "#/$defs/A%20b~1c~0d"),
            (defs("a~1b"), "#/$defs/a~01b"),
            (defs("ü"), "#/$defs/%C3%BC"),
            (defs("ü"), "#/$defs/ü"),
            (defs("a%b"), "#/$defs/a%25b"),
            (defs("100%"), "#/$defs/100%"),
            (defs("a%41"), "#/$defs/a%41"),
            (defs("a/b"), "#/$defs/a%7E1b"),
            (defs("a+b"), "#/$defs/a+b"),
            (defs("a"), "#/%24defs/a"),
            (defs("a"), "#%2F$defs%2Fa"),
            (json!({"$defs": {"a": {"anyOf": [false, third]}}}), "#/$defs/a/anyOf/1"),
            (json!({"$defs": {"a": {"$anchor": "it", "const": 3}}}), "#it"),
            (json!({"$defs": {"a": {"$anchor": "ü", "const": 3}}}), "#%C3%BC"),
            (json!({"$defs": {"a": {"$dynamicAnchor": "it", "const": 3}}}), "#it"),
            (json!({"definitions": {"a": {"$id": "#it", "const": 3}}}), "#it"),
            (json!({"$defs": {"a": {"$id": "a.json", "const": 3}}}), "a.json"),
            (json!({"$defs": {"a": {"$id": "/x/a", "const": 3}}}), "x/a"),
            (json!({"$defs": {"a": {"$id": "urn:example:a", "const": 3}}}), "urn:example:a"),
            (json!({"$defs": {"a": {"$id": "not a: url", "const": 3}}}), "not a: url"),
            (json!({"$id": "https://e.com/s.json", "$defs": {"a": {"$id": "a.json", "const": 3}}}), "a.json"),
            (json!({"$id": "https://e.com/s.json", "$defs": {"a": {"$id": "a.json", "const": 3}}}), "https://e.com/a.json#"),
            (json!({"$id": "https://e.com/s.json", "$defs": {"a": third}}), "https://e.com/s.json#/$defs/a"),
            (json!({"$id": "https://e.com/s.json#", "$defs": {"a": third}}), "s.json#/$defs/a"),
            (json!({"$id": "Person", "$defs": {"a": third}}), "Person#/$defs/a"),
            (json!({"$id": "http://[", "$defs": {"a": third}}), "http://[#/$defs/a"),
            (json!({"$id": "x/s.json", "$defs": {"a": {"$anchor": "it", "const": 3}}}), "s.json#it"),
            (json!({"$defs": {"a": {"$id": "a.json", "$defs": {"b": third}}}}), "a.json#/$defs/b"),
            (json!({"$defs": {"a": {"$id": "a.json", "$defs": {"b": {"$anchor": "it", "const": 3}}}}}), "a.json#it"),
            // Within its own address a schema speaks of its own places.
            (json!({"$defs": {"b": {"const": 4}, "a": {"$id": "a.json", "$ref": "#/$defs/b", "$defs": {"b": third}}}}), "a.json"),
            (json!({"$defs": {"b": third, "a": {"$id": "a.json", "$ref": "#/$defs/b"}}}), "a.json"),
            (json!({"$defs": {"b": {"$id": "x/b", "const": 3}, "a": {"$id": "x/a", "$ref": "b"}}}), "x/a"),
            // A member or a value that looks like an address is none.
            (json!({"$defs": {"a": {"$id": "a.json", "const": 3}, "v": {"enum": [{"$id": "a.json"}]}}}), "a.json"),
            (json!({"$defs": {"$id": {"$anchor": "it", "const": 3}, "const": {"$anchor": "it2"}}}), "#it"),
        ] {
            let mut schema = document.clone();
            schema["type"] = "object".into();
            schema["properties"] = json!({"x": {"$ref": address}});
            schema["required"] = json!(["x"]);
            assert_eq!(of(&schema), Some(json!({"x": 3})), "{schema}");
        }
    }

    #[test]
    fn an_address_elsewhere_leads_nowhere_and_many_take_no_time() {
        let ids = |count: usize, before: &str| -> Vec<Value> {
            (0..count).map(|at| json!({"$id": format!("{before}{at}"), "$ref": "#it"})).collect()
        };
        let long = "x/".repeat(100_000);
        for schema in [
            json!({"$ref": "https://example.com/a.json"}),
            json!({"$ref": "a.json", "$defs": {"a": {"$id": "b/a.json"}}}),
            json!({"$ref": "#/$defs/b", "$defs": {"a": true}}),
            json!({"$ref": "#it", "enum": [{"$anchor": "it"}]}),
            json!({"$ref": "#none", "$defs": {"a": {"$id": format!("https://e.com/{long}"), "allOf": ids(30_000, "")}}}),
            json!({"anyOf": ids(30, &long)}),
            json!({"anyOf": vec![json!({"$ref": format!("{long}#/a")}); 30]}),
        ] {
            assert_eq!(of(&schema), None, "{}", schema.to_string().get(..200).unwrap_or_default());
        }
    }
}
