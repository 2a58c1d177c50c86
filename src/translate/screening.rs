//! What happens to the parts of a request that its tokens do not pay for, at a provider of which only the price list is known.
//!
//! A part is harmless and passes; or the provider sells it at a price of its own; or nobody here knows it. What is sold is sent where the key allows hosted tools and its
//! cost has a bound, and is taken out or refused everywhere else. What is not known is taken out. What is taken out is reported by its name.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{BadRequest, RawObject};
use crate::domain::Money;

/// Whether a request may use what a provider runs for a fee of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostedTools {
    /// No: it is taken out, or refused where the request would make no sense without it.
    Refused,
    /// Yes, as far as its cost has a bound.
    Bounded,
    /// The request is not billed at all, so nothing has to be bounded.
    Free,
}

/// What hosted tools can add to the cost of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosted {
    /// How often the model may run again for the same answer.
    pub rounds: u64,
    /// Searches, each at the model's price of a search.
    pub searches: u64,
    /// Fees that are due however much is used.
    pub fee: Money,
    /// Other models that may run, by the provider's name, and how often.
    pub models: Vec<(String, u64)>,
}

impl Hosted {
    /// Whether nothing is added.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is sent of a request, and what that can cost beyond its tokens.
#[derive(Clone, Debug, Default)]
pub struct Screened {
    /// What was taken out, by the names the caller used.
    pub dropped: Vec<String>,
    /// What can be billed beyond the tokens of one run.
    pub hosted: Hosted,
    /// The most uses of a hosted tool, where the caller set no limit and one was put in.
    pub max_uses: Option<u64>,
    /// The body to send; `None` when it is the caller's own.
    body: Option<RawObject>,
}

impl Screened {
    /// The body to send instead of `original`.
    pub(super) fn body_or<'a>(&'a self, original: &'a RawObject) -> &'a RawObject {
        self.body.as_ref().unwrap_or(original)
    }

    /// Whether the body is not the caller's own.
    pub(super) const fn is_changed(&self) -> bool {
        self.body.is_some()
    }

    /// The body to change: a copy of `original` the first time.
    pub(super) fn body_mut(&mut self, original: &RawObject) -> &mut RawObject {
        self.body.get_or_insert_with(|| original.clone())
    }

    /// Takes a field out.
    pub(super) fn drop_field(&mut self, original: &RawObject, name: &str) {
        self.body_mut(original).remove(name);
        self.dropped.push(name.to_owned());
    }

    /// Takes out whatever has a value and is not known.
    pub(super) fn drop_unknown(&mut self, original: &RawObject, is_known: impl Fn(&str) -> bool) {
        for name in original.names().filter(|name| !is_known(name)) {
            self.drop_field(original, name);
        }
    }
}

/// Names that are known, each group with the source that says what they do.
pub(super) type Groups = [(&'static str, &'static [&'static str])];

/// Whether a name is in one of the groups.
pub(super) fn is_in(groups: &Groups, name: &str) -> bool {
    groups.iter().any(|(_, names)| names.contains(&name))
}

/// All names of the groups.
pub(super) fn names_of(groups: &'static Groups) -> impl Iterator<Item = &'static str> {
    groups.iter().flat_map(|(_, names)| names.iter().copied())
}

/// Whether a name is the one that is known: all of it, or, where that ends in a separator, this beginning and then a date. The form of the date has a zero for each digit.
pub(super) fn is_name(name: &str, known: &str, date: &str) -> bool {
    let is_digit_or = |form: u8, is: u8| if form == b'0' { is.is_ascii_digit() } else { is == form };
    match name.strip_prefix(known) {
        Some(rest) if known.ends_with(['-', '_']) => {
            rest.len() == date.len() && date.bytes().zip(rest.bytes()).all(|(form, is)| is_digit_or(form, is))
        }
        rest => rest == Some(""),
    }
}

/// The tools of a request, each as it was sent.
pub(super) fn tools(body: &RawObject) -> Result<Vec<&RawValue>, BadRequest> {
    super::field(body, "tools", "must be an array of tools").map(Option::unwrap_or_default)
}

/// What decides about a tool.
#[derive(Default, Deserialize)]
pub(super) struct ToolHead {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) max_uses: Option<u64>,
    #[serde(default)]
    pub(super) model: Option<String>,
}

impl ToolHead {
    pub(super) fn read(tool: &RawValue) -> Result<Self, BadRequest> {
        serde_json::from_str(tool.get()).map_err(|_| BadRequest::Field {
            field: "tools",
            expected: "each tool must be an object whose type, name and model are strings, and whose max_uses is a whole number",
        })
    }
}
