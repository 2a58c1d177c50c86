//! Search over models and providers. A question is usually half a name ("gpt 4o") or a purpose ("text to speech"), so a name that fits as
//! a whole comes first, then BM25F over the words, with synonyms; words nobody knows are taken for slips and replaced by the ones that
//! look alike. What a question wishes for beside a name is read first (`intent.rs`). The same model at thirty resellers is one answer.

#![expect(clippy::float_arithmetic, reason = "scores order the answers; no money is computed here")]

mod intent;
mod topic;

use std::collections::HashMap;

use intent::Intent;
use topic::Topic;

use super::{Catalog, Model, Provider, everyday::is_everyday, index::Index, text};

/// How soon a repeated word stops counting, as in BM25.
const SATURATION: f32 = 1.2;
/// A name equal to the whole question, letter by letter.
const VERBATIM: f32 = 2_000.0;
/// A name equal to the whole question but for case and punctuation.
const EXACT: f32 = 1_000.0;
/// A name that begins with the whole question.
const PREFIX: f32 = 60.0;
const FIRST_PARTY: f32 = 1.3;
const RETIRED: f32 = 0.35;
const READY: f32 = 1.6;
/// What the first provider of the list has over the ones from [`PLACES`] on.
const WELL_KNOWN: f32 = 0.25;
const PLACES: usize = 60;
/// What is announced to end.
const ENDING: f32 = 0.97;

/// What kind of thing is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Models and services.
    #[default]
    Any,
    /// Models only.
    Model,
    /// Services only; a provider of models is one.
    Service,
}

/// A question.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// A name, part of one, or a purpose.
    pub text: &'a str,
    /// What is wanted.
    pub kind: Kind,
    /// Only what this provider sells, under its id or an alias.
    pub provider: Option<&'a str>,
    /// Whether a provider can be used at once, because its credential is configured. Such providers come first.
    pub ready: &'a dyn Fn(&str) -> bool,
}

/// Something that was found.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A model, as one provider sells it.
    Model(&'a Model),
    /// A provider.
    Provider(&'a Provider),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Hit<'a> {
    /// What was found.
    pub item: Item<'a>,
    /// How well it fits. Only the order means anything.
    pub score: f32,
    /// The same model at other providers. Empty when the question names a provider.
    pub others: Vec<&'a Model>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found<'a> {
    /// Best first.
    pub hits: Vec<Hit<'a>>,
    /// The words of the question that nothing is called by and nothing does, in lower case. With no hits, they are what is not sold here.
    pub unknown: Vec<Box<str>>,
}

impl Index {
    /// See [`Catalog::find`].
    pub(super) fn find<'c>(&self, catalog: &'c Catalog, query: &Query<'_>) -> Found<'c> {
        // What a question is about is in its first words; each further one would only take time.
        let topic = Topic::read(catalog, self, text::beginning(query.text));
        let hits = if topic.is_sold { self.hits(catalog, &Query { text: &topic.known, ..*query }) } else { Vec::new() };
        Found { hits, unknown: topic.unknown }
    }

    /// What is sold of what a question is about, best first.
    fn hits<'c>(&self, catalog: &'c Catalog, query: &Query<'_>) -> Vec<Hit<'c>> {
        let provider = query.provider.map(|id| catalog.seller(id));
        let wanted = |item: &Item<'_>| match item {
            Item::Model(model) => query.kind != Kind::Service && provider.is_none_or(|id| *model.provider == *id),
            Item::Provider(known) => query.kind != Kind::Model && provider.is_none_or(|id| *known.id == *id),
        };
        if query.text.trim().is_empty() {
            return match provider {
                Some(id) => listing(catalog, id, &wanted),
                None => Vec::new(),
            };
        }
        // A service is found by what it is called and sells; the rest is about models.
        let intent = if query.kind == Kind::Service { None } else { Intent::read(catalog, self, query.text, provider) };
        let mut hits: Vec<(f32, u32, Item<'c>)> = Vec::new();
        let mut gather = |scores: Vec<f32>| {
            for (document, score) in (0_u32..).zip(scores).filter(|(_, score)| *score > 0.0) {
                let Some(item) = item_at(catalog, document).filter(|item| wanted(item)) else { continue };
                hits.push((score * prior(catalog, &item, query.ready), document, item));
            }
        };
        match &intent {
            Some(intent) => gather(self.intended(catalog, query.text, intent)),
            None => gather(self.scores(catalog, query.text)),
        }
        let order = |document: u32| self.order.get(document as usize);
        hits.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| order(a.1).cmp(&order(b.1))));
        if intent.as_ref().is_some_and(|intent| intent.pure && !intent.plain) {
            self.vary(&mut hits);
            // What was decided between equal scores stays decided.
            hits.sort_by(|a, b| b.0.total_cmp(&a.0));
        }
        if provider.is_some() {
            return hits.into_iter().map(|(score, _, item)| Hit { item, score, others: Vec::new() }).collect();
        }
        let by_price = intent.as_ref().is_some_and(Intent::is_about_price);
        self.grouped(catalog, hits, query.ready, by_price)
    }

    /// One answer for each group, at the place of its best member. The member shown is the one easiest to buy.
    fn grouped<'c>(
        &self,
        catalog: &'c Catalog,
        hits: Vec<(f32, u32, Item<'c>)>,
        ready: &dyn Fn(&str) -> bool,
        by_price: bool,
    ) -> Vec<Hit<'c>> {
        let mut place_of: HashMap<u32, usize> = HashMap::new();
        let mut answers: Vec<Hit<'c>> = Vec::new();
        let ease = |model: &Model| {
            let (reseller, _, place) = catalog.seller_rank(model);
            (!ready(&model.provider), model.retired, reseller, place)
        };
        for (score, document, item) in hits {
            let group = self.groups.get(document as usize).copied().unwrap_or(document);
            let known = place_of.get(&group).and_then(|place| answers.get_mut(*place));
            match (known, item) {
                (Some(answer), Item::Model(model)) => {
                    let mut other = model;
                    if let Item::Model(shown) = &mut answer.item
                        && !by_price
                        && ease(model) < ease(shown)
                    {
                        std::mem::swap(shown, &mut other);
                    }
                    answer.others.push(other);
                }
                (Some(_), Item::Provider(_)) => {}
                (None, item) => {
                    place_of.insert(group, answers.len());
                    answers.push(Hit { item, score, others: Vec::new() });
                }
            }
        }
        for answer in &mut answers {
            answer.others.sort_by_cached_key(|model| ease(model));
        }
        answers
    }

    /// The scores of everything that has something of the question.
    fn scores(&self, catalog: &Catalog, question: &str) -> Vec<f32> {
        let mut scores = self.word_scores(question);
        for (score, traits) in scores.iter_mut().zip(&self.traits) {
            *score *= 0.98 + 0.02 * traits.recency;
        }
        self.add_names(catalog, question, &mut scores);
        scores
    }

    /// How well the words of everything fit those of the question.
    fn word_scores(&self, question: &str) -> Vec<f32> {
        let asked = self.words.asked(question);
        let mut scores = vec![0.0_f32; self.documents];
        let mut met = vec![0_u16; self.documents];
        // A number alone does not answer a question that has a word; "o3" by itself is a part of a name.
        let all_weak = asked.iter().all(|word| word.is_weak);
        let mut meant = if all_weak { self.with_part(&text::squeezed(question)) } else { vec![false; self.documents] };
        // The best meaning of the word at hand, for each document; cleared after each word.
        let mut best = vec![0.0_f32; self.documents];
        for word in &asked {
            for (term, worth) in &word.terms {
                let Some(postings) = self.postings.get(*term as usize) else { continue };
                let rarity = (1.0 + (self.documents - postings.len()) as f32 / (postings.len() as f32 + 0.5)).ln();
                for (document, weight) in postings {
                    let score = worth * rarity * weight * (SATURATION + 1.0) / (weight + SATURATION);
                    if let Some(known) = best.get_mut(*document as usize) {
                        *known = known.max(score);
                    }
                }
            }
            for (((best, score), met), meant) in best.iter_mut().zip(&mut scores).zip(&mut met).zip(&mut meant) {
                if *best > 0.0 {
                    *score += *best;
                    *met += 1;
                    *meant |= !word.is_weak;
                    *best = 0.0;
                }
            }
        }
        // Half an answer to a question of two words is worth a quarter, and less than that is none.
        let words = asked.len().max(1) as f32;
        for ((score, met), meant) in scores.iter_mut().zip(&met).zip(&meant) {
            let share = f32::from(*met) / words;
            *score *= if share < 0.5 || !meant { 0.0 } else { share * share };
        }
        scores
    }

    /// For each document, whether it has a name with this part.
    fn with_part(&self, part: &str) -> Vec<bool> {
        let mut with = vec![false; self.documents];
        for (_, document) in self.names.iter().filter(|(name, _)| name.contains(part)) {
            if let Some(with) = with.get_mut(*document as usize) {
                *with = true;
            }
        }
        with
    }

    /// Names that are the question, or begin with it.
    fn add_names(&self, catalog: &Catalog, question: &str, scores: &mut [f32]) {
        let whole = text::squeezed(question);
        if whole.is_empty() {
            return;
        }
        let start = self.names.partition_point(|(name, _)| **name < *whole);
        let mut best: HashMap<u32, f32> = HashMap::new();
        for (name, document) in self.names[start..].iter().take_while(|(name, _)| name.starts_with(&whole)) {
            // Half a name means the newest model that begins with it.
            let recency = self.traits.get(*document as usize).map_or(1.0, |traits| 0.85 + 0.15 * traits.recency);
            let worth = if name.len() == whole.len() { EXACT } else { PREFIX * recency * whole.len() as f32 / name.len() as f32 };
            let known = best.entry(*document).or_default();
            *known = known.max(worth);
        }
        for (document, worth) in best {
            if let Some(score) = scores.get_mut(document as usize) {
                *score += worth;
            }
        }
        // Both "maker/model", as resellers write it, and "provider/model", as other tools do.
        let question = question.trim();
        let named = catalog.named(question).chain(question.split_once('/').and_then(|(provider, id)| catalog.model(provider, id)));
        for model in named {
            let document = model_place(catalog, model);
            if let Some(score) = scores.get_mut(document) {
                *score += VERBATIM;
            }
        }
    }

    /// See [`Catalog::nearest_models`].
    pub(super) fn nearest<'c>(&self, catalog: &'c Catalog, name: &str, n: usize) -> Vec<&'c Model> {
        let asked = text::squeezed(text::bare(name));
        // An everyday word is not a slip of a name ("weather" of "weaver"); it can only be the beginning of one.
        let most = if is_everyday(&asked) { 0 } else { 1 + asked.len() / 4 };
        let mut last: (&str, Option<usize>) = ("", None);
        let mut found: Vec<(usize, &Model)> = Vec::new();
        for (known, document) in &self.names {
            let Some(model) = catalog.models.get(*document as usize) else { continue };
            if **known != *last.0 {
                let slips = text::changes(&asked, known, most).map(|count| count * 4);
                // A longer name is nearer than a wrong letter when only its end is missing.
                let longer = (asked.len() >= 3 && known.starts_with(&asked)).then(|| 2 + (known.len() - asked.len()) / 2);
                let nearest = [slips, longer].into_iter().flatten().min();
                last = (known, nearest);
            }
            if let Some(distance) = last.1 {
                found.push((distance, model));
            }
        }
        found.sort_by_cached_key(|(distance, model)| (*distance, catalog.seller_rank(model), model.id.len(), model.id.clone()));
        let mut seen: Vec<String> = Vec::new();
        let mut nearest = Vec::new();
        for (_, model) in found {
            let bare = text::squeezed(text::bare(&model.id));
            if !seen.contains(&bare) {
                seen.push(bare);
                nearest.push(model);
            }
            if nearest.len() >= n {
                break;
            }
        }
        nearest
    }
}

/// The place of a model in its own catalog.
fn model_place(catalog: &Catalog, model: &Model) -> usize {
    catalog.models.partition_point(|other| (&*other.provider, &*other.id) < (&*model.provider, &*model.id))
}

fn item_at(catalog: &Catalog, document: u32) -> Option<Item<'_>> {
    let place = document as usize;
    match catalog.models.get(place) {
        Some(model) => Some(Item::Model(model)),
        None => catalog.providers.get(place - catalog.models.len()).map(Item::Provider),
    }
}

/// What is known before the question: what can be bought at once, and from whom.
fn prior(catalog: &Catalog, item: &Item<'_>, ready: &dyn Fn(&str) -> bool) -> f32 {
    let ((reseller, retired, place), _, _) = rank(catalog, item);
    let (first_party, provider) = match item {
        Item::Model(model) => (!reseller, &*model.provider),
        Item::Provider(provider) => (provider.first_party, &*provider.id),
    };
    let ends = match item {
        Item::Model(model) => model.deprecation.as_deref(),
        Item::Provider(_) => None,
    };
    let ended = retired || ends.is_some_and(|day| day <= catalog.date());
    let mut prior = 1.0 + WELL_KNOWN * (PLACES - place.min(PLACES)) as f32 / PLACES as f32;
    for (holds, factor) in [(first_party, FIRST_PARTY), (ended, RETIRED), (ends.is_some(), ENDING), (ready(provider), READY)] {
        if holds {
            prior *= factor;
        }
    }
    prior
}

/// The place of every document when nothing is asked.
pub(super) fn order(catalog: &Catalog) -> Vec<u32> {
    let count = u32::try_from(catalog.models.len() + catalog.providers.len()).unwrap_or(u32::MAX);
    let mut ranked: Vec<u32> = (0..count).collect();
    ranked.sort_by_cached_key(|document| item_at(catalog, *document).map(|item| rank(catalog, &item)));
    let mut order = vec![0; ranked.len()];
    for (place, document) in (0..).zip(ranked) {
        if let Some(known) = order.get_mut(document as usize) {
            *known = place;
        }
    }
    order
}

/// Decides between equal scores.
fn rank<'a>(catalog: &Catalog, item: &Item<'a>) -> ((bool, bool, usize), usize, &'a str) {
    match *item {
        Item::Model(model) => (catalog.seller_rank(model), model.id.len(), &model.id),
        Item::Provider(provider) => {
            let place = catalog.provider_places.get(&provider.id).copied().unwrap_or(usize::MAX);
            ((!provider.first_party, false, place), 0, &provider.id)
        }
    }
}

/// Everything a provider sells, live before retired.
fn listing<'c>(catalog: &'c Catalog, id: &str, wanted: &dyn Fn(&Item<'_>) -> bool) -> Vec<Hit<'c>> {
    let provider = catalog.provider(id).map(Item::Provider);
    let mut models: Vec<&Model> = catalog.models.iter().filter(|model| *model.provider == *id).collect();
    models.sort_by_key(|model| model.retired);
    let all = provider.into_iter().chain(models.into_iter().map(Item::Model));
    all.filter(|item| wanted(item)).map(|item| Hit { item, score: 1.0, others: Vec::new() }).collect()
}
