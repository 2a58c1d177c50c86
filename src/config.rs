//! Every setting and every environment variable, read once. Flags win over the environment, the environment over the config file, the file over defaults.

mod aliases;
mod ceiling;
mod file;
mod network;

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
pub use network::NetworkSettings;

use crate::domain::{
    Money, Secret,
    address::{self, AddressError},
};

/// Lava's web page, where a browser login begins.
const APP_URL_DEFAULT: &str = "https://www.lava.so";

/// A setting that cannot be used. The text says where it stands and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

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
            _ => Err("keyring or file is needed".to_owned()),
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
    /// What is logged, such as `info` or `lava_mcp=debug`.
    pub log: Option<String>,
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
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    /// [`ConfigError`] naming the flag, the variable, or file and line.
    pub fn load(flags: &Flags, environment: Environment) -> Result<Self, ConfigError> {
        let folders = etcetera::choose_base_strategy().ok();
        let named = flags.config.clone().or_else(|| environment.get("LAVA_CONFIG").map(PathBuf::from));
        let usual = || folders.as_ref().map(|folders| folders.config_dir().join("lava-mcp").join("config.toml"));
        let (file, config_file) = match named {
            Some(path) => (file::read(&path)?, Some(path)),
            // The usual place may be empty; a file that was named must be there.
            None => match usual().filter(|path| path.exists()) {
                Some(path) => (file::read(&path)?, Some(path)),
                None => (file::File::default(), None),
            },
        };
        let data_dir = flags
            .data_dir
            .clone()
            .or_else(|| environment.get("LAVA_DATA_DIR").map(PathBuf::from))
            .or_else(|| file.data_dir.clone())
            .or_else(|| folders.as_ref().map(|folders| folders.data_dir().join("lava-mcp")))
            .ok_or_else(|| ConfigError::new("there is no home folder to keep data in: set LAVA_DATA_DIR or pass --data-dir"))?;
        let secret_key = environment.secret("LAVA_SECRET_KEY");
        let is_test_key = secret_key.as_ref().is_some_and(|key| key.expose().starts_with("aks_test_"));
        let sandbox_variable = environment.get("LAVA_SANDBOX").map(|text| switch("LAVA_SANDBOX", text)).transpose()?;
        let ask_variable = environment.get("LAVA_ASK").map(|text| switch("LAVA_ASK", text)).transpose()?;
        let gateway = file.gateway.unwrap_or_default();
        let session = file.session.unwrap_or_default();
        Ok(Self {
            mode: mode(&environment, gateway.api_url.as_deref(), gateway.app_url.as_deref())?,
            sandbox: flags.sandbox || is_test_key || sandbox_variable.or(file.sandbox).unwrap_or(false),
            data_dir: absolute(data_dir),
            config_file: config_file.clone(),
            secret_key,
            spend_key: environment.secret("LAVA_SPEND_KEY"),
            credential_store: flags
                .store
                .map_or_else(|| credential_store(&environment, file.credential_store.as_deref()), |store| Ok(Some(store)))?,
            forward_with_secret_key: forward_with(&environment, gateway.forward_with.as_deref())?,
            ask: ask_variable.or(session.ask).unwrap_or(true),
            ask_above: ask_above(&environment, session.ask_above.as_deref())?,
            ceiling: ceiling::read(&environment, session)?,
            log: environment.get("LAVA_LOG").map(str::to_owned).or(file.log),
            providers: file.providers.into_iter().collect(),
            model_aliases: ModelAliases::read(file.model_aliases, file.keys)?,
            local_servers: file.local_servers.unwrap_or(true),
            network: network::read(file.network.unwrap_or_default(), config_file.as_deref())?,
            trusted_proxies: file.listen.unwrap_or_default().trusted_proxies,
            environment,
        })
    }

    /// The ledger's file.
    pub fn ledger_path(&self) -> PathBuf {
        self.data_dir.join("ledger.db")
    }
}

fn mode(environment: &Environment, api: Option<&str>, app: Option<&str>) -> Result<Mode, ConfigError> {
    let Some(api) = environment.get("LAVA_API_URL").or(api) else { return Ok(Mode::Embedded) };
    let api = address::gateway(api).map_err(|error| bad_address("LAVA_API_URL", api, error))?;
    // A gateway of one's own serves the page itself.
    let own = if address::is_hosted_lava(&api) { APP_URL_DEFAULT } else { api.as_str() };
    let app = environment.get("LAVA_APP_URL").or(app).unwrap_or(own);
    let app = address::safe(app).map_err(|error| bad_address("LAVA_APP_URL", app, error))?;
    Ok(Mode::Remote { api, app })
}

fn bad_address(name: &str, text: &str, error: AddressError) -> ConfigError {
    // Only what has no secret in it is shown.
    let shown = if error == AddressError::InTheClear { format!(" is \"{text}\"") } else { String::new() };
    ConfigError::new(format!("{name}{shown}: {error}"))
}

fn switch(name: &str, text: &str) -> Result<bool, ConfigError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(ConfigError::new(format!("{name} is \"{text}\": 1 or 0 is needed"))),
    }
}

fn credential_store(environment: &Environment, file: Option<&str>) -> Result<Option<CredentialStore>, ConfigError> {
    let Some(text) = environment.get("LAVA_CREDENTIAL_STORE").or(file) else { return Ok(None) };
    let wrong = |needed: String| ConfigError::new(format!("LAVA_CREDENTIAL_STORE is \"{text}\": {needed}"));
    CredentialStore::parse(text).map(Some).map_err(wrong)
}

fn forward_with(environment: &Environment, file: Option<&str>) -> Result<bool, ConfigError> {
    match environment.get("LAVA_FORWARD_WITH").or(file).unwrap_or("spend-key") {
        "spend-key" | "spend_key" => Ok(false),
        "secret-key" | "secret_key" => Ok(true),
        other => Err(ConfigError::new(format!("LAVA_FORWARD_WITH is \"{other}\": spend-key or secret-key is needed"))),
    }
}

fn ask_above(environment: &Environment, file: Option<&str>) -> Result<Option<Money>, ConfigError> {
    let Some(text) = environment.get("LAVA_ASK_ABOVE").or(file) else { return Ok(None) };
    let amount = text.trim().parse().ok().filter(|amount: &Money| !amount.is_negative());
    let needed = || ConfigError::new(format!("LAVA_ASK_ABOVE is \"{text}\": an amount in US dollars such as 0.50 is needed"));
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
        assert_eq!(ask_above(&Environment::default(), Some("0")).unwrap(), Some(Money::ZERO), "every call that costs something");
        assert!(ask_above(&Environment::default(), Some("cheap")).is_err());
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
