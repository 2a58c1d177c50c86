//! What a provider's refusal means: for the caller, and for the bill. What it says is handed on, in whichever shape it came, but never a key in it.

mod document;
mod reason;
mod wait;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{error::GatewayError, meter::read_whole, request_ids, reserve::Held, upstream::Reply};
use crate::{
    domain::{Metered as Known, Secret},
    translate::media,
};
pub(super) use reason::Reason;
pub(super) use wait::Wait;

/// As much of an upstream's error is looked at.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// So much of a key is enough to find it by: what begins like it is hidden to its end.
const KEY_START: usize = 8;
/// So much of the end is what some repeat, for people to know their key by.
const KEY_END: usize = 4;
/// In place of what is hidden.
const HIDDEN: &str = "****";
/// Shorter keys are only hidden whole.
const KEY_CHARS_MIN: usize = 16;

/// What a provider said when it refused.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) reason: Reason,
    /// How long it asks to wait.
    pub(super) wait: Option<Wait>,
    /// Whether it says that coming again helps.
    pub(super) should_retry: Option<bool>,
    /// Its own id of the request.
    pub(super) request_id: Option<HeaderValue>,
}

impl Said {
    pub(super) fn message(&self) -> &str {
        if self.reason.message.is_empty() { "it gave no reason" } else { &self.reason.message }
    }
}

/// Reads a refusal: an answer whose status is not a success.
pub(super) async fn refused(held: &Held, reply: Reply, stopping: &CancellationToken) -> (GatewayError, Known) {
    const NOT_BILLED: Known = Known::Nothing { dispatched: true };
    let route = &held.route;
    let (provider, status) = (route.provider.clone(), reply.status);
    if status.is_redirection() || status.is_informational() {
        return (GatewayError::BrokenAnswer { provider, detail: format!("it answered with status {status} instead") }, NOT_BILLED);
    }
    let (headers, key) = (reply.headers.clone(), route.credential.as_ref());
    let body = tokio::select! {
        body = read_whole(reply, ERROR_BYTES_MAX) => body.unwrap_or_default(),
        () = stopping.cancelled() => Bytes::new(),
    };
    let parsed = document::parse(&body);
    let mut said = Said {
        reason: reason(&headers, &body, parsed.as_ref(), key),
        wait: Wait::read(status, &headers, parsed.as_ref(), (held.clock)()),
        should_retry: headers.get("x-should-retry").and_then(|value| value.to_str().ok()?.trim().parse().ok()),
        request_id: request_ids::of_upstream(&headers, key).or_else(|| request_ids::in_body(parsed.as_ref()?, key)),
    };
    // A provider that forbids something knows its key, and refuses what the caller asked for.
    let is_about_the_key = status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && said.reason.is_about_the_key());
    if is_about_the_key && !route.is_callers_key {
        // The caller's key is fine; ours for the provider is not. Who does not know a key often says a part of it.
        if status == StatusCode::UNAUTHORIZED {
            said.reason = Reason::default();
        }
        let (env, said) = (route.variables.clone(), Box::new(said));
        return (GatewayError::CredentialsRejected { provider, status: status.as_u16(), env, said }, NOT_BILLED);
    }
    // An edge in front of the provider gave up on an answer that may be billed all the same.
    let is_from_an_edge = matches!(status.as_u16(), 504 | 520..=528 | 530) || (matches!(status.as_u16(), 502 | 503) && parsed.is_none());
    let known = if is_from_an_edge { Known::Unknown } else { NOT_BILLED };
    (GatewayError::Upstream { provider, status: status.as_u16(), said: Box::new(said), is_charged: is_from_an_edge }, known)
}

/// Why a request was refused, without the key that it was sent with.
pub(super) fn reason_in(headers: &HeaderMap, body: &[u8], key: Option<&Secret>) -> Reason {
    reason(headers, body, document::parse(body).as_ref(), key)
}

fn reason(headers: &HeaderMap, body: &[u8], parsed: Option<&Value>, key: Option<&Secret>) -> Reason {
    Reason::read(body, parsed, is_markup(headers), |text| without_key(text, key)).or_kind(kind_in(headers, key))
}

/// What AWS says beside a body with nothing but a message, before a colon and an address.
fn kind_in(headers: &HeaderMap, key: Option<&Secret>) -> Option<String> {
    let kind = headers.get("x-amzn-errortype")?.to_str().ok()?.split(':').next()?.trim();
    Some(without_key(kind, key)).filter(|kind| !kind.is_empty())
}

fn is_markup(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| ["text/html", "application/xhtml+xml"].iter().any(|markup| media::is_type(kind.as_bytes(), markup)))
}

/// An error inside an answer or a stream without the key it was called with; `None` where nothing has to be hidden.
pub(super) fn hidden(said: &[u8], key: Option<&Secret>) -> Option<Bytes> {
    let text = std::str::from_utf8(said).ok()?;
    let hidden = without_key(text, key);
    (hidden != text).then(|| hidden.into())
}

/// A text of a provider without the key it was called with, as it is or as an address has it, whole or from its beginning on.
fn without_key(text: &str, key: Option<&Secret>) -> String {
    let Some(key) = key.map(Secret::expose).filter(|key| !key.is_empty()) else { return text.to_owned() };
    let in_address: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    let text = text.replace(key, HIDDEN).replace(&in_address, HIDDEN);
    let Some(start) = key.get(..KEY_START).filter(|_| key.len() >= KEY_CHARS_MIN) else { return text };
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | '…');
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(start) {
        hidden.push_str(&rest[..at]);
        hidden.push_str(HIDDEN);
        rest = rest[at + start.len()..].trim_start_matches(is_of_key);
    }
    hidden + rest
}

/// The same for the end of the key: each word that repeats it is hidden.
pub(super) fn without_end(text: &str, key: Option<&Secret>) -> String {
    let key = key.map(Secret::expose).filter(|key| key.len() >= KEY_CHARS_MIN);
    let Some(end) = key.and_then(|key| key.get(key.len() - KEY_END..)) else { return text.to_owned() };
    text.split(' ').map(|word| if word.contains(end) { HIDDEN } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hidden_however_it_is_quoted() {
        let key = Secret::new("sk-proj-abc+def/ghi-0123456789");
        let hide = |text: &str| without_key(text, Some(&key));
        for (text, hidden) in [
            ("bad key sk-proj-abc+def/ghi-0123456789.", "bad key ****."),
            ("?key=sk-proj-abc%2Bdef%2Fghi-0123456789&x", "?key=****&x"),
            ("Incorrect key: sk-proj-********6789. See", "Incorrect key: **** See"),
            ("sk-proj-abc... is wrong; sk-proj-", "**** is wrong; ****"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(hide(text), hidden, "{text}");
        }
        assert_eq!(without_key("short: abcdefgh", Some(&Secret::new("abcdefgh"))), "short: ****");
        assert_eq!(without_key("sk-proj-abc", None), "sk-proj-abc");
        assert_eq!(without_end("Incorrect key: ...6789. See 789", Some(&key)), "Incorrect key: **** See 789");
    }
}
