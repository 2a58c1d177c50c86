//! Sessions of the older era, kept in memory and bounded. A session belongs to whoever began it: its id alone opens it to nobody else, and nobody else's sessions end it.
//! Of a payer's own sessions the one that was idle longest makes room for a new one; one with a call under way is not idle.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName};
use rmcp::{
    model::{ClientJsonRpcMessage, JsonRpcMessage, ProtocolVersion, RequestId, ServerJsonRpcMessage, ServerResult},
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, SessionConfig, SessionError},
    },
};

use super::replay::Replays;

/// Most sessions of one payer: all the programs of somebody who runs many agents.
const SESSIONS_OF_PAYER_MAX: usize = 200;
/// Most sessions in all, a quarter of a MiB each. New ones are refused then, because every other one belongs to somebody.
const SESSIONS_MAX: usize = 1_000;
/// A session that nobody uses ends after this long. Many clients do not start over when theirs has ended, so it is not short.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

type Inner = LocalSessionManager;
type Failed = <Inner as SessionManager>::Error;

pub(super) struct Sessions {
    inner: Inner,
    open: Arc<Mutex<HashMap<SessionId, Open>>>,
    replays: Arc<Replays>,
    /// Held while a session begins.
    beginning: tokio::sync::Mutex<()>,
}

struct Open {
    used_at: Instant,
    /// Scope of the payer who began it.
    owner: String,
    /// Requests that have not been answered.
    under_way: HashSet<RequestId>,
    /// The revision that is spoken in it, once that is agreed.
    version: Option<ProtocolVersion>,
}

/// Why there is no new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Each of the payer's sessions has a call under way.
    Own,
    Everybody,
}

/// Who asks, and whether they could have a session: told to the session manager, which is told nothing else about a request.
#[derive(Clone)]
pub(super) struct Caller {
    scope: String,
    refused: Arc<Mutex<Option<Full>>>,
}

impl Caller {
    /// Does what the session manager is called in, for a payer; says why they could not have a session, if they could not.
    pub(super) async fn scope<T>(scope: &str, work: impl Future<Output = T>) -> Result<T, Full> {
        let caller = Self { scope: scope.to_owned(), refused: Arc::default() };
        let refused = caller.refused.clone();
        let done = CALLER.scope(caller, work).await;
        let refused = *refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.map_or(Ok(done), Err)
    }
}

tokio::task_local! {
    static CALLER: Caller;
}

impl Default for Sessions {
    fn default() -> Self {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE_MAX);
        // What is said to a client, and under which ids, is kept here.
        config.sse_retry = None;
        let mut inner = Inner::default();
        inner.session_config = config;
        Self { inner, open: Arc::default(), replays: Arc::default(), beginning: tokio::sync::Mutex::default() }
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, id: &SessionId) {
        if let Some(session) = self.lock().get_mut(id) {
            session.used_at = Instant::now();
        }
    }

    /// The session that has to go before this payer can have another one, if one has to.
    fn make_room(&self, scope: &str) -> Result<Option<SessionId>, Full> {
        let mut open = self.lock();
        let own = || open.iter().filter(|(_, session)| session.owner == scope);
        let is_full = open.len() >= SESSIONS_MAX;
        if own().count() < SESSIONS_OF_PAYER_MAX && !is_full {
            return Ok(None);
        }
        let idle = own().filter(|(_, session)| session.under_way.is_empty()).min_by_key(|(_, session)| session.used_at);
        let oldest = idle.map(|(id, _)| id.clone()).ok_or(if is_full { Full::Everybody } else { Full::Own })?;
        open.remove(&oldest);
        Ok(Some(oldest))
    }

    /// Whether there is such a session, and it is not this payer's.
    pub(super) fn is_of_another(&self, id: &str, scope: &str) -> bool {
        self.lock().get(id).is_some_and(|session| session.owner != scope)
    }

    pub(super) fn is_known(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Whether the session speaks the one revision with batches.
    pub(super) fn takes_batches(&self, id: &str) -> bool {
        self.lock().get(id).is_some_and(|session| session.version == Some(ProtocolVersion::V_2025_03_26))
    }

    /// Whether a request with this id waits for its answer.
    pub(super) fn is_under_way(&self, id: &str, request: &RequestId) -> bool {
        self.lock().get(id).is_some_and(|session| session.under_way.contains(request))
    }

    /// Whether what came after this event can still be told.
    pub(super) fn can_resume(&self, id: &str, last_event: &str) -> bool {
        self.replays.find(id, last_event).is_some()
    }

    /// Counts a request until the value is dropped; `None` where another one has its id.
    fn under_way(&self, id: &SessionId, request: RequestId) -> Option<UnderWay> {
        let is_new = self.lock().get_mut(id).is_none_or(|session| session.under_way.insert(request.clone()));
        is_new.then(|| UnderWay { open: self.open.clone(), id: id.clone(), request })
    }
}

/// A request in a session, until its answer is ready.
struct UnderWay {
    open: Arc<Mutex<HashMap<SessionId, Open>>>,
    id: SessionId,
    request: RequestId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(session) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.id) {
            session.under_way.remove(&self.request);
            session.used_at = Instant::now();
        }
    }
}

/// The session that a request names.
pub(in crate::mcp) fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_ID)?.to_str().ok()
}

impl SessionManager for Sessions {
    type Error = Failed;
    type Transport = <Inner as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Failed> {
        let caller = CALLER.try_with(Clone::clone).map_err(|_| refused())?;
        // One after the other, so that those who come together are counted.
        let turn = self.beginning.lock().await;
        let oldest = self.make_room(&caller.scope).map_err(|full| {
            *caller.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(full);
            refused()
        })?;
        let created = self.inner.create_session().await?;
        let session = Open { used_at: Instant::now(), owner: caller.scope, under_way: HashSet::new(), version: None };
        self.lock().insert(created.0.clone(), session);
        drop(turn);
        if let Some(oldest) = oldest {
            tracing::info!("a payer's session that was idle longest makes room for a new one");
            // One whose client reads nothing may not hear it; nobody waits for that.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.inner.close_session(&oldest)).await;
        }
        Ok(created)
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<ServerJsonRpcMessage, Failed> {
        let answer = self.inner.initialize_session(id, message).await?;
        if let JsonRpcMessage::Response(response) = &answer
            && let ServerResult::InitializeResult(begun) = &response.result
            && let Some(session) = self.lock().get_mut(id)
        {
            session.version = Some(begun.protocol_version.clone());
        }
        Ok(answer)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Failed> {
        let has = self.inner.has_session(id).await?;
        if has {
            self.touch(id);
        }
        Ok(has)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Failed> {
        self.lock().remove(id);
        self.replays.forget_session(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Failed> {
        let (owner, is_primed) = self.lock().get(id).map_or_else(Default::default, |session| {
            (session.owner.clone(), session.version.as_ref().is_some_and(|version| *version >= ProtocolVersion::V_2025_11_25))
        });
        let mut under_way = match &message {
            // The two would share one answer, and one of them would wait for ever.
            JsonRpcMessage::Request(request) => Some(self.under_way(id, request.id.clone()).ok_or_else(refused)?),
            _ => None,
        };
        let mut said = Box::pin(self.inner.create_stream(id, message).await?);
        let log = self.replays.begin(id, &owner, is_primed);
        let (replays, kept) = (self.replays.clone(), log.clone());
        tokio::spawn(async move {
            let mut is_answered = false;
            while let Some(event) = said.next().await {
                let Some(message) = event.message else { continue };
                if matches!(&*message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_)) {
                    is_answered = true;
                    // Before anybody hears it, and uses the id again.
                    drop(under_way.take());
                }
                kept.add(message);
            }
            drop(under_way);
            if !is_answered {
                replays.drop_log(&kept);
            } else if replays.end(&kept) {
                replays.sweep().await;
            }
        });
        Ok(log.read(0))
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Failed> {
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Failed> {
        // Without ids: nothing is said here that would be told again.
        let stream = self.inner.create_standalone_stream(id).await?;
        Ok(stream.map(|mut event| {
            event.event_id = None;
            event
        }))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Failed> {
        let (log, index) = self.replays.find(id, &last_event_id).ok_or(SessionError::InvalidEventId)?;
        Ok(log.read(index + 1))
    }

    async fn restore_session(&self, id: SessionId) -> Result<RestoreOutcome<Self::Transport>, Failed> {
        self.inner.restore_session(id).await
    }
}

/// What the transport is told where there is no new session, or no stream; the caller reads another answer.
fn refused() -> Failed {
    Failed::SessionError(SessionError::Io(io::Error::other("refused")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn begin(sessions: &Sessions, scope: &str) -> Result<SessionId, Full> {
        Caller::scope(scope, sessions.create_session()).await.map(|created| created.unwrap().0)
    }

    #[tokio::test]
    async fn a_payer_makes_room_for_itself_and_a_call_under_way_is_not_idle() {
        let sessions = Arc::new(Sessions::default());
        let ann = begin(&sessions, "ann").await.unwrap();
        let busy = begin(&sessions, "bob").await.unwrap();
        let call = sessions.under_way(&busy, RequestId::Number(1));
        let idle = begin(&sessions, "bob").await.unwrap();
        for _ in 0..SESSIONS_OF_PAYER_MAX {
            begin(&sessions, "bob").await.unwrap();
        }
        assert!(sessions.has_session(&ann).await.unwrap(), "others' sessions do not make room");
        assert!(sessions.has_session(&busy).await.unwrap() && !sessions.has_session(&idle).await.unwrap());
        assert_eq!(sessions.lock().len(), SESSIONS_OF_PAYER_MAX + 1);
        drop(call);
        begin(&sessions, "bob").await.unwrap();
        assert!(sessions.has_session(&busy).await.unwrap(), "it was used a moment ago");
        sessions.close_session(&ann).await.unwrap();
        assert!(!sessions.has_session(&ann).await.unwrap());
    }

    #[tokio::test]
    async fn when_all_places_are_taken_a_newcomer_is_refused() {
        let sessions = Arc::new(Sessions::default());
        let payers = SESSIONS_MAX / SESSIONS_OF_PAYER_MAX;
        for n in 0..SESSIONS_MAX {
            begin(&sessions, &format!("payer {}", n % payers)).await.unwrap();
        }
        assert_eq!(begin(&sessions, "ann").await, Err(Full::Everybody));
        assert!(begin(&sessions, "payer 0").await.is_ok(), "one of its own made room");
        let ids: Vec<SessionId> = sessions.lock().iter().filter(|(_, open)| open.owner == "payer 1").map(|(id, _)| id.clone()).collect();
        let _calls: Vec<_> = ids.iter().map(|id| sessions.under_way(id, RequestId::Number(1))).collect();
        assert_eq!(begin(&sessions, "payer 1").await, Err(Full::Everybody));
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
    }
}
