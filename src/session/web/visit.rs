//! What a request at the port of a login means. Every page of the web can send one there, so nothing is believed that does not carry the login's own state.

use http::{HeaderMap, Method, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use crate::domain::Secret;

/// Where the browser comes back to.
pub(super) const CALLBACK: &str = "/callback";
/// Where it is sent on, so that no code stays in its address bar.
pub(super) const DONE: &str = "/done";
/// Where the browser is started, before a secret part of its own.
pub(super) const START: &str = "/start/";
/// Longest query that is looked at.
const QUERY_BYTES_MAX: usize = 4 << 10;

/// What a request at the port means.
#[derive(Debug)]
pub(super) enum Visit {
    /// The person agreed; the code proves it.
    Code(Secret),
    /// The person did not agree.
    Denied,
    /// It does not belong to this login.
    WrongState,
    /// The browser that was started asks for the page to go to.
    Start,
    /// It asks for the last page.
    Done,
    /// It is none of ours.
    Refused(StatusCode),
}

/// Reads a request, given the port, the state and the start of the login.
pub(super) fn read(method: &Method, uri: &Uri, headers: &HeaderMap, port: u16, state: &str, start: &str) -> Visit {
    // A name that somebody else's DNS points here is not ours.
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")].iter().any(|ours| ours == host);
    if !is_ours || hosts.next().is_some() || uri.authority().is_some() {
        return Visit::Refused(StatusCode::FORBIDDEN);
    }
    match (uri.path(), method) {
        (CALLBACK, &Method::GET) => answer(uri.query().unwrap_or_default(), state),
        (DONE, &Method::GET) => Visit::Done,
        (path, &Method::GET) if path.strip_prefix(START).is_some_and(|told| told.as_bytes().ct_eq(start.as_bytes()).into()) => Visit::Start,
        (CALLBACK | DONE, _) => Visit::Refused(StatusCode::METHOD_NOT_ALLOWED),
        _ => Visit::Refused(StatusCode::NOT_FOUND),
    }
}

/// Reads the query with which a login ends.
pub(super) fn answer(query: &str, state: &str) -> Visit {
    if query.len() > QUERY_BYTES_MAX {
        return Visit::Refused(StatusCode::URI_TOO_LONG);
    }
    let value = |name: &str| {
        let mut found = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        let first = found.next().map(|(_, value)| value.into_owned());
        // Said twice is not said.
        first.filter(|value| found.next().is_none() && !value.is_empty())
    };
    let is_right = value("state").is_some_and(|told| bool::from(told.as_bytes().ct_eq(state.as_bytes())));
    match value("code") {
        _ if !is_right => Visit::WrongState,
        Some(code) if value("error").is_none() => Visit::Code(Secret::new(code)),
        _ => Visit::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "0123456789abcdef0123456789abcdef";
    const START_ID: &str = "fedcba9876543210fedcba9876543210";

    fn visit(method: &Method, host: &str, target: &str) -> Visit {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        read(method, &target.parse().unwrap(), &headers, 4000, STATE, START_ID)
    }

    fn get(target: &str) -> Visit {
        visit(&Method::GET, "127.0.0.1:4000", target)
    }

    fn status(visit: &Visit) -> u16 {
        let Visit::Refused(status) = visit else { panic!("{visit:?}") };
        status.as_u16()
    }

    #[test]
    fn only_the_login_s_own_answer_counts() {
        for host in ["127.0.0.1:4000", "localhost:4000"] {
            let visit = visit(&Method::GET, host, &format!("/callback?code=c%2B1&state={STATE}"));
            assert!(matches!(visit, Visit::Code(code) if code.expose() == "c+1"), "{host}");
        }
        for query in [format!("state={STATE}"), format!("error=access_denied&state={STATE}"), format!("code=&state={STATE}")] {
            assert!(matches!(get(&format!("/callback?{query}")), Visit::Denied), "{query}");
        }
        let wrong =
            ["code=c".to_owned(), "code=c&state=".to_owned(), format!("code=c&state={STATE}0"), format!("code=c&state=x&state={STATE}")];
        for query in wrong {
            assert!(matches!(get(&format!("/callback?{query}")), Visit::WrongState), "{query}");
        }
    }

    #[test]
    fn what_is_not_ours_is_turned_away() {
        let right = format!("/callback?code=c&state={STATE}");
        for host in ["evil.example:4000", "127.0.0.1", "127.0.0.1:4001", "localhost.evil.example:4000", "[::1]:4000"] {
            assert_eq!(status(&visit(&Method::GET, host, &right)), 403, "{host}");
        }
        assert_eq!(status(&get(&format!("http://evil.example{right}"))), 403);
        for method in &[Method::POST, Method::HEAD, Method::OPTIONS] {
            assert_eq!(status(&visit(method, "127.0.0.1:4000", &right)), 405);
        }
        assert!(matches!(get(&format!("/start/{START_ID}")), Visit::Start));
        for path in ["/", "/callback/", "/Callback", "/favicon.ico", "/start/", "/start/x", "/start/0123456789abcdef0123456789abcdef"] {
            assert_eq!(status(&get(path)), 404, "{path}");
        }
        assert_eq!(status(&get(&format!("{right}&more={}", "x".repeat(QUERY_BYTES_MAX)))), 414);
    }
}
