//! One line of `data/providers.jsonl`: who sells models, under which address, how a key is shown to them and which wire format they speak.

use serde::{Deserialize, Serialize};

use crate::domain::{Money, decimal::scaled_up};

/// The wire format of a provider's main endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI's chat completions, or close to it.
    Openai,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`.
    Google,
    /// Amazon Bedrock's converse.
    Bedrock,
    /// A format of its own: passed through, never translated.
    Custom,
}

impl Dialect {
    /// The name used in the data and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
            Self::Bedrock => "bedrock",
            Self::Custom => "custom",
        }
    }
}

/// How a credential is shown to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer <key>`.
    Bearer,
    /// A header of another name, or with another prefix before the key.
    Header {
        /// The header's name, in lower case.
        name: Box<str>,
        /// What stands before the key, including its space.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        prefix: Box<str>,
    },
    /// A parameter of the query string.
    Query {
        /// The parameter's name.
        name: Box<str>,
    },
    /// No credential.
    None,
}

/// Where a provider's answers say what they cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedCost {
    /// The fields that lead to it, such as `usage.cost`.
    pub field: Box<str>,
    /// What one of it is worth.
    pub unit: CostUnit,
}

/// The unit of a reported cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostUnit {
    /// US dollars.
    Usd,
    /// xAI's ticks: ten thousand million make a dollar.
    UsdTicks,
}

impl CostUnit {
    /// The amount that a number of these is, rounded up. `None` when it is not a number of zero or more, or does not fit.
    pub fn to_money(self, text: &str) -> Option<Money> {
        let decimals = match self {
            Self::Usd => 9,
            Self::UsdTicks => -1,
        };
        i64::try_from(scaled_up(text, decimals)?).ok().map(Money::from_nanos)
    }
}

/// Somebody who sells models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// The short name, as in `groq`.
    pub id: Box<str>,
    /// The name people use.
    pub name: Box<str>,
    /// Where the API is: `https`, no slash at the end. A `{word}` stands for one part of the host or path that is the customer's own.
    pub base_url: Box<str>,
    /// Other hosts of the same API, such as those of a region. The same credential opens them.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub hosts: Box<[Box<str>]>,
    /// Where the API is described.
    pub docs: Box<str>,
    /// How a credential is shown.
    pub auth: Auth,
    /// Environment variables in which people keep that credential, the usual one first.
    pub env: Box<[Box<str>]>,
    /// The wire format.
    pub dialect: Dialect,
    /// Sells models it made itself. Decides who is meant by a bare model name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_party: bool,
    /// Names other tools use for the same provider.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub aliases: Box<[Box<str>]>,
    /// The provider whose models these are, when one provider has two addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models_of: Option<Box<str>>,
    /// What can be asked for nothing with a key, and is refused without a good one, where that is not the list of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_check: Option<Box<str>>,
    /// Where its answers say what they cost, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_cost: Option<ReportedCost>,
    /// Whether it takes `stream_options`; one that does not refuses a request with it.
    #[serde(rename = "stream_options", default = "yes", skip_serializing_if = "Clone::clone")]
    pub takes_stream_options: bool,
}

const fn yes() -> bool {
    true
}

impl Provider {
    /// Its id, its name, and what other tools call it.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        [&*self.id, &*self.name].into_iter().chain(self.aliases.iter().map(|alias| &**alias))
    }

    /// The host of the base URL.
    pub fn host(&self) -> &str {
        self.split().0
    }

    /// The host and the path of the base URL; the path has no slash at the end.
    fn split(&self) -> (&str, &str) {
        let rest = self.base_url.split_once("://").map_or(&*self.base_url, |(_, rest)| rest);
        let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        (host, path.trim_end_matches('/'))
    }

    /// How well a URL fits this provider: `None` when it is another's, otherwise the more the better. A path outside the base path
    /// still fits by its host, because providers serve other versions and other endpoints beside it.
    pub(super) fn fit(&self, host: &str, path: &str) -> Option<usize> {
        let (own_host, own_path) = self.split();
        if !self.hosts.iter().map(|other| &**other).chain([own_host]).any(|own| parts_match(own, host, '.')) {
            return None;
        }
        let path = path.split('?').next().unwrap_or_default();
        let mut parts = path.split('/');
        let inside = own_path.split('/').all(|own| parts.next().is_some_and(|part| part_matches(own, part)));
        Some(if inside { 1 + own_path.len() } else { 0 })
    }
}

/// Compares part by part.
fn parts_match(pattern: &str, text: &str, separator: char) -> bool {
    let (mut patterns, mut parts) = (pattern.split(separator), text.split(separator));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// A `{word}` stands for anything but nothing, alone or before a fixed rest.
fn part_matches(pattern: &str, part: &str) -> bool {
    match pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((_, rest)) => part.len() > rest.len() && part.to_ascii_lowercase().ends_with(rest),
        None => pattern.eq_ignore_ascii_case(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(base_url: &str) -> Provider {
        Provider {
            id: "x".into(),
            name: "X".into(),
            base_url: base_url.into(),
            hosts: Box::new(["eu.example.com".into()]),
            docs: "https://docs.example".into(),
            auth: Auth::Bearer,
            env: Box::new([]),
            dialect: Dialect::Openai,
            first_party: false,
            aliases: Box::new([]),
            models_of: None,
            key_check: None,
            reported_cost: None,
            takes_stream_options: true,
        }
    }

    #[test]
    fn a_longer_base_path_fits_better() {
        let native = provider("https://example.com/v1beta");
        let openai = provider("https://example.com/v1beta/openai");
        assert_eq!(native.host(), "example.com");
        assert!(
            openai.fit("example.com", "/v1beta/openai/chat/completions") > native.fit("example.com", "/v1beta/openai/chat/completions")
        );
        assert!(openai.fit("example.com", "/v1beta/models") < native.fit("example.com", "/v1beta/models"));
        assert!(openai.fit("example.com", "/v1beta/openaix") < native.fit("example.com", "/v1beta/openaix"));
        assert_eq!(native.fit("example.org", "/v1beta"), None);
        assert_eq!(native.fit("eu.example.com", "/v1beta/models"), native.fit("example.com", "/v1beta/models"));
    }

    #[test]
    fn a_placeholder_stands_for_one_part_of_the_host() {
        let bedrock = provider("https://bedrock-runtime.{region}.amazonaws.com");
        assert_eq!(bedrock.fit("bedrock-runtime.us-east-1.amazonaws.com", "/model/x/converse"), Some(1));
        assert_eq!(bedrock.fit("bedrock-runtime.us.east.amazonaws.com", "/"), None);
        assert_eq!(bedrock.fit("bedrock-runtime..amazonaws.com", "/"), None);
        assert_eq!(bedrock.fit("evil.com", "/"), None);
    }

    #[test]
    fn a_provider_takes_stream_options_unless_the_data_says_otherwise() {
        let mut written = serde_json::to_value(provider("https://example.com")).unwrap();
        assert_eq!(written.get("stream_options"), None);
        assert!(serde_json::from_value::<Provider>(written.clone()).unwrap().takes_stream_options);
        written["stream_options"] = false.into();
        let read: Provider = serde_json::from_value(written.clone()).unwrap();
        assert!(!read.takes_stream_options);
        assert_eq!(serde_json::to_value(read).unwrap(), written);
    }

    #[test]
    fn a_key_is_shown_as_the_data_says() {
        let auth: Auth = serde_json::from_str(r#"{"scheme":"header","name":"x-api-key"}"#).unwrap();
        assert_eq!(auth, Auth::Header { name: "x-api-key".into(), prefix: "".into() });
        assert_eq!(serde_json::to_string(&Auth::Bearer).unwrap(), r#"{"scheme":"bearer"}"#);
    }
}
