//! What was said in answer to each request of a session, so that a client whose connection broke can hear it: while the work goes on, and for a minute after its end.
//!
//! A stream of events reads from here, and not from the session, so that neither a slow reader nor one that is gone holds up the work.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use rmcp::{
    model::{JsonRpcMessage, ServerJsonRpcMessage, ServerNotification},
    transport::streamable_http_server::session::{ServerSseMessage, SessionId},
};
use tokio::sync::Notify;

/// How long an answer can be asked for after it was ready.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(60);
/// When a client whose stream broke is to ask for the rest.
const RETRY: Duration = Duration::from_secs(1);
/// Most bytes of answers that are kept for one payer, and for all; the oldest of a payer make room, and those of whoever has the most.
const BYTES_OF_PAYER_MAX: usize = 16 << 20;
const BYTES_MAX: usize = 64 << 20;
/// What an answer takes beside its text, in bytes: it bounds how many small ones are kept.
const LOG_BYTES: usize = 4 << 10;
/// Most progress notes that are kept of one answer.
const NOTES_MAX: usize = 32;

/// The answers of all sessions.
#[derive(Default)]
pub(super) struct Replays {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    logs: HashMap<u64, Entry>,
    /// Answers that are ready, the oldest first; some of them are forgotten already.
    over: VecDeque<(Instant, u64)>,
    payers: HashMap<String, Share>,
    bytes: usize,
    /// Whether somebody sweeps out what is past.
    is_swept: bool,
}

struct Entry {
    log: Arc<Log>,
    session: SessionId,
    payer: String,
    /// When the answer was ready, and its bytes.
    over: Option<(Instant, usize)>,
}

/// Answers of one payer that are ready.
#[derive(Default)]
struct Share {
    bytes: usize,
    over: VecDeque<u64>,
}

impl Replays {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an answer; with `is_primed` its reader hears of its id before there is anything to say.
    pub(super) fn begin(&self, session: &SessionId, payer: &str, is_primed: bool) -> Arc<Log> {
        let mut kept = self.lock();
        kept.last += 1;
        let log = Arc::new(Log { id: kept.last, said: Mutex::default(), changed: Notify::new() });
        if is_primed {
            log.said().next = 1;
            log.said().events.push_back((0, ServerSseMessage::priming(log.event_id(0), RETRY)));
        }
        let entry = Entry { log: log.clone(), session: session.clone(), payer: payer.to_owned(), over: None };
        kept.logs.insert(log.id, entry);
        log
    }

    /// Ends an answer; it is kept a while. Whoever gets `true` is to [`sweep`](Self::sweep).
    pub(super) fn end(&self, log: &Log) -> bool {
        log.end();
        let mut kept = self.lock();
        let Some(payer) = kept.keep(log) else { return false };
        while kept.bytes_of(&payer) > BYTES_OF_PAYER_MAX && kept.forget_oldest_of(&payer) {}
        while let Some(payer) = kept.greediest()
            && kept.forget_oldest_of(&payer)
        {}
        !std::mem::replace(&mut kept.is_swept, true)
    }

    /// Ends what has no answer, such as a request that was cancelled: there is nothing to come back for.
    pub(super) fn drop_log(&self, log: &Log) {
        log.end();
        self.lock().forget(log.id);
    }

    /// Forgets answers as their time passes, until there are none.
    pub(super) async fn sweep(&self) {
        loop {
            let wait = {
                let mut kept = self.lock();
                match kept.forget_past() {
                    Some(wait) => wait,
                    None => {
                        kept.is_swept = false;
                        return;
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    pub(super) fn forget_session(&self, session: &SessionId) {
        let mut kept = self.lock();
        let ids: Vec<u64> = kept.logs.iter().filter(|(_, entry)| entry.session == *session).map(|(id, _)| *id).collect();
        for id in ids {
            kept.forget(id);
        }
    }

    /// The answer in which a client of this session has heard this event, and where in it.
    pub(super) fn find(&self, session: &str, event: &str) -> Option<(Arc<Log>, u64)> {
        let (log, index) = event.split_once('/')?;
        let (log, index) = (log.parse().ok()?, index.parse().ok()?);
        let kept = self.lock();
        let entry = kept.logs.get(&log).filter(|entry| &*entry.session == session)?;
        let is_past = entry.over.is_some_and(|(since, _)| since.elapsed() >= KEPT_FOR);
        (!is_past && index < entry.log.said().next).then(|| (entry.log.clone(), index))
    }
}

impl Kept {
    /// Counts an answer that is ready; gives its payer, where it is not forgotten already.
    fn keep(&mut self, log: &Log) -> Option<String> {
        let entry = self.logs.get_mut(&log.id)?;
        let (now, bytes) = (Instant::now(), log.said().bytes + LOG_BYTES);
        entry.over = Some((now, bytes));
        let payer = entry.payer.clone();
        let share = self.payers.entry(payer.clone()).or_default();
        share.over.push_back(log.id);
        (share.bytes, self.bytes) = (share.bytes + bytes, self.bytes + bytes);
        self.over.push_back((now, log.id));
        Some(payer)
    }

    fn bytes_of(&self, payer: &str) -> usize {
        self.payers.get(payer).map_or(0, |share| share.bytes)
    }

    /// The payer with the most bytes, while there are too many of all payers.
    fn greediest(&self) -> Option<String> {
        let most = || self.payers.iter().max_by_key(|(_, share)| share.bytes);
        (self.bytes > BYTES_MAX).then(most).flatten().map(|(payer, _)| payer.clone())
    }

    fn forget_oldest_of(&mut self, payer: &str) -> bool {
        let oldest = self.payers.get(payer).and_then(|share| share.over.front().copied());
        oldest.is_some_and(|id| self.forget(id))
    }

    /// Forgets what is past, and says when there will be more; `None` where nothing is left.
    fn forget_past(&mut self) -> Option<Duration> {
        while let Some((since, id)) = self.over.front().copied() {
            if let Some(wait) = KEPT_FOR.checked_sub(since.elapsed()).filter(|wait| !wait.is_zero()) {
                return Some(wait);
            }
            self.forget(id);
            self.over.pop_front();
        }
        None
    }

    fn forget(&mut self, id: u64) -> bool {
        let Some(entry) = self.logs.remove(&id) else { return false };
        if let (Some((_, bytes)), Some(share)) = (entry.over, self.payers.get_mut(&entry.payer)) {
            (share.bytes, self.bytes) = (share.bytes - bytes, self.bytes - bytes);
            while share.over.front().is_some_and(|id| !self.logs.contains_key(id)) {
                share.over.pop_front();
            }
            if share.bytes == 0 {
                self.payers.remove(&entry.payer);
            }
        }
        true
    }
}

/// What was said in answer to one request.
pub(super) struct Log {
    id: u64,
    said: Mutex<Said>,
    changed: Notify,
}

#[derive(Default)]
struct Said {
    events: VecDeque<(u64, ServerSseMessage)>,
    next: u64,
    notes: usize,
    bytes: usize,
    is_over: bool,
}

impl Log {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event_id(&self, index: u64) -> String {
        format!("{}/{index}", self.id)
    }

    /// Adds a message. Of progress only the latest is kept.
    pub(super) fn add(&self, message: Arc<ServerJsonRpcMessage>) {
        let bytes = size_of_json(&message);
        let mut said = self.said();
        if is_note(&message) {
            said.notes += 1;
            if said.notes > NOTES_MAX
                && let Some(oldest) = said.events.iter().position(|(_, event)| event.message.as_deref().is_some_and(is_note))
            {
                let dropped = said.events.remove(oldest).and_then(|(_, event)| event.message);
                said.bytes -= dropped.map_or(0, |message| size_of_json(&message));
                said.notes -= 1;
            }
        }
        let mut event = ServerSseMessage::default();
        (event.event_id, event.message) = (Some(self.event_id(said.next)), Some(message));
        let index = said.next;
        said.events.push_back((index, event));
        (said.next, said.bytes) = (index + 1, said.bytes + bytes);
        drop(said);
        self.changed.notify_waiters();
    }

    fn end(&self) {
        self.said().is_over = true;
        self.changed.notify_waiters();
    }

    /// Everything from the event with this index on, as it is said.
    pub(super) fn read(self: Arc<Self>, from: u64) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
        stream::unfold((self, from), |(log, from)| async move {
            loop {
                // Before it is looked: what is said meanwhile wakes.
                let changed = log.changed.notified();
                let (found, is_over) = {
                    let said = log.said();
                    (said.events.iter().find(|(index, _)| *index >= from).cloned(), said.is_over)
                };
                match found {
                    Some((index, event)) => {
                        drop(changed);
                        return Some((event, (log, index + 1)));
                    }
                    None if is_over => return None,
                    None => changed.await,
                }
            }
        })
    }
}

fn is_note(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Notification(note) if matches!(note.notification, ServerNotification::ProgressNotification(_)))
}

/// How many bytes a message has as JSON, without writing it down.
fn size_of_json(message: &ServerJsonRpcMessage) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    let _ = serde_json::to_writer(&mut counter, message);
    counter.0
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use rmcp::model::{ErrorData, ProgressNotification, ProgressNotificationParam, ProgressToken, RequestId};

    use super::*;

    fn answer(bytes: usize) -> Arc<ServerJsonRpcMessage> {
        let error = ErrorData::internal_error("x".repeat(bytes), None);
        Arc::new(ServerJsonRpcMessage::error(error, Some(RequestId::Number(1))))
    }

    fn note() -> Arc<ServerJsonRpcMessage> {
        let params = ProgressNotificationParam::new(ProgressToken(RequestId::Number(1)), 1.0);
        Arc::new(ServerJsonRpcMessage::notification(ServerNotification::ProgressNotification(ProgressNotification::new(params))))
    }

    #[tokio::test]
    async fn who_comes_back_hears_the_rest_whether_it_was_said_or_not() {
        let (replays, session) = (Replays::default(), SessionId::from("s"));
        let log = replays.begin(&session, "ann", true);
        let id = |event: &ServerSseMessage| event.event_id.clone().unwrap();
        let mut reader = Box::pin(log.clone().read(0));
        let priming = reader.next().await.unwrap();
        assert!(priming.message.is_none() && priming.retry.is_some());
        drop(reader);
        let (found, index) = replays.find("s", &id(&priming)).unwrap();
        let waits = tokio::spawn(found.read(index + 1).collect::<Vec<_>>());
        tokio::task::yield_now().await;
        log.add(note());
        log.add(answer(10));
        replays.end(&log);
        let heard = waits.await.unwrap();
        assert_eq!(heard.len(), 2);
        let (found, index) = replays.find("s", &id(&heard[0])).unwrap();
        assert_eq!(found.read(index + 1).count().await, 1, "only what comes after it");
        for unknown in ["1/9", "2/0", "99/99", "0", "", "x/y"] {
            assert!(replays.find("s", unknown).is_none(), "{unknown}");
        }
        assert!(replays.find("other", &id(&priming)).is_none());
        replays.lock().logs.get_mut(&log.id).unwrap().over = Some((Instant::now().checked_sub(KEPT_FOR).unwrap(), 10));
        assert!(replays.find("s", &id(&priming)).is_none(), "a minute is over");
    }

    #[test]
    fn memory_is_bounded_by_payer_and_notes_are_too() {
        let (replays, session) = (Replays::default(), SessionId::from("s"));
        let fill = |payer: &str, bytes: usize| {
            let log = replays.begin(&session, payer, false);
            log.add(answer(bytes));
            replays.end(&log);
            format!("{}/0", log.id)
        };
        let anns = fill("ann", 1_000);
        let bobs: Vec<String> = (0..5).map(|_| fill("bob", 4 << 20)).collect();
        assert!(replays.find("s", &anns).is_some(), "others' answers do not make room");
        assert!(replays.find("s", &bobs[0]).is_none() && replays.find("s", &bobs[1]).is_none());
        assert!(replays.find("s", &bobs[4]).is_some());
        for n in 0..8 {
            (0..3).for_each(|_| drop(fill(&format!("payer {n}"), 5 << 20)));
        }
        let bytes = replays.lock().bytes;
        assert!(bytes <= BYTES_MAX && replays.find("s", &anns).is_some(), "{bytes}");
        assert_eq!(bytes, replays.lock().logs.values().filter_map(|entry| entry.over).map(|(_, bytes)| bytes).sum::<usize>());
        let log = replays.begin(&session, "ann", false);
        (0..1_000).for_each(|_| log.add(note()));
        assert_eq!(log.said().events.len(), NOTES_MAX);
        assert!(log.said().bytes < NOTES_MAX * 500);
    }

    #[test]
    fn small_answers_are_bounded_too_and_nothing_is_left_of_what_is_forgotten() {
        let (replays, session) = (Replays::default(), SessionId::from("s"));
        let begun = Instant::now();
        for n in 0..20_000 {
            let log = replays.begin(&session, "ann", false);
            log.add(answer(1));
            assert_eq!(replays.end(&log), n == 0, "one sweeps");
        }
        let count = replays.lock().logs.len();
        assert!(count <= BYTES_OF_PAYER_MAX / LOG_BYTES && count > 1_000, "{count}");
        // Looking through all of them each time took minutes.
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let (cancelled, other) = (replays.begin(&session, "ann", true), SessionId::from("t"));
        replays.drop_log(&cancelled);
        assert!(replays.find("s", &cancelled.event_id(0)).is_none());
        replays.end(&replays.begin(&other, "bob", false));
        replays.forget_session(&session);
        let left = |kept: &Kept| (kept.logs.len(), kept.payers.len());
        assert_eq!(left(&replays.lock()), (1, 1));
        assert!(replays.lock().forget_past().is_some(), "when its minute is over");
        let long_ago = Instant::now().checked_sub(KEPT_FOR).unwrap();
        replays.lock().over.iter_mut().for_each(|(since, _)| *since = long_ago);
        assert!(replays.lock().forget_past().is_none());
        let kept = replays.lock();
        assert_eq!((kept.logs.len(), kept.payers.len(), kept.over.len(), kept.bytes), (0, 0, 0, 0));
    }
}
