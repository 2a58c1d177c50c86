//! Cancellations that clients spell out. To rmcp the end of a connection cancels its calls as well; a call with an idempotency key over HTTP outlives its
//! connection, since its client will send it again for the result.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use rmcp::{
    Peer, RoleServer,
    model::{InitializeRequestParams, RequestId},
};
use tokio_util::sync::CancellationToken;

/// Calls that only such a message ends. Each is forgotten some time after its token is dropped.
#[derive(Default)]
pub(super) struct Cancellations {
    open: Mutex<Vec<Open>>,
}

struct Open {
    /// What the client said when it connected: another connection has another copy, and nothing else tells one from another.
    client: Arc<InitializeRequestParams>,
    request: RequestId,
    token: Weak<CancellationToken>,
}

impl Cancellations {
    /// A token for a call that came over this connection.
    pub(super) fn watch(&self, peer: &Peer<RoleServer>, request: &RequestId) -> Arc<CancellationToken> {
        let token = Arc::new(CancellationToken::new());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|one| one.token.strong_count() > 0);
        if let Some(client) = peer.peer_info() {
            open.push(Open { client, request: request.clone(), token: Arc::downgrade(&token) });
        }
        token
    }

    pub(super) fn cancel(&self, peer: &Peer<RoleServer>, request: &RequestId) {
        let Some(client) = peer.peer_info() else { return };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for one in open.iter().filter(|one| Arc::ptr_eq(&one.client, &client) && one.request == *request) {
            if let Some(token) = one.token.upgrade() {
                token.cancel();
            }
        }
    }
}
