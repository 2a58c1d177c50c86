//! Arguments and schemas: read strictly, described once, in the plainest JSON Schema there is.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::ToolError;

/// Reads a tool's arguments. One that does not exist is refused by name, with the names there are.
pub(super) fn parse<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, ToolError> {
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| match error.path().to_string().as_str() {
        // A field that does not exist is named by the error itself.
        "." | "?" => ToolError::invalid(error.inner().to_string()),
        path => ToolError::invalid(format!("{path}: {}", error.inner())),
    })
}

/// The schema of a tool's arguments. An optional one may be left out; that it may also be null need not be said, and some clients do not understand it.
pub(super) fn input_schema<T: JsonSchema>() -> Arc<JsonObject> {
    schema::<T>(true)
}

/// The schema of a tool's result. It covers failures too: the TypeScript SDK holds every structured result against it, and would keep from the model what went
/// wrong and what to do next.
pub(super) fn output_schema<T: JsonSchema>() -> Arc<JsonObject> {
    let mut schema = Arc::unwrap_or_clone(schema::<T>(false));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let about = "Set, and nothing else is, when the call failed: code, message, hint, and what the gateway said.";
        properties.insert("error".to_owned(), json!({"type": "object", "description": about}));
    }
    if let Some(required) = schema.remove("required") {
        schema.insert("anyOf".to_owned(), json!([{"required": required}, {"required": ["error"]}]));
    }
    Arc::new(schema)
}

fn schema<T: JsonSchema>(is_input: bool) -> Arc<JsonObject> {
    // References are written out: some clients do not follow them.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema, is_input);
    let mut object = schema.as_object().cloned().unwrap_or_default();
    // The title would be the name of a Rust type.
    object.remove("title");
    object.remove("$schema");
    Arc::new(object)
}

fn simplify(schema: &mut Value, is_input: bool) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| simplify(item, is_input)),
        Value::Object(object) => {
            if is_input {
                drop_null(object);
            }
            if let Some(words) = object.get("oneOf").and_then(words) {
                object.remove("oneOf");
                object.insert("type".to_owned(), json!("string"));
                object.insert("enum".to_owned(), words);
            }
            // Rust's own; JSON Schema has no such formats, and validators warn of each.
            if object.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                object.remove("format");
            }
            object.values_mut().for_each(|value| simplify(value, is_input));
        }
        _ => {}
    }
}

/// The constants of a choice between constants.
fn words(choice: &Value) -> Option<Value> {
    choice.as_array()?.iter().map(|one| one.get("const").cloned()).collect()
}

fn drop_null(object: &mut JsonObject) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get("anyOf") {
        let others: Vec<&Value> = choices.iter().filter(|one| one["type"] != "null").collect();
        if let [Value::Object(only)] = &others[..] {
            let only = only.clone();
            object.remove("anyOf");
            for (name, value) in only {
                object.entry(name).or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema and its refusals are looked at")]
    struct Args {
        cycle: Option<crate::domain::Cycle>,
        words: Option<Vec<String>>,
        more: Option<serde_json::Map<String, Value>>,
        count: u32,
    }

    #[test]
    fn a_schema_is_plain() {
        let schema = Value::Object((*input_schema::<Args>()).clone());
        assert_eq!(schema["properties"]["cycle"]["enum"], json!(["daily", "weekly", "monthly", "total"]), "{schema}");
        assert_eq!(schema["properties"]["words"]["type"], "array");
        assert_eq!(schema["properties"]["more"]["type"], "object");
        assert_eq!(schema["additionalProperties"], false);
        let text = schema.to_string();
        assert!(!text.contains("uint") && !text.contains("null") && !text.contains("$ref") && !text.contains("oneOf"), "{text}");
    }

    #[test]
    fn a_wrong_argument_is_named() {
        let read = |value: Value| parse::<Args>(value.as_object().cloned().unwrap()).map(|args| format!("{args:?}")).unwrap_err().to_text();
        assert!(read(json!({"words": [1]})).starts_with("words[0]: invalid type"), "{}", read(json!({"words": [1]})));
        assert!(read(json!({"cycl": "daily"})).contains("unknown field `cycl`, expected one of `cycle`, `words`, `more`"));
    }
}
