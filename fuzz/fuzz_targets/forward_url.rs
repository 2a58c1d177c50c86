//! An address that the gateway calls with a provider's key is that provider's: https, port 443, a host of the catalog by name, no user, at or below the base path.

#![no_main]

use lava_mcp::catalog::{Catalog, address};
use libfuzzer_sys::fuzz_target;
use url::{Host, Url};

fuzz_target!(|text: &str| {
    let Ok(url) = address::parse(text) else { return };
    let Some((provider, base)) = Catalog::embedded().owner_of(&url) else { return };
    assert_eq!((url.scheme(), url.port_or_known_default()), ("https", Some(443)), "{url}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{url}");
    assert!(matches!(url.host(), Some(Host::Domain(_))), "{url}");
    let host = url.host_str().unwrap();
    assert!(Catalog::embedded().providers().iter().any(|one| one.host() == host), "{url}");
    assert!(provider.base_url.starts_with(&format!("https://{host}")), "{url} is not at {}", provider.base_url);
    // What is called is what was checked, however it is read again.
    let again = Url::parse(url.as_str()).unwrap();
    assert_eq!(again, url);
    let path = base.path().trim_end_matches('/');
    assert!(again.path() == path || again.path().starts_with(&format!("{path}/")), "{url} is not below {base}");
    assert!(!again.path().split('/').any(|part| matches!(part, "." | "..")), "{url}");
});
