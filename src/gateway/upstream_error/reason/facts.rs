//! The code, the type and the field of an error, from the objects that say what it is.

use serde_json::{Map, Value};

use super::{DEPTH_MAX, LISTED_MAX, RAW, field};

/// Where the error is, of which an object is only the wrapping or which it quotes.
const INNER: [&str; 6] = [RAW, "/error", "/Error", "/fault", "/ResponseMetadata", "/base_resp"];
/// Where it may be as well, or its parts in a list.
const SAID: [&str; 3] = ["message", "detail", "OriginalMessage"];
/// Its parts, whatever their form.
const PARTS: [&str; 3] = ["details", "extensions", "source"];

const CODES: [&str; 7] = ["code", "Code", "error_code", "errorCode", "ErrorCode", "err_code", "errorcode"];
/// A code of the provider's own, unless it repeats the status of the answer.
const STATUS_CODE: &str = "status_code";
const STATUSES: std::ops::RangeInclusive<u64> = 100..=599;
/// Google says it as a status, AWS behind the name of a namespace.
const KINDS: [&str; 6] = ["type", "status", "error_type", "errorType", "__type", "err_type"];
/// Only that something went wrong.
const NO_KINDS: [&str; 6] = ["error", "about:blank", "failed", "fail", "failure", "false"];

/// What providers call the code, the type and the parameter.
pub(super) struct Facts<'a>(Vec<&'a Map<String, Value>>);

impl<'a> Facts<'a> {
    /// The innermost error comes first, then what it comes in, then the parts of its message.
    pub(super) fn of(value: &'a Value) -> Self {
        let (mut errors, mut parts) = (Vec::new(), Vec::new());
        gather(value, DEPTH_MAX, &mut errors, &mut parts);
        errors.append(&mut parts);
        Self(errors)
    }

    fn all(&self, names: &'static [&'static str]) -> impl Iterator<Item = &'a Value> {
        self.0.iter().flat_map(move |object| names.iter().filter_map(|name| object.get(*name)))
    }

    /// A text or a number.
    pub(super) fn code(&self) -> Option<&'a Value> {
        let is_code = |code: &&Value| code.is_number() || code.as_str().is_some_and(|code| !code.is_empty());
        let is_own = |code: &&Value| code.as_u64().is_some_and(|code| !STATUSES.contains(&code));
        self.all(&CODES).find(is_code).or_else(|| self.all(&[STATUS_CODE]).find(is_own))
    }

    pub(super) fn kind(&self) -> Option<&'a str> {
        let is_kind =
            |kind: &&str| !kind.is_empty() && kind.parse::<u64>().is_err() && !NO_KINDS.iter().any(|word| kind.eq_ignore_ascii_case(word));
        let kind = self.all(&KINDS).filter_map(Value::as_str).find(is_kind)?;
        Some(if kind.contains("://") { kind } else { kind.rsplit_once('#').map_or(kind, |(_, name)| name) })
    }

    pub(super) fn param(&self) -> Option<String> {
        self.0.iter().find_map(|object| field::of(object).or_else(|| field::first_of(object)))
    }
}

fn gather<'a>(value: &'a Value, depth: usize, errors: &mut Vec<&'a Map<String, Value>>, parts: &mut Vec<&'a Map<String, Value>>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    if let Value::Array(items) = value {
        items.iter().take(LISTED_MAX).for_each(|item| gather(item, depth, errors, parts));
    }
    let Some(object) = value.as_object() else { return };
    let said = || SAID.iter().filter_map(|name| object.get(*name));
    let inner = INNER.iter().filter_map(|path| value.pointer(path)).chain(said().filter(|said| said.is_object()));
    inner.for_each(|inner| gather(inner, depth, errors, parts));
    errors.push(object);
    let lists = field::LISTS.iter().filter_map(|name| object.get(*name)).filter(|list| field::by_name(list).is_none());
    let others = PARTS.iter().filter_map(|name| object.get(*name));
    for list in lists.chain(others).chain(said().filter(|said| said.is_array())) {
        let mut within = Vec::new();
        gather(list, depth, parts, &mut within);
        parts.append(&mut within);
    }
}
