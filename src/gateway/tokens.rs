//! Counting tokens exactly, where the vocabulary is known. Loading it takes about a tenth of a second, so it is loaded when first needed and off the async
//! threads.

use std::sync::OnceLock;

use tiktoken::CoreBpe;

use super::{
    ask::Ask,
    route::{Reach, Route},
};

/// Above this size a count takes longer than it is worth; the byte bound stays.
const COUNT_BYTES_MAX: usize = 1 << 20;

/// OpenAI's vocabulary since GPT-4o; older models have others, in which some scripts take several times as many tokens. The sandbox counts every model with it.
pub(super) fn vocabulary() -> Option<&'static CoreBpe> {
    static VOCABULARY: OnceLock<Option<&'static CoreBpe>> = OnceLock::new();
    *VOCABULARY.get_or_init(|| tiktoken::get_encoding("o200k_base"))
}

/// An upper bound of the input by counting its text, JSON punctuation included, plus the chat template. `None` where the vocabulary is not the provider's.
pub(super) async fn count_exactly(ask: &Ask, route: &Route) -> Option<u64> {
    let is_known = route.provider == "openai" && matches!(tiktoken::model_to_encoding(&route.model), Some("o200k_base" | "o200k_harmony"));
    if route.reach != Reach::Sandbox && !is_known {
        return None;
    }
    let (text, template) = ask.countable_text()?;
    if text.len() > COUNT_BYTES_MAX {
        return None;
    }
    let count = tokio::task::spawn_blocking(move || vocabulary().map(|vocabulary| vocabulary.count(&text) as u64)).await.ok()??;
    Some(count + template)
}
