//! Paid calls that are sent twice: a client whose connection broke repeats its call under a new id, and must not pay again.
//!
//! Only calls with an `idempotency_key` are remembered, for ten minutes after their end, in this process. Such a call runs in a task of its own: once begun it goes on to its
//! end, whoever still waits for it, and what it bought is there for the repetition.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    answer::{Answer, Stop},
    error::ToolError,
};

const KEPT_FOR: Duration = Duration::from_secs(600);
/// Most results that are remembered for one payer, and their bytes; the oldest make room.
const KEPT_MAX: usize = 200;
const KEPT_BYTES_MAX: usize = 16 << 20;
/// Most bytes for all payers together, and most results; those of whoever has the most make room.
const BYTES_MAX: usize = 64 << 20;
const RESULTS_MAX: usize = 4_000;
/// Most calls of one payer that are under way at once. Those cannot be forgotten: their repetition would be paid again.
const UNDER_WAY_MAX: usize = 200;
/// And of all payers.
const UNDER_WAY_OF_ALL_MAX: usize = 1_000;
const KEY_CHARS_MAX: usize = 200;

type Outcome = Result<Answer, Stop>;

/// Results by payer, tool and key.
#[derive(Default)]
pub(super) struct Once {
    kept: Mutex<HashMap<Name, Kept>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    payer: String,
    tool: &'static str,
    key: String,
}

struct Kept {
    /// When it ended; until then, when it began.
    since: Instant,
    /// Digest of tool and arguments.
    arguments: [u8; 32],
    outcome: watch::Receiver<Option<Outcome>>,
    /// Bytes of the result; `None` while the call is under way.
    bytes: Option<usize>,
}

impl Once {
    /// Runs `work`, or gives the result of the same call before. A call under way is waited for.
    ///
    /// # Errors
    /// The error of `work`, or that the key was used with other arguments.
    pub(super) async fn run(
        self: &Arc<Self>,
        payer: String,
        tool: &'static str,
        key: &str,
        arguments: &JsonObject,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            return Err(ToolError::invalid("idempotency_key: must be 1 to 200 characters").into());
        }
        let name = Name { payer, tool, key: key.to_owned() };
        let mut outcome = match self.begin(&name, digest(tool, arguments))? {
            Begun::Before(outcome) => outcome,
            Begun::Now(sender, outcome) => {
                let once = self.clone();
                tokio::spawn(async move {
                    let found = work.await;
                    once.end(&name, &found);
                    let _ = sender.send(Some(found));
                });
                outcome
            }
        };
        let found = outcome.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        // The task is gone without a result: it panicked, or the process ends.
        found.unwrap_or_else(|| {
            Err(ToolError::new("internal_error", "The call broke off.", "What it had used is charged; see usage.").into())
        })
    }

    fn begin(&self, name: &Name, arguments: [u8; 32]) -> Result<Begun, ToolError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, one| one.is_under_way() || one.since.elapsed() < KEPT_FOR);
        if let Some(one) = kept.get(name) {
            if one.arguments == arguments {
                return Ok(Begun::Before(one.outcome.clone()));
            }
            return Err(ToolError::new(
                "idempotency_key_reused",
                "This idempotency_key was used for a call with other arguments.",
                "Use a new key for a new call, or the same arguments to get the first result again.",
            ));
        }
        let under_way = || kept.iter().filter(|(_, one)| one.is_under_way());
        if under_way().filter(|(other, _)| other.payer == name.payer).count() >= UNDER_WAY_MAX
            || under_way().count() >= UNDER_WAY_OF_ALL_MAX
        {
            return Err(ToolError::new(
                "too_many_calls",
                format!("{UNDER_WAY_MAX} calls with an idempotency_key are in progress."),
                "Wait for some of them to end, then repeat the call.",
            ));
        }
        let (sender, outcome) = watch::channel(None);
        kept.insert(name.clone(), Kept { since: Instant::now(), arguments, outcome: outcome.clone(), bytes: None });
        Ok(Begun::Now(sender, outcome))
    }

    /// Remembers a result; one for which nothing was paid is not, so that the call may be tried again.
    fn end(&self, name: &Name, outcome: &Outcome) {
        let bytes = match outcome {
            Ok(answer) => Some(answer.bytes()),
            Err(Stop::Failed(error)) if error.may_have_been_paid() => Some(1_000),
            Err(_) => None,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = bytes else {
            kept.remove(name);
            return;
        };
        if let Some(one) = kept.get_mut(name) {
            (one.bytes, one.since) = (Some(bytes), Instant::now());
        }
        make_room(&mut kept, &name.payer, KEPT_MAX, KEPT_BYTES_MAX);
        while let Some((payer, count, bytes)) = greediest(&kept) {
            make_room(&mut kept, &payer, count.saturating_sub(1), bytes);
        }
    }
}

enum Begun {
    Before(watch::Receiver<Option<Outcome>>),
    Now(watch::Sender<Option<Outcome>>, watch::Receiver<Option<Outcome>>),
}

impl Kept {
    /// A call whose task is gone without a result is not under way.
    fn is_under_way(&self) -> bool {
        self.bytes.is_none() && self.outcome.has_changed().is_ok()
    }
}

/// The payer with the most results, and with how many and how large ones, while there are too many of all payers.
fn greediest(kept: &HashMap<Name, Kept>) -> Option<(String, usize, usize)> {
    let mut by_payer: HashMap<&str, (usize, usize)> = HashMap::new();
    for (name, bytes) in kept.iter().filter_map(|(name, one)| Some((name, one.bytes?))) {
        let (count, sum) = by_payer.entry(&name.payer).or_default();
        (*count, *sum) = (*count + 1, *sum + bytes);
    }
    let (count, bytes) = by_payer.values().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let most = match (bytes > BYTES_MAX, count > RESULTS_MAX) {
        (true, _) => by_payer.into_iter().max_by_key(|(_, (_, bytes))| *bytes),
        (false, true) => by_payer.into_iter().max_by_key(|(_, (count, _))| *count),
        (false, false) => None,
    };
    most.map(|(payer, (count, bytes))| (payer.to_owned(), count, bytes))
}

/// Forgets the oldest results of a payer until the rest is within both limits.
fn make_room(kept: &mut HashMap<Name, Kept>, payer: &str, count_max: usize, bytes_max: usize) {
    let mut results: Vec<(Instant, usize, Name)> =
        kept.iter().filter(|(name, _)| name.payer == payer).filter_map(|(name, one)| Some((one.since, one.bytes?, name.clone()))).collect();
    results.sort_unstable_by_key(|(since, _, _)| *since);
    let mut bytes: usize = results.iter().map(|(_, bytes, _)| bytes).sum();
    let mut count = results.len();
    for (_, size, name) in results {
        if count <= count_max && bytes <= bytes_max {
            return;
        }
        kept.remove(&name);
        (count, bytes) = (count - 1, bytes - size);
    }
}

/// A digest of a tool and its arguments, whatever the order of their names: a client that repeats a call may write them anew.
pub(super) fn digest(tool: &str, arguments: &JsonObject) -> [u8; 32] {
    Sha256::digest(serde_json::to_vec(&json!([tool, sorted(&Value::Object(arguments.clone()))])).unwrap_or_default()).into()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Till {
        once: Arc<Once>,
        runs: Arc<AtomicU32>,
    }

    impl Till {
        fn new() -> Self {
            Self { once: Arc::default(), runs: Arc::default() }
        }

        async fn run(&self, payer: &str, key: &str, arguments: Value, ms: u64) -> Result<String, ToolError> {
            let runs = self.runs.clone();
            let work = async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(Answer::new(&json!({}), &format!("run {run}")))
            };
            self.finish(payer, key, arguments, work).await
        }

        async fn finish(
            &self,
            payer: &str,
            key: &str,
            arguments: Value,
            work: impl Future<Output = Outcome> + Send + 'static,
        ) -> Result<String, ToolError> {
            match self.once.run(payer.to_owned(), "call", key, arguments.as_object().unwrap(), work).await {
                Ok(answer) => Ok(format!("{answer:?}")),
                Err(Stop::Failed(error)) => Err(error),
                Err(Stop::Ask(_)) => panic!("nobody is asked"),
            }
        }
    }

    #[tokio::test]
    async fn the_same_call_is_paid_once() {
        let till = Till::new();
        let (one, two) = tokio::join!(
            till.run("a", "k", json!({"x": 1, "y": {"p": 1, "q": 2}}), 20),
            till.run("a", "k", json!({"y": {"q": 2, "p": 1}, "x": 1}), 20)
        );
        assert!(one.as_ref().unwrap().contains("run 0") && one.unwrap() == two.unwrap());
        assert!(till.run("b", "k", json!({"x": 1}), 0).await.unwrap().contains("run 1"), "another payer's key is another key");
        let other = till.run("a", "k", json!({}), 0).await.unwrap_err();
        assert!(other.to_text().contains("idempotency_key_reused"));
        assert!(till.run("a", "", json!({}), 0).await.is_err());
    }

    #[tokio::test]
    async fn a_call_that_was_dropped_runs_on_and_is_not_paid_again() {
        let till = Till::new();
        let first = till.run("a", "k", json!({}), 60);
        assert!(tokio::time::timeout(Duration::from_millis(10), first).await.is_err(), "its client is gone");
        assert!(till.run("a", "k", json!({}), 0).await.unwrap().contains("run 0"));
        assert_eq!(till.runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_ten_minutes_begin_when_a_call_ends() {
        let till = Till::new();
        let age = |by: Duration| {
            for one in till.once.kept.lock().unwrap().values_mut() {
                one.since = one.since.checked_sub(by).unwrap();
            }
        };
        let first = till.run("a", "k", json!({}), 60);
        assert!(tokio::time::timeout(Duration::from_millis(10), first).await.is_err(), "it is under way");
        age(KEPT_FOR);
        assert!(till.run("a", "k", json!({}), 0).await.unwrap().contains("run 0"));
        assert!(till.run("a", "k", json!({}), 0).await.unwrap().contains("run 0"), "it took long, and is remembered nevertheless");
        age(KEPT_FOR);
        assert!(till.run("a", "k", json!({}), 0).await.unwrap().contains("run 1"), "it is long over");
    }

    #[tokio::test]
    async fn what_was_not_bought_is_tried_again_and_what_may_have_been_is_not() {
        let till = Till::new();
        let fail = |code: &'static str| async move { Err(ToolError::new(code, "no", "hint").into()) };
        assert!(till.finish("a", "f", json!({}), fail("not_logged_in")).await.is_err());
        assert!(till.run("a", "f", json!({}), 0).await.is_ok());
        assert!(till.finish("a", "t", json!({}), fail("upstream_timeout")).await.is_err());
        assert!(till.run("a", "t", json!({}), 0).await.unwrap_err().to_text().contains("upstream_timeout"));
        let paid = async { Err(ToolError::new("insufficient_budget", "no", "hint").after("0.01", true, Vec::new()).into()) };
        assert!(till.finish("a", "p", json!({}), paid).await.is_err());
        assert!(till.run("a", "p", json!({}), 0).await.is_err(), "an attempt before the refusal was paid");
        let broken = async { panic!("on purpose") };
        assert!(till.finish("a", "b", json!({}), broken).await.is_err());
        assert!(till.run("a", "b", json!({}), 0).await.is_err(), "what broke off may have been paid");
    }

    #[tokio::test]
    async fn memory_is_bounded_by_payer() {
        let till = Till::new();
        till.run("b", "mine", json!({}), 0).await.unwrap();
        for n in 0..=KEPT_MAX {
            till.run("a", &n.to_string(), json!({}), 0).await.unwrap();
        }
        let runs = || till.runs.load(Ordering::SeqCst);
        let before = runs();
        till.run("b", "mine", json!({}), 0).await.unwrap();
        till.run("a", "1", json!({}), 0).await.unwrap();
        assert_eq!(runs(), before, "others' results do not make room");
        till.run("a", "0", json!({}), 0).await.unwrap();
        assert_eq!(runs(), before + 1, "the oldest does");
    }

    #[tokio::test]
    async fn when_all_is_taken_whoever_has_the_most_makes_room() {
        let till = Till::new();
        till.run("ann", "mine", json!({}), 0).await.unwrap();
        let fill = |payer: &str, count: usize, bytes: usize| {
            let mut kept = till.once.kept.lock().unwrap();
            for n in 0..count {
                let name = Name { payer: payer.to_owned(), tool: "call", key: format!("k{n}") };
                kept.insert(name, Kept { since: Instant::now(), arguments: [0; 32], outcome: watch::channel(None).1, bytes: Some(bytes) });
            }
        };
        for n in 0..5 {
            fill(&format!("payer {n}"), 14, 1 << 20);
        }
        till.run("bob", "one", json!({}), 0).await.unwrap();
        let kept = till.once.kept.lock().unwrap();
        let bytes: usize = kept.values().filter_map(|one| one.bytes).sum();
        assert!(bytes <= BYTES_MAX && bytes > BYTES_MAX - (4 << 20), "{bytes}");
        for (payer, key) in [("ann", "mine"), ("bob", "one")] {
            assert!(kept.contains_key(&Name { payer: payer.to_owned(), tool: "call", key: key.to_owned() }), "{payer}");
        }
    }
}
