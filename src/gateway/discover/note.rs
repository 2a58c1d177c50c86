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
    format!("No provider is called {}{}", shown(id), ended(near))
}

/// Why nothing was found, or which words had no part in it. `fitting` results were found before those that cannot be bought were left out.
pub(super) fn of(registry: &Registry, query: &SearchQuery, unknown: &[Box<str>], fitting: usize, total: usize) -> Option<String> {
    match (total, unknown) {
        (0, _) if fitting > 0 => Some(format!(
            "{} but none can be bought now. Search without `available` to see why.",
            if fitting == 1 { "1 result fits,".to_owned() } else { format!("{fitting} results fit,") }
        )),
        (0, []) if query.query.trim().is_empty() => None,
        (0, []) => Some(format!("Nothing found{} Try other words, or fewer.", near(registry, &query.query))),
        (0, _) => Some(format!(
            "Nothing sold here is called or described as {}{} The catalog has AI models and their providers: search for a name, or for what a model should do, such as \
             \"embeddings\" or \"cheap model with tools\".",
            quoted(unknown),
            near(registry, &query.query)
        )),
        (_, []) => None,
        _ => Some(format!("Nothing is called {}; the results are for the other words.", quoted(unknown))),
    }
}

/// The end of a sentence; with the names that a name is near to.
fn near(registry: &Registry, question: &str) -> String {
    let name = question.trim();
    let models = if name.contains(char::is_whitespace) { Vec::new() } else { registry.catalog().nearest_models(name, NAMES_SHOWN) };
    ended(did_you_mean(&models.iter().map(|model| model.id.to_string()).collect::<Vec<_>>()))
}

fn ended(end: String) -> String {
    if end.is_empty() { ".".to_owned() } else { end }
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
