//! Values that a JSON schema allows, for structured answers and for the arguments of tools: what is required, and nothing else.
//!
//! A search: the schema's parts are laid side by side, a choice (`anyOf`, `oneOf`, `if`) is tried option by option, and each value is checked against the whole
//! before it is taken. What is returned therefore holds, and a schema that nothing simple meets has no example.

mod array;
mod check;
mod multiple;
mod number;
mod numbers;
mod object;
mod pattern;
mod references;
mod search;
mod text;

use serde_json::{Value, json};

use number::Worth;
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
        (Value::Number(one), Value::Number(two)) => Worth::of(one) == Worth::of(two),
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
            (json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}), json!(1.5)),
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
    fn long_arrays_of_the_same_are_found() {
        let numbers = |least: usize| json!({"type": "array", "items": {"type": "number"}, "minItems": least});
        for least in [1_000, 1_536, 3_072, 16_384, 100_000] {
            assert_eq!(of(&numbers(least)), Some(json!(vec![1; least])), "{least}");
        }
        let embeddings = json!({"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "minItems": 20, "items": {
            "type": "object", "required": ["index", "embedding"], "properties": {"index": {"type": "integer"}, "embedding": numbers(1_536)}}}}});
        assert_eq!(of(&embeddings), Some(json!({"data": vec![json!({"index": 1, "embedding": vec![1; 1_536]}); 20]})));
        let tuple = json!({"prefixItems": [{"const": "a"}, {"const": "b"}], "items": {"type": "null"}, "minItems": 2_000,
            "contains": {"type": ["null", "string"]}});
        let found = of(&tuple).unwrap();
        assert_eq!(
            (found.as_array().map(Vec::len), &found[0], &found[1], &found[1_999]),
            (Some(2_000), &json!("a"), &json!("b"), &Value::Null)
        );
        let at_the_end =
            json!({"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}, "minContains": 2, "minItems": 2_000});
        assert_eq!(of(&at_the_end).map(|found| [1_997, 1_998, 1_999].map(|at| found[at].clone())), Some([json!(1), json!(7), json!(7)]));
    }

    #[test]
    fn a_hostile_schema_ends_soon_and_small() {
        let text = json!({"type": "string", "minLength": 100_000});
        let mut nested = json!({"type": "integer"});
        for _ in 0..40 {
            nested = json!({"type": "array", "minItems": 50, "items": nested});
        }
        let narrow = (0..60).fold(
            json!({"type": "array", "minItems": 50_000, "items": {}}),
            |inner, _| json!({"type": "array", "items": inner, "minItems": 1}),
        );
        let many: Vec<Value> = (0..10_000).map(|_| json!({"items": {"items": {}}})).collect();
        let texts: serde_json::Map<String, Value> = (0..600).map(|at| (format!("a{at}"), text.clone())).collect();
        let names: Vec<&String> = texts.keys().collect();
        for schema in [
            nested,
            narrow,
            json!({"type": "array", "minItems": 90_000, "items": text}),
            json!({"type": "array", "minItems": 100, "items": {"type": "array", "minItems": 90_000, "items": {}}}),
            json!({"type": "array", "minItems": 90_000, "uniqueItems": true, "items": {"type": "integer"}}),
            json!({"allOf": many, "type": "array", "minItems": 60, "items": {"type": "array", "minItems": 10_000}}),
            json!({"allOf": many, "type": "array", "minItems": 90_000}),
            json!({"type": "object", "required": names, "properties": texts}),
        ] {
            let start = std::time::Instant::now();
            let length = of(&schema).map_or(0, |found| found.to_string().len());
            let beginning = schema.to_string().get(..100).unwrap_or_default().to_owned();
            assert!(length < 20_000_000, "{length} bytes of {beginning}");
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?} for {beginning}", start.elapsed());
        }
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
