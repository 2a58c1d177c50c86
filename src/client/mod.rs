//! A typed client of a gateway: hosted Lava, a team's own, or the one inside this process. It is handed a URL or a service and does not know the difference.

mod auth;
mod chat;
mod discover;
mod error;
mod forward;
mod key_requests;
mod lava;
mod owner;
mod target;
mod transport;
mod types;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use auth::Credentials;
pub use chat::{ChatOptions, ChatResult};
pub use error::ClientError;
pub use forward::{BegunAnswer, Forward};
pub use key_requests::{Change, KeyTerms, KeyUpdate, NewKey, PageQuery};
pub use lava::{Lava, SpendKeys};
pub use owner::{AccountObject, HoldObject, Holds, MispricedModel, WrittenOff};
pub use target::{Target, TargetError};
pub use transport::{Body, Service, Transport};
pub use types::{
    CreatedKey, Fallback, Forwarded, KeyExtras, KeyPage, LimitObject, RateLimitObject, RequestLimitObject, RequestReport, SearchPage,
    SpendKeyObject,
};

use crate::domain::{Money, Secret};
use transport::Exchange;

/// How long the report of a request is awaited: its settlement reaches the disk a moment after its answer.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between two looks at it; the first are shorter.
const REPORT_PAUSE_MAX: Duration = Duration::from_millis(20);
/// Largest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    /// Whose possibilities a search shows; everybody's where there is none.
    looker: Option<Secret>,
}

impl Client {
    /// A client that speaks over `transport`.
    pub const fn new(transport: Transport) -> Self {
        Self { transport, looker: None }
    }

    /// The same, with searches that say what this key can buy.
    #[must_use]
    pub fn looking_as(self, looker: Option<Secret>) -> Self {
        Self { looker, ..self }
    }

    /// The spend key that is presented. `None` at a gateway that does not tell a spend key about itself, as hosted Lava.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 401 when the key is not accepted.
    pub async fn own_key(&self, key: &Secret) -> Result<Option<SpendKeyObject>, ClientError> {
        let mut request = Exchange::new(Method::GET, "/v1/spend_keys/self".to_owned());
        authorise(&mut request.headers, key)?;
        let response = self.transport.send(request).await?;
        if !response.headers().contains_key("x-lava-mcp-gateway") {
            return Ok(None);
        }
        let body = transport::read_whole(error::refuse(response).await?.into_body(), ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map(Some).map_err(|error| ClientError::BadAnswer(error.to_string()))
    }

    /// Creates a spend key.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::field`] names a field that was refused.
    pub async fn create_spend_key(&self, secret: &Secret, key: &NewKey) -> Result<CreatedKey, ClientError> {
        self.json(Method::POST, "/v1/spend_keys", Some(secret), Some(to_bytes(key))).await
    }

    /// A page of spend keys, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn spend_keys(&self, secret: &Secret, page: &PageQuery) -> Result<KeyPage, ClientError> {
        self.json(Method::GET, &format!("/v1/spend_keys{}", page.to_query()), Some(secret), None).await
    }

    /// A spend key by its id.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is none.
    pub async fn spend_key(&self, secret: &Secret, id: &str) -> Result<SpendKeyObject, ClientError> {
        self.json(Method::GET, &format!("/v1/spend_keys/{}", segment(id)), Some(secret), None).await
    }

    /// Changes settings of a spend key.
    ///
    /// # Errors
    /// As [`Self::create_spend_key`], and [`ClientError::Refused`] with status 404 when there is no such key.
    pub async fn update_spend_key(&self, secret: &Secret, id: &str, update: &KeyUpdate) -> Result<SpendKeyObject, ClientError> {
        self.json(Method::PUT, &format!("/v1/spend_keys/{}", segment(id)), Some(secret), Some(to_bytes(update))).await
    }

    /// Gives a spend key a new value; the old one stops working at once.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is no such key.
    pub async fn rotate_spend_key(&self, secret: &Secret, id: &str) -> Result<CreatedKey, ClientError> {
        self.json(Method::POST, &format!("/v1/spend_keys/{}/rotate", segment(id)), Some(secret), None).await
    }

    /// Ends a spend key for good.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is no such key.
    pub async fn revoke_spend_key(&self, secret: &Secret, id: &str) -> Result<(), ClientError> {
        let _: Value = self.json(Method::DELETE, &format!("/v1/spend_keys/{}", segment(id)), Some(secret), None).await?;
        Ok(())
    }

    /// The list of models that can be called now; answers whenever the gateway does.
    ///
    /// # Errors
    /// [`ClientError`] when the gateway does not answer.
    pub async fn reachable(&self) -> Result<Value, ClientError> {
        self.json(Method::GET, "/v1/models", None, None).await
    }

    /// One model by the name that a request would have.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when nothing can be called by it now.
    pub async fn model(&self, name: &str) -> Result<Value, ClientError> {
        self.json(Method::GET, &format!("/v1/models/{}", segment(name)), None, None).await
    }

    /// The newest requests that a key may see.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn requests(&self, key: &Secret, limit: usize) -> Result<Vec<RequestReport>, ClientError> {
        let listing: Value = self.json(Method::GET, &format!("/v1/requests?limit={limit}"), Some(key), None).await?;
        let data = listing.get("data").cloned().unwrap_or_default();
        serde_json::from_value(data).map_err(|error| ClientError::BadAnswer(error.to_string()))
    }

    /// What a request cost, once that is booked. `None` when the gateway does not tell a spend key.
    ///
    /// # Errors
    /// [`ClientError`] when the gateway cannot be asked.
    pub async fn report(&self, key: &Secret, request: &str) -> Result<Option<RequestReport>, ClientError> {
        let deadline = Instant::now() + REPORT_TIMEOUT;
        // Our gateway answers when the request is settled; another one has to be asked again.
        let path = format!("/v1/requests/{}?wait_s={}", segment(request), REPORT_TIMEOUT.as_secs());
        let mut pause = Duration::from_micros(500);
        while Instant::now() < deadline {
            match self.json::<RequestReport>(Method::GET, &path, Some(key), None).await {
                Ok(report) if report.status != "pending" => return Ok(Some(report)),
                Ok(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REPORT_PAUSE_MAX);
                }
                Err(ClientError::Refused { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Sends a body of Anthropic's messages API, not streamed, with a spend key of the `anthropic` shape; gives the answer as it came.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn messages(&self, key: &Secret, body: &Map<String, Value>) -> Result<Value, ClientError> {
        self.json(Method::POST, "/v1/messages", Some(key), Some(to_bytes(body))).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        key: Option<&Secret>,
        body: Option<Bytes>,
    ) -> Result<T, ClientError> {
        let mut request = Exchange::new(method, path.to_owned());
        if let Some(key) = key {
            authorise(&mut request.headers, key)?;
        }
        if let Some(body) = body {
            request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = body;
        }
        let response = error::refuse(self.transport.send(request).await?).await?;
        let body = transport::read_whole(response.into_body(), ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::BadAnswer(error.to_string()))
    }
}

fn authorise(headers: &mut HeaderMap, key: &Secret) -> Result<(), ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| ClientError::BadKey)?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

fn limit_cost(headers: &mut HeaderMap, max_cost: Option<Money>) {
    if let Some(value) = max_cost.and_then(|max_cost| HeaderValue::from_str(&max_cost.to_string()).ok()) {
        headers.insert("x-lava-max-cost", value);
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    headers.get("x-lava-request-id").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn to_bytes(value: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// An id as one segment of a path, whatever is in it.
fn segment(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20")
}
