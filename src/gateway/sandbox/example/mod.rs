//! Values that a JSON schema allows, for structured answers and for the arguments of tools: what is required, and nothing else.
//!
//! A search: the schema's parts are laid side by side, a choice (`anyOf`, `oneOf`, `if`) is tried option by option, and each value is checked against the whole
//! before it is taken. What is returned therefore holds, and a schema that nothing simple meets has no example.

mod array;
mod check;
mod number;
mod object;
mod pattern;
mod search;
mod text;

use serde_json::{Value, json};

use search::Search;

/// How often a schema may come back within itself. The first number that gives a value is taken, so that the value is as flat as it can be.
const REENTRIES_MAX: usize = 3;

/// The plainest value that a schema allows; `None` when none was found within reason.
pub(super) fn of(schema: &Value) -> Option<Value> {
    (0..=REENTRIES_MAX).find_map(|reentries| Search::new(schema, reentries).run(&[]))
}

/// The plainest object that a schema allows, for the arguments of a tool.
pub(super) fn object_of(schema: &Value) -> Option<Value> {
    let object = json!({"type": "object"});
    (0..=REENTRIES_MAX).find_map(|reentries| Search::new(schema, reentries).run(&[&object]))
}

/// Whether two JSON values are the same: numbers by what they are worth, objects in any order.
fn is_same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => match (number::units(one), number::units(two)) {
            (Some(one), Some(two)) => one == two,
            _ => one == two,
        },
        (Value::Array(one), Value::Array(two)) => one.len() == two.len() && one.iter().zip(two).all(|(one, two)| is_same(one, two)),
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len() && one.iter().all(|(name, value)| two.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => one == two,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plainest_value() {
        for (schema, expected) in [
            (json!({}), json!("sandbox")),
            (json!(true), json!("sandbox")),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["b"]}),
                json!({"b": 1}),
            ),
            (json!({"type": "integer", "minimum": 3}), json!(3)),
            (json!({"type": "integer", "exclusiveMinimum": 3}), json!(4)),
            (json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}), json!(0.5)),
            (json!({"type": "integer", "minimum": 8, "multipleOf": 7}), json!(14)),
            (json!({"type": ["null", "string"]}), json!("sandbox")),
            (json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]}), json!(true)),
            (json!({"type": "array", "items": {"enum": ["c", "f"]}}), json!(["c"])),
            (json!({"type": "string", "pattern": "^[A-Z]{3}-\\d{2}$"}), json!("AAA-00")),
            (json!({"type": "string", "maxLength": 3}), json!("san")),
            (json!({"allOf": [{"minimum": 5}, {"type": "integer", "maximum": 5}]}), json!(5)),
        ] {
            assert_eq!(of(&schema), Some(expected), "{schema}");
        }
    }

    #[test]
    fn a_schema_within_itself_ends_as_soon_as_it_may() {
        let list = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["next"], "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}});
        assert_eq!(of(&list), Some(json!({"next": null})));
        let tree =
            json!({"type": "object", "required": ["children"], "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
        assert_eq!(of(&tree), Some(json!({"children": []})));
    }

    #[test]
    fn what_nothing_meets_has_no_example_and_takes_no_time() {
        let endless = json!({"type": "object", "required": ["me"], "properties": {"me": {"$ref": "#"}}});
        let mut doubled = json!({"type": "string"});
        for _ in 0..40 {
            doubled = json!({"anyOf": [{"allOf": [doubled, false]}, false]});
        }
        let many: Vec<Value> = (0..10_000).map(|_| json!({"anyOf": [false, {"type": "integer"}, {"type": "string"}]})).collect();
        let laughs: serde_json::Map<String, Value> = (0..60)
            .map(|at| {
                (format!("a{at}"), json!({"allOf": [{"$ref": format!("#/$defs/a{}", at + 1)}, {"$ref": format!("#/$defs/a{}", at + 1)}]}))
            })
            .chain([("a60".to_owned(), json!({"type": "string"}))])
            .collect();
        let chain: serde_json::Map<String, Value> = (0..2_000)
            .map(|at| {
                (
                    format!("a{at}"),
                    json!({"type": "object", "properties": {"x": {"$ref": format!("#/$defs/a{}", at + 1)}}, "required": ["x"]}),
                )
            })
            .collect();
        let properties: serde_json::Map<String, Value> = (0..20_000).map(|at| (format!("a{at}"), json!({"type": "string"}))).collect();
        let numbers: Vec<Value> = (0..20_000).map(|_| json!({"enum": (0..20).collect::<Vec<_>>(), "minimum": 50})).collect();
        for schema in [
            json!({"$ref": "#/$defs/a0", "$defs": chain}),
            json!({"anyOf": numbers, "type": "object", "properties": properties, "minProperties": 3}),
            json!({"type": "integer", "enum": (0..50_000).map(|at| at.to_string()).collect::<Vec<_>>()}),
            json!(false),
            json!({"type": "strin"}),
            json!({"type": "integer", "minimum": 5, "maximum": 4}),
            json!({"type": "string", "minLength": 4_000_000_000_u64}),
            json!({"type": "array", "minItems": 4_000_000_000_u64, "items": {}}),
            json!({"type": "array", "minItems": 3, "uniqueItems": true, "items": {"type": "boolean"}}),
            json!({"type": "string", "pattern": "^(?=.*x)(?!y).*$"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "#"}),
            json!({"allOf": many}),
            json!({"$ref": "#/$defs/a0", "$defs": laughs}),
            endless,
            doubled,
        ] {
            assert_eq!(of(&schema), None, "{}", schema.to_string().get(..200).unwrap_or_default());
        }
    }
}
