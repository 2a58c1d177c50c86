//! What happens to a request before anything routes, logs or counts it: a key in its address becomes a header, a base address that was set a little wrong leads where it
//! was meant to, and the request gets its id.

use std::convert::Infallible;

use axum::{Router, extract::Request};
use http::{HeaderValue, Uri, uri::PathAndQuery};
use tower::{ServiceExt, service_fn};
use url::form_urlencoded;

use super::{
    access_log::{LogEntry, Origin},
    credential::GOOGLE_HEADER,
    request_ids,
};
use crate::domain::RequestId;

/// Where Google's clients put a key into an address.
const KEY: &str = "key";
/// Stands for a key that no header can hold: it was shown, and is not known.
const UNREADABLE_KEY: HeaderValue = HeaderValue::from_static("unreadable");
/// What other tools build addresses of.
const ENDPOINTS: [&str; 16] = [
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/models",
    "/v1/forward",
    // These are not open, and say so by name.
    "/v1/messages/batches",
    "/v1/responses",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/files",
    "/v1/uploads",
    "/v1/batches",
    "/v1/realtime",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/audio/speech",
];
/// The same, with more behind them.
const OPEN: [&str; 3] = ["/v1/models/", "/v1beta/", "/v1alpha/"];

/// The routes behind the entrance.
pub(super) fn behind(is_sandbox: bool, origin: Origin, routes: Router) -> Router {
    Router::new().fallback_service(service_fn(move |mut request: Request| {
        let routes = routes.clone();
        set_right(&mut request);
        let id = RequestId::generate(is_sandbox);
        request.extensions_mut().insert(id.clone());
        let log = LogEntry::begin(&request, &id, origin);
        request.extensions_mut().insert(log.clone());
        async move {
            let Ok(mut response) = routes.oneshot(request).await;
            request_ids::stamp(&id, response.headers_mut());
            log.answered(&response);
            Ok::<_, Infallible>(response)
        }
    }))
}

fn set_right(request: &mut Request) {
    let rest = take_keys(request);
    let path = meant(request.uri().path());
    if path.is_none() && rest.is_none() {
        return;
    }
    let path = path.as_deref().unwrap_or_else(|| request.uri().path());
    let query = rest.as_deref().or_else(|| request.uri().query()).filter(|query| !query.is_empty());
    let whole = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = request.uri().clone().into_parts();
    // What is made of parts of an address is one.
    parts.path_and_query = PathAndQuery::try_from(whole).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Moves keys from the query into a header; returns what is left of the query where there was one.
fn take_keys(request: &mut Request) -> Option<String> {
    let query = request.uri().query()?;
    let mut keys = Vec::new();
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match form_urlencoded::parse(pair.as_bytes()).next() {
            // A space is a plus sign that nobody encoded: keys have no spaces.
            Some((name, value)) if name == KEY => keys.push(value.trim().replace(' ', "+")),
            _ => rest.push(pair),
        }
    }
    if keys.is_empty() {
        return None;
    }
    let rest = rest.join("&");
    for key in keys.iter().filter(|key| !key.is_empty()) {
        let mut value = HeaderValue::from_str(key).unwrap_or(UNREADABLE_KEY);
        value.set_sensitive(true);
        request.headers_mut().append(GOOGLE_HEADER, value);
    }
    Some(rest)
}

/// The path that was meant, where a base address was set without `/v1`, with a second one, or with a slash too many. Routes that manage something have one address only: a
/// proxy in front may have a rule on it.
fn meant(path: &str) -> Option<String> {
    if ENDPOINTS.contains(&path) {
        return None;
    }
    let pieces = path.strip_prefix('/')?.split('/').filter(|piece| !piece.is_empty());
    let pieces: Vec<&str> = pieces.skip_while(|piece| *piece == "v1").collect();
    let target = match pieces.first() {
        None if path.bytes().all(|byte| byte == b'/') => "/".to_owned(),
        Some(&("v1beta" | "v1alpha")) => format!("/{}", pieces.join("/")),
        _ => format!("/v1/{}", pieces.join("/")),
    };
    let is_open = ENDPOINTS.contains(&target.as_str()) || OPEN.iter().any(|open| target.starts_with(open)) || target == "/";
    (is_open && target != path).then_some(target)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::gateway::credential::key_in;

    #[test]
    fn a_base_address_that_was_set_a_little_wrong_leads_where_it_was_meant_to() {
        for endpoint in ENDPOINTS.into_iter().chain(["/v1/models/a", "/v1/models/openrouter/openai/gpt-4o", "/v1/models/a%2Fb"]) {
            assert_eq!(meant(endpoint), None, "{endpoint}");
            let bare = endpoint.strip_prefix("/v1").unwrap();
            for wrong in [
                format!("/v1{endpoint}"),
                format!("/v1/v1{endpoint}"),
                format!("/{endpoint}"),
                format!("//{endpoint}"),
                format!("{endpoint}/"),
                format!("{endpoint}//"),
                format!("/v1/{bare}"),
                format!("/v1//v1{bare}/"),
                bare.to_owned(),
                format!("/{bare}"),
            ] {
                assert_eq!(meant(&wrong).as_deref(), Some(endpoint), "{wrong}");
            }
        }
        assert_eq!(meant("//").as_deref(), Some("/"));
        assert_eq!(meant("/v1/v1beta/models/a:generateContent").as_deref(), Some("/v1beta/models/a:generateContent"));
    }

    #[test]
    fn nothing_else_is_taken_for_another_address() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "*",
            "/healthz",
            "//auth/connect",
            "/v1/auth/callback/",
            "//v1/auth/callback",
            "/v1/chat",
            "/v1/chat/completions/x",
            "/v1/messages/..",
            "/v1/messages%2Fcount_tokens",
            "/v1%2Fmessages",
            "/%76%31/messages",
            "/x/v1/messages",
            "/v1/spend_keys/",
            "/v1/spend_keys//rotate",
            "/v1/spend_keys/self/",
            "/v1/v1/spend_keys/a",
            "//v1/spend_keys",
            "/spend_keys",
            "/lava_mcp/account",
            "/v1/requests/",
            "/V1/messages",
            "/v1/models",
            "/metrics/",
        ] {
            assert_eq!(meant(path), None, "{path}");
        }
    }

    #[test]
    fn a_key_in_an_address_becomes_a_header() {
        let read = |uri: &str| {
            let mut request = Request::get(uri).body(Body::empty()).unwrap();
            set_right(&mut request);
            (request.uri().to_string(), key_in(request.headers()).map(|key| key.map(|key| key.expose().to_owned())).ok().flatten())
        };
        let key = |key: &str| Some(key.to_owned());
        for (uri, left, found) in [
            ("/v1/models?key=lava_sk_1", "/v1/models", key("lava_sk_1")),
            ("/v1/models?limit=3&key=lava_sk_1&x=y", "/v1/models?limit=3&x=y", key("lava_sk_1")),
            ("/v1/models?k%65y=lava%5fsk_1", "/v1/models", key("lava_sk_1")),
            ("/v1/models?key=", "/v1/models", None),
            ("/v1/models?key=x%0a%00x", "/v1/models", key("unreadable")),
            ("/v1/models?key=sk-foreign&key=lava_sk_1", "/v1/models", key("lava_sk_1")),
            ("/v1/models?apikey=lava_sk_1", "/v1/models?apikey=lava_sk_1", None),
            ("/v1/forward?u=https://a/v1/models?key=lava_sk_1", "/v1/forward?u=https://a/v1/models?key=lava_sk_1", None),
            ("http://localhost/v1/v1/models?key=lava_sk_1", "http://localhost/v1/models", key("lava_sk_1")),
            ("//v1/models?a=b", "/v1/models?a=b", None),
        ] {
            assert_eq!(read(uri), (left.to_owned(), found), "{uri}");
        }
    }
}
