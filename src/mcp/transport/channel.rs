//! A connection with one client, whichever way its messages travel: what rmcp reads from and writes to on stdio and over legacy SSE.
//!
//! rmcp ends a connection over what comes before `initialize`, answers nothing that it cannot read, and knows no batches; all of that is settled here.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rmcp::{
    RoleServer,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, GetMeta, JsonRpcMessage, ProtocolVersion, RequestId,
        ServerJsonRpcMessage, ServerNotification, ServerResult,
    },
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::message::{Incoming, NO_BATCHES, Refusal};

/// A batch that is refused as a whole has an answer for each of its requests, up to so many.
const REFUSED_ONE_BY_ONE_MAX: usize = 64;
/// Messages that may wait for the client to read them.
pub(super) const QUEUE: usize = 64;
/// And bytes of answers that have no place among them. While there are more, nothing is read from the client.
const UNSENT_BYTES_MAX: usize = 16 << 20;
/// How often it is looked whether there are less.
const LOOK: Duration = Duration::from_millis(20);

/// The connection, as rmcp wants it.
pub(super) struct Channel {
    from_client: mpsc::Receiver<Incoming>,
    to_client: mpsc::Sender<String>,
    /// How long a client may take nothing before it counts as gone, and what ends then.
    patience: Option<(Duration, CancellationToken)>,
    unsent: Arc<AtomicUsize>,
    /// Answers of our own that wait to be written.
    answers: VecDeque<String>,
    /// Messages of a batch that wait to be handed on.
    queue: VecDeque<ClientJsonRpcMessage>,
    /// Whether the client has said which era it speaks. Before that there is nothing that a notification could be about.
    has_begun: bool,
    /// Whether the revision that was agreed on has batches.
    takes_batches: Arc<AtomicBool>,
    /// Requests without an answer.
    open: HashSet<RequestId>,
    batches: Vec<Batch>,
}

/// A batch whose answers are being gathered.
struct Batch {
    open: HashSet<RequestId>,
    answers: Vec<Value>,
}

impl Channel {
    pub(super) fn new(from_client: mpsc::Receiver<Incoming>, to_client: mpsc::Sender<String>) -> Self {
        Self {
            from_client,
            to_client,
            patience: None,
            unsent: Arc::default(),
            answers: VecDeque::new(),
            queue: VecDeque::new(),
            has_begun: false,
            takes_batches: Arc::default(),
            open: HashSet::new(),
            batches: Vec::new(),
        }
    }

    /// The same, for a client that counts as gone when it reads nothing for so long.
    pub(super) fn with_patience(self, patience: Duration, ended: CancellationToken) -> Self {
        Self { patience: Some((patience, ended)), ..self }
    }

    /// Tells whether batches are taken, now and later.
    pub(super) fn takes_batches(&self) -> Arc<AtomicBool> {
        self.takes_batches.clone()
    }

    /// Looks at what has come; what is to be handed on or answered waits in the queues.
    fn admit(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Message { message, .. } => match self.pass(*message) {
                Ok(message) => self.queue.extend(message),
                Err(refusal) => self.answer(&refusal.to_value()),
            },
            Incoming::Refused(refusal) => self.answer(&refusal.to_value()),
            Incoming::Ignored(error) => tracing::debug!(code = error.code.0, "a message that is not a request could not be read"),
            Incoming::Batch(items) if self.takes_batches.load(Ordering::Relaxed) => self.admit_batch(items),
            Incoming::Batch(items) => {
                let mut ids: Vec<Value> = items.iter().map(Incoming::id).filter(|id| !id.is_null()).collect();
                // Who sends so many may not read so many answers, and then neither side would go on.
                if ids.is_empty() || ids.len() > REFUSED_ONE_BY_ONE_MAX {
                    ids = vec![Value::Null];
                }
                for id in ids {
                    self.answer(&Refusal::new(id, ErrorCode::INVALID_REQUEST, NO_BATCHES).to_value());
                }
            }
        }
    }

    fn admit_batch(&mut self, items: Vec<Incoming>) {
        let mut batch = Batch { open: HashSet::new(), answers: Vec::new() };
        for item in items {
            let refusal = match item {
                item if item.is_initialize() => Refusal::not_in_a_batch(item.id()),
                Incoming::Message { message, .. } => {
                    let id = id_of(&message);
                    match self.pass(*message) {
                        Ok(message) => {
                            batch.open.extend(id);
                            self.queue.extend(message);
                            continue;
                        }
                        Err(refusal) => *refusal,
                    }
                }
                Incoming::Refused(refusal) => refusal,
                Incoming::Batch(_) | Incoming::Ignored(_) => continue,
            };
            batch.answers.push(refusal.to_value());
        }
        self.batches.push(batch);
        self.finish_batches();
    }

    /// Whether a message goes on to rmcp: `None` where it has nothing to be about.
    fn pass(&mut self, message: ClientJsonRpcMessage) -> Result<Option<ClientJsonRpcMessage>, Box<Refusal>> {
        match &message {
            JsonRpcMessage::Request(request) => {
                if self.open.contains(&request.id) {
                    return Err(Box::new(Refusal::taken(request.id.clone().into_json_value())));
                }
                self.open.insert(request.id.clone());
                self.has_begun = self.has_begun || begins(&request.request);
            }
            _ if !self.has_begun => {
                tracing::debug!("a message before initialize that was not a request was ignored");
                return Ok(None);
            }
            JsonRpcMessage::Notification(note) => {
                if let ClientNotification::CancelledNotification(cancelled) = &note.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    // It gets no answer, as MCP says.
                    self.open.remove(id);
                    for batch in &mut self.batches {
                        batch.open.remove(id);
                    }
                    self.finish_batches();
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        Ok(Some(message))
    }

    fn answer(&mut self, answer: &Value) {
        self.answers.push_back(answer.to_string());
    }

    /// Takes out the batches that wait for nothing any more, and answers them.
    fn finish_batches(&mut self) {
        let (over, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.batches).into_iter().partition(|batch| batch.open.is_empty());
        self.batches = open;
        for batch in over.into_iter().filter(|batch| !batch.answers.is_empty()) {
            self.answer(&Value::Array(batch.answers));
        }
    }

    /// What is written for a message of ours: nothing while the rest of its batch is missing.
    fn text(&mut self, message: &ServerJsonRpcMessage) -> io::Result<Option<String>> {
        let id = match message {
            JsonRpcMessage::Response(response) => {
                if let ServerResult::InitializeResult(begun) = &response.result {
                    let has_batches = begun.protocol_version == ProtocolVersion::V_2025_03_26;
                    self.takes_batches.store(has_batches, Ordering::Relaxed);
                }
                Some(response.id.clone())
            }
            JsonRpcMessage::Error(error) => error.id.clone(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        let Some(id) = id else { return Ok(Some(serde_json::to_string(message)?)) };
        self.open.remove(&id);
        let Some(at) = self.batches.iter_mut().position(|batch| batch.open.remove(&id)) else {
            return Ok(Some(serde_json::to_string(message)?));
        };
        self.batches[at].answers.push(serde_json::to_value(message)?);
        if !self.batches[at].open.is_empty() {
            return Ok(None);
        }
        Ok(Some(Value::Array(self.batches.swap_remove(at).answers).to_string()))
    }
}

/// The id of a request.
fn id_of(message: &ClientJsonRpcMessage) -> Option<RequestId> {
    match message {
        JsonRpcMessage::Request(request) => Some(request.id.clone()),
        _ => None,
    }
}

/// Whether rmcp takes the connection as begun with this request.
fn begins(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        other => {
            let meta = other.get_meta();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && meta.protocol_version().is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}

impl Transport<RoleServer> for Channel {
    type Error = io::Error;

    fn send(&mut self, item: TxJsonRpcMessage<RoleServer>) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let text = self.text(&item);
        let is_note =
            matches!(&item, JsonRpcMessage::Notification(note) if matches!(note.notification, ServerNotification::ProgressNotification(_)));
        let (to_client, patience, unsent) = (self.to_client.clone(), self.patience.clone(), self.unsent.clone());
        async move {
            let Some(text) = text? else { return Ok(()) };
            if is_note {
                // A client that does not read needs no notes.
                return match to_client.try_send(text) {
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                    Err(mpsc::error::TrySendError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
                };
            }
            let _unsent = Unsent::new(unsent, text.len());
            let sent = to_client.send(text);
            let sent = match patience {
                None => sent.await,
                Some((patience, ended)) => match tokio::time::timeout(patience, sent).await {
                    Ok(sent) => sent,
                    Err(_) => {
                        ended.cancel();
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                },
            };
            sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }

    // Whoever waits here may stop waiting at any point: nothing is taken before there is a place for it.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if !self.answers.is_empty() {
                let place = self.to_client.reserve().await.ok()?;
                if let Some(answer) = self.answers.pop_front() {
                    place.send(answer);
                }
                continue;
            }
            if let Some(message) = self.queue.pop_front() {
                return Some(message);
            }
            while self.unsent.load(Ordering::Relaxed) > UNSENT_BYTES_MAX {
                tokio::time::sleep(LOOK).await;
            }
            let incoming = self.from_client.recv().await?;
            self.admit(incoming);
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.from_client.close();
        Ok(())
    }
}

/// Counts the bytes of an answer that waits, until the value is dropped.
struct Unsent {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Unsent {
    fn new(all: Arc<AtomicUsize>, bytes: usize) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { all, bytes }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
