//! Every setting and every environment variable, read once. Flags win over the environment, the environment over the config file, the file over defaults.

mod aliases;
mod ceiling;
mod file;
mod levels;
mod network;
mod place;
mod usable;

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use etcetera::BaseStrategy;
use url::Url;

pub use aliases::ModelAliases;
pub use ceiling::{Ceiling, SetBy};
pub use file::{PriceConfig, ProviderConfig, WireDialect};
pub use levels::LogLevels;
pub use network::NetworkSettings;
use place::{Source, Written};
pub use usable::ConfigError;
use usable::MadeIn;

use crate::domain::{
    Money, Secret,
    address::{self, AddressError},
};

/// Lava's web page, where a browser login begins.
const APP_URL_DEFAULT: &str = "https://www.lava.so";

/// Which gateway a session uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The one inside this process.
    Embedded,
    /// One at an address.
    Remote {
        /// Such as `https://api.lava.so`, without `/v1`.
        api: Url,
        /// Where a person logs in with a browser.
        app: Url,
    },
}

/// Where keys are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialStore {
    /// The operating system's keyring.
    Keyring,
    /// A file that only its owner may read, in the data folder.
    File,
}

/// What was said on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--sandbox`.
    pub sandbox: bool,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--data-dir DIR`.
    pub data_dir: Option<PathBuf>,
    /// `--store keyring|file`.
    pub store: Option<CredentialStore>,
}

/// The environment as it was when the program started.
#[derive(Clone, Default)]
pub struct Environment(Arc<HashMap<OsString, OsString>>);

impl fmt::Debug for Environment {
    /// Variables hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

impl CredentialStore {
    /// Reads the word of the settings.
    ///
    /// # Errors
    /// What is needed instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "keyring" => Ok(Self::Keyring),
            "file" => Ok(Self::File),
            _ => Err("use keyring or file".to_owned()),
        }
    }

    /// The word of the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }
}

impl Environment {
    /// Takes a copy of this process's environment.
    pub fn of_process() -> Self {
        Self(Arc::new(std::env::vars_os().collect()))
    }

    /// An environment with these variables, for tests.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self(Arc::new(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// A variable; one that is empty counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(std::ffi::OsStr::new(name)).and_then(|value| value.to_str()).filter(|value| !value.trim().is_empty())
    }

    /// A variable that holds a secret.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret::new(value.trim()))
    }
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which gateway.
    pub mode: Mode,
    /// Whether nothing may leave this machine.
    pub sandbox: bool,
    /// Where the ledger is.
    pub data_dir: PathBuf,
    /// The config file that was read, if there is one.
    pub config_file: Option<PathBuf>,
    /// `LAVA_SECRET_KEY`.
    pub secret_key: Option<Secret>,
    /// `LAVA_SPEND_KEY`.
    pub spend_key: Option<Secret>,
    /// Where keys are kept; `None` when the settings say nothing.
    pub credential_store: Option<CredentialStore>,
    /// Whether the secret key pays for calls of a provider's own address at a gateway that takes no spend keys there.
    pub forward_with_secret_key: bool,
    /// What a session may do.
    pub ceiling: Ceiling,
    /// Whether the person at a client is asked how much a new session may spend, where the client can ask.
    pub ask: bool,
    /// A call that may cost more than this is asked about first.
    pub ask_above: Option<Money>,
    /// What is logged, where somebody has chosen.
    pub log: Option<LogLevels>,
    /// Providers of the config file, by name.
    pub providers: Vec<(String, ProviderConfig)>,
    /// Other names for models.
    pub model_aliases: ModelAliases,
    /// Whether local model servers are looked for.
    pub local_servers: bool,
    /// How providers are reached.
    pub network: NetworkSettings,
    /// Proxies in front of `gateway` and `serve`, which bring the connections of many clients.
    pub trusted_proxies: Vec<IpAddr>,
    /// For the providers' own variables.
    pub environment: Environment,
    source: Source,
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    /// [`ConfigError`] naming the flag, the variable, or file and line.
    pub fn load(flags: &Flags, environment: Environment) -> Result<Self, ConfigError> {
        Self::read(flags, environment, true)
    }

    fn read(flags: &Flags, environment: Environment, with_file: bool) -> Result<Self, ConfigError> {
        let folders = etcetera::choose_base_strategy().ok();
        let named = flags.config.clone().map(|path| ("--config", path));
        let named = named.or_else(|| environment.get("LAVA_CONFIG").map(|path| ("environment variable LAVA_CONFIG", PathBuf::from(path))));
        let usual = || folders.as_ref().map(|folders| folders.config_dir().join("lava-mcp").join("config.toml"));
        let (read, config_file) = match named {
            _ if !with_file => Default::default(),
            Some((by, path)) => {
                // That it is missing is the fault of who named it.
                let missing = || ConfigError::in_file(format!("{by}: {}: there is no such file", path.display()));
                let read = if path.exists() { file::read(&path)? } else { return Err(missing()) };
                (read, Some(path))
            }
            // The usual place may be empty; a file that was named must be there.
            None => match usual().filter(|path| path.exists()) {
                Some(path) => (file::read(&path)?, Some(path)),
                None => Default::default(),
            },
        };
        let (file, source) = read;
        let data_dir = flags
            .data_dir
            .clone()
            .or_else(|| environment.get("LAVA_DATA_DIR").map(PathBuf::from))
            .or_else(|| file.data_dir.clone())
            .or_else(|| folders.as_ref().map(|folders| folders.data_dir().join("lava-mcp")))
            .ok_or_else(|| {
                let text = "no home folder was found to keep data in: set LAVA_DATA_DIR or pass --data-dir".to_owned();
                ConfigError { text, made_in: MadeIn::Neither }
            })?;
        let secret_key = environment.secret("LAVA_SECRET_KEY");
        let is_test_key = secret_key.as_ref().is_some_and(|key| key.expose().starts_with("aks_test_"));
        let gateway = file.gateway.unwrap_or_default();
        let session = file.session.unwrap_or_default();
        let written = |variable, keys, value| Written::find(&environment, variable, &source, keys, value);
        let api = written("LAVA_API_URL", &["gateway", "api_url"], gateway.api_url.as_deref());
        let app = written("LAVA_APP_URL", &["gateway", "app_url"], gateway.app_url.as_deref());
        let store = written("LAVA_CREDENTIAL_STORE", &["credential_store"], file.credential_store.as_deref());
        let forward = written("LAVA_FORWARD_WITH", &["gateway", "forward_with"], gateway.forward_with.as_deref());
        let limit = written("LAVA_SESSION_LIMIT", &["session", "limit"], session.limit.as_deref());
        let above = written("LAVA_ASK_ABOVE", &["session", "ask_above"], session.ask_above.as_deref());
        let log = written("LAVA_LOG", &["log"], file.log.as_deref());
        let switch_of = |variable| written(variable, &[], None).map(switch).transpose();
        let (limit, set_by) = ceiling::limit(limit)?;
        let (allowed_models, allowed_providers) = (session.allowed_models.clone(), session.allowed_providers.clone());
        Ok(Self {
            mode: mode(api, app)?,
            sandbox: flags.sandbox || is_test_key || switch_of("LAVA_SANDBOX")?.or(file.sandbox).unwrap_or(false),
            data_dir: absolute(data_dir),
            config_file,
            secret_key,
            spend_key: environment.secret("LAVA_SPEND_KEY"),
            credential_store: flags.store.map_or_else(|| credential_store(store), |store| Ok(Some(store)))?,
            forward_with_secret_key: forward_with(forward)?,
            ask: switch_of("LAVA_ASK")?.or(session.ask).unwrap_or(true),
            ask_above: ask_above(above)?,
            ceiling: Ceiling { limit, set_by, allowed_models, allowed_providers },
            log: log.map(|log| log.text.parse().map_err(|reason: String| log.wrong(reason))).transpose()?,
            providers: file.providers.into_iter().collect(),
            model_aliases: ModelAliases::read(file.model_aliases, file.keys, &source)?,
            local_servers: file.local_servers.unwrap_or(true),
            network: network::read(file.network.unwrap_or_default(), &source)?,
            trusted_proxies: file.listen.unwrap_or_default().trusted_proxies,
            source: source.clone(),
            environment,
        })
    }

    /// Where in the config file a setting is, for an error: file, line and column, and its name.
    pub fn place(&self, keys: &[&str]) -> String {
        self.source.place(keys)
    }

    /// The ledger's file.
    pub fn ledger_path(&self) -> PathBuf {
        self.data_dir.join("ledger.db")
    }
}

fn mode(api: Option<Written<'_>>, app: Option<Written<'_>>) -> Result<Mode, ConfigError> {
    // Only what has no secret in it is shown.
    let wrong = |written: Written<'_>, error| {
        let shown = if error == AddressError::InTheClear { format!("\"{}\": ", written.text) } else { String::new() };
        written.wrong(format!("{shown}{error}"))
    };
    let Some(api) = api else { return Ok(Mode::Embedded) };
    let url = address::gateway(api.text).map_err(|error| wrong(api, error))?;
    let app = match app {
        Some(app) => address::safe(app.text).map_err(|error| wrong(app, error))?,
        // A gateway of one's own serves the page itself.
        None => {
            let own = if address::is_hosted_lava(&url) { APP_URL_DEFAULT } else { url.as_str() };
            address::safe(own).map_err(|error| wrong(api, error))?
        }
    };
    Ok(Mode::Remote { api: url, app })
}

/// Whether a word switches something on or off, if it is such a word.
pub fn is_on(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn switch(written: Written<'_>) -> Result<bool, ConfigError> {
    is_on(written.text).ok_or_else(|| written.wrong(format!("\"{}\" is not a switch; use 1 or 0", written.text)))
}

fn credential_store(written: Option<Written<'_>>) -> Result<Option<CredentialStore>, ConfigError> {
    let Some(written) = written else { return Ok(None) };
    let wrong = |_| written.wrong(format!("\"{}\" is not a place for keys; use keyring or file", written.text));
    CredentialStore::parse(written.text).map(Some).map_err(wrong)
}

fn forward_with(written: Option<Written<'_>>) -> Result<bool, ConfigError> {
    match written.map(|written| (written.text, written)) {
        None | Some(("spend-key" | "spend_key", _)) => Ok(false),
        Some(("secret-key" | "secret_key", _)) => Ok(true),
        Some((other, written)) => Err(written.wrong(format!("\"{other}\" is not a kind of key; use spend-key or secret-key"))),
    }
}

fn ask_above(written: Option<Written<'_>>) -> Result<Option<Money>, ConfigError> {
    let Some(written) = written else { return Ok(None) };
    let amount = written.text.trim().parse().ok().filter(|amount: &Money| !amount.is_negative());
    let needed = || written.wrong(format!("\"{}\" is not an amount in US dollars; use one such as 0.50", written.text));
    amount.map(Some).ok_or_else(needed)
}

/// Relative folders would move with the working directory, and each client starts a server elsewhere.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(Path::new(&path)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load<const N: usize>(variables: [(&str, &str); N]) -> Result<Settings, String> {
        let flags = Flags { data_dir: Some("/data".into()), ..Flags::default() };
        Settings::load(&flags, Environment::of(variables)).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_means_embedded_with_a_limit() {
        let settings = load([]).unwrap();
        assert_eq!(settings.mode, Mode::Embedded);
        assert_eq!((settings.ceiling.limit, settings.ceiling.set_by), (ceiling::DEFAULT, SetBy::Default));
        assert!(settings.ask && settings.ask_above.is_none());
        assert!(!settings.sandbox);
    }

    #[test]
    fn the_threshold_above_which_a_person_is_asked() {
        assert_eq!(load([("LAVA_ASK_ABOVE", " 0.50 ")]).unwrap().ask_above, Some("0.50".parse().unwrap()));
        assert_eq!(load([("LAVA_ASK_ABOVE", "0")]).unwrap().ask_above, Some(Money::ZERO), "every call that costs something");
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("LAVA_API_URL", "lava"),
            ("LAVA_API_URL", "http://api.example.com"),
            ("LAVA_SANDBOX", "maybe"),
            ("LAVA_ASK", "perhaps"),
            ("LAVA_FORWARD_WITH", "both"),
            ("LAVA_CREDENTIAL_STORE", "paper"),
            ("LAVA_SESSION_LIMIT", "5"),
            ("LAVA_SESSION_LIMIT", "0/daily"),
            ("LAVA_SESSION_LIMIT", "5.00/hourly"),
            ("LAVA_ASK_ABOVE", "much"),
            ("LAVA_ASK_ABOVE", "-1"),
        ] {
            let error = load([(name, value)]).unwrap_err();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
    }

    #[test]
    fn a_person_logs_in_at_the_gateway_itself_or_at_lavas_page() {
        let app = |variables: [(&str, &str); 2]| match load(variables).unwrap().mode {
            Mode::Remote { app, .. } => app.as_str().trim_end_matches('/').to_owned(),
            Mode::Embedded => panic!("remote"),
        };
        assert_eq!(app([("LAVA_API_URL", "https://api.lava.so/v1"), ("LAVA_APP_URL", "")]), "https://www.lava.so");
        assert_eq!(app([("LAVA_API_URL", "http://127.0.0.1:4040/v1/"), ("LAVA_APP_URL", "")]), "http://127.0.0.1:4040");
        assert_eq!(
            app([("LAVA_API_URL", "https://api.example.com"), ("LAVA_APP_URL", "https://app.example.com")]),
            "https://app.example.com"
        );
    }

    #[test]
    fn a_test_key_means_sandbox_and_an_sdk_address_is_understood() {
        let settings = load([("LAVA_SECRET_KEY", "aks_test_x"), ("LAVA_API_URL", "https://api.lava.so/v1/")]).unwrap();
        assert!(settings.sandbox);
        let Mode::Remote { api, .. } = settings.mode else { panic!("remote") };
        assert_eq!(api.as_str().trim_end_matches('/'), "https://api.lava.so");
    }
}
