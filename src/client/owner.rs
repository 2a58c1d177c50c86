//! What an owner looks at and decides beside the spend keys. Our gateway has these routes; hosted Lava does not, and answers with status 404.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, ClientError, KeyPage, LimitObject, PageQuery, SpendKeyObject, segment, to_bytes};
use crate::domain::{Secret, SpendLimit};

/// The lid over all keys of the account, and what they have spent together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountObject {
    /// Most money a cycle; null without a limit.
    #[serde(default)]
    pub spend_limit: Option<LimitObject>,
    /// US dollars spent in this cycle; in all where there is no lid.
    pub current_spend: String,
    /// US dollars set aside by calls in flight.
    pub held: String,
    /// US dollars left in this cycle; null without a limit.
    #[serde(default)]
    pub remaining: Option<String>,
    /// When the cycle ends.
    #[serde(default)]
    pub resets_at: Option<String>,
    /// Whether it is the account of the sandbox.
    pub test: bool,
}

/// Money set aside for one attempt of a request, or charged because the process that had set it aside died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldObject {
    /// Its id.
    pub hold_id: String,
    /// Which key pays.
    pub spend_key_id: String,
    /// The request it belongs to.
    pub request_id: String,
    /// US dollars.
    pub amount: String,
    /// Provider id.
    pub provider: String,
    /// Model id at that provider; empty for calls without a model.
    pub model: String,
    /// Method and URL called.
    pub endpoint: String,
    /// Since when.
    pub opened_at: String,
    /// Of an unverified charge, why: `hold` when the answer did not come, `crash` when the process that waited for it died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
}

/// The holds that a key may see, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Money set aside by calls in flight.
    pub open: Vec<HoldObject>,
    /// Charges of a whole hold that nobody can prove, but for those that were written off. Empty at gateways that know only `suspect` ones.
    #[serde(default)]
    pub unverified: Vec<HoldObject>,
    /// Those of them whose process died; the old name.
    pub suspect: Vec<HoldObject>,
}

/// An unverified charge that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenOff {
    /// The hold that had been charged.
    pub hold_id: String,
    /// US dollars that were taken back.
    pub written_off: String,
}

/// A model that billed more than its prices allow; keys with a limit do not buy it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MispricedModel {
    /// Provider id.
    pub provider: String,
    /// Model id at that provider.
    pub model: String,
    /// The request that showed it.
    pub request_id: String,
    /// US dollars that had been set aside for it: the most it could cost by its prices.
    pub held: String,
    /// US dollars it cost by its reported usage.
    pub billed: String,
    /// When.
    pub at: String,
}

#[derive(Deserialize)]
struct MispricedList {
    data: Vec<MispricedModel>,
}

impl Client {
    /// The lid over all keys.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn account(&self, secret: &Secret) -> Result<AccountObject, ClientError> {
        self.json(Method::GET, "/v1/lava_mcp/account", Some(secret), None).await
    }

    /// Sets the lid over all keys, or lifts it with `None`. What they have spent in its cycle counts from the start.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 400 when the limit is wrong.
    pub async fn limit_account(&self, secret: &Secret, limit: Option<SpendLimit>) -> Result<AccountObject, ClientError> {
        let body = to_bytes(&json!({"spend_limit": limit}));
        self.json(Method::PUT, "/v1/lava_mcp/account", Some(secret), Some(body)).await
    }

    /// A page of spend keys, newest first, with those that were revoked. A gateway that does not know how to show them leaves them out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn spend_keys_with_revoked(&self, secret: &Secret, page: &PageQuery) -> Result<KeyPage, ClientError> {
        self.json(Method::GET, &format!("/v1/spend_keys?include_revoked=true&{}", page.pairs()), Some(secret), None).await
    }

    /// A spend key by its id, if it was revoked too.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is none.
    pub async fn spend_key_or_revoked(&self, secret: &Secret, id: &str) -> Result<SpendKeyObject, ClientError> {
        self.json(Method::GET, &format!("/v1/spend_keys/{}?include_revoked=true", segment(id)), Some(secret), None).await
    }

    /// Open holds and unverified charges: with a secret key those of the account or of one spend key, with a spend key its own.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is and was no such spend key.
    pub async fn holds(&self, key: &Secret, spend_key_id: Option<&str>) -> Result<Holds, ClientError> {
        let query = spend_key_id.map_or_else(String::new, |id| format!("?{}", query(&[("spend_key_id", id)])));
        self.json(Method::GET, &format!("/v1/lava_mcp/holds{query}"), Some(key), None).await
    }

    /// Takes an unverified charge back. The reason, 1 to 255 characters, is kept in the books.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is no such charge, with 409 (`already_written_off`) when it was taken back before.
    pub async fn write_off(&self, secret: &Secret, hold_id: &str, reason: &str) -> Result<WrittenOff, ClientError> {
        let path = format!("/v1/lava_mcp/holds/{}/write_off", segment(hold_id));
        self.json(Method::POST, &path, Some(secret), Some(to_bytes(&json!({"reason": reason})))).await
    }

    /// Models that keys with a limit do not buy, because they billed more than their prices allow.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn mispriced(&self, secret: &Secret) -> Result<Vec<MispricedModel>, ClientError> {
        let list: MispricedList = self.json(Method::GET, "/v1/lava_mcp/mispriced", Some(secret), None).await?;
        Ok(list.data)
    }

    /// Sells such a model again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when it is not one, with 403 when the secret key is one of the sandbox.
    pub async fn sell_again(&self, secret: &Secret, provider: &str, model: &str) -> Result<(), ClientError> {
        let path = format!("/v1/lava_mcp/mispriced?{}", query(&[("provider", provider), ("model", model)]));
        let _: Value = self.json(Method::DELETE, &path, Some(secret), None).await?;
        Ok(())
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
