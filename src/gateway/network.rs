//! How providers are reached where a network lets nobody out directly: through a proxy and with certificates that the config file names. Never what the environment names:
//! whoever can set a variable could read along.
//!
//! Only `https` goes through the proxy, which is asked for a tunnel (`CONNECT`) to the provider's name and sees nothing but that name. It resolves the name itself, so the address
//! guard is held against what this machine knows of the name; a name that only the proxy can resolve is left to it. Names that go there are those of the catalog, which are
//! fixed, and those that a person wrote into the config file.

use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy};
use url::Url;

/// What is never reached through a proxy: this machine.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

/// The way to providers. The default is the direct one.
#[derive(Clone, Default)]
pub struct Network {
    proxy: Option<Proxy>,
    proxy_host: Option<String>,
    authorities: Vec<Certificate>,
}

impl Network {
    /// Reads what the config file says: the proxy's address, the names that are reached without it, and certificates in PEM.
    ///
    /// # Errors
    /// What is wrong, by the name of the setting, and without the address: it can hold a password.
    pub fn new(proxy: Option<&str>, no_proxy: &[String], ca_pem: Option<&[u8]>) -> Result<Self, String> {
        let mut network = Self::default();
        if let Some(text) = proxy {
            let expected = || "[network] proxy: use an address such as http://proxy.example:3128, without a path".to_owned();
            let url = Url::parse(text).map_err(|_| expected())?;
            let is_plain =
                matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let host = url.host_str().filter(|_| is_plain).ok_or_else(expected)?;
            network.proxy_host = Some(host.to_owned());
            let except = NoProxy::from_string(&[&[THIS_MACHINE.to_owned()], no_proxy].concat().join(","));
            network.proxy = Some(Proxy::https(url).map_err(|_| expected())?.no_proxy(except));
        } else if !no_proxy.is_empty() {
            return Err("[network] no_proxy: this needs a proxy; set proxy too, or remove no_proxy".to_owned());
        }
        if let Some(pem) = ca_pem {
            let expected = || "[network] ca_file: use a file with certificates in PEM (-----BEGIN CERTIFICATE-----)".to_owned();
            network.authorities = Certificate::from_pem_bundle(pem).map_err(|_| expected())?;
            if network.authorities.is_empty() {
                return Err(expected());
            }
        }
        Ok(network)
    }

    /// The host of the proxy, which may be anywhere.
    pub(super) fn proxy_host(&self) -> Option<&str> {
        self.proxy_host.as_deref()
    }

    /// Sets a client up.
    pub(super) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        // Certificates of one's own are taken beside those that the system trusts.
        let builder = if self.authorities.is_empty() { builder } else { builder.tls_certs_merge(self.authorities.iter().cloned()) };
        match &self.proxy {
            // This also leaves out the proxies of the environment.
            Some(proxy) => builder.no_proxy().proxy(proxy.clone()),
            None => builder.no_proxy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_and_not_repeated() {
        for proxy in ["proxy.example", "socks5://user:canary@p:1", "http://user:canary@", "http://user:canary@p/path", "http://p/?canary"] {
            let error = Network::new(Some(proxy), &[], None).err().unwrap_or_else(|| panic!("{proxy}"));
            assert!(error.starts_with("[network] proxy: ") && !error.contains("canary"), "{error}");
        }
        for pem in [&b"nothing"[..], b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            assert!(Network::new(None, &[], Some(pem)).err().unwrap().starts_with("[network] ca_file: "));
        }
        assert!(Network::new(None, &["x".to_owned()], None).err().unwrap().starts_with("[network] no_proxy: "));
        let network = Network::new(Some("http://me:secret@proxy.internal:3128"), &["llm.internal".to_owned()], None).unwrap();
        assert_eq!(network.proxy_host(), Some("proxy.internal"));
    }
}
