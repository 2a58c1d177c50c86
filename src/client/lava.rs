//! The front door for programs: one value made from a secret key, with the operations of Lava's official SDK by the same names.

use url::Url;

use super::{Client, ClientError, CreatedKey, KeyPage, KeyUpdate, NewKey, PageQuery, SpendKeyObject, Transport};
use crate::domain::{Secret, address};

/// The API of hosted Lava.
const LIVE_URL: &str = "https://api.lava.so";
/// The API of Lava's sandbox.
const SANDBOX_URL: &str = "https://sandbox-api.lava.so";
/// What a secret key of the sandbox begins with.
const TEST_KEY_PREFIX: &str = "aks_test_";

/// A gateway, and the secret key that manages its spend keys. Cheap to clone.
///
/// ```no_run
/// use lava_mcp::{
///     Lava,
///     client::{ChatOptions, NewKey},
///     domain::{Cycle, Money, RateLimit, SpendLimit},
/// };
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let lava = Lava::new(std::env::var("LAVA_SECRET_KEY")?)?;
///
/// let spend_key = lava
///     .spend_keys()
///     .create(&NewKey {
///         allowed_providers: Some(vec!["openai".into(), "anthropic".into()]),
///         allowed_models: Some(vec!["gpt-4o-mini".into(), "claude-sonnet-4-20250514".into()]),
///         spend_limit: Some(SpendLimit { amount: Money::from_dollars(50), cycle: Cycle::Monthly }),
///         rate_limit: Some(RateLimit { rpm: 60, burst: None }),
///         ..NewKey::named("Agent - Production")
///     })
///     .await?;
/// // Save this at once: the key is only told when it is made or rotated.
/// println!("Spend key: {}", spend_key.key.expose());
/// println!("Key ID: {}", spend_key.object.spend_key_id);
///
/// // The key works with every OpenAI client, at `lava.base_url()`; and from here:
/// let body = serde_json::from_value(serde_json::json!({
///     "model": "gpt-4o-mini",
///     "messages": [{"role": "user", "content": "Hello!"}],
/// }))?;
/// let answer = lava.client().chat(&spend_key.key, body, &ChatOptions::default(), None).await?;
/// println!("{}", answer.message["content"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Lava {
    client: Client,
    base: Url,
    secret: Secret,
}

impl Lava {
    /// Lava itself: a key that begins with `aks_test_` speaks to the sandbox, any other to the live API.
    ///
    /// # Errors
    /// [`ClientError::BadKey`] when the key is empty or no key could be written like that; [`ClientError::Unreachable`] when TLS cannot be set up on this machine.
    ///
    /// ```
    /// # fn main() -> Result<(), lava_mcp::client::ClientError> {
    /// let lava = lava_mcp::Lava::new("aks_test_example")?;
    /// assert_eq!(lava.base_url(), "https://sandbox-api.lava.so/v1/");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(secret_key: impl Into<String>) -> Result<Self, ClientError> {
        let secret_key = secret_key.into();
        if secret_key.is_empty() || !secret_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::BadKey);
        }
        let base = address::gateway(if secret_key.starts_with(TEST_KEY_PREFIX) { SANDBOX_URL } else { LIVE_URL })?;
        Ok(Self { client: Client::new(Transport::http(base.clone())?), base, secret: Secret::new(secret_key) })
    }

    /// The same with a gateway of one's own, such as `http://127.0.0.1:4040`; a base URL that ends in `/v1` or `/v1/` means the same.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] when it is no address that a key may be sent to: https, or http on this machine.
    ///
    /// ```
    /// # fn main() -> Result<(), lava_mcp::client::ClientError> {
    /// let lava = lava_mcp::Lava::new("aks_live_example")?.with_base_url("http://127.0.0.1:4040")?;
    /// assert_eq!(lava.base_url(), "http://127.0.0.1:4040/v1/");
    /// assert!(lava.with_base_url("http://gateway.example").is_err(), "the key would travel in the clear");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_base_url(self, base_url: &str) -> Result<Self, ClientError> {
        let base = address::gateway(base_url)?;
        Ok(Self { client: Client::new(Transport::http(base.clone())?), base, ..self })
    }

    /// The base URL as the official SDKs take it, with `/v1/` at its end.
    pub fn base_url(&self) -> String {
        format!("{}/v1/", self.base.as_str().trim_end_matches('/'))
    }

    /// The spend keys that this secret key manages.
    pub const fn spend_keys(&self) -> SpendKeys<'_> {
        SpendKeys { lava: self }
    }

    /// The client below, with which a spend key is used: [`Client::chat`], [`Client::messages`], [`Client::forward`].
    pub const fn client(&self) -> &Client {
        &self.client
    }
}

/// The operations on spend keys; from [`Lava::spend_keys`].
#[derive(Clone, Copy)]
pub struct SpendKeys<'a> {
    lava: &'a Lava,
}

impl SpendKeys<'_> {
    /// Makes a spend key. Its value is in the answer, and is not told again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 400 when a field is wrong, [`ClientError::field`] names it; with 401 or 403 when the secret key may not do this.
    /// [`ClientError::Unreachable`] and [`ClientError::BadAnswer`] as with every call here.
    pub async fn create(&self, key: &NewKey) -> Result<CreatedKey, ClientError> {
        self.lava.client.create_spend_key(&self.lava.secret, key).await
    }

    /// A page of spend keys with what was spent on each, newest first.
    ///
    /// ```no_run
    /// # use lava_mcp::{Lava, client::PageQuery};
    /// # async fn example(lava: Lava) -> Result<(), lava_mcp::client::ClientError> {
    /// let keys = lava.spend_keys().list(&PageQuery::default()).await?;
    /// for key in &keys.data {
    ///     let limit = key.spend_limit.as_ref().map_or("none", |limit| &limit.amount);
    ///     println!("{}: ${} spent (limit: ${limit})", key.name, key.current_spend);
    ///     println!("  {} requests, last used: {}", key.current_requests, key.last_used_at.as_deref().unwrap_or("never"));
    /// }
    /// // Once they are more than one page holds:
    /// let next = lava.spend_keys().list(&PageQuery { cursor: keys.next_cursor, limit: Some(100) }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn list(&self, page: &PageQuery) -> Result<KeyPage, ClientError> {
        self.lava.client.spend_keys(&self.lava.secret, page).await
    }

    /// One spend key, with what was spent on it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is none; else as [`Self::create`].
    pub async fn retrieve(&self, spend_key_id: &str) -> Result<SpendKeyObject, ClientError> {
        self.lava.client.spend_key(&self.lava.secret, spend_key_id).await
    }

    /// Changes what is named; the key stays the same, and so does the rest.
    ///
    /// ```no_run
    /// # use lava_mcp::{Lava, client::{Change, KeyUpdate}, domain::{Cycle, Money, SpendLimit, Status}};
    /// # async fn example(lava: Lava, spend_key_id: &str) -> Result<(), lava_mcp::client::ClientError> {
    /// lava.spend_keys()
    ///     .update(
    ///         spend_key_id,
    ///         &KeyUpdate {
    ///             allowed_models: Change::Set(vec!["gpt-4o-mini".into()]), // restrict to a cheaper model
    ///             spend_limit: Change::Set(SpendLimit { amount: Money::from_dollars(100), cycle: Cycle::Monthly }), // raise the limit
    ///             expires_at: Change::Lift, // and let it live for ever
    ///             ..KeyUpdate::default()
    ///         },
    ///     )
    ///     .await?;
    /// // Pausing is an update too.
    /// lava.spend_keys().update(spend_key_id, &KeyUpdate { status: Some(Status::Paused), ..KeyUpdate::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::retrieve`].
    pub async fn update(&self, spend_key_id: &str, update: &KeyUpdate) -> Result<SpendKeyObject, ClientError> {
        self.lava.client.update_spend_key(&self.lava.secret, spend_key_id, update).await
    }

    /// Gives the spend key a new value. Once this has returned, the old one is refused; limits and history stay.
    ///
    /// ```no_run
    /// # async fn example(lava: lava_mcp::Lava, spend_key_id: &str) -> Result<(), lava_mcp::client::ClientError> {
    /// let rotated = lava.spend_keys().rotate(spend_key_id).await?;
    /// println!("New key: {}", rotated.key.expose()); // told once
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::retrieve`].
    pub async fn rotate(&self, spend_key_id: &str) -> Result<CreatedKey, ClientError> {
        self.lava.client.rotate_spend_key(&self.lava.secret, spend_key_id).await
    }

    /// Ends the spend key for good.
    ///
    /// ```no_run
    /// # async fn example(lava: lava_mcp::Lava, spend_key_id: &str) -> Result<(), lava_mcp::client::ClientError> {
    /// lava.spend_keys().revoke(spend_key_id).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::retrieve`].
    pub async fn revoke(&self, spend_key_id: &str) -> Result<(), ClientError> {
        self.lava.client.revoke_spend_key(&self.lava.secret, spend_key_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_picks_the_host_as_in_the_official_sdk() {
        for (key, url) in [
            ("aks_test_x", "https://sandbox-api.lava.so/v1/"),
            ("aks_live_x", "https://api.lava.so/v1/"),
            ("anything-else", "https://api.lava.so/v1/"),
        ] {
            assert_eq!(Lava::new(key).unwrap().base_url(), url, "{key}");
        }
    }

    #[test]
    fn a_base_url_is_taken_with_and_without_its_version() {
        let lava = Lava::new("aks_test_x").unwrap();
        for url in
            ["https://team.example/lava", "https://team.example/lava/", "https://team.example/lava/v1", "https://team.example/lava/v1/"]
        {
            assert_eq!(lava.clone().with_base_url(url).unwrap().base_url(), "https://team.example/lava/v1/", "{url}");
        }
        let refused = lava.with_base_url("http://team.example").err().unwrap();
        assert!(refused.to_string().contains("unencrypted"), "{refused}");
    }

    #[test]
    fn what_can_be_no_key_is_not_sent() {
        for key in ["", "aks_live_x\n", "aks live", "aks_live_ä"] {
            assert!(matches!(Lava::new(key), Err(ClientError::BadKey)), "{key:?}");
        }
    }
}
