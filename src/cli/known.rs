//! Which provider a name means that a person typed, and which names are near it.

use crate::{
    catalog::{Catalog, Provider},
    config::Settings,
};

/// How alike two names must be, of 1, so that one is suggested for the other.
const ALIKE: f64 = 0.85;

/// The id of the provider that is meant: one of the config file, or one of the catalog by its id, its name or a name that other tools have for it, in any case.
pub(super) fn provider(settings: &Settings, text: &str) -> Option<String> {
    let text = text.trim();
    let custom = || settings.providers.iter().map(|(id, _)| id);
    let catalog = Catalog::embedded();
    let folded = fold(text);
    let is_called = |provider: &&Provider| {
        fold(&provider.id) == folded || fold(&provider.name) == folded || provider.aliases.iter().any(|alias| fold(alias) == folded)
    };
    custom()
        .find(|id| *id == text)
        .cloned()
        .or_else(|| catalog.provider(text).map(|known| known.id.to_string()))
        .or_else(|| custom().find(|id| id.eq_ignore_ascii_case(text)).cloned())
        .or_else(|| catalog.providers().iter().find(|known| known.id.eq_ignore_ascii_case(text)).map(|known| known.id.to_string()))
        .or_else(|| catalog.providers().iter().find(is_called).map(|known| known.id.to_string()))
        .filter(|_| !folded.is_empty())
}

/// Without case, and without what people put between words.
fn fold(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-' | '_' | '.')).flat_map(char::to_lowercase).collect()
}

/// Up to three providers whose names look most like this one.
pub(super) fn providers_near(settings: &Settings, text: &str) -> Vec<String> {
    let catalog = Catalog::embedded().providers().iter().flat_map(|known| {
        let names = [&*known.id, &*known.name].into_iter().chain(known.aliases.iter().map(|alias| &**alias));
        names.map(|name| (name, &*known.id)).collect::<Vec<_>>()
    });
    let custom = settings.providers.iter().map(|(id, _)| (id.as_str(), id.as_str()));
    nearest(text, custom.chain(catalog))
}

/// Up to three of these, by what each is called, that look most like `text`.
pub(super) fn nearest<'a>(text: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let wanted = fold(text);
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut scored: Vec<(f64, &str)> = names
        .map(|(name, id)| {
            let name = fold(name);
            let is_part = wanted.len() > 2 && (name.contains(&wanted) || (name.len() > 2 && wanted.contains(&name)));
            (strsim::jaro_winkler(&wanted, &name).max(if is_part { ALIKE } else { 0.0 }), id)
        })
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut ids: Vec<String> = Vec::new();
    for (_, id) in scored {
        if ids.len() < 3 && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The end of a sentence that suggests names; empty where there are none.
pub(super) fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        [first @ .., last] => format!("; did you mean {} or {last}?", first.join(", ")),
    }
}
