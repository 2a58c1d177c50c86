//! What a provider of which only the price list is known is not sent, and how the caller learns of it.
//!
//! A person vouches for their own providers, so those get the request as it came.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Gateway, ask::Ask, authorise::check_seller, error::GatewayError, route::Route};
use crate::{
    domain::SpendKey,
    translate::{anthropic::betas, screening::HostedTools},
};

pub(super) const ANTHROPIC_BETA: &str = "anthropic-beta";
/// Names what was not sent, with commas between.
const DROPPED: HeaderName = HeaderName::from_static("x-lava-dropped");
/// The most uses of a hosted tool, where that was put in.
const MAX_USES: HeaderName = HeaderName::from_static("x-lava-max-uses");
/// As much of the names is repeated, in bytes.
const DROPPED_BYTES_MAX: usize = 1_024;

/// What differs from the request as it came.
#[derive(Debug, Default)]
pub(super) struct Screened {
    /// Headers that travel to the provider.
    pub(super) headers: HeaderMap,
    /// Headers for the caller that say what was changed.
    pub(super) notes: HeaderMap,
    /// The same where a person's own provider answers.
    pub(super) own_notes: HeaderMap,
}

/// Screens a request for those of its routes that are not a person's own.
pub(super) fn screen(
    gateway: &Gateway,
    key: &SpendKey,
    ask: &mut Ask,
    routes: &[Arc<Route>],
    headers: &HeaderMap,
) -> Result<Screened, GatewayError> {
    let hosted = if ask.is_free() {
        HostedTools::Free
    } else if key.settings.hosted_tools {
        HostedTools::Bounded
    } else {
        HostedTools::Refused
    };
    let taken: Vec<String> = ask.taken().iter().map(|name| (*name).to_owned()).collect();
    let own_notes = notes(&taken, None);
    // A person vouches for the prices of their own provider, and not for what a key allows there.
    let advisors = ask.advisors();
    for route in routes.iter().filter(|route| route.is_own()) {
        advisors.iter().try_for_each(|model| check_seller(&gateway.registry, key, &route.provider, model))?;
    }
    let screened = ask.screen(hosted);
    if routes.iter().all(|route| route.is_own()) {
        return Ok(Screened { own_notes, ..Screened::default() });
    }
    let (mut dropped, max_uses, models) = match screened? {
        Some(screened) => (screened.dropped.clone(), screened.max_uses, screened.hosted.models.clone()),
        None => (Vec::new(), None, Vec::new()),
    };
    dropped.extend(taken);
    for route in routes.iter().filter(|route| !route.is_own()) {
        for (model, _) in &models {
            if gateway.registry.catalog().model(&route.provider, model).is_none() {
                return Err(GatewayError::ModelNotFound { model: format!("{}/{model}", route.provider), nearest: Vec::new() });
            }
            check_seller(&gateway.registry, key, &route.provider, model)?;
        }
    }
    let mut headers = headers.clone();
    screen_betas(&mut headers, hosted, &mut dropped);
    let notes = notes(&dropped, max_uses);
    Ok(Screened { headers, notes, own_notes })
}

fn notes(dropped: &[String], max_uses: Option<u64>) -> HeaderMap {
    let mut notes = HeaderMap::new();
    if !dropped.is_empty() {
        notes.insert(DROPPED, listed(dropped));
    }
    if let Some(uses) = max_uses {
        notes.insert(MAX_USES, HeaderValue::from(uses));
    }
    notes
}

fn screen_betas(headers: &mut HeaderMap, hosted: HostedTools, dropped: &mut Vec<String>) {
    // A header may come in several lines.
    let lines = headers.get_all(ANTHROPIC_BETA).iter().map(|value| value.to_str().unwrap_or("unreadable"));
    let text = lines.collect::<Vec<_>>().join(",");
    headers.remove(ANTHROPIC_BETA);
    let betas = text.split(',').map(str::trim).filter(|beta| !beta.is_empty());
    let (sent, others): (Vec<&str>, Vec<&str>) = betas.partition(|beta| betas::is_sent(beta, hosted));
    if let Some(value) = HeaderValue::from_str(&sent.join(",")).ok().filter(|value| !value.is_empty()) {
        headers.insert(ANTHROPIC_BETA, value);
    }
    dropped.extend(others.into_iter().map(|beta| format!("{ANTHROPIC_BETA}:{beta}")));
}

/// Names that callers chose, as the value of a header: in visible ASCII, and with an end.
fn listed(names: &[String]) -> HeaderValue {
    let mut text = String::new();
    for name in names {
        let shown: String = name.escape_default().filter(|c| *c != ',').take(100).collect();
        if text.len() + shown.len() > DROPPED_BYTES_MAX {
            text.push_str(", and more");
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&shown);
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unreadable names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_a_header_whatever_they_are() {
        for (names, value) in [(&["speed", "a,b"][..], "speed, ab"), (&["\n\u{e9}", "\u{1f4a9}"], "\\n\\u{e9}, \\u{1f4a9}"), (&[], "")] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(listed(&names), value);
        }
        let long = vec!["x".repeat(300); 50];
        let value = listed(&long);
        assert!(value.len() < DROPPED_BYTES_MAX + 20 && value.to_str().unwrap().ends_with(", and more"), "{value:?}");
    }

    #[test]
    fn a_beta_that_is_not_known_stays_here() {
        for (value, sent, not_sent) in [
            ("claude-code-20250219, unknown-2030-01-01", Some("claude-code-20250219"), &["anthropic-beta:unknown-2030-01-01"][..]),
            ("fast-mode-2026-02-01", None, &["anthropic-beta:fast-mode-2026-02-01"]),
            (" , ", None, &[]),
            // In two lines.
            (
                "effort-2025-11-24;fast-mode-2026-02-01,pdfs-2024-09-25",
                Some("effort-2025-11-24,pdfs-2024-09-25"),
                &["anthropic-beta:fast-mode-2026-02-01"],
            ),
        ] {
            let (mut headers, mut dropped) = (HeaderMap::new(), Vec::new());
            for line in value.split(';') {
                headers.append(ANTHROPIC_BETA, HeaderValue::from_static(line));
            }
            screen_betas(&mut headers, HostedTools::Refused, &mut dropped);
            assert_eq!(headers.get(ANTHROPIC_BETA).map(|value| value.to_str().unwrap()), sent);
            assert_eq!(dropped, not_sent);
        }
    }
}
