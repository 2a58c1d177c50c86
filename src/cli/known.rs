//! Which provider a name means that a person typed, and which names are near it.

pub(super) use crate::domain::near::{did_you_mean, nearest};
use crate::{catalog::Catalog, config::Settings};

/// The id of the provider that is meant: one of the config file, or one of the catalog.
pub(super) fn provider(settings: &Settings, text: &str) -> Option<String> {
    Catalog::embedded().provider_called(&own(settings), text).map(str::to_owned)
}

/// Up to three providers whose names look most like this one.
pub(super) fn providers_near(settings: &Settings, text: &str) -> Vec<String> {
    Catalog::embedded().providers_near(own(settings), text)
}

fn own(settings: &Settings) -> impl Iterator<Item = &str> + Clone {
    settings.providers.iter().map(|(id, _)| id.as_str())
}
