//! JSON with comments, changed in place: the syntax tree keeps every blank and comment, and a new entry takes over the file's indentation and line ends.

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode},
};
use serde_json::Value;

/// Comments and commas at the end are what editors write; the rest of JSON5 would only hide mistakes.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn parse(text: &str) -> Result<CstRootNode, String> {
    let root = CstRootNode::parse(text, &OPTIONS)
        .map_err(|error| format!("line {}, column {}: {}", error.line_display(), error.column_display(), error.kind()))?;
    match root.value() {
        None => {}
        Some(value) if value.as_object().is_some() => {}
        Some(_) => return Err("line 1: expected an object ({ … })".to_owned()),
    }
    Ok(root)
}

pub(super) fn read(text: &str) -> Result<Value, String> {
    Ok(parse(text)?.to_serde_value().unwrap_or_else(|| Value::Object(serde_json::Map::new())))
}

pub(super) fn put(text: &str, path: &[&str], value: &Value) -> Result<String, String> {
    let root = parse(text)?;
    let mut object = root.object_value_or_create().ok_or("line 1: expected an object ({ … })")?;
    for (at, name) in path.iter().enumerate() {
        let rest = &path[at + 1..];
        match (property(&object, name)?, rest) {
            (Some(found), []) => found.set_value(input(value)),
            (Some(found), _) => {
                object = found.object_value().ok_or_else(|| format!("\"{name}\" is not an object ({{ … }})"))?;
                continue;
            }
            (None, _) => {
                // What is still missing goes in at once, so that it is laid out as a whole.
                let inner = rest.iter().rev().fold(input(value), |inner, name| CstInputValue::Object(vec![((*name).to_owned(), inner)]));
                object.append(name, inner);
            }
        }
        break;
    }
    Ok(root.to_string())
}

pub(super) fn remove(text: &str, path: &[&str]) -> Result<String, String> {
    let root = parse(text)?;
    let mut found: Vec<CstObjectProp> = Vec::new();
    let mut object = root.object_value();
    for name in path {
        let Some(property) = object.map(|object| property(&object, name)).transpose()?.flatten() else { return Ok(text.to_owned()) };
        object = property.object_value();
        found.push(property);
    }
    if let Some(entry) = found.pop() {
        entry.remove();
    }
    // What a person has commented out in there stays, and with it the object around it.
    if let Some(around) = found.pop()
        && around.object_value().is_some_and(|object| object.properties().is_empty() && !object.children().iter().any(CstNode::is_comment))
    {
        around.remove();
    }
    Ok(root.to_string())
}

/// The property of this name. Two of them are refused: which one counts would be the client's guess.
fn property(object: &CstObject, name: &str) -> Result<Option<CstObjectProp>, String> {
    let mut all = object.properties().into_iter().filter(|property| property.decoded_name().as_deref() == Some(name));
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(format!("duplicate \"{name}\"; delete one of them")),
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(value) => CstInputValue::Number(value.to_string()),
        Value::String(value) => CstInputValue::String(value.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(fields) => CstInputValue::Object(fields.iter().map(|(name, value)| (name.clone(), input(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_put_in_and_taken_out_leaves_the_same_bytes() {
        for text in [
            "{}",
            "{\r\n  \"a\": 1\r\n}\r\n",
            "{\n  \"mcpServers\": {\n    \"x\": {\"command\": \"y\"}\n  }\n}",
            "{\n\t\"mcpServers\": {\n\t\t\"x\": {\"command\": \"y\"}, // why\n\t\t// last\n\t},\n}",
            "{\n  \"mcpServers\": {\n    \"x\": {\"command\": \"y\"} // why\n    /* end */\n  }, \"z\": [1,2]\n}",
            "{\n  \"mcpServers\": {\n    // \"x\": {\"command\": \"y\"}\n  }\n}",
            "// head\n{\n    // c\n    \"a\": 1, // one\n\n    \"b\": 2 // two\n    // tail\n}\n// foot",
        ] {
            let with = put(text, &["mcpServers", "lava"], &json!({"command": "p", "env": {"A": "\"b\\"}})).unwrap();
            assert_eq!(read(&with).unwrap()["mcpServers"]["lava"], json!({"command": "p", "env": {"A": "\"b\\"}}), "{with}");
            assert_eq!(remove(&with, &["mcpServers", "lava"]).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        for (text, says) in [
            ("{\n  \"a\": 1,\n  b: 2\n}", "line 3, column 3"),
            ("{\"a\": 1 \"b\": 2}", "line 1"),
            ("{\"a\": ", "line 1"),
            ("[]", "object"),
            ("{'a': 1}", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let twice = "{\"mcpServers\": {}, \"mcpServers\": {}}";
        assert!(put(twice, &["mcpServers", "lava"], &json!({})).unwrap_err().contains("duplicate"));
        assert!(put("{\"mcpServers\": []}", &["mcpServers", "lava"], &json!({})).unwrap_err().contains("not an object"));
    }
}
