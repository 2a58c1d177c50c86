//! What is asked of the spend keys API: a new key, a change of one, a page of them.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{RateLimit, RequestLimit, RequestShape, SpendLimit, Status};

/// A spend key to be made. Begin with [`NewKey::named`]; what is `None` does not restrict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewKey {
    /// What people call it; 1 to 255 characters.
    pub name: String,
    /// Whether it may be used from the start.
    pub status: Status,
    /// Which endpoint family it may use.
    pub request_shape: RequestShape,
    /// Models it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_models: Option<Vec<String>>,
    /// Providers it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_providers: Option<Vec<String>>,
    /// Most money a cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_limit: Option<SpendLimit>,
    /// Most requests a cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<RequestLimit>,
    /// Requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// When it stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What only our gateway knows; hosted Lava does not have it.
    #[serde(rename = "lava_mcp", skip_serializing_if = "KeyTerms::is_empty")]
    pub terms: KeyTerms,
}

/// What a key says about requests, beside its limits. `None` leaves it as it is; a new key has neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyTerms {
    /// Whether it may buy what a provider runs for a fee of its own, such as searches, as far as that has a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted_tools: Option<bool>,
    /// Whether an output cap that is more than there is money for is lowered rather than refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_output_cap: Option<bool>,
}

impl KeyTerms {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl NewKey {
    /// An active key for OpenAI's API with no restriction.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: Status::Active,
            request_shape: RequestShape::Openai,
            allowed_models: None,
            allowed_providers: None,
            spend_limit: None,
            request_limit: None,
            rate_limit: None,
            expires_at: None,
            terms: KeyTerms::default(),
        }
    }
}

/// What happens to a restriction of a key that is updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    #[serde(skip)]
    Keep,
    /// It ends: the key is no longer restricted.
    Lift,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    /// The restriction that shall hold afterwards, where `None` means none: never [`Change::Keep`].
    pub fn to(restriction: Option<T>) -> Self {
        restriction.map_or(Self::Lift, Self::Set)
    }

    /// The new value, if one is set.
    pub fn value(self) -> Option<T> {
        if let Self::Set(value) = self { Some(value) } else { None }
    }

    const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// Changes to a spend key; its default changes nothing. The key itself stays the same.
///
/// ```
/// use lava_mcp::{
///     client::{Change, KeyUpdate},
///     domain::RateLimit,
/// };
///
/// let update = KeyUpdate {
///     rate_limit: Change::Set(RateLimit { rpm: 60, burst: None }),
///     expires_at: Change::Lift,
///     ..KeyUpdate::default()
/// };
/// assert_eq!(serde_json::to_string(&update).unwrap(), r#"{"rate_limit":{"rpm":60,"burst":null},"expires_at":null}"#);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyUpdate {
    /// What people call it; `None` leaves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Pauses it, or lets it work again; `None` leaves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Which endpoint family it may use; `None` leaves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_shape: Option<RequestShape>,
    /// Models it may use.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub allowed_models: Change<Vec<String>>,
    /// Providers it may use.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub allowed_providers: Change<Vec<String>>,
    /// Most money a cycle.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub spend_limit: Change<SpendLimit>,
    /// Most requests a cycle.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub request_limit: Change<RequestLimit>,
    /// Requests a minute.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub rate_limit: Change<RateLimit>,
    /// When it stops working.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub expires_at: Change<Timestamp>,
    /// What only our gateway knows.
    #[serde(rename = "lava_mcp", skip_serializing_if = "KeyTerms::is_empty")]
    pub terms: KeyTerms,
}

impl KeyUpdate {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which page of a list; the default is the first, as long as the gateway makes it (ten with Lava).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// How many, 1 to 100.
    pub limit: Option<u8>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// As the query of a URL: empty, or with its question mark.
    pub(super) fn to_query(&self) -> String {
        let query = self.pairs();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// Without its question mark.
    pub(super) fn pairs(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.limit.map(|limit| ("limit", limit.to_string())));
        query.extend_pairs(self.cursor.as_ref().map(|cursor| ("cursor", cursor)));
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_lifting_and_setting_are_three_different_things() {
        let json = |update: &KeyUpdate| serde_json::to_string(update).unwrap();
        assert_eq!(json(&KeyUpdate::default()), "{}");
        assert_eq!(json(&KeyUpdate { spend_limit: Change::Lift, ..KeyUpdate::default() }), r#"{"spend_limit":null}"#);
        let spend_limit = Change::Set(SpendLimit::parse_short("5/daily").unwrap());
        assert_eq!(json(&KeyUpdate { spend_limit, ..KeyUpdate::default() }), r#"{"spend_limit":{"amount":"5.00","cycle":"daily"}}"#);
        assert!(serde_json::to_string(&Change::<u8>::Keep).is_err(), "alone it would read as null, which lifts");
    }

    #[test]
    fn a_cursor_cannot_add_to_the_query() {
        assert_eq!(PageQuery::default().to_query(), "");
        let query = PageQuery { limit: Some(5), cursor: Some("a&limit=9".to_owned()) };
        assert_eq!(query.to_query(), "?limit=5&cursor=a%26limit%3D9");
    }
}
