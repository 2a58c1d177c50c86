//! A login with a browser: a page of the gateway asks the person, and the browser brings the answer back to a port of this machine.
//!
//! It runs in a task of its own, so a caller who stops waiting does not end it: the next call of `login` finds it again. There is one at a time; whoever comes
//! while it runs joins it. What it gives, a secret key, goes into the vault and nowhere else.

mod listener;
mod page;
mod visit;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Browser, Session, SessionError, host_name};
use crate::{
    client::{ClientError, Credentials},
    domain::{Secret, SpendLimit, address::is_hosted_lava, id::hex},
};
use listener::{Answer, Listener};
use page::Page;
use visit::Visit;

/// Bytes of the state, which tells this login's answer from any other.
const STATE_BYTES: usize = 16;
/// How long the browser gets to fetch the last page.
const LAST_PAGE: Duration = Duration::from_secs(2);
/// How long the exchange of the code may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How a person logs in with a browser.
#[derive(Clone, Debug)]
pub struct WebLogin {
    /// The site with the page that asks.
    pub app: Url,
    /// What opens it.
    pub browser: Browser,
    /// How long the person has.
    pub timeout: Duration,
    /// How long one call waits for them.
    pub patience: Duration,
}

impl WebLogin {
    /// As Lava's SDK does it: two minutes, of which a call waits less than the least patient of MCP clients.
    pub const fn new(app: Url, browser: Browser) -> Self {
        Self { app, browser, timeout: Duration::from_secs(120), patience: Duration::from_secs(45) }
    }
}

/// How a login ended; `None` while it has not.
type Outcome = Option<Result<(), SessionError>>;

/// How far a person has been led to the page of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// Nobody knows of it.
    Nowhere,
    /// A browser was started; whether it shows the page is for the person to see.
    Browser,
    /// The client has shown it, and the person has agreed to open it.
    Page,
    /// The link was told, for somebody to pass on.
    Link,
}

/// A login under way.
pub struct PendingLogin {
    url: Url,
    start: Url,
    state: String,
    until: Instant,
    led: Mutex<Led>,
    pasted: mpsc::Sender<Answer>,
    cancel: CancellationToken,
    outcome: watch::Receiver<Outcome>,
}

impl PendingLogin {
    /// The page on which a person finishes it. It proves nothing and opens nothing by itself.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Where a browser of this machine is started to get there: an address without anything of the login in it, because a program's arguments are no secret.
    pub const fn start(&self) -> &Url {
        &self.start
    }

    /// How long a person still has.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// How far a person has been led.
    pub fn led(&self) -> Led {
        *self.led.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far a person has been led.
    pub fn lead(&self, led: Led) {
        *self.led.lock().unwrap_or_else(PoisonError::into_inner) = led;
    }

    /// A name of this login that tells nothing about it.
    pub fn id(&self) -> String {
        use sha2::{Digest, Sha256};
        let digest: [u8; 32] = Sha256::digest(&self.state).into();
        hex(&digest[..8])
    }

    /// Takes what a person copied out of a browser on another machine: the code, or the whole address of the page that did not open.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn paste(&self, text: &str) -> Result<(), &'static str> {
        let text = text.trim();
        let answer = match text.split_once('?') {
            Some((_, query)) => match visit::answer(query.split('#').next().unwrap_or_default(), &self.state) {
                Visit::Code(code) => Answer::Code(code),
                Visit::Denied => Answer::Denied,
                _ => {
                    return Err(
                        "this address does not belong to this login; copy the one that your browser shows after you have clicked Authorize",
                    );
                }
            },
            None if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains("://") => {
                return Err("this is neither a code nor the address with one in it");
            }
            None => Answer::Code(Secret::new(text)),
        };
        self.pasted.try_send(answer).map_err(|_| "an answer has already come")
    }

    /// Waits until it has ended, however that was.
    pub async fn over(&self) {
        let _ = self.outcome.clone().wait_for(Option::is_some).await;
    }

    fn ended(&self) -> Outcome {
        self.outcome.borrow().clone()
    }
}

impl Session {
    /// How a person can log in with a browser; `None` where no browser is needed, or where a key was given.
    pub const fn web(&self) -> Option<&WebLogin> {
        self.web.as_ref()
    }

    /// The login with a browser that is under way, else a new one. Shows nothing to anybody yet.
    ///
    /// # Errors
    /// [`SessionError::NoSecretKey`] where there is no such login, [`SessionError::Vault`] when what it gives could not be kept, and, once, how the last one
    /// failed while nobody was waiting for it.
    pub async fn begin_web_login(self: &Arc<Self>, client_name: &str) -> Result<Arc<PendingLogin>, SessionError> {
        let web = self.web.as_ref().ok_or(SessionError::NoSecretKey)?;
        let mut slot = self.pending.lock().await;
        match slot.as_ref().map(|pending| (pending.clone(), pending.ended())) {
            Some((pending, None)) => return Ok(pending),
            // Nobody is surprised that a link from before does not work any more.
            Some((_, Some(Ok(()) | Err(SessionError::LoginExpired)))) | None => {}
            Some((_, Some(Err(error)))) => {
                *slot = None;
                return Err(error);
            }
        }
        // Nobody is asked for what could not be kept.
        self.vault.check().await?;
        let (state, start) = (random()?, random()?);
        let listener = Listener::open(&state, &start).await.map_err(|error| SessionError::NoListener(error.to_string()))?;
        let url = page_url(&web.app, &state, listener.port, client_name, self.ceiling_of(client_name).await?.limit);
        let start = listener.lead_to(&url).ok_or_else(|| SessionError::NoListener(format!("{url} is not an address")))?;
        let (pasted, pastes) = mpsc::channel(1);
        let (end, outcome) = watch::channel(None);
        let cancel = CancellationToken::new();
        let until = Instant::now() + web.timeout;
        let pending =
            Arc::new(PendingLogin { url, start, state, until, led: Mutex::new(Led::Nowhere), pasted, cancel: cancel.clone(), outcome });
        let session = self.clone();
        tokio::spawn(async move {
            let ended = session.run_web_login(listener, pastes, until, cancel).await;
            let _ = end.send(Some(ended));
        });
        *slot = Some(pending.clone());
        Ok(pending)
    }

    /// Waits for the end of a login, but not longer than `patience`: then it is `false`, and the login goes on.
    ///
    /// # Errors
    /// [`SessionError::Declined`], [`SessionError::LoginExpired`] and whatever else ended it.
    pub async fn await_web_login(&self, pending: &Arc<PendingLogin>, patience: Duration) -> Result<bool, SessionError> {
        let mut outcome = pending.outcome.clone();
        let ended = match tokio::time::timeout(patience, outcome.wait_for(Option::is_some)).await {
            Err(_) => return Ok(false),
            Ok(ended) => ended.ok().and_then(|ended| ended.clone()).unwrap_or(Err(SessionError::LoginExpired)),
        };
        // It is told, so the next one begins anew.
        let mut slot = self.pending.lock().await;
        slot.take_if(|latest| Arc::ptr_eq(latest, pending));
        ended.map(|()| true)
    }

    /// Ends a login because the person does not want it. Once they have agreed on the page it is too late: what comes of that is kept.
    pub async fn decline_web_login(&self, pending: &Arc<PendingLogin>) {
        pending.cancel.cancel();
        let mut slot = self.pending.lock().await;
        slot.take_if(|latest| Arc::ptr_eq(latest, pending));
    }

    async fn run_web_login(
        &self,
        mut listener: Listener,
        mut pastes: mpsc::Receiver<Answer>,
        until: Instant,
        cancel: CancellationToken,
    ) -> Result<(), SessionError> {
        let mut is_pasted = false;
        let answer = tokio::time::timeout_at(until, async {
            tokio::select! {
                answer = listener.answer() => answer,
                Some(answer) = pastes.recv() => {
                    is_pasted = true;
                    answer
                }
            }
        });
        // Only until there is an answer: what a code is exchanged for has to be kept, whoever has changed their mind.
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = cancel.cancelled() => return Err(SessionError::Declined),
        };
        let (ended, page) = match answer {
            Err(_) => return Err(SessionError::LoginExpired),
            Ok(Answer::TooManyWrong) => return Err(SessionError::WrongStates),
            Ok(Answer::Denied) => (Err(SessionError::Declined), Page::Denied),
            Ok(Answer::Code(code)) => match self.redeem(&code).await {
                Ok(()) => (Ok(()), Page::LoggedIn),
                Err(error) => (Err(error), Page::Failed),
            },
        };
        // The page tells the truth: it comes after everything that could fail.
        listener.show(page, if is_pasted { Duration::ZERO } else { LAST_PAGE }).await;
        ended
    }

    /// Exchanges the code and keeps what comes of it. The limit is on the exchange alone: a key that was given must not be lost to a slow keyring.
    async fn redeem(&self, code: &Secret) -> Result<(), SessionError> {
        let client = self.client().await?;
        let late = || ClientError::Unreachable("it did not answer in time".to_owned());
        let given = tokio::time::timeout(EXCHANGE_TIMEOUT, client.exchange_code(code)).await.unwrap_or_else(|_| Err(late()));
        let Credentials { secret_key, secret_key_id } = given.map_err(SessionError::LoginRefused)?;
        let before = self.replace_secret(&secret_key, secret_key_id.clone()).await.map_err(|error| match error {
            SessionError::Vault(error) => SessionError::NotKept { secret_key_id, error },
            other => other,
        })?;
        self.end_foreign_keys(&secret_key, before).await
    }
}

/// Hexadecimal digits that nobody can guess.
fn random() -> Result<String, SessionError> {
    let mut bytes = [0_u8; STATE_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| SessionError::NoListener(error.to_string()))?;
    Ok(hex(&bytes))
}

/// The page that asks the person. A gateway of one's own is also told who asks, so that the page can say it; hosted Lava has no use for that.
fn page_url(app: &Url, state: &str, port: u16, client_name: &str, limit: SpendLimit) -> Url {
    let mut url = app.clone();
    url.set_path(&format!("{}/auth/connect", app.path().trim_end_matches('/')));
    let mut query = url.query_pairs_mut();
    query.append_pair("state", state).append_pair("port", &port.to_string());
    if !is_hosted_lava(app) {
        let limit = format!("{}/{}", limit.amount, limit.cycle.as_str());
        query.append_pair("client", client_name).append_pair("machine", &host_name()).append_pair("limit", &limit);
    }
    drop(query);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosted_lava_is_told_no_more_than_it_needs() {
        let limit = SpendLimit::parse_short("5.00/daily").unwrap();
        let url = |app: &str| page_url(&Url::parse(app).unwrap(), "ab", 4000, "Cursor & co", limit).to_string();
        assert_eq!(url("https://www.lava.so"), "https://www.lava.so/auth/connect?state=ab&port=4000");
        let own = url("http://127.0.0.1:4040/team/");
        assert!(own.starts_with("http://127.0.0.1:4040/team/auth/connect?state=ab&port=4000&client=Cursor+%26+co&machine="), "{own}");
        assert!(own.ends_with("&limit=5.00%2Fdaily"), "{own}");
        assert!(url("https://evil-lava.so").contains("&limit="), "{}", url("https://evil-lava.so"));
    }
}
