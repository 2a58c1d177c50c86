//! The schemas of tools, in what all models understand: of JSON Schema only the few keywords that Gemini, OpenAI's strict mode and Anthropic's have in common.
//!
//! So nothing may be null: what is optional is not required, and is left out of a result. A choice of types says nothing beside its `anyOf`, which Gemini refuses;
//! and objects are not closed with `additionalProperties: false`, at which google-genai fails when it converts the tools of a server. Strict modes close them.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

/// What a schema may say.
const KEYWORDS: [&str; 7] = ["type", "description", "properties", "required", "items", "enum", "anyOf"];

/// The name under which a result says what was ignored.
pub(super) const WARNINGS: &str = "warnings";

/// The schema of a tool's arguments.
pub(super) fn input_schema<T: JsonSchema>() -> Arc<JsonObject> {
    Arc::new(schema::<T>())
}

/// The schema of a tool's result. It covers failures too: the TypeScript SDK holds every structured result against it, and would keep from the model what went
/// wrong and what to do next. Therefore nothing is required at its top.
pub(super) fn output_schema<T: JsonSchema>() -> Arc<JsonObject> {
    let mut schema = schema::<T>();
    schema.remove("required");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let about = "Present when arguments of the call were ignored.";
        properties.insert(WARNINGS.to_owned(), json!({"type": "array", "items": {"type": "string"}, "description": about}));
        let about = "Present only when the call failed, and then alone: code, message, hint, and what the gateway said.";
        properties.insert("error".to_owned(), json!({"type": "object", "description": about}));
    }
    Arc::new(schema)
}

/// Takes out of a result what is null where its schema names it. What others sent as it is, such as the answer of an API, keeps its nulls.
pub(super) fn leave_out_null(schema: &JsonObject, value: &mut Value) {
    match (value, schema.get("properties"), schema.get("items")) {
        (Value::Object(fields), Some(Value::Object(properties)), _) => {
            fields.retain(|name, value| !(value.is_null() && properties.contains_key(name)));
            for (name, value) in fields {
                if let Some(Value::Object(property)) = properties.get(name) {
                    leave_out_null(property, value);
                }
            }
        }
        (Value::Array(items), _, Some(Value::Object(schema))) => items.iter_mut().for_each(|item| leave_out_null(schema, item)),
        _ => {}
    }
}

fn schema<T: JsonSchema>() -> JsonObject {
    // References are written out: some clients do not follow them.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let mut schema = schema.as_object_mut().map(std::mem::take).unwrap_or_default();
    simplify(&mut schema);
    schema
}

fn simplify(schema: &mut JsonObject) {
    for choice in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.remove(choice) {
            choose(schema, choices);
        }
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = &mut types[..] {
            let only = only.take();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    schema.retain(|name, _| KEYWORDS.contains(&name.as_str()));
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(simplify);
    }
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        simplify(items);
    }
}

/// Puts a choice in: constants as an `enum`, a single schema as itself.
fn choose(schema: &mut JsonObject, mut choices: Vec<Value>) {
    choices.retain(|one| one["type"] != "null");
    let words: Option<Vec<Value>> = choices.iter().map(|one| one.get("const").cloned()).collect();
    if let Some(words) = words {
        schema.insert("type".to_owned(), json!("string"));
        schema.insert("enum".to_owned(), words.into());
        return;
    }
    if let [Value::Object(only)] = &mut choices[..] {
        for (name, value) in std::mem::take(only) {
            schema.entry(name).or_insert(value);
        }
        // It may be a choice itself.
        return simplify(schema);
    }
    for one in choices.iter_mut().filter_map(Value::as_object_mut) {
        simplify(one);
    }
    if let (Some(about), Some(first)) = (schema.remove("description"), choices.first_mut().and_then(Value::as_object_mut)) {
        first.entry("description").or_insert(about);
    }
    schema.insert("anyOf".to_owned(), choices.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Args {
        cycle: Option<crate::domain::Cycle>,
        words: Option<Vec<String>>,
        more: Option<serde_json::Map<String, Value>>,
        #[serde(default)]
        force: bool,
        #[schemars(with = "Option<super::super::shapes::Body>")]
        body: Option<Value>,
        count: u32,
    }

    #[test]
    fn a_schema_is_plain() {
        let schema = Value::Object((*input_schema::<Args>()).clone());
        assert_eq!(schema["properties"]["cycle"]["enum"], json!(["daily", "weekly", "monthly", "total"]), "{schema}");
        assert_eq!(schema["properties"]["words"]["type"], "array");
        assert_eq!(schema["properties"]["more"], json!({"type": "object"}));
        assert_eq!(schema["properties"]["count"], json!({"type": "integer"}));
        assert_eq!(schema["properties"]["force"], json!({"type": "boolean"}));
        let body = &schema["properties"]["body"];
        assert_eq!((body.as_object().unwrap().len(), &body["anyOf"][2]["items"]), (1, &json!({"type": "object"})), "{body}");
        assert_eq!((schema.get("additionalProperties"), &schema["required"]), (None, &json!(["count"])));
    }

    #[test]
    fn only_what_is_ours_is_left_out_when_it_is_null() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "free": {"type": "object"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}}}});
        let mut value = json!({"a": null, "free": {"a": null}, "other": null, "list": [{"b": null, "c": null}]});
        leave_out_null(schema.as_object().unwrap(), &mut value);
        assert_eq!(value, json!({"free": {"a": null}, "other": null, "list": [{"c": null}]}));
    }
}
