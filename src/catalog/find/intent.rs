//! What a question asks for besides a name. An agent writes "cheap fast model with tools": none of these words is in the name of a good
//! answer. Each is read as a demand or a leaning, and only the words that are left are looked up.

#![expect(clippy::float_arithmetic, reason = "scores order the answers; no money is computed here")]

use std::collections::HashMap;

use super::{
    super::{
        Capability, Catalog, Mode, Model,
        index::{Index, Traits},
        synonyms::{
            self, SPECIAL,
            Sense::{self, Best, Can, Chat, Cheap, Code, For, Free, Long, Medium, New, Nothing, Open, Reads, Seller, Small},
            longest,
        },
        text,
    },
    EXACT, Item,
};

/// What a model has that does all that is asked, when the question has no other word.
const ABLE: f32 = 10.0;
/// What each demand that is not met takes.
const UNMET: f32 = 0.5;
/// What each further model of one family is worth to somebody who named none.
const SAME_FAMILY: f32 = 0.75;
/// What falls this far behind the best of very many answers is none.
const FAR_BEHIND: f32 = 0.2;
/// From this share of the way to the cheapest on, a price is low.
const ENOUGH: f32 = 0.66;

/// What a question asks for, and the words that are left of it.
#[derive(Debug, Default)]
pub(super) struct Intent {
    modes: u16,
    abilities: Vec<Capability>,
    code: bool,
    open: bool,
    free: bool,
    thrift: u8,
    small: bool,
    best: bool,
    new: bool,
    context: u64,
    seller: Option<Box<str>>,
    /// Special purposes that the question names, as bits of [`SPECIAL`].
    special: u64,
    /// Asks for a purpose and nothing else: names tell purposes better than any leaning.
    pub(super) plain: bool,
    /// No word is left that could be a name: then what does not fit is no answer.
    pub(super) pure: bool,
    /// What is looked up.
    pub(super) words: String,
}

impl Intent {
    /// Reads a question that is put to one provider or to all; `None` when it asks for nothing but a name.
    pub(super) fn read(catalog: &Catalog, index: &Index, question: &str, provider: Option<&str>) -> Option<Self> {
        let lower = question.to_lowercase();
        let plain: Vec<&str> = text::plain(&lower).collect();
        let mut intent = Self { pure: true, special: special(&plain), ..Self::default() };
        let mut senses = Vec::new();
        let mut wants_chat = false;
        // Each word to look up, and whether it is part of a name or only of an ability.
        let mut left: Vec<(&str, bool)> = Vec::new();
        let mut at = 0;
        while at < plain.len() {
            let rest = &plain[at..];
            let found = longest(rest).or_else(|| synonyms::is_ignored(rest[0]).then_some((1, Nothing)));
            let mut count = found.map_or(1, |(count, _)| count);
            if let Some((_, Seller)) = found {
                if let Some((more, seller)) = seller(catalog, &rest[count..]) {
                    count += more;
                    intent.seller = Some(seller.into());
                }
            } else if let Some((_, Chat)) = found {
                wants_chat = true;
            } else if let Some((_, sense)) = found {
                if sense != Nothing {
                    senses.push(sense);
                }
                // What a thing is for is in its words; how cheap or good it is, is not. "Small" is both.
                if matches!(sense, For(_) | Medium(..) | Code | Small | Can(Capability::WebSearch)) {
                    left.extend(rest[..count].iter().map(|word| (*word, false)));
                }
            } else {
                match seller(catalog, rest).filter(|(_, id)| is_only_a_seller(catalog, index, rest[0], id)) {
                    Some((more, seller)) => {
                        count = more;
                        intent.seller = intent.seller.or(Some(seller.into()));
                    }
                    None => match tokens(rest[0]).filter(|_| plain.iter().any(|word| matches!(*word, "context" | "tokens" | "window"))) {
                        Some(tokens) => senses.push(Long(tokens)),
                        None => left.push((rest[0], true)),
                    },
                }
            }
            at += count;
        }
        let named = left.iter().any(|(_, name)| *name);
        // `openai/gpt-4o` is a name, "openai gpt-4o" is a wish.
        let asks = senses.iter().any(|sense| *sense != Reads)
            || (wants_chat && !named)
            || (intent.seller.is_some() && named && lower.contains(' '));
        if !asks {
            return None;
        }
        if let Some(provider) = provider {
            intent.seller = Some(provider.into());
        }
        intent.pure = !named;
        intent.plain = !senses.is_empty()
            && senses.iter().all(|sense| match sense {
                For(_) | Medium(..) | Code | Reads => true,
                Can(Capability::WebSearch) => intent.pure,
                _ => false,
            });
        let reads = senses.contains(&Reads);
        intent.plain &= !reads || !senses.iter().any(|sense| matches!(sense, Medium(..)));
        senses.iter().for_each(|sense| intent.add(*sense, reads));
        let skip = |word: &str| match longest(&[word]) {
            Some((_, Small)) => intent.pure,
            Some((_, Code)) => intent.best,
            _ => false,
        };
        let words: Vec<&str> = left.iter().map(|(word, _)| *word).filter(|word| !skip(word)).collect();
        intent.words = words.join(" ");
        Some(intent)
    }

    fn add(&mut self, sense: Sense, reads: bool) {
        match sense {
            Can(one) if self.abilities.contains(&one) => {}
            Can(one) => self.abilities.push(one),
            Medium(_, one) if reads => self.add(Can(one), reads),
            For(mode) | Medium(mode, _) => self.modes |= bit(mode),
            Code => self.code = true,
            Open => self.open = true,
            Free => self.free = true,
            Cheap(much) => self.thrift = self.thrift.max(much),
            Small => self.small = true,
            Best => self.best = true,
            New => self.new = true,
            Long(tokens) => self.context = self.context.max(tokens),
            Reads | Seller | Chat | Nothing => {}
        }
        self.special |= match sense {
            Code => special(&["code", "codex", "coder", "codestral", "devstral"]),
            Can(Capability::WebSearch) => special(&["search"]),
            Can(Capability::AudioIn | Capability::AudioOut) => special(&["audio", "omni"]),
            Can(Capability::Vision) => special(&["vision", "vl"]),
            For(_) | Medium(..) => u64::MAX,
            _ => 0,
        };
    }

    /// The cheapest seller of a model is the answer to a question about its price, not the best known one.
    pub(super) const fn is_about_price(&self) -> bool {
        self.thrift > 0 || self.free
    }

    /// How many demands the model does not meet, the graver ones counted more often: a model of another purpose is no answer at all, one
    /// that is not free may be.
    pub(super) fn unmet(&self, model: &Model, traits: &Traits) -> u8 {
        let modes = if self.modes == 0 { bit(Mode::Chat) | bit(Mode::Responses) | bit(Mode::Completion) } else { self.modes };
        let demands = [
            (4, modes & bit(model.mode) != 0),
            (4, !self.is_elsewhere(&model.provider)),
            (1, !self.free || traits.free),
            (1, !self.open || traits.open),
            // The best models are as good at code as any that is named after it.
            (1, !self.code || self.best || traits.code),
            (1, self.context == 0 || model.context.is_some_and(|context| context >= self.context)),
        ];
        let able = self.abilities.iter().map(|one| (2, model.capabilities.has(*one)));
        demands.into_iter().chain(able).filter(|(_, met)| !met).fold(0, |unmet, (weight, _)| unmet + weight)
    }

    /// Whether somebody else sells it than was asked for.
    pub(super) fn is_elsewhere(&self, provider: &str) -> bool {
        self.seller.as_deref().is_some_and(|seller| seller != provider)
    }

    /// How much the model is what the question leans to.
    pub(super) fn liking(&self, model: &Model, traits: &Traits) -> f32 {
        // Who wishes for something wants to buy it.
        let sold = if model.retired { 0.4 } else { 1.0 };
        if self.plain && self.pure {
            return sold * if traits.dated { 0.95 } else { 1.0 };
        }
        if self.plain {
            return traits.generality(self.special) * sold;
        }
        let cheap = traits.cheapness.unwrap_or(0.0);
        let mut liking = traits.generality(self.special) * (0.45 + 0.55 * traits.recency) * traits.standing * sold;
        liking *= if traits.lab { 1.2 } else { 1.0 };
        if self.thrift > 0 || self.free {
            // Below some price everything is cheap, and only who wants the cheapest cares for more.
            let cheap = if self.thrift > 1 { cheap } else { (cheap / ENOUGH).min(1.0) };
            liking *= (0.02 + 0.98 * cheap).powf(0.5 + 1.5 * f32::from(self.thrift));
        }
        if self.small {
            // A low price is what a fast model without a telling name has.
            liking *= 0.1 + traits.small.max(0.6 * cheap);
        }
        if self.best {
            let dear = traits.cheapness.map_or(0.2, |cheap| 1.0 - cheap);
            liking *= (0.2 + dear) * traits.recency * (1.1 - traits.small) * if traits.lab { 1.5 } else { 0.6 };
        }
        if self.new {
            liking *= traits.recency.powi(3);
        }
        if self.context > 0 {
            let doublings = (model.context.unwrap_or(1) as f32 / 32_000.0).log2();
            liking *= (doublings / 6.0).clamp(0.05, 1.2);
        }
        liking
    }
}

impl Index {
    /// Puts the second and third model of a family behind other good answers: whoever names no model wants a choice.
    pub(super) fn vary(&self, hits: &mut [(f32, u32, Item<'_>)]) {
        let mut families: HashMap<u32, (f32, Vec<(u32, f32)>)> = HashMap::new();
        for (score, document, _) in hits {
            let (Some(traits), Some(group)) = (self.traits.get(*document as usize), self.groups.get(*document as usize)) else { continue };
            let (next, known) = families.entry(traits.family).or_insert((1.0, Vec::new()));
            let factor = match known.iter().find(|(other, _)| other == group) {
                Some((_, factor)) => *factor,
                None => {
                    known.push((*group, *next));
                    std::mem::replace(next, *next * SAME_FAMILY)
                }
            };
            *score *= factor;
        }
    }

    /// The scores of everything that has what the question asks for.
    pub(super) fn intended(&self, catalog: &Catalog, question: &str, intent: &Intent) -> Vec<f32> {
        let mut scores = self.word_scores(&intent.words);
        if !intent.pure {
            self.add_names(catalog, &intent.words, &mut scores);
        }
        // A word that nothing is called by is part of the task, as in "cheap model for poems".
        let pure = intent.pure || scores.iter().take(catalog.models.len()).all(|score| *score <= 0.0);
        let models = || catalog.models.iter().zip(&self.traits);
        let unmet: Vec<u8> = models().map(|(model, traits)| intent.unmet(model, traits)).collect();
        // Where nothing meets every demand, what meets the most of them is shown.
        let least = unmet.iter().min().copied().unwrap_or(0);
        for ((score, unmet), (model, traits)) in scores.iter_mut().zip(unmet).zip(models()) {
            *score = match (pure, unmet - least) {
                (true, 0) => (*score + if intent.plain { 0.1 } else { ABLE }) * intent.liking(model, traits),
                (true, _) => 0.0,
                (false, _) if *score <= 0.0 || intent.is_elsewhere(&model.provider) => 0.0,
                (false, more) => *score * UNMET.powi(more.into()) * intent.liking(model, traits),
            };
        }
        if pure && !intent.plain {
            let least = FAR_BEHIND * scores.iter().take(catalog.models.len()).copied().fold(0.0, f32::max);
            scores.iter_mut().filter(|score| **score < least).for_each(|score| *score = 0.0);
        }
        for (score, provider) in scores.iter_mut().skip(catalog.models.len()).zip(&catalog.providers) {
            *score *= if pure || intent.is_elsewhere(&provider.id) { 0.0 } else { UNMET };
        }
        let mut named = vec![0.0; scores.len()];
        self.add_names(catalog, question, &mut named);
        // "Computer use" begins the name of one model and is said of many.
        for ((score, named), place) in scores.iter_mut().zip(named).zip(0..) {
            let elsewhere = catalog.models.get(place).is_some_and(|model| intent.is_elsewhere(&model.provider));
            let chance = elsewhere || (intent.pure && !intent.plain);
            *score += if chance && named < EXACT { 0.0 } else { named };
        }
        scores
    }
}

const fn bit(mode: Mode) -> u16 {
    1 << mode as u16
}

/// The words that name a special purpose.
fn special(words: &[&str]) -> u64 {
    (0_u64..).zip(SPECIAL).filter(|(_, one)| words.contains(one)).fold(0, |set, (place, _)| set | 1 << place)
}

/// The provider named at the start of the words, with how many words name it.
pub(super) fn seller<'c>(catalog: &'c Catalog, words: &[&str]) -> Option<(usize, &'c str)> {
    (1..=words.len().min(3)).rev().find_map(|count| {
        let known = ["-", ""].iter().find_map(|glue| catalog.provider(&words[..count].join(glue)))?;
        Some((count, known.models_of.as_deref().unwrap_or(&known.id)))
    })
}

/// Many a provider is called like its models, or like an everyday word: only a well-known one that has no such model is surely meant.
fn is_only_a_seller(catalog: &Catalog, index: &Index, word: &str, id: &str) -> bool {
    let known = catalog.provider_places.get(id).is_some_and(|place| *place < super::PLACES);
    known && !index.lines.contains(word)
}

/// `128k` or `1m`.
fn tokens(word: &str) -> Option<u64> {
    let (number, unit) = word.split_at_checked(word.len() - 1)?;
    let unit = match unit {
        "k" => 1_000,
        "m" => 1_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
