//! Why the params of a method are not what it needs. A request whose params do not fit arrives as one of an unknown method, and its client has to hear what is wrong.

use rmcp::model::{
    CallToolRequestParams, CompleteRequestParams, GetPromptRequestParams, PaginatedRequestParams, ReadResourceRequestParams,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::text;

/// An error quotes what was sent; so much of it is repeated, in characters.
const REASON_CHARS_MAX: usize = 300;

/// What is wrong with the params of a method that there is; `None` where there is no such method.
pub(super) fn fault(method: &str, params: Option<Value>) -> Option<String> {
    let params = params.filter(|params| !params.is_null()).unwrap_or_else(|| json!({}));
    let fault = match method {
        "tools/call" => of::<CallToolRequestParams>(params),
        "prompts/get" => of::<GetPromptRequestParams>(params),
        "resources/read" => of::<ReadResourceRequestParams>(params),
        "completion/complete" => of::<CompleteRequestParams>(params),
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => of::<PaginatedRequestParams>(params),
        "ping" | "server/discover" => None,
        _ => return None,
    };
    Some(format!("{method}: {}", fault.unwrap_or_else(|| "the params have the wrong form".to_owned())))
}

/// The first member that does not fit, and why.
fn of<P: DeserializeOwned>(params: Value) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, P>(params).err()?;
    let path = error.path().to_string();
    let member = if path == "." { "params".to_owned() } else { format!("params.{path}") };
    Some(text::one_line(&format!("{member}: {}", error.inner()), REASON_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_that_does_not_fit_is_named() {
        for (method, params, says) in [
            ("tools/call", json!({"arguments": {}}), "`name`"),
            ("tools/call", Value::Null, "`name`"),
            ("tools/call", json!({"name": "usage", "arguments": "{}"}), "params.arguments: invalid type: string"),
            ("tools/call", json!({"name": "usage", "arguments": []}), "params.arguments: invalid type: sequence"),
            ("tools/call", json!({"name": 5}), "params.name"),
            ("tools/call", json!({"name": "usage", "requestState": 5}), "params.requestState"),
            ("prompts/get", json!({"arguments": {}}), "`name`"),
            ("prompts/get", json!({"name": "x", "arguments": []}), "params.arguments"),
            ("resources/read", json!({}), "`uri`"),
            ("resources/read", json!({"uri": null}), "params.uri"),
            ("completion/complete", json!({"argument": {"name": "x", "value": "y"}}), "`ref`"),
            ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "x"}}), "`value`"),
            ("tools/list", json!({"cursor": 5}), "params.cursor"),
            ("tools/call", json!({"name": "x".repeat(1_000), "arguments": "y".repeat(100_000)}), "params.arguments"),
        ] {
            let fault = fault(method, Some(params)).unwrap();
            assert!(fault.contains(says) && fault.starts_with(method) && fault.len() < 400, "{fault}");
        }
        assert_eq!(fault("no/such", None), None);
    }
}
