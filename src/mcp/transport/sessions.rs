//! Sessions of the older era, kept in memory and bounded. A session belongs to whoever began it: its id alone opens it to nobody else, and nobody else's sessions end it.
//! Of a payer's own sessions the one that was idle longest makes room for a new one; one with a call under way is not idle.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    middleware::Next,
};
use futures_util::Stream;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use rmcp::{
    model::{ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, SessionConfig, SessionError},
    },
};

use super::wire::refuse;
use crate::session::Payer;

/// Most sessions of one payer: all the programs of somebody who runs many agents.
const SESSIONS_OF_PAYER_MAX: usize = 200;
/// Most sessions in all, a quarter of a MiB each. New ones are refused then, because every other one belongs to somebody.
const SESSIONS_MAX: usize = 1_000;
/// When a place may be free again.
const RETRY_AFTER_S: u64 = 30;
/// A session that nobody uses ends after this long. Many clients do not start over when theirs has ended, so it is not short.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

type Inner = LocalSessionManager;
type Failed = <Inner as SessionManager>::Error;

pub(super) struct Sessions {
    inner: Inner,
    open: Mutex<HashMap<SessionId, Open>>,
    /// Held while a session begins.
    beginning: tokio::sync::Mutex<()>,
}

struct Open {
    used_at: Instant,
    /// Scope of the payer who began it.
    owner: String,
    /// Calls that have not been answered.
    under_way: usize,
}

/// Why there is no new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// Each of the payer's sessions has a call under way.
    Own,
    Everybody,
}

/// Who asks, and whether they could have a session: told to the session manager, which is told nothing else about a request.
#[derive(Clone)]
struct Caller {
    scope: String,
    refused: Arc<Mutex<Option<Full>>>,
}

tokio::task_local! {
    static CALLER: Caller;
}

impl Default for Sessions {
    fn default() -> Self {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE_MAX);
        let mut inner = Inner::default();
        inner.session_config = config;
        Self { inner, open: Mutex::default(), beginning: tokio::sync::Mutex::default() }
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
        let idle = own().filter(|(_, session)| session.under_way == 0).min_by_key(|(_, session)| session.used_at);
        let oldest = idle.map(|(id, _)| id.clone()).ok_or(if is_full { Full::Everybody } else { Full::Own })?;
        open.remove(&oldest);
        Ok(Some(oldest))
    }

    fn is_of_another(&self, id: &str, scope: &str) -> bool {
        self.lock().get(id).is_some_and(|session| session.owner != scope)
    }

    /// Counts a call until the value is dropped.
    fn under_way(self: &Arc<Self>, id: &str) -> Option<UnderWay> {
        let mut open = self.lock();
        let (id, session) = open.get_key_value(id).map(|(id, _)| id.clone()).and_then(|id| Some((id.clone(), open.get_mut(&id)?)))?;
        session.under_way += 1;
        Some(UnderWay { sessions: self.clone(), id })
    }
}

/// A call in a session, up to the end of its answer.
struct UnderWay {
    sessions: Arc<Sessions>,
    id: SessionId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(session) = self.sessions.lock().get_mut(&self.id) {
            session.under_way = session.under_way.saturating_sub(1);
            session.used_at = Instant::now();
        }
    }
}

fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_ID)?.to_str().ok()
}

/// Lets callers into their own sessions only. To anybody else a session is one that does not exist.
pub(super) async fn keep_apart(
    State(sessions): State<Arc<Sessions>>,
    Extension(payer): Extension<Payer>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let scope = payer.scope();
    if session_id(request.headers()).is_some_and(|id| sessions.is_of_another(id, &scope)) {
        let text = "There is no such session (any more). Begin a new one with initialize.";
        return refuse(StatusCode::NOT_FOUND, ErrorData::invalid_request(text, None));
    }
    // Streams that only listen stay open for as long as the client likes; a message has an answer.
    let under_way = session_id(request.headers()).filter(|_| request.method() == Method::POST).and_then(|id| sessions.under_way(id));
    let caller = Caller { scope, refused: Arc::default() };
    let refused = caller.refused.clone();
    let response = CALLER.scope(caller, next.run(request)).await;
    if let Some(full) = *refused.lock().unwrap_or_else(PoisonError::into_inner) {
        return full.into_response();
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &under_way;
            frame
        }))
    })
}

impl Full {
    fn into_response(self) -> Response<Body> {
        let (status, text) = match self {
            Self::Own => {
                (StatusCode::TOO_MANY_REQUESTS, "Each of this key's sessions has a call under way. End one, or wait for an answer.")
            }
            Self::Everybody => (StatusCode::SERVICE_UNAVAILABLE, "There are as many sessions as this server keeps. Try again later."),
        };
        let mut response = refuse(status, ErrorData::invalid_request(text, None));
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        response
    }
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
        let session = Open { used_at: Instant::now(), owner: caller.scope, under_way: 0 };
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
        self.inner.initialize_session(id, message).await
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
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Failed> {
        self.inner.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Failed> {
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Failed> {
        self.inner.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Failed> {
        self.inner.resume(id, last_event_id).await
    }

    async fn restore_session(&self, id: SessionId) -> Result<RestoreOutcome<Self::Transport>, Failed> {
        self.inner.restore_session(id).await
    }
}

/// What the transport is told where there is no new session; the caller reads another answer.
fn refused() -> Failed {
    Failed::SessionError(SessionError::Io(io::Error::other("too many sessions")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn begin(sessions: &Sessions, scope: &str) -> Result<SessionId, Full> {
        let caller = Caller { scope: scope.to_owned(), refused: Arc::default() };
        let refused = caller.refused.clone();
        match CALLER.scope(caller, sessions.create_session()).await {
            Ok((id, _)) => Ok(id),
            Err(_) => Err(refused.lock().unwrap().unwrap()),
        }
    }

    #[tokio::test]
    async fn a_payer_makes_room_for_itself_and_a_call_under_way_is_not_idle() {
        let sessions = Arc::new(Sessions::default());
        let ann = begin(&sessions, "ann").await.unwrap();
        let busy = begin(&sessions, "bob").await.unwrap();
        let call = sessions.under_way(&busy).unwrap();
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
        let _calls: Vec<_> = ids.iter().map(|id| sessions.under_way(id).unwrap()).collect();
        assert_eq!(begin(&sessions, "payer 1").await, Err(Full::Everybody));
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
    }
}
