//! Whose address a URL is: the decision that keeps a provider's key with its provider; pure.
//!
//! A URL is read once, by the WHATWG rules that the HTTP client follows too, and only what was read is ever called.

use url::{Host, Url};

use super::{Catalog, Provider};

/// Reads an address that somebody wants to call; the scheme may be left out.
///
/// # Errors
/// Why it is not called, whoever's it is.
pub fn parse(text: &str) -> Result<Url, &'static str> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|_| "It is not a URL.")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("A URL with a user name, password or fragment is not called.");
    }
    Ok(url)
}

/// Same scheme, host and port, and a path at or below the base path, segment by segment.
pub fn is_below(url: &Url, base: &Url) -> bool {
    let path = base.path().trim_end_matches('/');
    url.scheme() == base.scheme()
        && url.host() == base.host()
        && url.port_or_known_default() == base.port_or_known_default()
        && url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Catalog {
    /// The provider below whose base address a URL lies, and that base address.
    pub fn owner_of(&self, url: &Url) -> Option<(&Provider, Url)> {
        // Exactly https on its usual port, and a name: nothing that could be read as a private address.
        if url.scheme() != "https" || url.port().is_some() || !matches!(url.host(), Some(Host::Domain(_))) {
            return None;
        }
        let provider = self.provider_for_url(url.host_str()?, url.path())?;
        let base = Url::parse(&provider.base_url).ok().filter(|base| is_below(url, base))?;
        Some((provider, base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_below_the_base_address_of_its_provider() {
        let base = Url::parse("https://api.groq.com/openai/v1").unwrap();
        for url in ["https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1/models", "https://API.groq.com:443/openai/v1/x"] {
            let url = parse(url).unwrap();
            assert!(is_below(&url, &base) && Catalog::embedded().owner_of(&url).is_some(), "{url}");
        }
        for url in [
            "http://api.groq.com/openai/v1/models",
            "https://api.groq.com:8443/openai/v1/models",
            "https://api.groq.com/openai/v10/models",
            "https://api.groq.com/openai/v1/../../admin",
            "https://api.groq.com.evil.example/openai/v1/models",
            "https://evil.example/openai/v1/models",
        ] {
            let url = parse(url).unwrap();
            assert!(!is_below(&url, &base) && Catalog::embedded().owner_of(&url).is_none(), "{url}");
        }
    }

    #[test]
    fn a_scheme_may_be_left_out_and_a_user_may_not_be_named() {
        assert_eq!(parse("api.groq.com/openai/v1").unwrap().as_str(), "https://api.groq.com/openai/v1");
        for text in ["https://me@api.groq.com/", "https://:p@api.groq.com/", "https://api.groq.com/#x", "https://", "a b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
