//! Which field of a request an error is about: its name or the path to it, as the libraries that check requests say it.

use serde_json::{Map, Value};

/// Lists of what is wrong with single fields.
pub(super) const LISTS: [&str; 8] =
    ["errors", "issues", "fieldErrors", "field_errors", "invalid_fields", "validation_errors", "violations", "fieldViolations"];
/// Where the name of a field is whose message says it as well.
const STATED: [&str; 2] = ["param", "parameter"];
/// Where it is, as a text or as a path in pieces, beside a message that may not say it.
const BESIDE: [&str; 5] = ["loc", "field", "instancePath", "pointer", "property"];
/// Only as pieces: as a text it is the address that was asked.
const PATH: &str = "path";
/// The part of a request that a field is in.
const PARTS_OF_REQUEST: [&str; 4] = ["body", "query", "path", "header"];

/// What an object says about a field.
pub(super) fn of(object: &Map<String, Value>) -> Option<String> {
    STATED.iter().filter_map(|name| object.get(*name)).find_map(path_of).or_else(|| beside(object))
}

/// The same where the message may not say it.
pub(super) fn beside(object: &Map<String, Value>) -> Option<String> {
    let path = object.get(PATH).filter(|path| path.is_array());
    BESIDE.iter().filter_map(|name| object.get(*name)).chain(path).find_map(path_of)
}

/// The same of the first field in a list that has the names of fields for its own.
pub(super) fn first_of(object: &Map<String, Value>) -> Option<String> {
    LISTS.iter().find_map(|list| by_name(object.get(*list)?)?.keys().find_map(|field| name(field)))
}

/// A list in which the name of each field leads to texts about it: `{"temperature": ["must be at most 2"]}`.
pub(super) fn by_name(list: &Value) -> Option<&Map<String, Value>> {
    const OF_AN_ERROR: [&str; 7] = ["message", "Message", "msg", "code", "type", "title", "detail"];
    let fields = list.as_object().filter(|fields| !fields.is_empty())?;
    let are_lists = fields.values().all(|said| said.as_array().is_some_and(|texts| texts.iter().all(Value::is_string)));
    let are_texts = || fields.values().all(Value::is_string) && !OF_AN_ERROR.iter().any(|name| fields.contains_key(*name));
    (are_lists || are_texts()).then_some(fields)
}

/// A name without what JSON paths and pointers begin with.
pub(super) fn name(text: &str) -> Option<String> {
    let bare = text.trim().trim_start_matches(['$', '#', '/', '.']);
    let is_pointer = text.contains('/') && !text.contains(char::is_whitespace);
    Some(if is_pointer { bare.replace('/', ".") } else { bare.to_owned() }).filter(|name| !name.is_empty())
}

fn path_of(value: &Value) -> Option<String> {
    let Value::Array(pieces) = value else { return value.as_str().and_then(name) };
    let pieces = pieces.iter().filter_map(|piece| piece.as_str().map(str::to_owned).or_else(|| piece.as_u64().map(|n| n.to_string())));
    let path: Vec<String> = pieces.skip_while(|piece| PARTS_OF_REQUEST.contains(&piece.as_str())).collect();
    (!path.is_empty()).then(|| path.join("."))
}
