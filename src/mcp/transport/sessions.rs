//! Sessions of the older era, kept in memory and bounded: the one that nobody has used for the longest time makes room for a new one. A session belongs to
//! whoever began it; its id alone opens it to nobody else.

use std::{
    collections::HashMap,
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
use http::{HeaderMap, HeaderName, Response, StatusCode};
use rmcp::{
    model::{ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, SessionConfig},
    },
};

use super::wire::refuse;
use crate::session::Payer;

/// Most sessions at a time.
const SESSIONS_MAX: usize = 500;
/// A session that nobody uses ends after this long. Many clients do not start over when theirs has ended, so it is not short.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

type Inner = LocalSessionManager;
type Failed = <Inner as SessionManager>::Error;

pub(super) struct Sessions {
    inner: Inner,
    open: Mutex<HashMap<SessionId, Open>>,
}

struct Open {
    used_at: Instant,
    /// Scope of the payer who began it; told once it has begun.
    owner: Option<String>,
}

impl Default for Sessions {
    fn default() -> Self {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE_MAX);
        let mut inner = Inner::default();
        inner.session_config = config;
        Self { inner, open: Mutex::default() }
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

    /// The session that has to go before another one can come.
    fn oldest(&self) -> Option<SessionId> {
        let mut open = self.lock();
        if open.len() < SESSIONS_MAX {
            return None;
        }
        let oldest = open.iter().min_by_key(|(_, session)| session.used_at).map(|(id, _)| id.clone())?;
        open.remove(&oldest);
        Some(oldest)
    }

    fn is_of_another(&self, id: &str, scope: &str) -> bool {
        self.lock().get(id).and_then(|session| session.owner.as_deref()).is_some_and(|owner| owner != scope)
    }

    fn belongs_to(&self, id: &str, scope: String) {
        if let Some(session) = self.lock().get_mut(id) {
            session.owner.get_or_insert(scope);
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
    let response = next.run(request).await;
    if let Some(id) = session_id(response.headers()) {
        sessions.belongs_to(id, scope);
    }
    response
}

impl SessionManager for Sessions {
    type Error = Failed;
    type Transport = <Inner as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Failed> {
        if let Some(oldest) = self.oldest() {
            tracing::info!("the session that was idle longest makes room for a new one");
            // One whose client reads nothing may not hear it; nobody waits for that.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.inner.close_session(&oldest)).await;
        }
        let created = self.inner.create_session().await?;
        self.lock().insert(created.0.clone(), Open { used_at: Instant::now(), owner: None });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_are_bounded_and_the_idle_ones_go_first() {
        let sessions = Sessions::default();
        let (first, _first) = sessions.create_session().await.unwrap();
        let (second, _second) = sessions.create_session().await.unwrap();
        for _ in 2..SESSIONS_MAX {
            drop(sessions.create_session().await.unwrap());
        }
        assert!(sessions.has_session(&first).await.unwrap(), "used once more, so the second one is the oldest");
        drop(sessions.create_session().await.unwrap());
        assert!(sessions.has_session(&first).await.unwrap());
        assert!(!sessions.has_session(&second).await.unwrap());
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
        sessions.close_session(&first).await.unwrap();
        assert!(!sessions.has_session(&first).await.unwrap());
        assert_eq!(sessions.lock().len(), SESSIONS_MAX - 1);
    }
}
