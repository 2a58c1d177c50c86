//! Which forms of an answer a client takes. The official servers want both to be named, and some refuse any other way of saying so; here everything is served that
//! can be: a client that takes only one of the two forms gets that one, and one that says nothing takes both.

use std::str::FromStr;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;

use super::wire::json_response;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The forms that a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) json: bool,
    pub(super) events: bool,
}

impl Accept {
    /// Reads all `Accept` headers. Of the ranges that a form is in, the narrowest counts, and one with the weight zero means no.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
        let ranges: Vec<(String, bool)> = lines.iter().flat_map(|line| line.split(',')).filter_map(range).collect();
        if ranges.is_empty() {
            return Self { json: true, events: true };
        }
        let takes = |form: &str| {
            let kind = form.split_once('/').map_or(form, |(kind, _)| kind);
            let wider = [form.to_owned(), format!("{kind}/*"), "*/*".to_owned()];
            wider.iter().find_map(|wider| ranges.iter().find(|(range, _)| range == wider)).is_some_and(|(_, is_wanted)| *is_wanted)
        };
        Self { json: takes(JSON), events: takes(EVENTS) }
    }

    /// The answer in a form that the client takes; rmcp wrote it for one that takes both.
    pub(super) async fn fit(self, response: Response<Body>) -> Response<Body> {
        if response.status() != StatusCode::OK {
            return response;
        }
        let form = response.headers().get(header::CONTENT_TYPE).map(|form| form.as_bytes().to_owned()).unwrap_or_default();
        if form.starts_with(EVENTS.as_bytes()) && !self.events {
            return as_json(response).await;
        }
        if form.starts_with(JSON.as_bytes()) && !self.json { as_events(response).await } else { response }
    }
}

/// Says that both forms are taken, so that rmcp answers.
pub(super) fn take_both(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
}

/// One range, and whether it is wanted.
fn range(text: &str) -> Option<(String, bool)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| f32::from_str(value.trim()).unwrap_or(1.0))
    });
    Some((range, weight.is_none_or(|weight| weight > 0.0)))
}

/// Waits for the end of a stream, and gives the answer that it ends with. What is said on the way there has no place in this form.
async fn as_json(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    match last_message(body).await {
        Some(message) => {
            let json = json_response(parts.status, &message);
            parts.headers.remove(header::CACHE_CONTROL);
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
            Response::from_parts(parts, json.into_body())
        }
        None => Response::from_parts(parts, Body::empty()),
    }
}

/// The answer at the end of a stream of events as rmcp writes them: a message on each line of data.
pub(super) async fn last_message(body: Body) -> Option<Value> {
    let whole = body.collect().await.ok()?.to_bytes();
    let messages = whole.split(|byte| *byte == b'\n').rev().filter_map(|line| line.strip_prefix(b"data:"));
    messages.filter_map(|data| serde_json::from_slice::<Value>(data.trim_ascii()).ok()).find(|message| message.get("method").is_none())
}

async fn as_events(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let Ok(whole) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let event = [b"data: ", &*whole.to_bytes(), b"\n\n"].concat();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(Bytes::from(event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_it_is_understood() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT, HeaderValue::from_static(line));
            }
            let Accept { json, events } = Accept::of(&headers);
            (json, events)
        };
        for lines in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/json, text/event-stream"],
            &["text/event-stream,application/json"],
            &["APPLICATION/JSON, Text/Event-Stream"],
            &["application/json;q=0.9, text/event-stream; q=0.1; x=y"],
            &["application/json", "text/event-stream"],
            &["application/*, text/*"],
            &["text/html, */*;q=0.1"],
            &["application/json;charset=utf-8, text/event-stream;q=high"],
        ] {
            assert_eq!(of(lines), (true, true), "{lines:?}");
        }
        assert_eq!(of(&["application/json"]), (true, false));
        assert_eq!(of(&["application/*"]), (true, false));
        assert_eq!(of(&["text/event-stream"]), (false, true));
        assert_eq!(of(&["*/*, application/json;q=0"]), (false, true));
        assert_eq!(of(&["text/*;q=0, */*"]), (true, false));
        assert_eq!(of(&["text/html"]), (false, false));
        assert_eq!(of(&["*/*;q=0.000"]), (false, false));
    }
}
