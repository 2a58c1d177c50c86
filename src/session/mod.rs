//! A session: which gateway it uses, which key pays, and where that key is kept.
//!
//! The key comes from `LAVA_SPEND_KEY`, else from the vault, where `login` put it. A person sets the ceiling; an agent can only ask for less, and asking
//! again never makes a spent budget new: the key stays the same one, or is rotated, and keeps its history.

mod browser;
mod ceiling;
mod decided;
mod forward;
mod in_use;
mod kept;
mod narrow;
mod narrowed;
mod payer;
mod provider_keys;
mod provision;
mod vault;
mod vault_error;
mod web;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::Mutex;

pub use crate::config::SetBy;
pub use browser::Browser;
pub use forward::ForwardKey;
pub use kept::{ForgottenLogin, KeySource};
pub use narrow::Narrowing;
pub use payer::Payer;
pub use provider_keys::ProviderKeys;
pub use provision::LoggedOut;
pub use vault::Vault;
pub use vault_error::VaultError;
pub use web::{Led, PendingLogin, WebLogin};

use in_use::{Asked, InUse};
use narrowed::Narrowed;
use provision::host_name;

use crate::{
    client::{Client, ClientError, SpendKeyObject},
    config::Ceiling,
    domain::{Secret, SpendLimit},
};

/// Where the session's gateway is, for showing.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct GatewayInfo {
    /// `embedded` (inside this process) or `remote`.
    pub mode: &'static str,
    /// The address of a remote gateway.
    pub url: Option<String>,
    /// Whether nothing leaves this machine.
    pub sandbox: bool,
}

/// A gateway that can be spoken to.
#[derive(Clone)]
pub struct Link {
    /// The way to it.
    pub client: Client,
    /// The secret key of the gateway inside this process; a login has to bring one for any other.
    pub owner: Option<Secret>,
}

/// Opens the gateway when it is first needed.
pub type Connect = Arc<dyn Fn() -> BoxFuture<'static, Result<Link, SessionError>> + Send + Sync>;

/// Why a session cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no key yet.
    #[error("there is no session key yet")]
    NotLoggedIn,
    /// A remote gateway, and nothing to log in with.
    #[error("this gateway needs a secret key to log in with")]
    NoSecretKey,
    /// A key that was given to this process, or came with the request, is not accepted.
    #[error("the gateway does not accept the key from {0}; it may be expired, revoked or rotated")]
    KeyRefused(&'static str),
    /// The person did not want the login.
    #[error("the user declined the login")]
    Declined,
    /// The person did not come back from the browser in time.
    #[error("the login in the browser was not finished in time")]
    LoginExpired,
    /// Somebody else knocked at the port of the login.
    #[error("five answers came that do not belong to this login, so it was stopped")]
    WrongStates,
    /// What the login gave could not be kept.
    #[error("the login worked, but its secret key{} could not be kept: {error}; delete it in your account", .secret_key_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default())]
    NotKept {
        /// Names the key, where the gateway told it.
        secret_key_id: Option<String>,
        /// Why.
        error: VaultError,
    },
    /// There is no port to which a browser could come back.
    #[error("the login could not open a port of this machine for the browser to come back to: {0}")]
    NoListener(String),
    /// The gateway did not take the code that the browser brought.
    #[error("the login did not work: {0}")]
    LoginRefused(ClientError),
    /// The gateway took the session's spend key neither for this address nor, as far as can be told, for any other.
    #[error("the gateway does not take this session's spend key for calls of a provider's own address: {0}")]
    ForwardRefused(ClientError),
    /// The session key was paused by its owner.
    #[error("the session key is paused; its owner can set it active again")]
    KeyPaused,
    /// An agent asked for more than a person allowed, or for what cannot be narrowed.
    #[error("{0}")]
    NotNarrower(String),
    /// The vault cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The ledger cannot be opened.
    #[error("{0}")]
    Ledger(String),
    /// The gateway said no, or does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A session that can pay.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The key object, where the gateway shows it to a spend key.
    pub key: Option<SpendKeyObject>,
    /// Where the key is kept: `environment`, `request` (with which it came), `keyring` or `file`.
    pub stored_in: &'static str,
    /// Who set its limit, where a session did.
    pub limit_set_by: Option<SetBy>,
}

/// One session.
pub struct Session {
    connect: Connect,
    link: Mutex<Option<Link>>,
    vault: Vault,
    /// Tells the keys of different gateways apart in one vault.
    scope: String,
    ceiling: Ceiling,
    from_environment: Option<Secret>,
    secret_from_environment: Option<Secret>,
    info: GatewayInfo,
    lock_file: PathBuf,
    web: Option<WebLogin>,
    /// The login with a browser that is under way, or ended with nobody there.
    pending: Mutex<Option<Arc<PendingLogin>>>,
    ask: bool,
    forward_with_secret_key: bool,
    /// What people have allowed to clients that have no key yet.
    allowed: std::sync::Mutex<HashMap<String, SpendLimit>>,
    /// What sessions of this process have asked for less of.
    narrowed: Narrowed,
    /// The key in use; logins wait for each other here.
    current: Mutex<Option<InUse>>,
}

/// What a session is made of.
pub struct Parts {
    /// Opens the gateway.
    pub connect: Connect,
    /// Keeps keys.
    pub vault: Vault,
    /// Tells the keys of different gateways apart.
    pub scope: String,
    /// What a person allows.
    pub ceiling: Ceiling,
    /// `LAVA_SPEND_KEY`.
    pub spend_key: Option<Secret>,
    /// `LAVA_SECRET_KEY`.
    pub secret_key: Option<Secret>,
    /// For showing.
    pub info: GatewayInfo,
    /// Held while a key is made, so that two processes do not make two.
    pub lock_file: PathBuf,
    /// How a person logs in with a browser; only at a gateway at an address, and where no key was given.
    pub web: Option<WebLogin>,
    /// Whether the person at a client is asked how much a new session may spend.
    pub ask: bool,
    /// Whether the secret key pays for calls of a provider's own address, past the session's limit.
    pub forward_with_secret_key: bool,
}

impl Session {
    /// A session. Nothing is opened yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { connect, vault, scope, ceiling, spend_key, secret_key, info, lock_file, web, ask, forward_with_secret_key } = parts;
        Self {
            connect,
            link: Mutex::new(None),
            vault,
            scope,
            ceiling,
            from_environment: spend_key,
            secret_from_environment: secret_key,
            info,
            lock_file,
            web,
            pending: Mutex::new(None),
            ask,
            forward_with_secret_key,
            allowed: std::sync::Mutex::default(),
            narrowed: Narrowed::default(),
            current: Mutex::new(None),
        }
    }

    /// Where the gateway is.
    pub const fn info(&self) -> &GatewayInfo {
        &self.info
    }

    /// Where keys are kept: `keyring` or `file`.
    pub fn vault_kind(&self) -> &'static str {
        self.vault.kind()
    }

    /// Asks a keyring at once that did not answer a moment ago, instead of leaving it alone for a while.
    pub fn ask_vault_again(&self) {
        self.vault.ask_again();
    }

    /// The gateway, opened if it was not.
    ///
    /// # Errors
    /// [`SessionError::Ledger`] when the embedded gateway cannot open its ledger.
    pub async fn client(&self) -> Result<Client, SessionError> {
        Ok(self.link().await?.client)
    }

    async fn link(&self) -> Result<Link, SessionError> {
        let mut link = self.link.lock().await;
        if let Some(link) = &*link {
            return Ok(link.clone());
        }
        let opened = (self.connect)().await?;
        *link = Some(opened.clone());
        Ok(opened)
    }

    /// The key with which `payer` pays: the one it brought, that of the environment, of this process, or of the vault.
    ///
    /// # Errors
    /// [`SessionError::NotLoggedIn`] when there is none.
    pub async fn spend_key(&self, payer: &Payer) -> Result<Secret, SessionError> {
        let client_name = match self.given(payer) {
            Ok(given) => return Ok(given.key.clone()),
            Err(client_name) => client_name,
        };
        let earlier = self.narrowed.of(payer);
        let mut current = self.current.lock().await;
        if let Some(in_use) = &*current
            && in_use.session == payer.session()
            && self.is_as_left(in_use).await
        {
            return Ok(in_use.key.clone());
        }
        let found = Box::pin(self.reuse(client_name, &Asked::before(earlier))).await?;
        let in_use = found.ok_or(SessionError::NotLoggedIn)?.of(payer);
        let key = in_use.key.clone();
        *current = Some(in_use);
        Ok(key)
    }

    /// Who set the limit under which `payer` pays, as far as its last call has shown.
    pub async fn limit_set_by(&self, payer: &Payer) -> Option<SetBy> {
        let current = self.current.lock().await;
        current.as_ref().filter(|in_use| in_use.session == payer.session()).and_then(|in_use| in_use.logged_in.limit_set_by)
    }

    /// Whether the gateway knows a spend key. One that is paused it knows; a gateway that does not say is taken at its word when the key is used.
    ///
    /// # Errors
    /// [`SessionError`] when the gateway cannot be asked.
    pub async fn knows(&self, key: &Secret) -> Result<bool, SessionError> {
        match self.client().await?.own_key(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_unauthorised() => Ok(false),
            Err(ClientError::BadKey) => Ok(false),
            Err(error) => match paused_or(error) {
                SessionError::KeyPaused => Ok(true),
                error => Err(error),
            },
        }
    }

    /// Whether the gateway obeys a limit on the cost of one call. Ours does; hosted Lava is not known to.
    ///
    /// # Errors
    /// [`SessionError::Client`] when it cannot be asked.
    pub async fn obeys_max_cost(&self, key: &Secret) -> Result<bool, SessionError> {
        if self.info.url.is_none() {
            return Ok(true);
        }
        Ok(self.client().await?.own_key(key).await?.is_some_and(|object| object.extras.is_some()))
    }

    /// Forgets a key that the gateway no longer accepts, so that the next call looks in the vault again.
    pub async fn forget(&self) {
        *self.current.lock().await = None;
    }

    /// Makes sure that there is a key within the ceiling. With `force` its value is new, while what it has spent stays.
    ///
    /// # Errors
    /// [`SessionError`] with the way out in it.
    pub async fn login(&self, payer: &Payer, narrowing: &Narrowing, force: bool) -> Result<LoggedIn, SessionError> {
        let client_name = match self.given(payer) {
            Ok(given) if narrowing.is_empty() && !force => return self.check(given).await,
            Ok(given) => {
                let text = format!("the session key comes from {}; its limits are changed by whoever gave it out", given.from);
                return Err(SessionError::NotNarrower(text));
            }
            Err(client_name) => client_name,
        };
        narrowing.check(&self.ceiling_of(client_name).await?).map_err(SessionError::NotNarrower)?;
        let asked = Asked { earlier: self.narrowed.of(payer), now: narrowing.clone(), by_person: None };
        let logged_in = self.log_in(payer, client_name, &asked, force).await?;
        self.narrowed.set(payer, asked.narrowing());
        Ok(logged_in)
    }

    /// The same for a person at the command line, who says how much this client may spend from now on, within what the settings allow.
    ///
    /// # Errors
    /// As [`Self::login`].
    pub async fn login_with_limit(&self, payer: &Payer, limit: SpendLimit, force: bool) -> Result<LoggedIn, SessionError> {
        let narrowing = Narrowing { spend_limit: Some(limit), ..Narrowing::default() };
        let Err(client_name) = self.given(payer) else { return self.login(payer, &narrowing, force).await };
        narrowing.check(&self.ceiling).map_err(SessionError::NotNarrower)?;
        self.log_in(payer, client_name, &Asked { by_person: Some(limit), ..Asked::default() }, force).await
    }

    async fn log_in(&self, payer: &Payer, client_name: &str, asked: &Asked, force: bool) -> Result<LoggedIn, SessionError> {
        let mut current = self.current.lock().await;
        let found = match Box::pin(self.reuse(client_name, asked)).await? {
            Some(found) if !force => found,
            _ => Box::pin(self.renew(client_name, asked, force)).await?,
        };
        let in_use = found.of(payer);
        let logged_in = in_use.logged_in.clone();
        *current = Some(in_use);
        Ok(logged_in)
    }

    /// The session as it is, without making anything.
    ///
    /// # Errors
    /// [`SessionError::NotLoggedIn`] when there is no valid key.
    pub async fn status(&self, payer: &Payer) -> Result<LoggedIn, SessionError> {
        let client_name = match self.given(payer) {
            Ok(given) => return self.check(given).await,
            Err(client_name) => client_name,
        };
        let found = Box::pin(self.reuse(client_name, &Asked::before(self.narrowed.of(payer)))).await?;
        found.map(|found| found.logged_in).ok_or(SessionError::NotLoggedIn)
    }

    /// The key that was given and not made by `login`; else the name of the client, whose key is in the vault.
    fn given<'a>(&'a self, payer: &'a Payer) -> Result<Given<'a>, &'a str> {
        match (payer, &self.from_environment) {
            (Payer::Key(key), _) => Ok(Given { key, from: "the Authorization header", stored_in: "request" }),
            (_, Some(key)) => Ok(Given { key, from: "LAVA_SPEND_KEY", stored_in: "environment" }),
            (Payer::Client(name) | Payer::Member { client: name, .. }, None) => Err(name),
        }
    }

    async fn check(&self, given: Given<'_>) -> Result<LoggedIn, SessionError> {
        match self.client().await?.own_key(given.key).await {
            Ok(object) => Ok(LoggedIn { key: object, stored_in: given.stored_in, limit_set_by: None }),
            Err(error) if error.is_unauthorised() => Err(SessionError::KeyRefused(given.from)),
            Err(error) => Err(paused_or(error)),
        }
    }
}

/// A key that somebody handed over.
struct Given<'a> {
    key: &'a Secret,
    /// Where it comes from, for people.
    from: &'static str,
    stored_in: &'static str,
}

fn paused_or(error: ClientError) -> SessionError {
    match error {
        ClientError::Refused { ref code, .. } if code == "key_paused" => SessionError::KeyPaused,
        other => other.into(),
    }
}
