//! What a caller shows to be let in: a key, or a forward token that carries one.
//!
//! A forward token is the standard, padded base64 of a JSON object, as Lava's SDK sends it: `{"secret_key": "aks_…"}`, and with `provider_key` the caller's own key
//! for the provider.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::Deserialize;

use super::error::GatewayError;
use crate::domain::Secret;

/// The headers that the SDKs put a key into.
const HEADERS: [&str; 5] = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key"];

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
    HEADERS.iter().any(|name| headers.contains_key(*name))
}

/// The key of a request, where nothing else counts.
pub(super) fn key_in(headers: &HeaderMap) -> Result<Option<Secret>, GatewayError> {
    Ok(Credential::from_headers(headers)?.map(|credential| credential.key))
}

impl Credential {
    /// The credential of a request. Two different ones are refused: it would not be clear who pays.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, GatewayError> {
        const UNREADABLE: GatewayError = GatewayError::InvalidKey("The API key is not readable text.");
        let mut found: Option<&str> = None;
        for name in HEADERS {
            for value in headers.get_all(name) {
                let text = value.to_str().map_err(|_| UNREADABLE)?;
                let key = match name {
                    "authorization" => match text.split_once(' ') {
                        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
                        _ => return Err(GatewayError::InvalidKey("The Authorization header must be \"Bearer <key>\".")),
                    },
                    _ => text.trim(),
                };
                if found.is_some_and(|other| other != key) {
                    return Err(GatewayError::InvalidKey("Two different API keys were sent; send one."));
                }
                found = Some(key);
            }
        }
        found.map(Self::read).transpose()
    }

    fn read(text: &str) -> Result<Self, GatewayError> {
        // Keys have an underscore in them, which the base64 of a token never has.
        let token = STANDARD.decode(text).ok().and_then(|bytes| serde_json::from_slice::<ForwardToken>(&bytes).ok());
        let Some(token) = token else { return Ok(Self { key: Secret::new(text), provider_key: None }) };
        for (field, value) in [("customer_id", &token.customer_id), ("meter_slug", &token.meter_slug)] {
            if value.is_some() {
                let message = format!(
                    "{field}: this gateway bills no customers; make the forward token without it, or give each customer a spend key"
                );
                return Err(GatewayError::BadField { field: field.to_owned(), message });
            }
        }
        if token.provider_key.as_ref().is_some_and(|key| key.trim().is_empty()) {
            let message = "provider_key: it is empty; leave it out to use the gateway's".to_owned();
            return Err(GatewayError::BadField { field: "provider_key".to_owned(), message });
        }
        Ok(Self { key: Secret::new(token.secret_key), provider_key: token.provider_key.map(Secret::new) })
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

    #[test]
    fn a_key_is_found_where_the_sdks_put_it() {
        for (header, value) in [("authorization", "bearer lava_sk_1"), ("x-api-key", "lava_sk_1"), ("x-goog-api-key", " lava_sk_1")] {
            assert_eq!(read(&[(header, value)]).unwrap().unwrap().key.expose(), "lava_sk_1");
        }
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("authorization", "Bearer a_b"), ("x-api-key", "a_b")]).unwrap().is_some(), "the same key twice is one key");
        assert!(read(&[("authorization", "Bearer a_b"), ("x-api-key", "c_d")]).is_err());
        assert!(read(&[("authorization", "Basic a_b")]).is_err());
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
        // What is no token is a key, and a wrong one.
        assert_eq!(read(&[("x-api-key", "bm90IGEgdG9rZW4=")]).unwrap().unwrap().key.expose(), "bm90IGEgdG9rZW4=");
    }
}
