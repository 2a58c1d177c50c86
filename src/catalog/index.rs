//! The words and names of everything in a catalog, gathered once at the first search. What is stored are small numbers, so the index of
//! five thousand models takes a few megabytes and twenty milliseconds.

#![expect(clippy::float_arithmetic, reason = "weights order the answers; no money is computed here")]

use std::collections::HashMap;

use super::{Catalog, Mode, Model, Prices, text};

/// How much a long text is held against it, as in BM25.
const LENGTH_PENALTY: f32 = 0.5;

/// The words of everything in a catalog. Documents are the models in their order, then the providers.
pub(super) struct Index {
    pub(super) terms: HashMap<Box<str>, u32>,
    /// For each term, the documents that have it, with their weight.
    pub(super) postings: Vec<Vec<(u32, f32)>>,
    /// Squeezed names, sorted, each with its document.
    pub(super) names: Vec<(Box<str>, u32)>,
    /// The group of each document: models of one name share it.
    pub(super) groups: Vec<u32>,
    pub(super) documents: usize,
    /// What is known of each model before any question.
    pub(super) traits: Vec<Traits>,
    /// The first words of what labs call their own models, as in `gpt`.
    pub(super) lines: HashMap<Box<str>, ()>,
}

/// Gathers the words of one document.
struct Gather {
    terms: HashMap<Box<str>, u32>,
    postings: Vec<Vec<(u32, f32)>>,
    /// Words of the document at hand and their weights.
    own: Vec<(u32, f32)>,
    length: f32,
    lengths: Vec<f32>,
}

impl Gather {
    fn add(&mut self, text: &str, weight: f32) {
        text::words(text, |word| {
            let term = match self.terms.get(word) {
                Some(term) => *term,
                None => {
                    let term = u32::try_from(self.postings.len()).unwrap_or(u32::MAX);
                    self.terms.insert(word.into(), term);
                    self.postings.push(Vec::new());
                    term
                }
            };
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
            terms: HashMap::with_capacity(8_192),
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
            gather.add(&model.id, 3.0);
            model.aliases.iter().for_each(|alias| gather.add(alias, 1.0));
            gather.add(&model.provider, 2.0);
            gather.add(mode_words(model.mode), 1.2);
            model.capabilities.iter().for_each(|one| gather.add(one.as_str(), 1.0));
            if model.prices().is_some_and(|prices| *prices == Prices::free()) {
                gather.add("free", 1.0);
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
            gather.add(&provider.id, 3.0);
            gather.add(&provider.name, 3.0);
            provider.aliases.iter().for_each(|alias| gather.add(alias, 1.0));
            gather.add(provider.host(), 0.5);
            for mode in sold.get(&*provider.id).into_iter().flatten() {
                gather.add(mode_words(*mode), 0.6);
            }
            gather.finish();
            groups.push(u32::MAX - place);
            for name in [&provider.id, &provider.name].into_iter().chain(&provider.aliases) {
                names.push((text::squeezed(name).into(), models + place));
            }
        }
        names.sort_unstable();
        names.dedup();
        let Gather { terms, mut postings, lengths, .. } = gather;
        let average = lengths.iter().sum::<f32>() / lengths.len().max(1) as f32;
        for (document, weight) in postings.iter_mut().flatten() {
            let length = lengths.get(*document as usize).copied().unwrap_or(average);
            *weight /= 1.0 - LENGTH_PENALTY + LENGTH_PENALTY * length / average;
        }
        let (traits, lines) = traits::all(catalog);
        Self { terms, postings, names, groups, documents: lengths.len(), traits, lines }
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
