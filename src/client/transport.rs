//! How requests reach the gateway: over HTTP, or straight into a service in this process.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use tower::{ServiceExt, util::BoxCloneSyncService};
use url::Url;

use super::ClientError;
use crate::domain::{Cause, address};

/// An answer's body.
pub type Body = UnsyncBoxBody<Bytes, ClientError>;
/// A gateway in this process.
pub type Service = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, Infallible>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to a gateway.
#[derive(Clone)]
pub enum Transport {
    /// Over HTTP, below this address.
    Http {
        /// Such as `https://api.lava.so`, without `/v1`.
        base: Url,
        /// The connections.
        http: reqwest::Client,
    },
    /// In memory.
    InProcess(Service),
}

/// One request.
pub(super) struct Exchange {
    method: Method,
    path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Exchange {
    pub(super) fn new(method: Method, path: String) -> Self {
        Self { method, path, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

impl Transport {
    /// A transport over HTTP.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when TLS cannot be set up on this machine.
    pub fn http(base: Url) -> Result<Self, ClientError> {
        Self::http_trusting(base, None)
    }

    /// The same, trusting these certificates in PEM beside those of the system.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when TLS cannot be set up on this machine, or with these certificates.
    pub fn http_trusting(base: Url, ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        // Fails only when another part of the process has chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().user_agent(concat!("lava-mcp/", env!("CARGO_PKG_VERSION")));
        // A redirect would carry the key to another host.
        let builder = builder.connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        // In the clear a proxy would read key and prompt, and on this machine nobody needs one. Through one with TLS a tunnel leads, of which it sees nothing.
        let builder = if base.scheme() == "https" && !address::is_loopback(&base) { builder } else { builder.no_proxy() };
        let unreachable = |error: reqwest::Error| ClientError::Unreachable(Cause::of(&error).to_string());
        let authorities = ca_pem.map(reqwest::Certificate::from_pem_bundle).transpose().map_err(unreachable)?;
        let builder = match authorities {
            Some(authorities) => builder.tls_certs_merge(authorities),
            None => builder,
        };
        let http = builder.build().map_err(unreachable)?;
        Ok(Self::Http { base, http })
    }

    pub(super) async fn send(&self, exchange: Exchange) -> Result<Response<Body>, ClientError> {
        let Exchange { method, path, headers, body } = exchange;
        match self {
            Self::InProcess(service) => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = method;
                *request.uri_mut() = path.parse().map_err(|_| ClientError::BadAnswer(format!("{path} is not a path")))?;
                *request.headers_mut() = headers;
                service.clone().oneshot(request).await.map_err(|never| match never {})
            }
            Self::Http { base, http } => {
                let url = format!("{}{path}", base.as_str().trim_end_matches('/'));
                let sent = http.request(method, url).headers(headers).body(body).send().await;
                let origin = base.origin().ascii_serialization();
                let unreachable = move |error: reqwest::Error| ClientError::Unreachable(format!("{} ({origin})", Cause::of(&error)));
                let response = sent.map_err(unreachable.clone())?;
                let (status, headers) = (response.status(), response.headers().clone());
                let chunks = response.bytes_stream().map_ok(hyper_frame).map_err(unreachable);
                let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                Ok(response)
            }
        }
    }
}

fn hyper_frame(bytes: Bytes) -> http_body::Frame<Bytes> {
    http_body::Frame::data(bytes)
}

/// Reads a body that is not larger than `limit` bytes.
pub(super) async fn read_whole(body: Body, limit: usize) -> Result<Bytes, ClientError> {
    let collected = Limited::new(body, limit).collect().await.map_err(|error| match error.downcast::<ClientError>() {
        // It says already that the gateway could not be reached.
        Ok(error) => *error,
        Err(error) => ClientError::Unreachable(error.to_string()),
    })?;
    Ok(collected.to_bytes())
}
