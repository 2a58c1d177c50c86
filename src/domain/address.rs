//! Addresses to which a key may be sent.

use url::{Host, Url};

/// Why a text is no address that a key may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an http or https address, or one with a user, a password, a query or a fragment in it.
    #[error("use an address such as https://api.lava.so")]
    NotPlain,
    /// Plain http to another machine.
    #[error("a key would be sent unencrypted; use https, or an address on this machine")]
    InTheClear,
}

/// The domains of hosted Lava.
const HOSTED: [&str; 2] = ["lava.so", "lavapayments.com"];

/// Whether an address belongs to hosted Lava, whose API and web pages have hosts of their own.
pub fn is_hosted_lava(url: &Url) -> bool {
    url.host_str().is_some_and(|host| HOSTED.iter().any(|site| host == *site || host.ends_with(&format!(".{site}"))))
}

/// An http or https address with nothing in it that could be a secret: addresses are shown.
pub fn plain(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain).then_some(url)
}

/// An address that a key may be sent to: https, or a port of this machine.
///
/// # Errors
/// [`AddressError`].
pub fn safe(text: &str) -> Result<Url, AddressError> {
    let url = plain(text).ok_or(AddressError::NotPlain)?;
    if url.scheme() == "http" && !is_loopback(&url) { Err(AddressError::InTheClear) } else { Ok(url) }
}

/// Whether an address is one of this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The address of a gateway, below which its routes begin with `/v1`. The base URL of an SDK, which ends in `/v1`, is accepted too.
///
/// # Errors
/// [`AddressError`].
pub fn gateway(text: &str) -> Result<Url, AddressError> {
    let mut url = safe(text)?;
    if let Some(path) = url.path().trim_end_matches('/').strip_suffix("/v1").map(str::to_owned) {
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_found_with_and_without_its_version() {
        for text in ["https://api.lava.so", "https://api.lava.so/", "https://api.lava.so/v1", "https://api.lava.so/v1/"] {
            assert_eq!(gateway(text).unwrap().as_str(), "https://api.lava.so/", "{text}");
        }
        assert_eq!(gateway("https://team.example/lava/v1/").unwrap().as_str(), "https://team.example/lava");
    }

    #[test]
    fn a_key_is_not_sent_in_the_clear() {
        for text in ["http://localhost:4040/v1", "http://127.0.0.1:4040", "http://[::1]:4040"] {
            assert!(gateway(text).is_ok(), "{text}");
        }
        assert_eq!(gateway("http://team.example"), Err(AddressError::InTheClear));
        for text in ["team.example", "ftp://team.example", "https://user:password@team.example", "https://team.example?key=1"] {
            assert_eq!(gateway(text), Err(AddressError::NotPlain), "{text}");
        }
    }
}
