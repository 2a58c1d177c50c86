//! What a caller shows to be let in: a key, or a forward token that carries one.
//!
//! Clients put a key into one of several headers, and some fill two of them: with an empty text, or with a key for somebody else. So the key in the form of ours counts.
//!
//! A forward token is the standard, padded base64 of a JSON object, as Lava's SDK sends it: `{"secret_key": "aks_…"}`, and with `provider_key` the caller's own key
//! for the provider.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::Deserialize;

use super::error::GatewayError;
use crate::domain::Secret;

/// The header into which a key from the address goes (`entrance`).
pub(super) const GOOGLE_HEADER: &str = "x-goog-api-key";
/// The headers that the SDKs put a key into.
const HEADERS: [&str; 5] = ["authorization", "x-api-key", "api-key", GOOGLE_HEADER, "xi-api-key"];
/// How keys of ours begin.
const OURS: [&str; 2] = ["lava_sk_", "aks_"];

const UNREADABLE: &str = "The API key is not readable text.";
const SCHEME: &str = "The Authorization header must be \"Bearer <key>\".";
const TWO_KEYS: &str = "Two different API keys of this gateway were sent; send one.";

/// A credential as it was presented; nothing of it has been checked.
#[derive(Debug)]
pub(super) struct Credential {
    /// A spend key or a secret key.
    pub(super) key: Secret,
    /// The caller's own key for the provider, which then bills them.
    pub(super) provider_key: Option<Secret>,
}

#[derive(Deserialize)]
struct ForwardToken {
    secret_key: String,
    #[serde(default)]
    provider_key: Option<String>,
    #[serde(default)]
    customer_id: Option<String>,
    #[serde(default)]
    meter_slug: Option<String>,
}

/// Whether a request shows a key at all.
pub(super) fn is_shown(headers: &HeaderMap) -> bool {
    shown(headers).next().is_some()
}

/// The key of a request, where nothing else counts.
pub(super) fn key_in(headers: &HeaderMap) -> Result<Option<Secret>, GatewayError> {
    Ok(Credential::from_headers(headers)?.map(|credential| credential.key))
}

/// What is sent where keys are, or why it cannot be a key. An empty text is not one.
fn shown(headers: &HeaderMap) -> impl Iterator<Item = Result<Shown<'_>, &'static str>> {
    let values = HEADERS.into_iter().flat_map(|name| headers.get_all(name).into_iter().map(move |value| (name, value)));
    values.flat_map(|(name, value)| match value.to_str() {
        Err(_) => vec![Err(UNREADABLE)],
        Ok(text) => in_header(text.trim(), name == "authorization"),
    })
}

/// What a header shows: each word in a form of ours, whatever is around it, such as a scheme, none, or two. Else the whole of it.
fn in_header(text: &str, is_authorization: bool) -> Vec<Result<Shown<'_>, &'static str>> {
    let (scheme, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    if is_authorization && scheme.eq_ignore_ascii_case("basic") {
        return in_basic(rest.trim());
    }
    let ours: Vec<_> = text.split([' ', '\t', ',']).map(Shown::of).filter(Shown::is_ours).map(Ok).collect();
    if !ours.is_empty() {
        return ours;
    }
    let whole = if is_authorization && scheme.eq_ignore_ascii_case("bearer") { rest.trim() } else { text };
    match whole {
        "" => Vec::new(),
        key if !is_authorization || key != text => vec![Ok(Shown::of(key))],
        _ => vec![Err(SCHEME)],
    }
}

/// As curl and addresses with a user in them send a key: as the password, or as the user without one.
fn in_basic(pair: &str) -> Vec<Result<Shown<'_>, &'static str>> {
    let Some(pair) = STANDARD.decode(pair).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else { return vec![Err(SCHEME)] };
    let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
    let shown: Vec<_> =
        [password, user].map(|text| Shown::of(text.trim().to_owned())).into_iter().filter(|shown| !shown.text.is_empty()).collect();
    let has_ours = shown.iter().any(Shown::is_ours);
    // Of two that are not ours, the password is what was meant.
    let most = if has_ours { shown.len() } else { 1 };
    shown.into_iter().filter(|shown| shown.is_ours() == has_ours).take(most).map(Ok).collect()
}

/// A text that was sent where a key is.
struct Shown<'a> {
    text: Cow<'a, str>,
    token: Option<ForwardToken>,
}

impl<'a> Shown<'a> {
    fn of(text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        // Keys have an underscore in them, which the base64 of a token never has.
        let token = STANDARD.decode(text.as_bytes()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { text, token }
    }

    /// The key itself, which a token holds.
    fn key(&self) -> &str {
        self.token.as_ref().map_or(&self.text, |token| token.secret_key.trim())
    }

    fn is_ours(&self) -> bool {
        OURS.iter().any(|prefix| self.key().starts_with(prefix))
    }

    fn credential(self) -> Result<Credential, GatewayError> {
        let key = Secret::new(self.key());
        let provider_key = self.token.map(ForwardToken::provider_key).transpose()?.flatten();
        Ok(Credential { key, provider_key })
    }
}

impl Credential {
    /// The credential of a request: the one in a form of ours, whatever else was sent. Two different ones of ours are refused: it would not be clear who pays. Without one of
    /// ours, what was sent is a key that is not known here.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, GatewayError> {
        let mut ours: Option<Self> = None;
        let mut foreign = None;
        for shown in shown(headers) {
            match shown {
                Ok(shown) if shown.is_ours() => {
                    let credential = shown.credential()?;
                    ours = Some(match ours {
                        Some(before) => before.and(credential)?,
                        None => credential,
                    });
                }
                other if !matches!(foreign, Some(Ok(_))) => foreign = Some(other),
                _ => {}
            }
        }
        match (ours, foreign) {
            (Some(credential), _) => Ok(Some(credential)),
            (None, Some(Ok(shown))) => shown.credential().map(Some),
            (None, Some(Err(why))) => Err(GatewayError::InvalidKey(why)),
            (None, None) => Ok(None),
        }
    }

    /// The same key, shown a second time.
    fn and(self, other: Self) -> Result<Self, GatewayError> {
        let is_other = |one: &Secret, two: &Secret| one.expose() != two.expose();
        let pays_elsewhere = self.provider_key.as_ref().zip(other.provider_key.as_ref()).is_some_and(|(one, two)| is_other(one, two));
        if is_other(&self.key, &other.key) || pays_elsewhere {
            return Err(GatewayError::InvalidKey(TWO_KEYS));
        }
        Ok(Self { key: self.key, provider_key: self.provider_key.or(other.provider_key) })
    }
}

impl ForwardToken {
    /// The caller's own key for the provider, if the token asks for nothing that is not here.
    fn provider_key(self) -> Result<Option<Secret>, GatewayError> {
        for (field, value) in [("customer_id", &self.customer_id), ("meter_slug", &self.meter_slug)] {
            if value.is_some() {
                let message = format!(
                    "{field}: this gateway does not bill customers; make the forward token without it, or give each customer a spend key"
                );
                return Err(GatewayError::BadField { field: field.to_owned(), message });
            }
        }
        if self.provider_key.as_ref().is_some_and(|key| key.trim().is_empty()) {
            let message = "provider_key: it is empty; leave it out to use the gateway's".to_owned();
            return Err(GatewayError::BadField { field: "provider_key".to_owned(), message });
        }
        Ok(self.provider_key.map(Secret::new))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Option<Credential>, GatewayError> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Credential::from_headers(&headers)
    }

    fn token(json: &str) -> String {
        format!("Bearer {}", STANDARD.encode(json))
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn a_key_is_found_where_the_sdks_put_it() {
        for (header, value) in [("authorization", "bearer lava_sk_1"), ("x-api-key", "lava_sk_1"), ("x-goog-api-key", " lava_sk_1")] {
            assert_eq!(read(&[(header, value)]).unwrap().unwrap().key.expose(), "lava_sk_1");
        }
        for pair in ["lava_sk_1:", "user:lava_sk_1", ":lava_sk_1", "lava_sk_1:x", "lava_sk_1"] {
            assert_eq!(read(&[("authorization", &basic(pair))]).unwrap().unwrap().key.expose(), "lava_sk_1", "{pair}");
        }
        assert!(read(&[]).unwrap().is_none());
        for text in ["lava_sk_1", "Bearer\tlava_sk_1", "Bearer Bearer lava_sk_1", "Bearer lava_sk_1, Bearer lava_sk_1"] {
            assert_eq!(read(&[("authorization", text)]).unwrap().unwrap().key.expose(), "lava_sk_1", "{text}");
        }
        for scheme in ["Digest a_b", "sk-1", "Basic a_b"] {
            assert_eq!(read(&[("authorization", scheme)]).unwrap_err().to_string(), SCHEME, "{scheme}");
        }
    }

    #[test]
    fn of_all_that_is_sent_the_key_of_ours_counts() {
        let ours = STANDARD.encode(r#"{"secret_key":"aks_live_1"}"#);
        for name in HEADERS {
            let with = |key: &str| if name == "authorization" { format!("Bearer {key}") } else { key.to_owned() };
            for other in HEADERS {
                let foreign = |key: &str| if other == "authorization" { format!("Bearer {key}") } else { key.to_owned() };
                for (key, is) in [("lava_sk_1", "lava_sk_1"), ("aks_live_1", "aks_live_1"), (ours.as_str(), "aks_live_1")] {
                    for beside in ["sk-ant-foreign", "", "undefined", key] {
                        let found = read(&[(other, &foreign(beside)), (name, &with(key))]).unwrap().unwrap();
                        assert_eq!(found.key.expose(), is, "{name} {other} {beside}");
                    }
                    let two = read(&[(name, &with(key)), (other, &foreign("lava_sk_2"))]).unwrap_err();
                    assert_eq!(two.to_string(), TWO_KEYS, "{name} {other}");
                }
                let unknown = read(&[(name, &with("sk-one")), (other, &foreign("sk-two"))]).unwrap().unwrap();
                assert!(unknown.key.expose().starts_with("sk-"), "neither is known here");
                assert!(read(&[(name, &with("")), (other, &foreign(" "))]).unwrap().is_none(), "{name} {other}");
            }
        }
        for empty in ["", "Bearer", "bearer ", "Basic", "Basic Og=="] {
            assert!(read(&[("authorization", empty)]).unwrap().is_none(), "{empty}");
            assert_eq!(read(&[("authorization", empty), ("x-api-key", "lava_sk_1")]).unwrap().unwrap().key.expose(), "lava_sk_1");
        }
    }

    #[test]
    fn what_cannot_be_read_does_not_hide_a_key_of_ours() {
        let mut headers = HeaderMap::new();
        headers.insert("api-key", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(Credential::from_headers(&headers).is_err());
        headers.insert("x-api-key", HeaderValue::from_static("lava_sk_1"));
        assert!(Credential::from_headers(&headers).unwrap().is_some());
    }

    #[test]
    fn a_forward_token_carries_a_key() {
        let plain =
            read(&[("authorization", &token(r#"{"secret_key":"aks_live_1","customer_id":null,"meter_slug":null}"#))]).unwrap().unwrap();
        assert_eq!((plain.key.expose(), plain.provider_key.is_none()), ("aks_live_1", true));
        let own = read(&[("x-api-key", &STANDARD.encode(r#"{"secret_key":"aks_live_1","provider_key":"sk-mine"}"#))]).unwrap().unwrap();
        assert_eq!(own.provider_key.unwrap().expose(), "sk-mine");
        let customer = read(&[("authorization", &token(r#"{"secret_key":"a","meter_slug":"m"}"#))]).unwrap_err();
        assert!(customer.to_string().starts_with("meter_slug: "), "{customer}");
        // What is not a token is a key, and a wrong one.
        assert_eq!(read(&[("x-api-key", "bm90IGEgdG9rZW4=")]).unwrap().unwrap().key.expose(), "bm90IGEgdG9rZW4=");
    }
}
