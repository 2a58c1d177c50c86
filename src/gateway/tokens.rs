//! Counting tokens exactly, where the vocabulary is known. Loading it takes about a tenth of a second, so it is loaded when first needed and off the async
//! threads.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tiktoken::CoreBpe;
use tokio::sync::Semaphore;

use super::{
    ask::Ask,
    route::{Reach, Route},
};

/// Counting keeps a processor busy: more threads at it than cores would be no faster, and each has caches of its own.
static PLACES: Semaphore = Semaphore::const_new(4);
/// The allocator gives memory that is free for a second back to the system, at the next occasion.
const GIVE_BACK_AFTER: Duration = Duration::from_millis(1_200);
/// OpenAI's vocabulary since GPT-4o; older models have others, in which some scripts take several times as many tokens. The sandbox counts every model with it.
pub(super) fn vocabulary() -> Option<&'static CoreBpe> {
    static VOCABULARY: OnceLock<Option<&'static CoreBpe>> = OnceLock::new();
    *VOCABULARY.get_or_init(|| {
        // Loading takes 20 MiB more than the vocabulary does. A thread that ends gives up its memory, and one more allocation a little later is the occasion
        // on which the allocator passes it on to the system.
        let loaded = std::thread::spawn(|| tiktoken::get_encoding("o200k_base")).join().ok().flatten();
        std::thread::spawn(|| {
            std::thread::sleep(GIVE_BACK_AFTER);
            std::hint::black_box(Vec::<u8>::with_capacity(1 << 20));
        });
        loaded
    })
}

/// Does work that counts tokens off the async threads; `None` if it failed.
pub(super) async fn counting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let _place = PLACES.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

/// An upper bound of the input without its template, by counting its texts. `None` where the vocabulary is not the provider's.
pub(super) async fn count_exactly(ask: &Arc<Ask>, route: &Route) -> Option<u64> {
    // One's own provider may have the name, and other models behind theirs.
    let is_known = route.provider == "openai"
        && route.reach == Reach::Public
        && matches!(tiktoken::model_to_encoding(&route.model), Some("o200k_base" | "o200k_harmony"));
    if route.reach != Reach::Sandbox && !is_known {
        return None;
    }
    let ask = ask.clone();
    counting(move || {
        let vocabulary = vocabulary()?;
        ask.count_tokens(|text| vocabulary.count(text) as u64)
    })
    .await?
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::translate::openai::ChatRequest;

    #[tokio::test]
    async fn the_vocabulary_of_a_provider_is_not_that_of_another_one_with_its_name() {
        let body = Bytes::from_static(br#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}"#);
        let ask = Arc::new(Ask::Chat(ChatRequest::parse(&body).unwrap()));
        for (provider, model, reach, is_counted) in [
            ("openai", "gpt-4o", Reach::Public, true),
            ("openai", "gpt-oss-120b", Reach::Public, true),
            ("openai", "gpt-4o", Reach::Private, false),
            ("groq", "gpt-4o", Reach::Public, false),
            // It has an older vocabulary.
            ("openai", "gpt-4", Reach::Public, false),
            ("openai", "gpt-4o", Reach::Sandbox, true),
            ("anthropic", "claude", Reach::Sandbox, true),
        ] {
            let counted = count_exactly(&ask, &Route::example(provider, model, reach)).await;
            assert_eq!(counted.is_some(), is_counted, "{provider} {model} {reach:?}");
            // A word, a role, and sixteen around a message.
            assert!(counted.is_none_or(|tokens| tokens == 18), "{counted:?}");
        }
    }
}
