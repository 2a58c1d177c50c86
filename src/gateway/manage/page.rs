//! Pages of lists, and which spend keys are on them.

use serde::{Deserialize, Serialize};

use super::fields::bad;
use crate::gateway::error::GatewayError;

const PAGE_DEFAULT: usize = 10;
const PAGE_MAX: usize = 100;

#[derive(Deserialize)]
pub(in crate::gateway) struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
}

impl Page {
    /// Cursor and page size, checked.
    pub(in crate::gateway) fn parts(&self) -> Result<(Option<&str>, usize), GatewayError> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(bad("limit", "must be a number between 1 and 100"));
        }
        Ok((self.cursor.as_deref(), limit))
    }
}

/// A page of a list, newest first.
#[derive(Serialize)]
pub(in crate::gateway) struct Listing<T> {
    data: Vec<T>,
    has_more: bool,
    next_cursor: Option<String>,
}

impl<T> Listing<T> {
    /// Makes a page out of one item more than it shall hold.
    pub(in crate::gateway) fn new(mut data: Vec<T>, limit: usize, id: impl Fn(&T) -> String) -> Self {
        let has_more = data.len() > limit;
        data.truncate(limit);
        let next_cursor = data.last().filter(|_| has_more).map(id);
        Self { data, has_more, next_cursor }
    }
}

/// Ours, not Lava's: whether revoked keys are shown too.
#[derive(Deserialize)]
pub(in crate::gateway) struct Revoked {
    include_revoked: Option<String>,
}

impl Revoked {
    pub(super) fn are_shown(&self) -> Result<bool, GatewayError> {
        match self.include_revoked.as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(bad("include_revoked", "must be true or false")),
        }
    }
}
