//! The words that things in a catalog are called and described by, and what a word of a question means among them.

#![expect(clippy::float_arithmetic, reason = "likeness orders the answers; no money is computed here")]

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::{everyday::is_everyday, synonyms, text};

/// What a synonym is worth beside the word itself.
const SYNONYM: f32 = 0.8;
/// From this likeness on (of 1000), a word is taken for a slip of another.
const LIKENESS_MIN: usize = 700;
/// What one wrong letter takes from the likeness of two words.
const SLIP: usize = 150;
/// How many words one slip may stand for.
const SLIPS_MAX: usize = 4;
/// Most words of a question that are taken for slips. Nobody mistypes more, and each is held against every word there is.
const SLIPPED_WORDS_MAX: usize = 5;

/// What one word of a question may stand for.
pub(super) struct Asked {
    /// Terms, each with how surely it is meant.
    pub(super) terms: Vec<(u32, f32)>,
    /// A number or a single letter: says which of several, and nothing by itself.
    pub(super) is_weak: bool,
}

/// The words of a catalog, each with its term: what is left without its ending.
#[derive(Default)]
pub(super) struct Vocabulary {
    terms: HashMap<Box<str>, u32>,
    /// The words that are written in another way than their term.
    written: HashSet<Box<str>>,
    /// Terms that say what a thing does, in any form of the word.
    described: HashSet<u32>,
}

impl Vocabulary {
    pub(super) fn with_capacity(words: usize) -> Self {
        Self { terms: HashMap::with_capacity(words), ..Self::default() }
    }

    /// The term of a word, which is added where it is new.
    pub(super) fn add(&mut self, word: &str, describes: bool) -> u32 {
        let stem = text::stem(word);
        if stem != word && !self.written.contains(word) {
            self.written.insert(word.into());
        }
        let next = u32::try_from(self.terms.len()).unwrap_or(u32::MAX);
        let term = match self.terms.get(stem) {
            Some(term) => *term,
            None => *self.terms.entry(stem.into()).or_insert(next),
        };
        if describes {
            self.described.insert(term);
        }
        term
    }

    /// The term of a word that something is called or described by.
    fn term(&self, word: &str) -> Option<u32> {
        let stem = text::stem(word);
        let term = *self.terms.get(stem)?;
        // "Palms" is not a form of the name Palm.
        let is_meant = stem == word || self.described.contains(&term) || self.written.contains(word) || !is_everyday(word);
        is_meant.then_some(term)
    }

    /// Whether a word is written somewhere exactly so.
    pub(super) fn has(&self, word: &str) -> bool {
        self.written.contains(word) || (text::stem(word) == word && self.terms.contains_key(word))
    }

    /// What is called by a word as it is written, or by what the word is a slip of.
    pub(super) fn terms_of(&self, word: &str) -> Vec<(u32, f32)> {
        self.term(word).map_or_else(|| self.slips_of(word), |term| vec![(term, 1.0)])
    }

    /// The terms to look for, for each word that was asked.
    pub(super) fn asked(&self, question: &str) -> Vec<Asked> {
        let lower = question.to_lowercase();
        let plain: Vec<&str> = text::plain(&lower).collect();
        let mut asked: Vec<Asked> = Vec::new();
        let mut covered = vec![false; plain.len()];
        for (first, count, others) in synonyms::meanings(&plain) {
            let mut terms = Vec::new();
            text::pieces(others, |word| terms.extend(self.term(word).map(|term| (term, SYNONYM))));
            // A single word keeps its own meaning beside the synonym; the words of a phrase mean something else apart.
            if count == 1 {
                text::pieces(plain.get(first).copied().unwrap_or_default(), |word| terms.extend(self.term(word).map(|term| (term, 1.0))));
            }
            covered.iter_mut().skip(first).take(count).for_each(|word| *word = true);
            if !terms.is_empty() {
                asked.push(Asked { terms, is_weak: false });
            }
        }
        let mut slips = 0..SLIPPED_WORDS_MAX;
        let all_ignored = plain.iter().all(|word| synonyms::is_ignored(word));
        for (word, _) in plain.iter().zip(covered).filter(|(_, covered)| !covered) {
            if synonyms::is_ignored(word) && !all_ignored {
                continue;
            }
            text::pieces(word, |piece| {
                let terms = match self.term(piece) {
                    None if slips.next().is_none() => Vec::new(),
                    _ => self.terms_of(piece),
                };
                let is_weak = piece.chars().nth(1).is_none() || piece.starts_with(|char: char| char.is_ascii_digit());
                asked.push(Asked { terms, is_weak });
            });
        }
        asked
    }

    /// The words that an unknown one is most likely a slip of. A word of everyday English is none.
    fn slips_of(&self, word: &str) -> Vec<(u32, f32)> {
        if word.len() < 3 || is_everyday(word) {
            return Vec::new();
        }
        let stem = text::stem(word);
        let mut found: Vec<(usize, u32)> = self
            .terms
            .iter()
            .filter(|(other, _)| other.len().abs_diff(stem.len()) <= 3 && other.len() > 2 && begins_alike(other, stem))
            .map(|(other, term)| (resemblance(other, stem), *term))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .collect();
        found.sort_unstable_by_key(|(likeness, term)| (Reverse(*likeness), *term));
        found.into_iter().take(SLIPS_MAX).map(|(likeness, term)| (term, likeness as f32 / 1_000.0)).collect()
    }
}

/// Hardly anybody mistypes the first letter, but for its place.
fn begins_alike(one: &str, other: &str) -> bool {
    match (one.as_bytes(), other.as_bytes()) {
        ([a, ..], [b, ..]) if a == b => true,
        ([a, b, ..], [c, d, ..]) => a == d && b == c,
        _ => false,
    }
}

/// How alike two words are by the groups of three letters they share, 0 to 1000.
fn likeness(one: &str, other: &str) -> usize {
    let grams = |word: &str| -> Vec<[u8; 3]> {
        let padded: Vec<u8> = [b' '].into_iter().chain(word.bytes()).chain([b' ']).collect();
        padded.windows(3).map(|gram| [gram[0], gram[1], gram[2]]).collect()
    };
    let (mut left, right) = (grams(one), grams(other));
    let all = left.len() + right.len();
    let mut shared = 0;
    for gram in right {
        if let Some(at) = left.iter().position(|known| *known == gram) {
            left.swap_remove(at);
            shared += 1;
        }
    }
    2_000 * shared / all.max(1)
}

/// How likely one word is a slip of the other, 0 to 1000.
fn resemblance(known: &str, word: &str) -> usize {
    // With another letter, a word of four is another word.
    let is_another = word.len() <= 4 && word.len() == known.len() && !is_swapped(known, word);
    let slips = text::changes(known, word, 1 + word.len() / 9).filter(|_| word.len() > 3 && !is_another);
    slips.map_or(0, |slips| 1_000 - SLIP * slips).max(likeness(known, word))
}

/// Whether two words are made of the same letters.
fn is_swapped(one: &str, other: &str) -> bool {
    let sorted = |word: &str| {
        let mut letters: Vec<u8> = word.bytes().collect();
        letters.sort_unstable();
        letters
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_everyday_word_is_no_slip() {
        let mut words = Vocabulary::default();
        for (word, describes) in [("seed", false), ("palm", false), ("mistral", false), ("embedding", true)] {
            words.add(word, describes);
        }
        for (word, known) in [
            ("seed", true),
            ("send", false),
            ("palms", false),
            ("mistal", true),
            ("embeddings", true),
            ("sms", false),
            ("emistral", false),
            ("imstral", true),
            ("sede", true),
            ("seeb", false),
        ] {
            assert_eq!(!words.terms_of(word).is_empty(), known, "{word}");
        }
    }

    #[test]
    fn likeness_is_in_the_letters() {
        assert!(likeness("mistal", "mistral") > 500);
        assert!(likeness("weather", "mistral") < 200);
    }
}
