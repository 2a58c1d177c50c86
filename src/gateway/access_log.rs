//! The line that each request leaves in the log, at `info`: what was asked, how it was answered, who paid how much. Never a body, a query or a key.
//! What this process only looks up in its own gateway leaves it at `debug`: nobody has asked for that, and nothing was bought.
//!
//! It is written when everybody who knows something about the request has let go of it: with its answer, or, where money was set aside, with the settlement.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::extract::Request;
use http::Method;
use tracing::{Level, field};

use super::{edge::Response, lengths::shown, metrics::Code, route::Route};
use crate::domain::{Money, RequestId, SpendKey};

/// Whoever watches over a gateway asks these every few seconds.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// How keys begin that somebody may have put into an address.
const KEY_MARKS: [&str; 3] = ["sk_", "sk-", "aks_"];

/// Where a request buys something.
const SALES: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/forward"];

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Network,
    ThisProcess,
}

/// One request, as far as it is known.
#[derive(Clone)]
pub(super) struct LogEntry(Option<Arc<Entry>>);

struct Entry {
    method: Method,
    path: String,
    request: RequestId,
    began: Instant,
    level: Level,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    status: Option<u16>,
    code: Option<&'static str>,
    key: Option<(String, String)>,
    route: Option<Arc<Route>>,
    cost: Option<Money>,
}

impl LogEntry {
    /// The entry of a request that has come in, whose address has no key in it any more.
    pub(super) fn begin(request: &Request, id: &RequestId, origin: Origin) -> Self {
        let path = request.uri().path();
        let is_quiet =
            PROBES.contains(&path) || (origin == Origin::ThisProcess && request.method() == Method::GET && !SALES.contains(&path));
        let is_logged = if is_quiet { tracing::enabled!(Level::DEBUG) } else { tracing::enabled!(Level::INFO) };
        if !is_logged {
            return Self(None);
        }
        let level = if is_quiet { Level::DEBUG } else { Level::INFO };
        let (method, path) = (request.method().clone(), without_keys(path));
        Self(Some(Arc::new(Entry { method, path, request: id.clone(), began: Instant::now(), level, found: Mutex::default() })))
    }

    /// The entry that came with a request.
    pub(super) fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or(Self(None))
    }

    pub(super) fn answered(&self, response: &Response) {
        self.note(|found| {
            found.status = Some(response.status().as_u16());
            found.code = response.extensions().get::<Code>().map(|code| code.0);
        });
    }

    pub(super) fn pays(&self, key: &SpendKey) {
        self.note(|found| found.key = Some((key.id.as_str().to_owned(), shown(&key.settings.name))));
    }

    pub(super) fn goes_to(&self, route: &Arc<Route>) {
        self.note(|found| found.route = Some(route.clone()));
    }

    pub(super) fn costs(&self, charged: Money) {
        self.note(|found| found.cost = Some(charged));
    }

    fn note(&self, note: impl FnOnce(&mut Found)) {
        if let Some(entry) = &self.0 {
            note(&mut entry.found());
        }
    }
}

impl Entry {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs at one of the two levels; the level of an event has to be known where it is written.
macro_rules! log_at {
    ($level:expr, $($line:tt)+) => {
        if $level == Level::INFO { tracing::info!($($line)+) } else { tracing::debug!($($line)+) }
    };
}

impl Drop for Entry {
    fn drop(&mut self) {
        let found = std::mem::take(&mut *self.found());
        let (method, path, request) = (&self.method, self.path.as_str(), self.request.as_str());
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Some(status) = found.status else {
            log_at!(self.level, ms, request, "{method} {path} the caller disconnected");
            return;
        };
        let (provider, model) =
            (found.route.as_ref().map(|route| route.provider.as_str()), found.route.as_ref().map(|route| shown(&route.model)));
        let (cost, key) = (found.cost.map(field::display), found.key.as_ref().map(|(id, _)| id.as_str()));
        let name = found.key.as_ref().map(|(_, name)| name.as_str());
        log_at!(self.level, code = found.code, model, provider, cost, ms, key, name, request, "{method} {path} {status}");
    }
}

/// The path, without what may be a key in the wrong place.
fn without_keys(path: &str) -> String {
    let pieces = shown(path);
    let shown = pieces.split('/').map(|piece| if KEY_MARKS.iter().any(|mark| piece.contains(mark)) { "…" } else { piece });
    shown.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_path_is_not_logged() {
        assert_eq!(without_keys("/v1/chat/completions"), "/v1/chat/completions");
        assert_eq!(without_keys("/lava_sk_abc/v1/models"), "/…/v1/models");
        assert_eq!(without_keys("/v1/sk-proj-1"), "/v1/…");
    }
}
