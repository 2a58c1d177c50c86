//! The words and names of everything in a catalog, gathered once at the first search. What is stored are small numbers, so the index of
//! five thousand models takes a few megabytes and twenty milliseconds.

#![expect(clippy::float_arithmetic, reason = "weights order the answers; no money is computed here")]

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::{
    Catalog, Mode, Model, Prices, Unit, find,
    synonyms::{CODE, EDITION, OPEN, SMALL, SPECIAL},
    text,
    vocabulary::Vocabulary,
};

/// How much a long text is held against it, as in BM25.
const LENGTH_PENALTY: f32 = 0.5;

/// The words of everything in a catalog. Documents are the models in their order, then the providers.
pub(super) struct Index {
    pub(super) words: Vocabulary,
    /// For each term, the documents that have it, with their weight.
    pub(super) postings: Vec<Vec<(u32, f32)>>,
    /// Squeezed names, sorted, each with its document.
    pub(super) names: Vec<(Box<str>, u32)>,
    /// The group of each document: models of one name share it.
    pub(super) groups: Vec<u32>,
    pub(super) documents: usize,
    /// The place of each document among all when nothing is asked: what decides between equal scores.
    pub(super) order: Vec<u32>,
    /// What is known of each model before any question.
    pub(super) traits: Vec<Traits>,
    /// The first words of what labs call their own models, as in `gpt`.
    pub(super) lines: HashSet<Box<str>>,
}

/// What is known of a model before any question, each between 0 and 1.
#[derive(Debug)]
pub(super) struct Traits {
    /// Its place between the dearest and the cheapest of its kind, by orders of magnitude; `None` when it has no price.
    pub(super) cheapness: Option<f32>,
    /// Its version beside the newest of its line.
    pub(super) recency: f32,
    pub(super) small: f32,
    pub(super) free: bool,
    pub(super) open: bool,
    pub(super) code: bool,
    /// Sold by the lab that made it.
    pub(super) lab: bool,
    /// How well known the provider is.
    pub(super) standing: f32,
    /// Models that differ in version, date or edition only.
    pub(super) family: u32,
    /// The special purposes in its name, as bits of [`SPECIAL`].
    special: u64,
    pub(super) dated: bool,
    /// Words in its name that say neither its line nor its size.
    extra: u8,
}

/// Gathers the words of one document.
struct Gather {
    words: Vocabulary,
    postings: Vec<Vec<(u32, f32)>>,
    /// Words of the document at hand and their weights.
    own: Vec<(u32, f32)>,
    length: f32,
    lengths: Vec<f32>,
}

impl Gather {
    /// What the document is called.
    fn call(&mut self, text: &str, weight: f32) {
        self.add(text, weight, false);
    }

    /// What the document does.
    fn describe(&mut self, text: &str, weight: f32) {
        self.add(text, weight, true);
    }

    fn add(&mut self, text: &str, weight: f32, describes: bool) {
        text::pieces(text, |word| {
            let term = self.words.add(word, describes);
            if self.postings.len() <= term as usize {
                self.postings.push(Vec::new());
            }
            self.length += 1.0;
            match self.own.iter_mut().find(|(known, _)| *known == term) {
                Some((_, sum)) => *sum += weight,
                None => self.own.push((term, weight)),
            }
        });
    }

    fn finish(&mut self) {
        let document = u32::try_from(self.lengths.len()).unwrap_or(u32::MAX);
        for (term, weight) in self.own.drain(..) {
            if let Some(postings) = self.postings.get_mut(term as usize) {
                postings.push((document, weight));
            }
        }
        self.lengths.push(std::mem::take(&mut self.length));
    }
}

impl Index {
    pub(super) fn new(catalog: &Catalog) -> Self {
        let mut gather = Gather {
            words: Vocabulary::with_capacity(8_192),
            postings: Vec::with_capacity(8_192),
            own: Vec::with_capacity(64),
            length: 0.0,
            lengths: Vec::with_capacity(catalog.models.len() + catalog.providers.len()),
        };
        let mut names: Vec<(Box<str>, u32)> = Vec::with_capacity(catalog.models.len() * 2);
        let mut group_of: HashMap<Box<str>, u32> = HashMap::with_capacity(catalog.models.len());
        let mut groups = Vec::with_capacity(catalog.models.len() + catalog.providers.len());
        let mut sold: HashMap<&str, Vec<Mode>> = HashMap::new();
        for (document, model) in (0_u32..).zip(&catalog.models) {
            gather.call(&model.id, 3.0);
            model.aliases.iter().for_each(|alias| gather.call(alias, 1.0));
            gather.call(&model.provider, 2.0);
            gather.describe(mode_words(model.mode), 1.2);
            model.capabilities.iter().for_each(|one| gather.describe(one.as_str(), 1.0));
            if model.prices().is_some_and(|prices| *prices == Prices::free()) {
                gather.describe("free", 1.0);
            }
            gather.finish();
            let bare = text::squeezed(text::bare(&model.id));
            let next = u32::try_from(group_of.len()).unwrap_or(u32::MAX);
            groups.push(*group_of.entry(bare.as_str().into()).or_insert(next));
            for name in model.names() {
                let whole = text::squeezed(name);
                let short = text::squeezed(text::bare(name));
                if short != whole {
                    names.push((short.into(), document));
                }
                names.push((whole.into(), document));
            }
            let modes = sold.entry(&model.provider).or_default();
            if !modes.contains(&model.mode) {
                modes.push(model.mode);
            }
        }
        let models = u32::try_from(catalog.models.len()).unwrap_or(u32::MAX);
        for (place, provider) in (0_u32..).zip(&catalog.providers) {
            gather.call(&provider.id, 3.0);
            gather.call(&provider.name, 3.0);
            provider.aliases.iter().for_each(|alias| gather.call(alias, 1.0));
            gather.call(provider.host(), 0.5);
            for mode in sold.get(&*provider.id).into_iter().flatten() {
                gather.describe(mode_words(*mode), 0.6);
            }
            gather.finish();
            groups.push(u32::MAX - place);
            for name in [&provider.id, &provider.name].into_iter().chain(&provider.aliases) {
                names.push((text::squeezed(name).into(), models + place));
            }
        }
        names.sort_unstable();
        names.dedup();
        let Gather { words, mut postings, lengths, .. } = gather;
        let average = lengths.iter().sum::<f32>() / lengths.len().max(1) as f32;
        for (document, weight) in postings.iter_mut().flatten() {
            let length = lengths.get(*document as usize).copied().unwrap_or(average);
            *weight /= 1.0 - LENGTH_PENALTY + LENGTH_PENALTY * length / average;
        }
        let (traits, lines) = Traits::all(catalog);
        Self { words, postings, names, groups, documents: lengths.len(), order: find::order(catalog), traits, lines }
    }
}

/// What people call the purpose of a model.
const fn mode_words(mode: Mode) -> &'static str {
    match mode {
        Mode::Chat | Mode::Completion | Mode::Responses => "chat text",
        Mode::Embedding => "embedding text",
        Mode::Image => "image generation",
        Mode::ImageEdit => "image edit",
        Mode::Video => "video generation",
        Mode::AudioSpeech => "tts speech audio",
        Mode::AudioTranscription => "stt audio",
        Mode::Realtime => "realtime audio",
        Mode::Rerank => "rerank",
        Mode::Ocr => "ocr document",
        Mode::Moderation => "moderation",
    }
}

impl Traits {
    /// The traits of every model, and the lines of the labs.
    fn all(catalog: &Catalog) -> (Vec<Self>, HashSet<Box<str>>) {
        let names: Vec<String> = catalog.models.iter().map(|model| text::bare(&model.id).to_lowercase()).collect();
        let lines: Vec<&str> = names.iter().map(|name| line(name)).collect();
        let versions: Vec<Option<f32>> = names.iter().map(|name| text::version(name)).collect();
        let mut scales: HashMap<_, Vec<f32>> = HashMap::new();
        let mut newest: HashMap<_, (bool, f32, u32)> = HashMap::new();
        // Some labs sell the models of others as well; the line is whose it has the most of.
        let mut own: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
        for (place, model) in catalog.models.iter().enumerate() {
            if let Some((key, price)) = price(model) {
                scales.entry(key).or_default().push(price);
            }
            if model.retired {
                continue;
            }
            let (reseller, _, _) = catalog.seller_rank(model);
            // Resellers number their own editions, which must not age what the lab sells.
            let known = newest.entry((lines[place], kind(model.mode))).or_insert((true, 0.0, 0));
            let version = versions[place].unwrap_or(0.0);
            known.1 = if reseller == known.0 {
                known.1.max(version)
            } else if reseller {
                known.1
            } else {
                version
            };
            known.0 &= reseller;
            known.2 += 1;
            if !reseller {
                *own.entry(lines[place]).or_default().entry(&model.provider).or_default() += 1;
            }
        }
        let place_of = |provider: &str| catalog.provider_places.get(provider).copied();
        let mut homes: HashMap<&str, &str> = HashMap::new();
        for (line, sellers) in own {
            let most = sellers.into_iter().max_by_key(|(seller, count)| (*count, Reverse(place_of(seller))));
            homes.extend(most.map(|(seller, _)| (line, seller)));
        }
        scales.values_mut().for_each(|prices| prices.sort_by(f32::total_cmp));
        let mut families: HashMap<String, u32> = HashMap::new();
        let mut all = Vec::with_capacity(names.len());
        for (place, model) in catalog.models.iter().enumerate() {
            let (name, line) = (&*names[place], lines[place]);
            let priced = price(model).and_then(|(key, price)| Some((scales.get(&key)?, price)));
            let (_, top, count) = newest.get(&(line, kind(model.mode))).copied().unwrap_or((true, 0.0, 0));
            let has = |list: &[&str]| parts(name).any(|part| list.contains(&part));
            let family: String = parts(name).filter(|part| !EDITION.contains(part)).collect();
            let next = u32::try_from(families.len()).unwrap_or(u32::MAX);
            let size = text::billions(name);
            all.push(Self {
                cheapness: priced.map(|(scale, price)| cheapness(scale, price)),
                recency: match versions[place] {
                    // The newest of two says little about today.
                    Some(version) if top > 0.0 => (version / top).min(if count > 2 { 1.0 } else { 0.8 }),
                    _ if name.contains("latest") => 0.9,
                    _ => 0.75,
                },
                small: if has(&SMALL) { 1.0 } else { size.map_or(0.0, |size| ((40.0 - size) / 26.0).clamp(0.0, 1.0)) },
                free: model.prices().is_some_and(|prices| *prices == Prices::free()) && model.units.is_empty(),
                open: OPEN.iter().any(|open| name.starts_with(open)),
                code: has(&CODE),
                lab: homes.get(line).is_some_and(|home| *model.provider == **home),
                standing: 1.0 - 0.4 * place_of(&model.provider).map_or(1.0, |place| place.min(60) as f32 / 60.0),
                family: *families.entry(family).or_insert(next),
                special: (0_u64..).zip(SPECIAL).filter(|(_, one)| has(&[one])).fold(0, |set, (bit, _)| set | 1 << bit),
                dated: text::is_dated(name),
                extra: u8::try_from(parts(name).skip(1).filter(|part| part.len() > 2 && !SMALL.contains(part)).count()).unwrap_or(9),
            });
        }
        (all, homes.into_keys().map(Box::from).collect())
    }

    /// How likely somebody wants it who named no more than `asked` of its purposes.
    pub(super) fn generality(&self, asked: u64) -> f32 {
        let unasked = if self.special & !asked == 0 { 1.0 } else { 0.45 };
        unasked * if self.dated { 0.8 } else { 1.0 } * (1.0 - 0.03 * f32::from(self.extra.min(9)))
    }
}

/// The first word of a name. What OpenAI sells under other first words is counted with its main line, because it is no newer.
fn line(name: &str) -> &str {
    match parts(name).next().unwrap_or_default() {
        "o" | "chat" | "chatgpt" => "gpt",
        first => first,
    }
}

/// The letters of a name in runs.
fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split(|char: char| !char.is_alphabetic()).filter(|part| !part.is_empty())
}

/// Models that are compared with each other: a chat through another endpoint is still a chat.
const fn kind(mode: Mode) -> Mode {
    match mode {
        Mode::Completion | Mode::Responses => Mode::Chat,
        other => other,
    }
}

/// What it is sold by, and the order of magnitude of its price.
fn price(model: &Model) -> Option<((Mode, &'static str), f32)> {
    let tokens = model.prices().map(|prices| prices.rates.input.picos().saturating_add(prices.rates.output.picos()));
    let (unit, picos) = match tokens.filter(|picos| *picos > 0) {
        Some(picos) => ("token", picos),
        None => {
            // What a chat costs beside its tokens is not the price of the chat.
            let mut units = model.units.iter().filter(|_| kind(model.mode) != Mode::Chat);
            let unit = units.find(|(unit, rate)| *unit != Unit::WebSearch && rate.picos() > 0);
            unit.map(|(unit, rate)| (unit.as_str(), rate.picos())).or(tokens.map(|_| ("token", 1)))?
        }
    };
    Some(((kind(model.mode), unit), (picos as f32).log10()))
}

/// The ends are cut, so that one odd price does not squeeze all the others together.
fn cheapness(scale: &[f32], price: f32) -> f32 {
    let edge = scale.len() / 50;
    match (scale.iter().filter(|price| **price > 0.0).nth(edge / 4), scale.iter().rev().nth(edge)) {
        (Some(low), Some(high)) if high > low => ((high - price) / (high - low)).clamp(0.0, 1.0),
        _ => 0.5,
    }
}
