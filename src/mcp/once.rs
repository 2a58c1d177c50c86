//! Paid calls that are sent twice: a client whose connection broke repeats its call under a new id, and must not pay again.
//!
//! Only calls with an `idempotency_key` are remembered, for ten minutes, in this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rmcp::model::JsonObject;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::error::ToolError;

const KEPT_FOR: Duration = Duration::from_secs(600);
/// Most calls that are remembered; the oldest make room.
const KEPT_MAX: usize = 200;
const KEY_CHARS_MAX: usize = 200;

/// Results by client, tool and key.
#[derive(Default)]
pub(super) struct Once {
    kept: Mutex<HashMap<String, Kept>>,
}

struct Kept {
    began: Instant,
    /// Digest of the arguments.
    arguments: [u8; 32],
    result: Arc<OnceCell<Result<Value, ToolError>>>,
}

impl Once {
    /// Runs `work`, or gives the result of the same call before. A call under way is waited for.
    ///
    /// # Errors
    /// The error of `work`, or that the key was used with other arguments.
    pub(super) async fn run<T: Serialize + DeserializeOwned, F: Future<Output = Result<T, ToolError>>>(
        &self,
        scope: &str,
        key: Option<&str>,
        arguments: &JsonObject,
        work: impl FnOnce() -> F,
    ) -> Result<T, ToolError> {
        let Some(key) = key else { return work().await };
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            return Err(ToolError::invalid("idempotency_key: 1 to 200 characters are needed"));
        }
        let unreadable = |error: serde_json::Error| ToolError::new("internal_error", error.to_string(), "Tell the user.");
        let name = format!("{scope} {key}");
        let cell = self.cell(&name, arguments)?;
        let result = cell.get_or_init(|| async { serde_json::to_value(work().await?).map_err(unreadable) }).await.clone();
        if result.as_ref().is_err_and(|error| !error.may_have_been_paid()) {
            // Nothing was bought, so the call may be tried again; somebody may have begun to already.
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.get(&name).is_some_and(|one| Arc::ptr_eq(&one.result, &cell)) {
                kept.remove(&name);
            }
        }
        serde_json::from_value(result?).map_err(unreadable)
    }

    fn cell(&self, name: &str, arguments: &JsonObject) -> Result<Arc<OnceCell<Result<Value, ToolError>>>, ToolError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // A call under way is never forgotten: its repetition would be paid again.
        kept.retain(|_, one| !one.result.initialized() || one.began.elapsed() < KEPT_FOR);
        let arguments = digest(arguments);
        if let Some(one) = kept.get(name) {
            if one.arguments == arguments {
                return Ok(one.result.clone());
            }
            return Err(ToolError::new(
                "idempotency_key_reused",
                "This idempotency_key was used for a call with other arguments.",
                "Use a new key for a new call, or the same arguments to get the first result again.",
            ));
        }
        if kept.len() >= KEPT_MAX
            && let Some(oldest) =
                kept.iter().filter(|(_, one)| one.result.initialized()).min_by_key(|(_, one)| one.began).map(|(name, _)| name.clone())
        {
            kept.remove(&oldest);
        }
        let result = Arc::new(OnceCell::new());
        kept.insert(name.to_owned(), Kept { began: Instant::now(), arguments, result: result.clone() });
        Ok(result)
    }
}

fn digest(arguments: &JsonObject) -> [u8; 32] {
    Sha256::digest(serde_json::to_vec(arguments).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_same_call_is_paid_once() {
        let (once, runs) = (Once::default(), AtomicU32::new(0));
        let arguments = json!({"a": 1}).as_object().cloned().unwrap();
        let work = || async { Ok(json!(runs.fetch_add(1, Ordering::SeqCst))) };
        let both = tokio::join!(once.run("s", Some("k"), &arguments, work), once.run("s", Some("k"), &arguments, work));
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (json!(0), json!(0)));
        assert_eq!(once.run("s", None, &arguments, work).await.unwrap(), json!(1));
        let fail = || async { Err::<Value, _>(ToolError::new("not_logged_in", "no", "log in")) };
        assert!(once.run("s", Some("f"), &arguments, fail).await.is_err());
        assert_eq!(once.run("s", Some("f"), &arguments, work).await.unwrap(), json!(2), "what was not bought is tried again");
        let other = once.run("s", Some("k"), &JsonObject::new(), work).await.unwrap_err();
        assert!(other.to_text().contains("idempotency_key_reused"));
    }
}
