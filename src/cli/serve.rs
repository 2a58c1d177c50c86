//! The composition root: the only place where the parts are built and joined.

use std::{collections::HashMap, convert::Infallible, io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::OnceCell;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use super::Failure;
use crate::{
    catalog::{Catalog, CostUnit, Dialect, Prices, Rates, ReportedCost},
    client::{Body, Client, ClientError, Service, Transport},
    config::{CredentialStore, Mode, ModelAliases, NetworkSettings, PriceConfig, ProviderConfig, Settings, WireDialect},
    domain::{Secret, key::Pepper},
    gateway::{Aliases, Credentials, CustomProvider, Gateway, Inventory, KeyVault, Network, Registry, Waits, edge},
    mcp::{LavaMcp, Options, transport},
    platform::private_file,
    session::{Browser, Connect, GatewayInfo, Link, Parts, ProviderKeys, Session, SessionError, Vault, WebLogin},
    store::{Store, wall_clock},
};

/// What else lies in the data folder, besides the ledger.
const FILES: [&str; 8] = [
    "pepper",
    "keys.json",
    "keys.json.lock",
    "sandbox-keys.json",
    "sandbox-keys.json.lock",
    "credential-store",
    "login.lock",
    "provider-keys.json",
];
const FOLDERS: [&str; 2] = ["processes", "results"];
/// How long requests in flight may still run when the program ends.
const GRACE: Duration = Duration::from_millis(500);

/// Everything a command needs, joined.
pub(super) struct App {
    pub(super) session: Arc<Session>,
    gateway: Arc<OnceCell<Arc<Gateway>>>,
}

impl App {
    /// Joins the parts. Nothing is opened: ledger, keyring and network wait until they are needed.
    pub(super) fn new(settings: Settings) -> Result<Self, Failure> {
        check_settings(&settings)?;
        let gateway = Arc::new(OnceCell::new());
        let vault = vault_of(&settings);
        let lock_file = settings.data_dir.join("login.lock");
        let parts = Parts {
            scope: scope(&settings),
            ceiling: settings.ceiling.clone(),
            spend_key: settings.spend_key.clone(),
            secret_key: settings.secret_key.clone().filter(|_| settings.mode != Mode::Embedded),
            info: info(&settings),
            web: web_login(&settings),
            ask: settings.ask,
            forward_with_secret_key: settings.forward_with_secret_key,
            connect: connect(settings, gateway.clone()),
            vault,
            lock_file,
        };
        Ok(Self { session: Arc::new(Session::new(parts)), gateway })
    }

    /// The embedded gateway itself.
    pub(super) async fn gateway(&self) -> Result<Arc<Gateway>, Failure> {
        // Opening the session's link opens the gateway.
        self.session.client().await?;
        self.gateway.get().cloned().ok_or_else(|| Failure::Error("this needs the embedded gateway; unset LAVA_API_URL".to_owned()))
    }

    /// Does something that may take long, until it is done or Ctrl-C stops it.
    pub(super) async fn until_interrupted(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        tokio::select! {
            done = work => done,
            () = transport::asked_to_stop() => Err(Failure::Stopped("stopped".to_owned())),
        }
    }

    /// Ends what is in flight, settles it, and closes the ledger.
    pub(super) async fn close(self) {
        if let Some(gateway) = self.gateway.get() {
            gateway.shut_down(GRACE).await;
        }
    }
}

/// Serves MCP on stdin and stdout until the client goes.
pub(super) async fn stdio(settings: Settings) -> Result<(), Failure> {
    let options = mcp_options(&settings);
    let app = App::new(settings)?;
    let served = transport::stdio::serve(LavaMcp::new(app.session.clone(), options)).await;
    app.close().await;
    served.map_err(|error| Failure::Error(format!("the MCP connection failed: {error}")))
}

/// What a person has set for the tools.
pub(super) fn mcp_options(settings: &Settings) -> Options {
    Options { results: settings.data_dir.join("results"), ask_above: settings.ask_above }
}

pub(super) fn provider_keys(settings: &Settings) -> ProviderKeys {
    ProviderKeys::new(provider_vault(settings), &settings.data_dir)
}

/// Where keys of providers are kept, which stand for money also where the rest is a sandbox.
pub(super) fn provider_vault(settings: &Settings) -> Vault {
    chosen_vault(settings, false)
}

/// Where session keys are kept.
pub(super) fn vault_of(settings: &Settings) -> Vault {
    chosen_vault(settings, settings.sandbox && settings.mode == Mode::Embedded)
}

fn chosen_vault(settings: &Settings, for_sandbox: bool) -> Vault {
    let folder = settings.data_dir.clone();
    match settings.credential_store {
        Some(CredentialStore::Keyring) => Vault::Keyring,
        Some(CredentialStore::File) => Vault::File(folder),
        None => Vault::Unset { folder, for_sandbox },
    }
}

/// A browser is of use where a gateway at an address gives keys, and none was given here.
fn web_login(settings: &Settings) -> Option<WebLogin> {
    let Mode::Remote { app, .. } = &settings.mode else { return None };
    let is_given = settings.secret_key.is_some() || settings.spend_key.is_some();
    (!is_given).then(|| WebLogin::new(app.clone(), Browser::of(&settings.environment)))
}

fn info(settings: &Settings) -> GatewayInfo {
    match &settings.mode {
        Mode::Embedded => GatewayInfo { mode: "embedded", url: None, sandbox: settings.sandbox },
        Mode::Remote { api, .. } => GatewayInfo { mode: "remote", url: Some(api.to_string()), sandbox: settings.sandbox },
    }
}

/// Keys of different gateways, and of the sandbox, live side by side in one vault.
fn scope(settings: &Settings) -> String {
    let place = match &settings.mode {
        Mode::Embedded => format!("embedded {}", settings.data_dir.display()),
        Mode::Remote { api, .. } => api.to_string(),
    };
    if settings.sandbox { format!("{place} (sandbox)") } else { place }
}

/// Opens the gateway at its first use, whichever it is.
fn connect(settings: Settings, cell: Arc<OnceCell<Arc<Gateway>>>) -> Connect {
    let settings = Arc::new(settings);
    Arc::new(move || {
        let (settings, cell) = (settings.clone(), cell.clone());
        async move {
            if let Mode::Remote { api, .. } = &settings.mode {
                return Ok(Link {
                    client: Client::new(Transport::http_trusting(api.clone(), settings.network.ca_pem.as_deref())?),
                    owner: None,
                });
            }
            let gateway = cell.get_or_try_init(|| open_gateway(&settings)).await.map_err(SessionError::Ledger)?.clone();
            let client = Client::new(Transport::InProcess(in_process(&gateway)));
            let owner = gateway.owner_key().map_err(|error| SessionError::Ledger(error.to_string()))?;
            Ok(Link { client, owner: Some(Secret::new(owner.expose())) })
        }
        .boxed()
    })
}

async fn open_gateway(settings: &Settings) -> Result<Arc<Gateway>, String> {
    let folder = &settings.data_dir;
    private_file::create_folder(folder).map_err(|error| format!("the data folder {} cannot be created: {error}", folder.display()))?;
    private_file::close_what_is_there(folder, &FILES, &FOLDERS);
    let pepper = pepper(folder).map_err(|error| format!("the data folder {} cannot be used: {error}", folder.display()))?;
    let registry = registry(settings)?;
    let clock = wall_clock();
    let store = Store::open(&settings.ledger_path(), clock.clone()).await.map_err(|error| error.to_string())?;
    Ok(Gateway::new(store, clock, pepper, registry, settings.sandbox))
}

/// What can be bought, without the ledger, which knows the quarantined models.
pub(super) fn inventory(settings: &Settings, quarantined: Vec<(String, String)>) -> Result<Inventory, String> {
    Ok(Inventory::new(registry(settings)?, quarantined, settings.sandbox))
}

/// The gateway as a service that the client can call.
fn in_process(gateway: &Arc<Gateway>) -> Service {
    let router = edge::router(gateway.clone());
    BoxCloneSyncService::new(service_fn(move |request: Request<Full<Bytes>>| {
        let router = router.clone();
        async move {
            let response = router.oneshot(request).await?;
            let broken = |error: axum::Error| ClientError::Unreachable(error.to_string());
            Ok::<Response<Body>, Infallible>(response.map(|body| body.map_err(broken).boxed_unsync()))
        }
    }))
}

fn registry(settings: &Settings) -> Result<Registry, String> {
    let network = network(settings)?;
    let custom = settings.providers.iter().filter_map(|(id, provider)| custom_provider(id, provider)).collect();
    let mut configured: HashMap<String, Secret> = HashMap::new();
    for (id, provider) in &settings.providers {
        let from_variable = || provider.api_key_env.as_ref().and_then(|name| settings.environment.secret(name));
        if let Some(key) = provider.api_key.clone().or_else(from_variable) {
            configured.insert(id.clone(), key);
        }
    }
    let environment = settings.environment.clone();
    let kept = provider_keys(settings);
    let names = kept.clone();
    let vault = KeyVault {
        names: Arc::new(move || names.names()),
        load: Arc::new(move || {
            let kept = kept.clone();
            async move {
                let loaded = kept.load().await.map_err(|error| error.to_string())?;
                Ok(loaded.into_iter().collect())
            }
            .boxed()
        }),
    };
    let credentials = Credentials::new(configured, Arc::new(move |name| environment.secret(name)), Some(vault));
    let ModelAliases { all, by_key } = settings.model_aliases.clone();
    let registry = Registry::new(custom, credentials, settings.local_servers).with_aliases(Aliases::new(all, by_key));
    Ok(registry.with_network(network).with_waits(waits(settings)))
}

/// A provider of one's own. An entry without an address only sets the key of a catalog provider.
fn custom_provider(id: &str, provider: &ProviderConfig) -> Option<CustomProvider> {
    let dialect = match provider.dialect {
        WireDialect::Openai => Dialect::Openai,
        WireDialect::Anthropic => Dialect::Anthropic,
    };
    let prices = provider.price.as_ref().map(|price| match price {
        PriceConfig::Free => Prices::free(),
        PriceConfig::PerMillion { input, output, cache_read, request } => {
            Prices::from_rates(Rates { cache_read: *cache_read, request: *request, ..Rates::flat(*input, *output) })
        }
    });
    let api_key_env = provider.api_key_env.clone().or_else(|| provider.api_key.as_ref().map(|_| format!("api_key of [providers.{id}]")));
    Some(CustomProvider {
        id: id.to_owned(),
        base_url: provider.base_url.clone()?,
        dialect,
        api_key_env,
        models: provider.models.clone(),
        prices,
        reported_cost: match &provider.reported_cost {
            Some(field) => Some(ReportedCost { field: field.as_str().into(), unit: CostUnit::Usd }),
            // A provider of the catalog at another address says it as at its own.
            None => Catalog::embedded().provider(id).and_then(|known| known.reported_cost.clone()),
        },
        context_window: provider.context_window,
        takes_stream_options: provider
            .stream_options
            .unwrap_or_else(|| Catalog::embedded().provider(id).is_none_or(|known| known.takes_stream_options)),
    })
}

/// The way to providers, as the config file says.
fn network(settings: &Settings) -> Result<Network, String> {
    let NetworkSettings { proxy, no_proxy, ca_pem, .. } = &settings.network;
    Network::new(proxy.as_ref().map(Secret::expose), no_proxy, ca_pem.as_deref()).map_err(|error| {
        let named = error.strip_prefix("[network] ").and_then(|rest| rest.split_once(": "));
        let place = named.map(|(key, _)| settings.place(&["network", key]).replace(&format!(": network.{key}"), ""));
        place.map_or_else(|| error.clone(), |place| format!("{place}: {error}"))
    })
}

/// How long providers are waited for.
fn waits(settings: &Settings) -> Waits {
    let usual = Waits::default();
    let NetworkSettings { silence_timeout, ping_interval, .. } = &settings.network;
    Waits { silence: silence_timeout.unwrap_or(usual.silence), ping_every: ping_interval.unwrap_or(usual.ping_every) }
}

/// What only shows once the settings are put to use.
pub(super) fn check_settings(settings: &Settings) -> Result<(), Failure> {
    check_providers(settings)?;
    network(settings).map(drop).map_err(Failure::Error)
}

fn check_providers(settings: &Settings) -> Result<(), Failure> {
    let without_address = settings.providers.iter().filter(|(_, provider)| provider.base_url.is_none());
    for (id, _) in without_address {
        if Catalog::embedded().provider(id).is_none() {
            let place = settings.place(&["providers", id]);
            return Err(Failure::Error(format!("{place}: it has no base_url, and no provider of the catalog is called {id}")));
        }
    }
    Ok(())
}

/// The secret that turns keys into digests. It lies beside the ledger, not in it: a stolen ledger cannot check or make keys.
fn pepper(folder: &Path) -> io::Result<Pepper> {
    let path = folder.join("pepper");
    let read = |path: &Path| -> io::Result<Pepper> {
        let bytes: [u8; Pepper::BYTES] =
            private_file::read(path)?.try_into().map_err(|_| io::Error::other(format!("{} is damaged", path.display())))?;
        Ok(Pepper::from_bytes(&bytes))
    };
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let mut bytes = [0_u8; Pepper::BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    // Written beside and linked into place: of two processes that start at once, one wins and both read the same.
    let fresh = folder.join(format!("pepper.{}", ulid::Ulid::generate()));
    private_file::write_new(&fresh, &bytes)?;
    let linked = std::fs::hard_link(&fresh, &path);
    let _ = std::fs::remove_file(&fresh);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // File systems without hard links.
        Err(_) => private_file::write_new(&path, &bytes)?,
    }
    read(&path)
}
