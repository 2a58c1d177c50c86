//! Arguments that a tool does not have. By what the call does they are ignored with a warning, or refused by name.
//!
//! Of a call that only looks something up, nobody is hurt by an argument that does not count. One that buys must not be believed to be bounded by what it does not
//! know. `login` buys nothing, but a limit with a slip in its name would be none.

use std::collections::BTreeSet;

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool};
use serde_json::Value;

use super::{added::is_added, error::ToolError, schema, text};

/// As much of a name that somebody made up is repeated, in characters, and so many names.
const NAME_CHARS_MAX: usize = 60;
const NAMES_MAX: usize = 5;

/// What names of arguments have in them that narrow what may be spent.
const SETS_A_LIMIT: [&str; 9] = ["amount", "budget", "cost", "cycle", "expir", "limit", "model", "provider", "spend"];

/// What becomes of an argument that the tool does not have: what to say of it in the warning, or nothing.
///
/// # Errors
/// [`ToolError`] where it must not be ignored, or where it is likely the one that is `missing`.
pub(super) fn ignored(
    tool: &Tool,
    (name, value): (&str, &Value),
    properties: &JsonObject,
    missing: &BTreeSet<&str>,
) -> Result<Option<String>, ToolError> {
    let annotations = tool.annotations.as_ref();
    let only_reads = annotations.and_then(|about| about.read_only_hint) == Some(true);
    // Whatever buys something reaches beyond the gateway.
    let buys = annotations.and_then(|about| about.open_world_hint) != Some(false);
    let shown = text::one_line(name, NAME_CHARS_MAX);
    if is_added(name) || value.is_null() {
        return Ok((!buys).then_some(shown));
    }
    match properties.keys().find(|known| is_like(name, known)) {
        Some(meant) if only_reads && !missing.contains(meant.as_str()) => Ok(Some(format!("{shown} (did you mean {meant}?)"))),
        Some(meant) => Err(ToolError::invalid(format!("{shown}: unknown argument; did you mean {meant}?"))),
        None if buys || (!only_reads && SETS_A_LIMIT.iter().any(|word| name.to_lowercase().contains(word))) => {
            let names = properties.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(ToolError::invalid(format!("{shown}: unknown argument; {} takes {names}", tool.name)))
        }
        None => Ok(Some(shown)),
    }
}

/// Says in a result what was ignored.
pub(super) fn warn(result: &mut CallToolResult, ignored: &[String]) {
    let more = if ignored.len() > NAMES_MAX { " and more" } else { "" };
    let names = ignored.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let warning = format!("Ignored, because this tool has no such argument: {names}{more}.");
    result.content.push(ContentBlock::text(format!("[{warning}]")));
    if let Some(Value::Object(structured)) = &mut result.structured_content {
        structured.insert(schema::WARNINGS.to_owned(), vec![warning].into());
    }
}

/// Whether somebody who wrote one name may have meant the other: another spelling of it, or a slip in every four letters.
fn is_like(name: &str, known: &str) -> bool {
    let plain =
        |name: &str| name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(NAME_CHARS_MAX).collect::<String>();
    let (name, known) = (plain(name), plain(known));
    name == known || strsim::damerau_levenshtein(&name, &known) <= (known.len() / 4).max(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::LavaMcp;

    fn look(tool: &str, name: &str, value: &Value) -> Result<Option<String>, String> {
        let tool = LavaMcp::tools().into_iter().find(|known| known.name == tool).unwrap();
        let properties = tool.input_schema["properties"].as_object().unwrap();
        ignored(&tool, (name, value), properties, &BTreeSet::from(["provider"])).map_err(|error| error.to_text())
    }

    #[test]
    fn an_argument_that_does_not_exist_is_named() {
        for (tool, name, meant) in [
            ("prompt", "temprature", "temperature"),
            ("prompt", "maxTokens", "max_tokens"),
            ("prompt", "Max-Cost", "max_cost"),
            ("call", "methods", "method"),
            ("login", "spendLimit", "spend_limit"),
            ("login", "spend_limt", "spend_limit"),
            // One that has to be there is missing, so the call fails in any case.
            ("get_provider_docs", "Provider", "provider"),
        ] {
            let error = look(tool, name, &json!(1)).unwrap_err();
            assert!(error.contains(&format!("did you mean {meant}?")), "{tool} {name}: {error}");
            assert!(matches!(look(tool, name, &Value::Null), Ok(said) if said.is_none() == ["prompt", "call"].contains(&tool)));
        }
        for (tool, name, meant) in [("search", "limits", "limit"), ("search", "Query", "query"), ("usage", "limt", "limit")] {
            assert_eq!(look(tool, name, &json!(1)), Ok(Some(format!("{name} (did you mean {meant}?)"))));
        }
        for tool in ["prompt", "call"] {
            let error = look(tool, "colour", &json!("blue")).unwrap_err();
            assert!(error.contains("colour: unknown argument") && error.contains(&format!("{tool} takes")), "{error}");
            assert_eq!(look(tool, "task_progress", &json!("x")), Ok(None));
        }
        for name in ["amount", "cycle", "limit", "Budget", "max_cost", "models", "maxSpend"] {
            assert!(look("login", name, &json!("1.00")).unwrap_err().contains("unknown argument"), "{name}");
        }
        for tool in ["login", "search", "get_provider_docs", "usage"] {
            for name in ["colour", "task_progress", "toolCallId", "_meta", "action"] {
                assert_eq!(look(tool, name, &json!("x")), Ok(Some(name.to_owned())));
            }
        }
    }
}
