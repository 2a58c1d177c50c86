//! Which provider a name means that a person or a model wrote, and which are near it.

use super::Catalog;
use crate::domain::near::{fold, nearest};

impl Catalog {
    /// The id of the provider that is meant: one of `own`, which the config file names, or one of the catalog by its id, its name or a name
    /// that other tools have for it, in any case.
    pub fn provider_called<'a>(&'a self, own: &(impl Iterator<Item = &'a str> + Clone), text: &str) -> Option<&'a str> {
        let text = text.trim();
        let folded = fold(text);
        let own_like = |same: &dyn Fn(&str) -> bool| own.clone().find(|id| same(id));
        let all = || self.providers.iter();
        own_like(&|id| id == text)
            .or_else(|| self.provider(text).map(|known| &*known.id))
            .or_else(|| own_like(&|id| id.eq_ignore_ascii_case(text)))
            .or_else(|| all().find(|known| known.id.eq_ignore_ascii_case(text)).map(|known| &*known.id))
            .or_else(|| all().find(|known| known.all_names().any(|name| fold(name) == folded)).map(|known| &*known.id))
            .filter(|_| !folded.is_empty())
    }

    /// Up to three providers whose names look most like this one.
    pub fn providers_near<'a>(&'a self, own: impl Iterator<Item = &'a str>, text: &str) -> Vec<String> {
        let known = self.providers.iter().flat_map(|known| known.all_names().map(|name| (name, &*known.id)));
        nearest(text, own.map(|id| (id, id)).chain(known))
    }
}
