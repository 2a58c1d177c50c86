//! Headers of answers that were not known yet when the head of a stream had to go out. They are shown with the request they belong to.
//!
//! They live in the memory of this process, and only those of the last requests: what must not be lost, the cost above all, is in the ledger.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::domain::RequestId;

/// Requests whose headers are kept.
const REQUESTS_MAX: usize = 1_024;

/// Headers that came too late, by request.
#[derive(Default)]
pub(super) struct LateHeaders(Mutex<VecDeque<(RequestId, HeaderMap)>>);

impl LateHeaders {
    pub(super) fn keep(&self, request: &RequestId, headers: HeaderMap) {
        if headers.is_empty() {
            return;
        }
        let mut kept = self.lock();
        if kept.len() == REQUESTS_MAX {
            kept.pop_front();
        }
        kept.push_back((request.clone(), headers));
    }

    /// The headers of a request, by name; `None` where all of them came in time, or they are no longer known.
    pub(super) fn of(&self, request: &RequestId) -> Option<Map<String, Value>> {
        let kept = self.lock();
        let (_, headers) = kept.iter().rev().find(|(known, _)| known.as_str() == request.as_str())?;
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Some(headers.iter().map(|(name, value)| (name.to_string(), text(value).into())).collect())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(RequestId, HeaderMap)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_the_last_requests_are_kept() {
        let late = LateHeaders::default();
        let headers: HeaderMap = [(http::header::RETRY_AFTER, http::HeaderValue::from(7))].into_iter().collect();
        let ids: Vec<RequestId> = (0..=REQUESTS_MAX).map(|_| RequestId::generate(false)).collect();
        for id in &ids {
            late.keep(id, headers.clone());
        }
        late.keep(&RequestId::generate(false), HeaderMap::new());
        assert_eq!(late.of(&ids[0]), None);
        assert_eq!(serde_json::json!(late.of(&ids[1])), serde_json::json!({"retry-after": "7"}));
    }
}
