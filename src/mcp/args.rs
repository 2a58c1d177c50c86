//! Arguments and schemas: read strictly, described once.

use rmcp::model::JsonObject;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

use super::error::ToolError;

/// Reads a tool's arguments. One that does not exist is refused by name, with the names there are.
pub(super) fn parse<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, ToolError> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| ToolError::invalid(error.to_string()))
}

/// The JSON schema of a type, without references: some clients do not follow them.
pub(super) fn schema_of<T: JsonSchema>() -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let mut object = schema.as_object().cloned().unwrap_or_default();
    // The title would be the name of a Rust type.
    object.remove("title");
    Arc::new(object)
}
