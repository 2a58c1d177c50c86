//! The forms in which clients read models: OpenAI's, Anthropic's, Google's, told apart by the headers that only their clients send.

use http::HeaderMap;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::Row;
use crate::{
    catalog::Dialect,
    gateway::{credential::GOOGLE_HEADER, error::GatewayError, lengths::shown, upstream::ANTHROPIC_VERSION},
};

/// Rows of a page, where the caller names no number, as the vendors have it; and the most.
const ANTHROPIC_DEFAULT: usize = 20;
const GOOGLE_DEFAULT: usize = 50;
const ROWS_MAX: usize = 1_000;

/// Whose client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Openai,
    Anthropic,
    Google,
}

/// Which part of a list is wanted.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// All of it for OpenAI's clients, which know no pages.
    limit: Option<usize>,
    after_id: Option<String>,
    before_id: Option<String>,
    /// Rows that earlier pages had, where pages are counted.
    skip: usize,
}

impl Page {
    pub(super) fn read(shape: Shape, query: &str) -> Result<Self, GatewayError> {
        let bad = |field: &str, message: &str| GatewayError::BadField { field: field.to_owned(), message: format!("{field}: {message}") };
        let of =
            |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(field, _)| field == name).map(|(_, value)| value.into_owned());
        let number = |name: &str, default: usize| match of(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=ROWS_MAX).contains(number))
                .ok_or_else(|| bad(name, &format!("must be a number from 1 to {ROWS_MAX}"))),
        };
        match shape {
            Shape::Openai => Ok(Self::default()),
            Shape::Anthropic => {
                let (after_id, before_id) = (of("after_id"), of("before_id"));
                if after_id.is_some() && before_id.is_some() {
                    return Err(bad("before_id", "after_id and before_id do not go together"));
                }
                Ok(Self { limit: Some(number("limit", ANTHROPIC_DEFAULT)?), after_id, before_id, skip: 0 })
            }
            Shape::Google => {
                let skip = of("pageToken").filter(|token| !token.is_empty()).map(|token| token.parse());
                let skip = skip.transpose().map_err(|_| bad("pageToken", "this id is not in the list"))?.unwrap_or_default();
                // None at all means as many as usual, too many as many as there may be.
                let size = of("pageSize").map_or(Ok(0), |size| size.parse()).map_err(|_| bad("pageSize", "must be a number"))?;
                let limit = if size == 0 { GOOGLE_DEFAULT } else { size.min(ROWS_MAX) };
                Ok(Self { limit: Some(limit), skip, ..Self::default() })
            }
        }
    }

    /// The rows of the page, and whether there are more in its direction.
    fn cut<'a>(&self, rows: &'a [Row]) -> Result<(&'a [Row], bool), GatewayError> {
        let place = |field: &str, id: &str| {
            let message = || format!("{field}: no model in this list is called \"{}\"", shown(id));
            rows.iter().position(|row| row.id == id).ok_or_else(|| GatewayError::BadField { field: field.to_owned(), message: message() })
        };
        let limit = self.limit.unwrap_or(rows.len());
        if let Some(id) = &self.before_id {
            let before = rows.get(..place("before_id", id)?).unwrap_or_default();
            let start = before.len().saturating_sub(limit);
            return Ok((before.get(start..).unwrap_or_default(), start > 0));
        }
        let start = match &self.after_id {
            Some(id) => place("after_id", id)? + 1,
            None => self.skip,
        };
        let after = rows.get(start..).unwrap_or_default();
        Ok((after.get(..limit).unwrap_or(after), after.len() > limit))
    }
}

impl Shape {
    /// Anthropic's clients always say which version of the API they speak, and nobody else does; Google's have a place of their own for a key.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(ANTHROPIC_VERSION) {
            Self::Anthropic
        } else if headers.contains_key(GOOGLE_HEADER) {
            Self::Google
        } else {
            Self::Openai
        }
    }

    /// What a caller speaks who reads this form.
    pub(super) const fn dialect(self) -> Dialect {
        match self {
            Self::Anthropic => Dialect::Anthropic,
            Self::Openai | Self::Google => Dialect::Openai,
        }
    }

    pub(super) fn list(self, rows: &[Row], page: &Page) -> Result<Value, GatewayError> {
        let (rows, has_more) = page.cut(rows)?;
        let data: Vec<Value> = rows.iter().map(|row| self.one(row)).collect();
        Ok(match self {
            Self::Openai => json!({"object": "list", "data": data}),
            Self::Anthropic => {
                let id = |row: Option<&Row>| row.map(|row| row.id.clone());
                json!({"first_id": id(rows.first()), "last_id": id(rows.last()), "data": data, "has_more": has_more})
            }
            Self::Google => {
                let mut list = Map::from_iter([("models".to_owned(), data.into())]);
                if has_more {
                    list.insert("nextPageToken".to_owned(), (page.skip + rows.len()).to_string().into());
                }
                list.into()
            }
        })
    }

    pub(super) fn one(self, row: &Row) -> Value {
        let id = &row.id;
        match self {
            Self::Openai => json!({"id": id, "object": "model", "created": 0, "owned_by": row.provider}),
            // Anthropic's own list has the epoch where a date is not known.
            Self::Anthropic => json!({"type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z"}),
            Self::Google => {
                let mut model = json!({
                    "name": format!("models/{id}"), "version": "", "displayName": id, "description": format!("{id} of {}", row.provider),
                    "supportedGenerationMethods": ["generateContent"],
                });
                for (name, limit) in [("inputTokenLimit", row.context), ("outputTokenLimit", row.max_output)] {
                    if let Some(limit) = limit {
                        model[name] = limit.into();
                    }
                }
                model
            }
        }
    }
}
