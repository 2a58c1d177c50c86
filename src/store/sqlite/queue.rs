//! The way into the writer thread: what waits to be written, and how it is answered.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    Clock, Counters, StoreError,
    writer::{Ledger, Thread},
};

/// Most operations in one transaction.
const BATCH_MAX: usize = 512;
/// Most operations waiting to be admitted; one more is refused as busy.
const QUEUE_MAX: usize = 4_096;

/// Most barriers in the queue at a time.
const BARRIERS_MAX: usize = 16;

/// An operation in the queue.
pub(super) trait Operation: Send {
    fn apply(&mut self, ledger: &Ledger<'_>) -> rusqlite::Result<()>;
    /// Called after the commit, or with the reason why there was none.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<F, T> {
    apply: F,
    /// Whether it lapses when nobody waits for its answer any more.
    lapses: bool,
    /// What it takes up in the queue until it is answered.
    _place: Place,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Operation for Call<F, T>
where
    F: FnMut(&Ledger<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn apply(&mut self, ledger: &Ledger<'_>) -> rusqlite::Result<()> {
        if !(self.lapses && self.reply.is_closed()) {
            self.result = Some((self.apply)(ledger)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let missing = || StoreError::Unavailable("the operation was not applied".to_owned());
        let Self { result, reply, _place, .. } = *self;
        let _ = reply.send(outcome.and_then(|()| result.ok_or_else(missing)));
    }
}

/// What an operation takes up in the queue. It is given back when this is dropped, after the answer.
enum Place {
    /// One of a bounded number of places.
    Bounded(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit),
    /// Settlements are never refused: there are never more of them than admitted holds.
    Owed(Arc<AtomicUsize>),
    /// An operation that writes nothing.
    None,
}

impl Place {
    fn owed(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self::Owed(count.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Owed(count) = self {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

pub(super) enum Message {
    Settle(Box<dyn Operation>),
    Other(Box<dyn Operation>),
    Close(oneshot::Sender<()>),
}

/// The way into the writer thread. When the last one is dropped, the thread writes what is queued and ends.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    places: Arc<Semaphore>,
    /// Settlements that are not on disk yet.
    owed: Arc<AtomicUsize>,
    /// Who waits for them at a time.
    barriers: Semaphore,
}

impl Writer {
    /// Opens the file, recovers it, and starts the thread.
    pub(super) fn start(path: &Path, clock: Clock, counters: Arc<Counters>) -> Result<Self, StoreError> {
        let mut thread = Thread::open(path, clock, counters)?;
        // The holds of a process that died stay until the sweep works; until then they count as held.
        if let Err(error) = thread.sweep() {
            tracing::error!(%error, "the holds of processes that ended could not be charged yet");
        }
        let (queue, messages) = mpsc::channel();
        let spawned = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || thread.run(&messages));
        spawned.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { queue, places: Arc::new(Semaphore::new(QUEUE_MAX)), owed: Arc::default(), barriers: Semaphore::new(BARRIERS_MAX) })
    }

    /// Queues an operation and waits until it is on disk. If this is dropped before the operation's turn, the operation is left out.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        apply: impl FnMut(&Ledger<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| StoreError::Busy("too many operations are waiting".to_owned()))?;
        let (reply, answer) = oneshot::channel();
        let _ = self.queue.send(Message::Other(Box::new(Call { apply, lapses: true, _place: Place::Bounded(place), result: None, reply })));
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Queues a settlement.
    pub(super) fn submit_settle<T: Send + 'static, F: FnMut(&Ledger<'_>) -> rusqlite::Result<T> + Send + 'static>(
        &self,
        apply: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, F> {
        let (reply, answer) = oneshot::channel();
        let place = Place::owed(&self.owed);
        let _ = self.queue.send(Message::Settle(Box::new(Call { apply, lapses: false, _place: place, result: None, reply })));
        async move { answer.await.unwrap_or_else(|_| Err(stopped())) }
    }

    /// Whether settlements are not on disk yet.
    pub(super) fn owes(&self) -> bool {
        self.owed.load(Ordering::SeqCst) > 0
    }

    /// Resolves when everything that was queued before is on disk.
    pub(super) async fn barrier(&self) -> Result<(), StoreError> {
        // Readers wait for each other rather than take the room of those who pay.
        let _turn = self.barriers.acquire().await.map_err(|_| stopped())?;
        let (reply, answer) = oneshot::channel();
        let nothing = |_: &Ledger<'_>| Ok(());
        let _ = self.queue.send(Message::Other(Box::new(Call { apply: nothing, lapses: true, _place: Place::None, result: None, reply })));
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Writes what is queued, then closes the file.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).is_ok() {
            let _ = answer.await;
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the ledger's writer has stopped".to_owned())
}

/// Operations of one transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) settlements: Vec<Box<dyn Operation>>,
    pub(super) others: Vec<Box<dyn Operation>>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.settlements.len() + self.others.len()
    }
}

/// Whether the thread was asked to end, and who waits for that.
pub(super) enum Closing {
    No,
    Yes(Option<oneshot::Sender<()>>),
}

/// Moves everything that is queued into the batch.
pub(super) fn gather(first: Message, messages: &mpsc::Receiver<Message>, batch: &mut Batch) -> Closing {
    let mut next = Some(first);
    // What a failed batch left does not take the place of what is new.
    let mut room = BATCH_MAX;
    while let Some(message) = next {
        match message {
            Message::Settle(operation) => batch.settlements.push(operation),
            Message::Other(operation) => batch.others.push(operation),
            Message::Close(reply) => return Closing::Yes(Some(reply)),
        }
        room -= 1;
        next = if room > 0 { messages.try_recv().ok() } else { None };
    }
    Closing::No
}
