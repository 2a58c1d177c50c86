//! Who is calling: told from the socket, from the name a request gives this server, and from what a browser says about the page behind the call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use http::{HeaderMap, HeaderName, Version, header, uri::Authority};

/// What a browser says about the page that makes it call: whether it is of the same site.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who is at the other end of a socket on another machine: its address, or for IPv6 the network it can choose addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl Peer {
    /// The peer at a socket's other end; `None` on this machine.
    pub fn of(address: SocketAddr) -> Option<Self> {
        let address = address.ip().to_canonical();
        if address.is_loopback() {
            return None;
        }
        Some(Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        }))
    }
}

/// The host a request is for. Two names for it are refused: what stands in front of the gateway may have gone by the other one.
pub(crate) fn host(request: &Request) -> Result<Option<&str>, ()> {
    let named = one(request.headers(), &header::HOST)?;
    match (request.uri().authority(), named) {
        (Some(target), Some(host)) if !target.as_str().eq_ignore_ascii_case(host) => Err(()),
        (_, None) if request.version() == Version::HTTP_11 => Err(()),
        (target, host) => Ok(host.or(target.map(Authority::as_str))),
    }
}

/// A web page can make a browser call this machine, under a name that its owner points here. Such a call names the page's host, or the page as its origin, or
/// at least says that it crosses sites.
pub(crate) fn is_no_foreign_page(headers: &HeaderMap) -> bool {
    let (Ok(origin), Ok(site)) = (one(headers, &header::ORIGIN), one(headers, &FETCH_SITE)) else { return false };
    match origin {
        Some(origin) => ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(is_this_machine)),
        None => site.is_none_or(|site| matches!(site, "same-origin" | "same-site" | "none")),
    }
}

/// Whether a browser's page, if one is behind the call, was served under the very name that the request gives.
pub(crate) fn is_same_origin(headers: &HeaderMap, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (one(headers, &header::ORIGIN), host) else { return false };
    origin.is_none_or(|origin| {
        ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(|named| named.eq_ignore_ascii_case(host)))
    })
}

/// Whether a proxy passed the request on. One on this machine makes everybody look like a program of this machine.
pub(crate) fn is_relayed(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// The only value of a header, if there is one.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

/// Whether a host, with or without a port, is one of these names, which have none.
pub(crate) fn is_named(host_and_port: &str, names: &[String]) -> bool {
    let host =
        host_and_port.rsplit_once(':').filter(|(_, port)| port.bytes().all(|c| c.is_ascii_digit())).map_or(host_and_port, |(host, _)| host);
    names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Whether a host, with or without a port, is this machine: by the one name that always means it, or by an address as it is usually written.
pub(crate) fn is_this_machine(host_and_port: &str) -> bool {
    let after_host = if host_and_port.starts_with('[') { host_and_port.find(']').map(|end| end + 1) } else { host_and_port.find(':') };
    let (host, port) = host_and_port.split_at(after_host.unwrap_or(host_and_port.len()));
    let port_is_fine = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok());
    let host_is_fine = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback()),
        None => host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback()),
    };
    port_is_fine && host_is_fine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        for name in ["localhost", "LOCALHOST:4040", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:4040"] {
            assert!(is_this_machine(name), "{name}");
        }
        for name in [
            "",
            ":4040",
            "localhost.",
            "localhost.evil.example",
            "evil.localhost",
            "me@localhost",
            "localhost/x",
            "localhost:",
            "localhost:+1",
            "localhost:99999",
            "0x7f.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "0.0.0.0",
            "[::]",
            "[127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "::1",
            "10.0.0.1",
            "[::1",
            "127.0.0.1 ",
        ] {
            assert!(!is_this_machine(name), "{name}");
        }
    }

    fn peer(text: &str) -> Peer {
        Peer::of(SocketAddr::new(text.parse().unwrap(), 1)).unwrap()
    }

    #[test]
    fn a_peer_is_another_machine_however_it_is_written() {
        for address in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(Peer::of(address.parse().unwrap()), None, "{address}");
        }
        assert_eq!(peer("::ffff:198.51.100.7"), peer("198.51.100.7"));
        assert_eq!(peer("2001:db8:1:2:3::4"), peer("2001:db8:1:2:ffff::1"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
    }
}
