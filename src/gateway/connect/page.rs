//! The pages of a login, for people. They carry everything they need and run no script; nothing on them came from outside without being escaped.

use std::{
    fmt::{Display, Formatter, Write},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::{ADDRESS, asker::Asker};
use crate::{
    domain::invocation,
    gateway::edge::{Response, body_of},
};

const STYLE: &str = include_str!("page.css");
static STYLE_HASH: LazyLock<String> = LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE))));

/// Nothing of a login is kept, framed, or told to other sites. Under `no-referrer` a browser would send `Origin: null` with the form, so it is `same-origin`.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A word above the question.
pub(super) enum Note {
    /// About the last answer.
    Plain(&'static str),
    /// The last answer was wrong.
    Wrong(&'static str),
}

/// The page that asks a person.
pub(super) struct Question<'a> {
    pub(super) asker: &'a Asker,
    pub(super) token: &'a str,
    /// Whether every key of this gateway only reaches the sandbox.
    pub(super) sandbox: bool,
    /// Whether they must show a secret key of this gateway.
    pub(super) needs_key: bool,
    pub(super) note: Option<Note>,
}

impl Question<'_> {
    pub(super) fn response(&self, status: StatusCode) -> Response {
        // A browser holds the redirect after a form against this list too, so it names the one port that the answer may go to.
        response(status, &self.html(), &format!("'self' http://127.0.0.1:{}", self.asker.port))
    }

    fn html(&self) -> String {
        let mut html = head("Let a program in?");
        let badge = if self.sandbox { " <strong>Sandbox</strong>" } else { "" };
        let _ = writeln!(html, "<p class=\"from\">lava-mcp gateway{badge}</p>\n<h1>Let this program use your gateway?</h1>");
        match &self.note {
            Some(Note::Plain(note)) => drop(writeln!(html, "<p class=\"note\" role=\"alert\">{note}</p>")),
            Some(Note::Wrong(note)) => drop(writeln!(html, "<p class=\"note wrong\" role=\"alert\">{note}</p>")),
            None => {}
        }
        html.push_str("<dl>\n");
        let limit = self.asker.limit_in_words();
        for (name, value, otherwise) in [
            ("Program", self.asker.client.as_deref(), "gives no name"),
            ("Machine", self.asker.machine.as_deref(), "not given"),
            ("Its limit", limit.as_deref(), "none given"),
        ] {
            let _ = match value {
                Some(value) => writeln!(html, "<dt>{name}</dt><dd><bdi>{}</bdi></dd>", Escaped(value)),
                None => writeln!(html, "<dt>{name}</dt><dd class=\"none\">{otherwise}</dd>"),
            };
        }
        let _ = writeln!(html, "<dt>Waits on</dt><dd>port {} of this computer</dd>\n</dl>", self.asker.port);
        html.push_str(
            "<p class=\"soft\">Program, machine and limit are what the program says about itself. Authorize only a login that you have just started.</p>\n\
             <h2>What it gets</h2>\n",
        );
        html.push_str(match (self.sandbox, limit) {
            (true, _) => {
                "<p>A new secret key of this sandbox. It makes, changes and revokes spend keys; answers come from a built-in model, and nothing costs money.</p>\n"
            }
            (false, Some(_)) => {
                "<p>A new secret key of this gateway. It makes, changes and revokes spend keys, sees what they spent, and can spend by itself: the limit above \
                 is kept by the program, not by the key.</p>\n"
            }
            (false, None) => {
                "<p>A new secret key of this gateway. It makes, changes and revokes spend keys, sees what they spent, and can spend by itself.</p>\n"
            }
        });
        let list = invocation::command("secret-keys list");
        let _ = writeln!(html, "<p class=\"soft\">To take it back: <code>{}</code>, then <code>delete</code>.</p>", Escaped(&list));
        let _ = writeln!(html, "<form method=\"post\" action=\"{ADDRESS}\" autocomplete=\"off\">");
        for (name, value) in self.asker.fields() {
            let _ = writeln!(html, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", Escaped(&value));
        }
        let _ = writeln!(html, "<input type=\"hidden\" name=\"token\" value=\"{}\">", Escaped(self.token));
        if self.needs_key {
            let _ = writeln!(
                html,
                "<label for=\"key\">A secret key of this gateway</label>\n\
                 <input id=\"key\" type=\"password\" name=\"secret_key\" autocomplete=\"off\" spellcheck=\"false\" required placeholder=\"aks_…\" \
                 aria-describedby=\"why\">\n\
                 <p id=\"why\" class=\"soft\">Others can reach this page too, so a key shows that you may let programs in. Where the gateway runs, \
                 <code>{}</code> makes one.</p>",
                Escaped(&invocation::command("secret-keys create"))
            );
        }
        // The first button is the one that the Enter key presses in the field above.
        html.push_str(
            "<div class=\"buttons\">\n<button class=\"yes\" name=\"answer\" value=\"authorize\">Authorize</button>\n\
             <button name=\"answer\" value=\"deny\" formnovalidate>Deny</button>\n</div>\n</form>\n</main>\n</body>\n</html>\n",
        );
        html
    }
}

/// The page that says why it does not go on.
pub(in crate::gateway) fn refusal(status: StatusCode, message: &str) -> Response {
    let mut html = head("Login refused");
    let _ = write!(
        html,
        "<p class=\"from\">lava-mcp gateway</p>\n<h1>This login cannot continue</h1>\n<p class=\"note wrong\" role=\"alert\">{}</p>\n\
         <p class=\"soft\">To try again, start the login again in the program that asked for it.</p>\n</main>\n</body>\n</html>\n",
        Escaped(message)
    );
    response(status, &html, "'none'")
}

fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · lava-mcp</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )
}

fn response(status: StatusCode, html: &str, form_action: &str) -> Response {
    let mut response = http::Response::new(body_of(html.to_owned().into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    let style = STYLE_HASH.as_str();
    let policy = format!("default-src 'none'; style-src {style}; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'");
    headers.extend(HeaderValue::from_str(&policy).ok().map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
    response
}

/// A text inside an element or a quoted attribute.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_a_text() {
        assert_eq!(Escaped("<a b=\"c\" d='e'>&amp;").to_string(), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;");
        assert!(!STYLE.contains('<'), "the style cannot end early");
    }
}
