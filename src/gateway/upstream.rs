//! Calls the provider. Its credential is added here and nowhere else; from here on a failure is a value.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::{Client, redirect};
use url::Url;

use super::{
    Gateway, first_byte,
    meter::{Answer, is_compressed},
    network::Network,
    providers::abort_stops_billing,
    public_addresses::{PublicAddresses, is_public},
    reserve::Held,
    route::{Reach, Route},
    sandbox,
    waits::Waits,
};
use crate::{
    catalog::Auth,
    domain::{Cause, RequestShape, Secret},
    translate::anthropic::VERSION,
};

pub(super) const ANTHROPIC_VERSION: &str = "anthropic-version";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to one provider that are kept for the next requests; what a burst opens beyond that is closed again.
const IDLE_MAX: usize = 64;
/// The head of an answer that comes within this was on its way when the caller hung up.
const HEAD_GAP: Duration = Duration::from_millis(50);
/// How long an answer nobody waits for is still awaited, to learn what it cost.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// An attempt that was made.
pub(super) struct Sent {
    pub(super) held: Held,
    pub(super) result: Result<Reply, Failure>,
}

/// Where a request goes, and with which key.
pub(super) struct Destination<'a> {
    pub(super) provider: &'a str,
    pub(super) url: &'a Url,
    pub(super) auth: &'a Auth,
    pub(super) key: Option<&'a Secret>,
    /// Whether a person vouched for it: then it may be anywhere.
    pub(super) is_own: bool,
}

/// What a provider answered.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: BoxStream<'static, Result<Bytes, String>>,
    /// Whether the body is a stream of events, of an answer that was to be streamed.
    pub(super) is_stream: bool,
    /// How long the body is waited for.
    pub(super) waits: Waits,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request never left this machine.
    NotSent(String),
    /// There was no connection, so it never left this machine either.
    NotConnected(String),
    /// It was sent, and no answer came.
    NoAnswer(String),
    /// It was sent, and no answer came in time.
    TimedOut,
    /// A stream began with its head, and no byte of it came: it broke off for this reason, or none came in time.
    NoFirstByte(Option<String>),
    /// It was sent, and dropped because nobody waits for it any more.
    Dropped,
}

impl Sent {
    /// Whether another provider may do better: it is down, overloaded, or cannot be reached.
    pub(super) fn may_fall_back(&self) -> bool {
        match &self.result {
            Ok(reply) => reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS,
            Err(Failure::Dropped) => false,
            Err(_) => true,
        }
    }
}

/// The connections to providers, made when first needed: TLS roots cost milliseconds.
pub(super) struct Upstream {
    network: Network,
    public: OnceLock<Client>,
    private: OnceLock<Client>,
}

impl Upstream {
    pub(super) fn new(network: Network) -> Self {
        Self { network, public: OnceLock::new(), private: OnceLock::new() }
    }

    /// A client for providers a person vouched for; it may reach any address.
    pub(super) fn private(&self) -> Result<&Client, Failure> {
        self.get_or_build(&self.private, |builder| builder)
    }

    fn public(&self) -> Result<&Client, Failure> {
        let guard = PublicAddresses { except: self.network.proxy_host().map(str::to_owned) };
        self.get_or_build(&self.public, |builder| builder.https_only(true).dns_resolver(Arc::new(guard)))
    }

    fn get_or_build<'a>(
        &self,
        cell: &'a OnceLock<Client>,
        adjust: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<&'a Client, Failure> {
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Fails only when another part of the process has chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("lava-mcp/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .redirect(redirect::Policy::none())
            .referer(false);
        let client = adjust(self.network.apply(builder)).build().map_err(|error| Failure::NotSent(error.to_string()))?;
        Ok(cell.get_or_init(|| client))
    }

    /// Sends a request with the provider's key, and waits this long for the head of the answer.
    pub(super) async fn send(
        &self,
        to: &Destination<'_>,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
        silence: Duration,
    ) -> Result<reqwest::Response, Failure> {
        let client = match to.is_own {
            true => self.private()?,
            false => {
                self.check_before_proxy(to.url).await?;
                self.public()?
            }
        };
        // Metering reads the answer, so it must come uncompressed.
        let mut request = client.request(method, to.url.clone()).headers(headers).header(header::ACCEPT_ENCODING, "identity");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        match tokio::time::timeout(silence, authenticate(request, to)?.send()).await {
            Err(_) => Err(Failure::TimedOut),
            Ok(Err(error)) if error.is_connect() => Err(Failure::NotConnected(root_cause(&error))),
            Ok(Err(error)) if error.is_builder() => Err(Failure::NotSent(root_cause(&error))),
            Ok(Err(error)) => Err(Failure::NoAnswer(root_cause(&error))),
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// A proxy resolves names itself. What this machine knows of a name is held against the guard before it is asked: one private address is enough for a no, for
    /// nobody knows which one the proxy would take.
    async fn check_before_proxy(&self, url: &Url) -> Result<(), Failure> {
        let Some(host) = url.host_str().filter(|_| self.network.proxy_host().is_some()) else { return Ok(()) };
        let Ok(Ok(mut found)) = tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host, 443))).await else { return Ok(()) };
        if found.all(|address| is_public(address.ip())) { Ok(()) } else { Err(Failure::NotSent(format!("{host} has a private address"))) }
    }
}

/// Sends the attempt and waits for the head of the answer; of a streamed one, for its first byte.
pub(super) async fn send(gateway: &Gateway, held: Held, answer: &Answer) -> Sent {
    let reply = async {
        let reply = call(gateway, &held).await?;
        let has_first_byte = held.ask.is_streamed() && reply.status.is_success() && !is_compressed(&reply.headers);
        if has_first_byte { first_byte::wait(reply).await } else { Ok(reply) }
    };
    let result = async {
        tokio::select! {
            result = reply => result,
            () = gateway.stopping.cancelled() => Err(Failure::Dropped),
            () = nobody_waits(&held, answer) => Err(Failure::Dropped),
        }
    };
    let result = answer.while_waiting(result).await;
    Sent { held, result }
}

/// Resolves when the caller is gone and reading on is of no use: closing stops the bill and nothing has come, or the time for learning it is over.
async fn nobody_waits(held: &Held, answer: &Answer) {
    answer.gone().await;
    let closes = held.ask.is_streamed() && abort_stops_billing(&held.route.provider);
    tokio::time::sleep(if closes { HEAD_GAP } else { DRAIN_TIMEOUT }).await;
}

async fn call(gateway: &Gateway, held: &Held) -> Result<Reply, Failure> {
    let route = &held.route;
    let waits = gateway.registry.waits;
    let body = held.ask.upstream_body(route, held.plan.cap);
    if route.reach == Reach::Sandbox {
        return Ok(sandbox::answer(held, body, (gateway.clock)().as_second()).await);
    }
    let mut headers = held.headers.clone();
    if held.ask.shape() == RequestShape::Anthropic
        && headers.get_all(ANTHROPIC_VERSION).iter().all(|version| version.as_bytes().trim_ascii().is_empty())
    {
        headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static(VERSION));
    }
    let response = gateway.upstream.send(&route.as_ref().into(), route.method.clone(), headers, body, waits.silence).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes_stream().map(|chunk| chunk.map_err(|error| root_cause(&error))).boxed();
    Ok(Reply { status, headers, body, is_stream: false, waits })
}

impl<'a> From<&'a Route> for Destination<'a> {
    fn from(route: &'a Route) -> Self {
        Self { provider: &route.provider, url: &route.url, auth: &route.auth, key: route.credential.as_ref(), is_own: route.is_own() }
    }
}

fn authenticate(request: reqwest::RequestBuilder, to: &Destination<'_>) -> Result<reqwest::RequestBuilder, Failure> {
    let Some(key) = to.key else { return Ok(request) };
    let secret = |text: String| {
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| Failure::NotSent(format!("the key for {} is not valid text", to.provider)))?;
        value.set_sensitive(true);
        Ok(value)
    };
    Ok(match to.auth {
        Auth::None => request,
        Auth::Bearer => request.header(header::AUTHORIZATION, secret(format!("Bearer {}", key.expose()))?),
        Auth::Header { name, prefix } => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| Failure::NotSent(error.to_string()))?;
            request.header(name, secret(format!("{prefix}{}", key.expose()))?)
        }
        Auth::Query { name } => {
            let mut url = to.url.clone();
            url.query_pairs_mut().append_pair(name, key.expose());
            let (client, built) = request.build_split();
            let mut built = built.map_err(|error| Failure::NotSent(root_cause(&error)))?;
            *built.url_mut() = url;
            reqwest::RequestBuilder::from_parts(client, built)
        }
    })
}

/// The reason of an error, without the URL: a URL can hold a key.
fn root_cause(error: &reqwest::Error) -> String {
    Cause::of(error).to_string()
}

/// The body of an answer; `None` where it is longer than this, or breaks off.
pub(super) async fn body_of(mut response: reqwest::Response, bytes_max: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > bytes_max {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}
