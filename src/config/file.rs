//! The config file, in TOML. A key that does not exist is an error with file, line and the keys there are.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{ConfigError, place::Source};
use crate::domain::{Rate, Secret, address};

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) sandbox: Option<bool>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) credential_store: Option<String>,
    pub(super) log: Option<String>,
    pub(super) local_servers: Option<bool>,
    pub(super) gateway: Option<Gateway>,
    pub(super) session: Option<Session>,
    pub(super) listen: Option<Listen>,
    pub(super) network: Option<Network>,
    #[serde(default)]
    pub(super) providers: BTreeMap<String, ProviderConfig>,
    #[serde(default)]
    pub(super) model_aliases: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) keys: BTreeMap<String, KeyConfig>,
}

/// `[keys.NAME]`: what holds for the spend key of this name or id.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyConfig {
    #[serde(default)]
    pub(super) model_aliases: BTreeMap<String, String>,
}

/// `[gateway]`: a gateway at an address instead of the embedded one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) api_url: Option<String>,
    pub(super) app_url: Option<String>,
    pub(super) forward_with: Option<String>,
}

/// `[listen]`: who reaches `gateway` and `serve`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    #[serde(default)]
    pub(super) trusted_proxies: Vec<IpAddr>,
}

/// `[network]`: how providers are reached.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    /// It can hold a password.
    #[serde(default, deserialize_with = "secret")]
    pub(super) proxy: Option<Secret>,
    #[serde(default)]
    pub(super) no_proxy: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) silence_timeout_s: Option<u64>,
    pub(super) ping_interval_s: Option<u64>,
}

/// `[session]`: what an agent may do.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) limit: Option<String>,
    pub(super) ask: Option<bool>,
    pub(super) ask_above: Option<String>,
    pub(super) allowed_models: Option<Vec<String>>,
    pub(super) allowed_providers: Option<Vec<String>>,
}

/// `[providers.NAME]`: a provider of one's own, or a key for one of the catalog.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Where it is. Without it, NAME is a provider of the catalog and only its key is set here.
    #[serde(default, deserialize_with = "address")]
    pub base_url: Option<url::Url>,
    /// `openai` or `anthropic`.
    #[serde(default)]
    pub dialect: WireDialect,
    /// The variable that holds its key.
    pub api_key_env: Option<String>,
    /// The key itself; a variable or the keyring is the better place.
    #[serde(default, deserialize_with = "secret")]
    pub api_key: Option<Secret>,
    /// Its models.
    #[serde(default)]
    pub models: Vec<String>,
    /// What they cost.
    pub price: Option<PriceConfig>,
    /// Where its answers say what they cost in US dollars, such as `usage.cost`; the larger of that and the price counts.
    #[serde(default, deserialize_with = "field_path")]
    pub reported_cost: Option<String>,
    /// Whether it takes `stream_options`, with which usage is asked for in streams. Where nothing is said, a provider of the catalog by this name decides; others do.
    pub stream_options: Option<bool>,
    /// The most tokens that its models read. It bounds what a document costs, whose tokens cannot be counted beforehand.
    pub context_window: Option<u64>,
}

/// The wire format of a provider of one's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireDialect {
    /// OpenAI's chat completions.
    #[default]
    Openai,
    /// Anthropic's messages.
    Anthropic,
}

/// What the models of a provider cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceConfig {
    /// Nothing.
    Free,
    /// US dollars per million tokens.
    PerMillion {
        /// Of input.
        input: Rate,
        /// Of output.
        output: Rate,
        /// Of input read from a cache; as input when absent.
        cache_read: Option<Rate>,
        /// US dollars for each request, whatever its size; nothing when absent.
        request: Option<Rate>,
    },
}

impl<'de> Deserialize<'de> for PriceConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            Table(Table),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            input: String,
            output: String,
            cache_read: Option<String>,
            request: Option<String>,
        }
        const EXPECTED: &str = "a price is \"free\" or { input = \"0.15\", output = \"0.60\" }, in US dollars per million tokens, in quotes; request = \"0.005\" adds a fee for each request";
        let custom = <D::Error as serde::de::Error>::custom::<&str>;
        let rate = |text: &str| {
            Rate::per_million(text).map_err(|error| <D::Error as serde::de::Error>::custom(format!("{EXPECTED}: \"{text}\": {error}")))
        };
        let each = |text: &str| {
            Rate::per_unit(text).map_err(|error| <D::Error as serde::de::Error>::custom(format!("{EXPECTED}: \"{text}\": {error}")))
        };
        match Written::deserialize(deserializer).map_err(|_| custom(EXPECTED))? {
            Written::Word(word) if word == "free" => Ok(Self::Free),
            Written::Word(_) => Err(custom(EXPECTED)),
            Written::Table(table) => Ok(Self::PerMillion {
                input: rate(&table.input)?,
                output: rate(&table.output)?,
                cache_read: table.cache_read.as_deref().map(rate).transpose()?,
                request: table.request.as_deref().map(each).transpose()?,
            }),
        }
    }
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<url::Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = || serde::de::Error::custom("use an address such as http://127.0.0.1:8000/v1, without user, password or parameters");
    address::plain(&text).map(Some).ok_or_else(expected)
}

fn field_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_path = !text.is_empty() && text.split('.').all(|name| !name.trim().is_empty());
    let expected = || serde::de::Error::custom("name the fields that lead to a cost in US dollars, such as usage.cost");
    is_path.then_some(Some(text)).ok_or_else(expected)
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(Secret::new(text)))
}

/// Reads a config file.
pub(super) fn read(path: &Path) -> Result<(File, Source), ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| ConfigError::in_file(format!("{}: {}", path.display(), unreadable(path, &error))))?;
    let source = Source::new(path, text);
    Ok((parse(&source)?, source))
}

/// Why a file cannot be read, in words.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "you are not allowed to read this file".to_owned(),
        io::ErrorKind::InvalidData => "this file is not text in UTF-8".to_owned(),
        _ if path.is_dir() => "this is a folder, not a file".to_owned(),
        _ => format!("this file cannot be read: {error}"),
    }
}

fn parse(source: &Source) -> Result<File, ConfigError> {
    toml::from_str(source.text()).map_err(|error| {
        let place = error.span().map_or_else(|| source.path.display().to_string(), |span| source.place_of(span.start));
        let mut message = without_values(error.message().trim());
        if let Some(meant) = meant(&message) {
            message.push_str(&format!("; did you mean `{meant}`?"));
        }
        let needed = EXAMPLES.iter().find(|(key, _)| place.ends_with(&format!(": {key}"))).filter(|_| message.starts_with("invalid type"));
        if let Some((_, example)) = needed {
            message.push_str(&format!(", such as {example}"));
        }
        ConfigError::in_file(format!("{place}: {message}"))
    })
}

/// How settings are written that are easily written as another type.
const EXAMPLES: [(&str, &str); 6] = [
    ("session.limit", "\"5.00/daily\""),
    ("session.ask_above", "\"0.50\""),
    ("credential_store", "\"keyring\" or \"file\""),
    ("log", "\"info\""),
    ("network.proxy", "\"http://proxy.example:3128\""),
    ("gateway.api_url", "\"https://api.lava.so\""),
];

/// Which of the fields that there are somebody meant; both are in backquotes in what the parser says.
fn meant(message: &str) -> Option<&str> {
    let names = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let mut names = names.split('`').skip(1).step_by(2);
    let written = names.next()?;
    let near = names.map(|name| (strsim::damerau_levenshtein(name, written), name));
    near.filter(|(distance, name)| *distance <= 2.max(name.len() / 3)).min().map(|(_, name)| name)
}

/// An error without the text that was in the file: it may be a key in the wrong place.
fn without_values(message: &str) -> String {
    let Some((before, rest)) = message.split_once("string \"") else { return message.to_owned() };
    let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
    format!("{before}a text{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        parse(&Source::new(Path::new("config.toml"), text.to_owned())).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read() {
        let text = "[session]\nlimit = \"2.00/total\"\n[providers.local]\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"m\"]\n\
                    price = { input = \"0.15\", output = \"0.60\" }\n[providers.other]\nbase_url = \"http://x/v1\"\nprice = \"free\"\n";
        let file = parse(&Source::new(Path::new("config.toml"), text.to_owned())).unwrap();
        let price = file.providers["local"].price.clone().unwrap();
        assert_eq!(
            price,
            PriceConfig::PerMillion {
                input: Rate::from_picos(150_000),
                output: Rate::from_picos(600_000),
                cache_read: None,
                request: None
            }
        );
        assert_eq!(file.providers["other"].price, Some(PriceConfig::Free));
    }

    /// Every key that the first version had.
    #[test]
    fn the_file_of_the_first_version_is_read() {
        let text = "sandbox = true\ndata_dir = \"/d\"\ncredential_store = \"file\"\nlog = \"info\"\nlocal_servers = false\n\
                    [gateway]\napi_url = \"https://a.example\"\napp_url = \"https://b.example\"\n\
                    [session]\nlimit = \"5.00/daily\"\nallowed_models = [\"m\"]\nallowed_providers = [\"p\"]\n\
                    [providers.p]\nbase_url = \"http://x/v1\"\ndialect = \"openai\"\napi_key_env = \"K\"\napi_key = \"k\"\nmodels = [\"m\"]\n\
                    price = { input = \"1\", output = \"2\", cache_read = \"0.5\" }\n";
        let file = parse(&Source::new(Path::new("config.toml"), text.to_owned())).unwrap();
        assert_eq!((file.sandbox, file.providers.len()), (Some(true), 1));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let error = error_of("sandbox = true\n\n[session]\nlimits = \"5.00/daily\"\n");
        assert!(
            error.starts_with("config.toml, line 4, column 1: session.limits: unknown field `limits`, expected one of `limit`"),
            "{error}"
        );
        let error = error_of("[providers.x]\nbase_url = \"nowhere\"\n");
        assert!(
            error.starts_with("config.toml, line 2, column 12: providers.x.base_url:") && error.contains("an address such as"),
            "{error}"
        );
        let error = error_of("[providers]\nopenai = \"sk-canary\"\n");
        assert!(error.contains("line 2") && error.contains("a text, expected") && !error.contains("canary"), "{error}");
        let error = error_of("[providers.x]\nprice = \"cheap\"\n");
        assert!(error.contains("line 2") && error.contains("\"free\""), "{error}");
        let error = error_of("[providers.x]\nprice = { input = \"a\", output = \"1\" }\n");
        assert!(error.contains("plain decimal"), "{error}");
        assert!(error_of("sandbox = \n").starts_with("config.toml, line 1"));
    }

    #[test]
    fn a_key_in_the_file_does_not_print() {
        let file = parse(&Source::new(Path::new("config.toml"), "[providers.openai]\napi_key = \"sk-canary\"\n".to_owned())).unwrap();
        assert!(!format!("{file:?}").contains("canary"));
    }
}
