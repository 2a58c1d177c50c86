//! What a search says beside its results: what is not sold here, and what to ask instead.

use super::{SearchQuery, own_ids};
use crate::{
    domain::near::did_you_mean,
    gateway::{lengths::shown, providers::Registry},
};

/// Unknown words that are named.
const WORDS_SHOWN: usize = 5;
const NAMES_SHOWN: usize = 3;

/// There is no such provider; names those that are near.
pub(super) fn unknown_provider(registry: &Registry, id: &str) -> String {
    let near = did_you_mean(&registry.catalog().providers_near(own_ids(registry), id));
    let end = if near.ends_with('?') { "" } else { "." };
    format!("No provider is called {}{near}{end}", shown(id))
}

/// Why nothing was found, or which words had no part in it. `fitting` results were found before those that cannot be bought were left out.
pub(super) fn of(registry: &Registry, query: &SearchQuery, unknown: &[Box<str>], fitting: usize, total: usize) -> Option<String> {
    let words = quoted(unknown);
    match (total, unknown) {
        (0, _) if fitting > 0 => Some(format!(
            "{} but none can be bought now. Search without `available` to see why.",
            if fitting == 1 { "1 result fits,".to_owned() } else { format!("{fitting} results fit,") }
        )),
        (0, []) if query.query.trim().is_empty() => None,
        (0, []) => Some("Nothing found. Try other words, or fewer.".to_owned()),
        (0, _) => {
            let near: Vec<String> = match query.query.split_whitespace().count() {
                1 => registry.catalog().nearest_models(query.query.trim(), NAMES_SHOWN).iter().map(|model| model.id.to_string()).collect(),
                _ => Vec::new(),
            };
            let near = did_you_mean(&near);
            let end = if near.ends_with('?') { "" } else { "." };
            Some(format!(
                "Nothing is sold here for {words}{near}{end} The catalog has AI models and their providers: search for a name, or for what a model should do, such as \
                 \"image generation\" or \"cheap model with tools\"."
            ))
        }
        (_, []) => None,
        _ => Some(format!("Nothing is called {words}; the results are for the other words.")),
    }
}

fn quoted(words: &[Box<str>]) -> String {
    let mut quoted: Vec<String> = words.iter().take(WORDS_SHOWN).map(|word| format!("\"{}\"", shown(word))).collect();
    if words.len() > WORDS_SHOWN {
        quoted.push("more".to_owned());
    }
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}
