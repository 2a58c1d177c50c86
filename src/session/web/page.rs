//! The last page of a login: one fixed text of three, without scripts, and with nothing in it that came from outside.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use sha2::{Digest, Sha256};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:20vh auto;padding:0 1rem;color:#222;background:#fff}\
     @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}";

/// How a login ended, for the person at the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    LoggedIn,
    Denied,
    Failed,
}

impl Page {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::LoggedIn => ("You are logged in", "lava-mcp has what it needs. You can close this page and go back to your program."),
            Self::Denied => ("Not allowed", "You did not allow the login, and nothing was kept. You can close this page."),
            Self::Failed => ("The login did not work", "Your program says why. You can close this page and try again from there."),
        }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let (title, text) = self.words();
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<p>{text}</p>\n"
        );
        let mut response = plain(StatusCode::OK);
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!("default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        *response.body_mut() = Full::new(Bytes::from(html));
        response
    }
}

/// An answer with nothing in it, to be neither kept nor told to the next page.
pub(super) fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Sends the browser on to another page.
pub(super) fn onward(to: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::SEE_OTHER);
    response.headers_mut().insert(header::LOCATION, to);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_page_allows_nothing_but_its_own_style() {
        for page in [Page::LoggedIn, Page::Denied, Page::Failed] {
            let response = page.response();
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            let html = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
            let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
            assert!(policy.starts_with("default-src 'none';"), "{policy}");
            assert!(policy.contains(&STANDARD.encode(Sha256::digest(style))), "{policy}");
            assert!(!html.contains("<script") && !html.contains("http"), "{html}");
        }
    }
}
