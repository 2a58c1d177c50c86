//! Sessions of the older era, kept in memory and bounded: the one that nobody has used for the longest time makes room for a new one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::Stream;
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, SessionConfig},
    },
};

/// Most sessions at a time.
const SESSIONS_MAX: usize = 500;
/// A session that nobody uses ends after this long. Many clients do not start over when theirs has ended, so it is not short.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);

type Inner = LocalSessionManager;
type Failed = <Inner as SessionManager>::Error;

pub(super) struct Sessions {
    inner: Inner,
    used: Mutex<HashMap<SessionId, Instant>>,
}

impl Default for Sessions {
    fn default() -> Self {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE_MAX);
        let mut inner = Inner::default();
        inner.session_config = config;
        Self { inner, used: Mutex::default() }
    }
}

impl Sessions {
    fn touch(&self, id: &SessionId) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Instant::now());
    }

    /// The session that has to go before another one can come.
    fn oldest(&self) -> Option<SessionId> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < SESSIONS_MAX {
            return None;
        }
        let oldest = used.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone())?;
        used.remove(&oldest);
        Some(oldest)
    }
}

impl SessionManager for Sessions {
    type Error = Failed;
    type Transport = <Inner as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Failed> {
        if let Some(oldest) = self.oldest() {
            tracing::info!("the session that was idle longest makes room for a new one");
            let _ = self.inner.close_session(&oldest).await;
        }
        let created = self.inner.create_session().await?;
        self.touch(&created.0);
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
        self.used.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
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
        assert_eq!(sessions.used.lock().unwrap().len(), SESSIONS_MAX);
        sessions.close_session(&first).await.unwrap();
        assert!(!sessions.has_session(&first).await.unwrap());
        assert_eq!(sessions.used.lock().unwrap().len(), SESSIONS_MAX - 1);
    }
}
