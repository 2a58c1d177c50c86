//! The gateway: one key for every provider, and every request metered.
//!
//! # The journey of a request
//!
//! ```text
//! edge -> authorise -> reserve -> upstream -> meter -> settle
//! ```
//!
//! | step | file | takes | gives |
//! |---|---|---|---|
//! | read the request, answer in the caller's dialect | [`edge`] | bytes | `Inbound` |
//! | who is it, and what may they buy where | `authorise` | `Inbound` | `Authorised` |
//! | set the most it can cost aside, on disk | `reserve` | `Authorised` | `Held` |
//! | call the provider | `upstream` | `Held` | `Sent` |
//! | pass the answer on and count what was used | `meter` | `Sent` | `Metered` |
//! | book the cost, give the rest back | `settle` | `Metered` | an entry |
//!
//! Each step consumes what the one before made, so a skipped step does not compile. Until money is held, a failure is an error and returns at once. From then on
//! a failure is a value that travels on to `settle`; and the work runs in a task of its own, so a caller who hangs up cannot cancel the bookkeeping.

mod access_log;
mod aliases;
mod ask;
mod authorise;
mod breaker;
mod connect;
mod credential;
mod credentials;
mod discover;
mod door;
pub mod edge;
mod entrance;
mod error;
mod first_byte;
mod forward;
mod habits;
mod hosted;
mod instead;
mod inventory;
mod late_headers;
mod lengths;
mod line;
mod local;
mod lookup;
mod manage;
mod meter;
mod metrics;
mod models;
mod network;
mod no_route;
mod offers;
mod owner;
mod plan;
mod providers;
mod public_addresses;
mod quarantine;
mod refused;
mod reported;
mod reports;
mod request_body;
mod request_ids;
mod reserve;
mod route;
mod sandbox;
mod screen;
mod sellers;
pub mod server;
mod settle;
mod template_tokens;
mod tokens;
mod unavailable;
mod unpack;
mod upstream;
mod upstream_error;
mod waits;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::sync::{broadcast, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use aliases::{Aliases, ModelNames};
pub use credentials::{Credentials, Environment, KeyPlace, KeyVault, Loading};
pub use inventory::{Inventory, KeyTest, Kind, Stock};
pub use network::Network;
pub use owner::ToReview;
pub use providers::{CustomProvider, Registry};
pub use waits::Waits;

use crate::{
    domain::{KeyHash, Metered as Known, PlainKey, RequestId, key::KeyKind, key::Pepper},
    listen::BodyBudget,
    store::{Clock, KeyPage, NewSecretKey, SecretKey, Store, StoreError},
};
use access_log::LogEntry;
use authorise::{Authorised, Inbound, authorise};
use breaker::{Breakers, Verdict};
use error::GatewayError;
use habits::Habits;
use late_headers::LateHeaders;
use line::Lines;
use meter::{Answer, Asked, LastWord, meter};
use metrics::Metrics;
use quarantine::Quarantine;
use refused::Refused;
use reserve::reserve;
use settle::Tally;
use template_tokens::TemplateTokens;
use upstream::{Upstream, send};

/// Ids of the local model servers that are looked for.
pub const LOCAL_SERVERS: [&str; 4] = local::IDS;

/// Under this name the ledger keeps whose spend keys the owner's are.
const OWNER_ID: &str = "owner";

/// Settlements that those who wait for one may lag behind; who lags further looks again.
const SETTLED_QUEUE: usize = 64;

/// Everything a request needs, built once.
pub struct Gateway {
    store: Store,
    clock: Clock,
    pepper: Pepper,
    registry: Registry,
    upstream: Upstream,
    breakers: Breakers,
    lines: Lines,
    habits: Habits,
    template_tokens: TemplateTokens,
    quarantine: Quarantine,
    /// The bodies of requests in memory.
    bodies: Arc<BodyBudget>,
    /// Tells those who wait for a report which request has been settled.
    settled: broadcast::Sender<RequestId>,
    late_headers: Arc<LateHeaders>,
    /// The key of whoever runs this gateway in their own process.
    owner: OnceLock<PlainKey>,
    /// Whether every key only reaches the sandbox.
    sandbox: bool,
    metrics: Metrics,
    /// The tasks that hold money.
    tasks: TaskTracker,
    /// Tells those tasks to let go of their upstream and settle.
    stopping: CancellationToken,
}

impl Gateway {
    /// Joins the parts. Nothing is opened here but what is handed over.
    pub fn new(store: Store, clock: Clock, pepper: Pepper, registry: Registry, sandbox: bool) -> Arc<Self> {
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        let (upstream, lines, habits) = (Upstream::new(registry.network.clone()), Lines::default(), Habits::default());
        let (metrics, breakers) = (Metrics::new(clock()), Breakers::new(clock.clone()));
        Arc::new(Self {
            store,
            clock,
            pepper,
            registry,
            upstream,
            breakers,
            lines,
            habits,
            template_tokens: TemplateTokens::default(),
            quarantine: Quarantine::default(),
            bodies: Arc::default(),
            settled: broadcast::Sender::new(SETTLED_QUEUE),
            late_headers: Arc::default(),
            owner: OnceLock::new(),
            sandbox,
            metrics,
            tasks,
            stopping,
        })
    }

    /// A secret key that is known to this process only, and to no other once it ends: who can open the ledger owns it, and need not keep a key for that.
    ///
    /// # Errors
    /// [`StoreError`] when the system has no randomness to give.
    pub fn owner_key(&self) -> Result<&PlainKey, StoreError> {
        if let Some(key) = self.owner.get() {
            return Ok(key);
        }
        let key = PlainKey::generate(self.secret_kind(false)).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(self.owner.get_or_init(|| key))
    }

    /// The owner, if this is their key.
    fn owner_with(&self, hash: &KeyHash) -> Option<SecretKey> {
        let key = self.owner.get().filter(|key| key.hash(&self.pepper) == *hash)?;
        let (preview, name) = (key.preview(), "owner".to_owned());
        Some(SecretKey { id: OWNER_ID.to_owned(), preview, name, test: self.sandbox, created_at: (self.clock)() })
    }

    /// The ledger knows the owner of each spend key by a row. The one of this process's key is made with the first spend key; what is in it opens nothing once the
    /// process has ended.
    async fn enroll(&self, owner: &SecretKey) -> Result<(), StoreError> {
        let is_there = || Ok::<_, StoreError>(self.store.secret_keys()?.iter().any(|key| key.id == OWNER_ID));
        let Some(key) = self.owner.get().filter(|_| owner.id == OWNER_ID) else { return Ok(()) };
        if is_there()? {
            return Ok(());
        }
        let (id, name) = (OWNER_ID.to_owned(), owner.name.clone());
        let row = NewSecretKey { id, hash: key.hash(&self.pepper), preview: key.preview(), name, test: owner.test };
        match self.store.create_secret_key(row).await {
            // Another process may have been faster.
            Err(error) if !is_there()? => Err(error),
            _ => Ok(()),
        }
    }

    const fn secret_kind(&self, test: bool) -> KeyKind {
        if test || self.sandbox { KeyKind::SecretTest } else { KeyKind::SecretLive }
    }

    /// Makes a secret key, with which spend keys can be managed; those of a `test` one only reach the sandbox. It is told once, here.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn create_secret_key(&self, name: &str, test: bool) -> Result<PlainKey, StoreError> {
        self.make_secret_key(name, test).await.map(|(_, key)| key)
    }

    /// The same, with the key's id.
    async fn make_secret_key(&self, name: &str, test: bool) -> Result<(String, PlainKey), StoreError> {
        let test = test || self.sandbox;
        let key = PlainKey::generate(self.secret_kind(test)).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let id = format!("aks_{}", ulid::Ulid::generate());
        let (hash, preview, name) = (key.hash(&self.pepper), key.preview(), name.to_owned());
        self.store.create_secret_key(NewSecretKey { id: id.clone(), hash, preview, name, test }).await?;
        Ok((id, key))
    }

    /// All secret keys that somebody can hold.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn secret_keys(&self) -> Result<Vec<SecretKey>, StoreError> {
        Ok(self.store.secret_keys()?.into_iter().filter(|key| key.id != OWNER_ID).collect())
    }

    /// Whether there is a spend key that is not revoked.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn has_spend_keys(&self) -> Result<bool, StoreError> {
        // A gateway in the sandbox refuses live keys.
        let kinds: &[bool] = if self.sandbox { &[true] } else { &[false, true] };
        let has = |test: &bool| self.store.spend_keys(&KeyPage { test: *test, before: None, limit: 1, with_revoked: false });
        Ok(kinds.iter().map(has).collect::<Result<Vec<_>, _>>()?.iter().any(|keys| !keys.is_empty()))
    }

    /// Ends a secret key for good; spend keys go on. `false` when there is no such key.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn delete_secret_key(&self, id: &str) -> Result<bool, StoreError> {
        if id == OWNER_ID {
            return Ok(false);
        }
        self.store.delete_secret_key(id.to_owned()).await
    }

    /// Waits up to `grace` for requests in flight, then cuts their upstream calls and settles them. The ledger is closed afterwards.
    pub async fn shut_down(&self, grace: Duration) {
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.stopping.cancel();
            // What has not settled by then is found as suspect by the next process.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        }
        self.store.close().await;
    }
}

/// One paid request, from what the caller sent to the booked entry.
async fn journey(gateway: Arc<Gateway>, inbound: Inbound, log: LogEntry) -> Result<edge::Response, Refused> {
    let call = authorise(&gateway, inbound).await?;
    let (sender, answered) = oneshot::channel();
    // Dropped with this future: that is how the task learns that the caller has hung up.
    let waiting = CancellationToken::new();
    let hang_up = waiting.clone().drop_guard();
    let tasks = gateway.tasks.clone();
    let asked = Asked {
        request: call.request.clone(),
        shape: call.ask.shape(),
        is_streamed: call.ask.is_streamed(),
        ping_every: gateway.registry.waits.ping_every,
        late_headers: gateway.late_headers.clone(),
    };
    tasks.spawn(attempts(gateway, call, Answer::to(sender, waiting, asked), log));
    let response = answered.await.unwrap_or_else(|_| Err(GatewayError::ShuttingDown.into()));
    hang_up.disarm();
    response
}

/// Tries the routes in order until one answers. Each attempt has a hold of its own.
async fn attempts(gateway: Arc<Gateway>, call: Authorised, answer: Answer, log: LogEntry) {
    let mut tally = Tally::default();
    let mut has_gone_on = false;
    // How an attempt ended that may have been paid, in case that no other one can be made.
    let mut kept = None;
    let mut routes = call.routes.iter().peekable();
    while let Some(route) = routes.next() {
        log.goes_to(route);
        let pass = match gateway.breakers.admit(&call.key.id, &call.ask, route) {
            Ok(pass) => pass,
            Err(_) if routes.peek().is_some() => continue,
            Err(refusal) => return refused_at(kept, refusal, &answer).await,
        };
        let held = match reserve(&gateway, &call, route, &tally, &answer).await {
            Ok(held) => held,
            Err(refusal) => return refused_at(kept, refusal, &answer).await,
        };
        let open = gateway.metrics.open_hold();
        if answer.is_gone() {
            // Nothing is bought for a caller who has left.
            return tally.return_unsent(&gateway, held).await;
        }
        let (counted, began) = (gateway.metrics.provider(route), Instant::now());
        let sent = send(&gateway, held, &answer).await;
        counted.sent(&sent, began.elapsed());
        let may_fall_back = sent.may_fall_back() && routes.peek().is_some();
        let metered = meter(sent, &answer, &gateway.stopping).await;
        counted.ended(began.elapsed());
        if metered.is_credential_refused() {
            gateway.registry.credentials.forget().await;
        }
        // An answer that did not come is paid for; a request goes on after one of those, and not after a second one.
        let may_be_billed = !matches!(metered.known, Known::Nothing { .. });
        let goes_on = may_fall_back && !(may_be_billed && std::mem::replace(&mut has_gone_on, true));
        let outcome = settle::outcome(&gateway, &metered);
        // Before the caller can try again.
        pass.end(Verdict::of(metered.ending, &outcome));
        let last_word = tally.settle(&gateway, metered, outcome, open, Some(&answer).filter(|_| !goes_on)).await;
        log.costs(tally.charged);
        if !goes_on {
            return;
        }
        tracing::debug!(request = call.request.as_str(), provider = route.provider, "no answer came; the next provider is tried");
        kept = last_word.filter(|_| may_be_billed).or(kept);
    }
}

/// No further attempt can be made. What was paid for an earlier one must not be hidden behind a refusal that asks to come again.
async fn refused_at(kept: Option<LastWord>, refusal: GatewayError, answer: &Answer) {
    match kept.filter(|_| !refusal.is_final()) {
        Some(last_word) => last_word.say(answer).await,
        None => answer.refuse(refusal),
    }
}
