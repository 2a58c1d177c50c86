//! What `initialize` has to say, and what is taken although it is not as it should be: a client is refused for what is needed and is not there, never for what it
//! can do beyond that.

use rmcp::model::{ClientCapabilities, Implementation};
use serde_json::{Map, Value, json};

/// What else a client may say about itself.
const ABOUT_ITSELF: [&str; 3] = ["title", "description", "websiteUrl"];

/// Looks through the params of `initialize`, and takes out of them what cannot be understood and is not needed. Returns whether something was taken out.
///
/// # Errors
/// A sentence that names what is missing, and says what is needed.
pub(super) fn check(params: &mut Value) -> Result<bool, String> {
    let mut lacks = Vec::new();
    let mut need = |of: &Value, member: &str, name: &str, is_text: bool| match &of[member] {
        Value::Null => lacks.push(format!("{name} is missing")),
        value if is_text && !value.is_string() => lacks.push(format!("{name} must be a string")),
        value if !is_text && !value.is_object() => lacks.push(format!("{name} must be an object")),
        _ => {}
    };
    need(params, "protocolVersion", "protocolVersion", true);
    need(params, "capabilities", "capabilities", false);
    need(params, "clientInfo", "clientInfo", false);
    if params["clientInfo"].is_object() {
        need(&params["clientInfo"], "name", "clientInfo.name", true);
        need(&params["clientInfo"], "version", "clientInfo.version", true);
    }
    if !lacks.is_empty() {
        return Err(format!(
            "initialize: {}. Its params need protocolVersion (a string), capabilities (an object, {{}} if there are none) and clientInfo (an object with the strings \
             name and version).",
            lacks.join(", ")
        ));
    }
    let mut is_changed = params["capabilities"].as_object_mut().is_some_and(keep_known);
    if serde_json::from_value::<Implementation>(params["clientInfo"].clone()).is_err() {
        let told = params["clientInfo"].take();
        let mut about = json!({"name": told["name"], "version": told["version"]});
        for member in ABOUT_ITSELF.iter().filter(|member| told[**member].is_string()) {
            about[*member] = told[*member].clone();
        }
        params["clientInfo"] = about;
        is_changed = true;
    }
    Ok(is_changed)
}

/// Takes out of a client's capabilities what has another form than it should, such as an experimental one that is only `true`. Returns whether there was any.
pub(super) fn keep_known(capabilities: &mut Map<String, Value>) -> bool {
    let is_known = |capabilities: Value| serde_json::from_value::<ClientCapabilities>(capabilities).is_ok();
    if is_known(Value::Object(capabilities.clone())) {
        return false;
    }
    capabilities.retain(|name, value| {
        if let Value::Object(parts) = value {
            parts.retain(|part, value| is_known(json!({name.as_str(): {part.as_str(): value}})));
        }
        is_known(json!({name.as_str(): value}))
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_is_not_needed_is_not_asked_for() {
        let about = json!({"name": "t", "version": "1"});
        for (mut params, names) in [
            (json!({"protocolVersion": "2025-06-18"}), &["capabilities is missing", "clientInfo is missing"][..]),
            (json!({"protocolVersion": "x", "capabilities": {}, "clientInfo": {"name": "t"}}), &["clientInfo.version is missing"]),
            (json!({"protocolVersion": 1, "capabilities": [], "clientInfo": about}), &["protocolVersion must be", "capabilities must be"]),
            (json!({}), &["protocolVersion is missing", "capabilities", "clientInfo"]),
            (Value::Null, &["protocolVersion is missing"]),
        ] {
            let error = check(&mut params).unwrap_err();
            assert!(names.iter().all(|name| error.contains(name)), "{error}");
        }
        for (capabilities, kept) in [
            (json!({"experimental": {"x": true, "y": {}}}), json!({"experimental": {"y": {}}})),
            (json!({"elicitation": {}, "sampling": true, "new": 5}), json!({"elicitation": {}, "new": 5})),
            (json!({"roots": {"listChanged": "yes"}}), json!({"roots": {}})),
            (json!({"new": [1], "elicitation": {"form": {}, "voice": {}}}), json!({"new": [1], "elicitation": {"form": {}, "voice": {}}})),
        ] {
            let mut params = json!({"protocolVersion": "x", "capabilities": capabilities, "clientInfo": about});
            check(&mut params).unwrap();
            assert_eq!(params["capabilities"], kept);
        }
        let mut params =
            json!({"protocolVersion": "x", "capabilities": {}, "clientInfo": {"name": "t", "version": "1", "icons": 5, "title": "T"}});
        assert_eq!(check(&mut params), Ok(true));
        assert_eq!(params["clientInfo"], json!({"name": "t", "version": "1", "title": "T"}));
    }
}
