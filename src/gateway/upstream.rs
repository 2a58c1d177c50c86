//! Calls the provider. Its credential is added here and nowhere else; from here on a failure is a value.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::Url;

use super::{
    Gateway, first_byte,
    meter::{Answer, is_compressed},
    network::Network,
    providers::abort_stops_billing,
    reserve::Held,
    route::{Reach, Route},
    sandbox,
    waits::Waits,
};
use crate::{
    catalog::Auth,
    domain::{Cause, RequestShape},
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
    let client = match route.reach {
        Reach::Sandbox => return Ok(sandbox::answer(held, body, (gateway.clock)().as_second()).await),
        Reach::Public => {
            gateway.upstream.check_before_proxy(&route.url).await?;
            gateway.upstream.public()?
        }
        Reach::Private => gateway.upstream.private()?,
    };
    let mut headers = held.headers.clone();
    if held.ask.shape() == RequestShape::Anthropic
        && headers.get_all(ANTHROPIC_VERSION).iter().all(|version| version.as_bytes().trim_ascii().is_empty())
    {
        headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static(VERSION));
    }
    let mut request = client.request(route.method.clone(), route.url.clone()).headers(headers);
    // Metering reads the answer, so it must come uncompressed.
    request = request.header(header::ACCEPT_ENCODING, "identity");
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json").body(body);
    }
    let request = authenticate(request, route)?;
    match tokio::time::timeout(waits.silence, request.send()).await {
        Err(_) => Err(Failure::TimedOut),
        Ok(Err(error)) if error.is_connect() => Err(Failure::NotConnected(root_cause(&error))),
        Ok(Err(error)) if error.is_builder() => Err(Failure::NotSent(root_cause(&error))),
        Ok(Err(error)) => Err(Failure::NoAnswer(root_cause(&error))),
        Ok(Ok(response)) => {
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes_stream().map(|chunk| chunk.map_err(|error| root_cause(&error))).boxed();
            Ok(Reply { status, headers, body, is_stream: false, waits })
        }
    }
}

fn authenticate(request: reqwest::RequestBuilder, route: &Route) -> Result<reqwest::RequestBuilder, Failure> {
    let Some(key) = &route.credential else { return Ok(request) };
    let secret = |text: String| {
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| Failure::NotSent(format!("the key for {} is not valid text", route.provider)))?;
        value.set_sensitive(true);
        Ok(value)
    };
    Ok(match &route.auth {
        Auth::None => request,
        Auth::Bearer => request.header(header::AUTHORIZATION, secret(format!("Bearer {}", key.expose()))?),
        Auth::Header { name, prefix } => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| Failure::NotSent(error.to_string()))?;
            request.header(name, secret(format!("{prefix}{}", key.expose()))?)
        }
        Auth::Query { name } => {
            let mut url = route.url.clone();
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

/// Resolves names to public addresses only, so that no name, however it is pointed, leads into a private network.
struct PublicAddresses {
    /// The proxy that a person named, which may be anywhere.
    except: Option<String>,
}

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.except.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|address| is_proxy || is_public(address.ip())).collect();
            if found.is_empty() {
                return Err(format!("{} has no public address", name.as_str()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is on the public internet: none of the ranges kept for private use, this machine, multicast, documentation or translation
/// (RFC 6890 and the IANA special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            // Only global unicast is routed; in it, 6to4, Teredo and documentation lead elsewhere. Mapped and NAT64 forms lie outside of it.
            (0x2000..0x4000).contains(&segments[0])
                && segments[0] != 0x2002
                && !(segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0xdb8))
                && !(segments[0] == 0x3fff && segments[1] < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_dialled() {
        for address in ["1.1.1.1", "8.8.8.8", "2606:4700::1", "172.32.0.1", "100.128.0.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
