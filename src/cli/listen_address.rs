//! Where a server listens, as people type it: a port alone is one of this machine only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Failure;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Reads `4040`, `:4040`, `localhost:4040`, `127.0.0.1:4040`, `[::1]:4040` or `*:4040`.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let ip = match host {
        "" => Some(LOOPBACK),
        "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        host if host.eq_ignore_ascii_case("localhost") => Some(LOOPBACK),
        _ => None,
    };
    match (ip, port.parse().ok().filter(|_| is_number(port))) {
        (Some(ip), Some(port)) => Ok(SocketAddr::new(ip, port)),
        _ => Err(wrong(text, host, port)),
    }
}

/// Reads the name of a host, as it is in an address.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains([':', '/', ' ']) {
        true => Err("give a name such as lava.example.com, without scheme, port or path".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn wrong(text: &str, host: &str, port: &str) -> String {
    if text.contains("://") {
        return "give an address and a port, without http:// and without a path, such as 127.0.0.1:4040".to_owned();
    }
    if text.parse::<IpAddr>().is_ok() || text.eq_ignore_ascii_case("localhost") {
        return "the port is missing; add it, such as 127.0.0.1:4040".to_owned();
    }
    if is_number(port) && port.parse::<u16>().is_err() {
        return format!("{port} is not a port; ports go up to 65535");
    }
    if is_number(port) && !host.is_empty() {
        return format!(
            "\"{host}\" is not an address of this machine; use a port alone, or an address such as 127.0.0.1:4040 or [::1]:4040"
        );
    }
    "use a port such as 4040, or an address and a port such as 127.0.0.1:4040".to_owned()
}

/// Refuses an address that other machines can reach, unless that is wanted.
pub(super) fn check_remote(address: SocketAddr, is_allowed: bool) -> Result<(), Failure> {
    if is_allowed || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(Failure::Error(format!(
        "{address} can be reached by other machines, and traffic is not encrypted. Listen on 127.0.0.1, or pass --allow-remote and put a TLS proxy in front"
    )))
}

/// An address that a program on this machine can call: one that stands for all addresses is none.
pub(super) fn to_call(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => LOOPBACK,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_type_it() {
        for (text, expected) in [
            ("4040", "127.0.0.1:4040"),
            (":4040", "127.0.0.1:4040"),
            ("localhost:4040", "127.0.0.1:4040"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            ("127.0.0.1:4040", "127.0.0.1:4040"),
            ("[::1]:4040", "[::1]:4040"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("*:80", "0.0.0.0:80"),
            ("0", "127.0.0.1:0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
        }
        for (text, says) in [
            ("", "such as 4040"),
            ("x", "such as 4040"),
            ("70000", "70000 is not a port"),
            (":70000", "70000 is not a port"),
            ("127.0.0.1", "the port is missing"),
            ("localhost", "the port is missing"),
            ("::1", "the port is missing"),
            ("example.com:80", "\"example.com\" is not an address of this machine"),
            ("http://localhost:4040", "without http://"),
            ("+4040", "such as 4040"),
            ("4040/v1", "such as 4040"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert_eq!(to_call("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(to_call("[::]:80".parse().unwrap()).to_string(), "[::1]:80");
    }
}
