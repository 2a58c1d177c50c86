//! What a question is about. Whoever looks for something that is not sold here uses words that nothing in the catalog is called by: those
//! must not be taken for names, and the answer must be able to name them.

use super::{
    super::{
        Catalog,
        everyday::is_everyday,
        index::Index,
        synonyms::{self, Sense},
        text,
    },
    intent::seller,
};

/// An everyday word in the names of no more documents than this is rather part of a task than a name.
const RARE: usize = 20;

/// Words that only lead to the next one.
const LEADING: [&str; 16] = ["a", "an", "the", "for", "of", "to", "in", "on", "with", "by", "from", "at", "via", "about", "my", "some"];

/// A question as far as the catalog knows its words.
#[derive(Debug)]
pub(super) struct Topic {
    /// The question without the words that nothing is called by.
    pub(super) known: String,
    /// The words that nothing is called by.
    pub(super) unknown: Vec<Box<str>>,
    /// Whether what is left asks for something that is sold here.
    pub(super) is_sold: bool,
}

/// What one word may be beside a purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    /// Nothing is called so.
    Unknown,
    /// An everyday word that is part of a few names.
    Rare,
    /// An everyday word or a number that is part of many names.
    Common,
    /// Nobody uses it but for a name.
    Sure,
}

impl Topic {
    pub(super) fn read(catalog: &Catalog, index: &Index, question: &str) -> Self {
        let lower = index.mended(catalog, &question.to_lowercase());
        let plain: Vec<&str> = text::plain(&lower).collect();
        let mut names = vec![Name::Common; plain.len()];
        let (mut is_sure, mut is_task, mut makes, mut medium, mut is_sellers) = (false, false, false, false, false);
        let mut at = 0;
        while at < plain.len() {
            let rest = &plain[at..];
            let mut count = 1;
            let mut sells_next = false;
            if let Some((covered, sense)) = synonyms::longest(rest) {
                count = covered;
                is_sure |= synonyms::is_sure(&rest[..covered], sense, is_everyday);
                is_task |= sense == Sense::Chat;
                makes |= synonyms::MAKING.contains(&rest[0]) || sense == Sense::Reads;
                medium |= matches!(sense, Sense::For(_) | Sense::Medium(..));
                sells_next = sense == Sense::Seller;
            } else if let Some((covered, _)) = seller(catalog, rest) {
                count = covered;
                // "Together" and "fireworks" sell models, but not to everybody who writes so.
                is_sure |= is_sellers || !rest[..covered].iter().all(|word| is_everyday(word));
            } else if synonyms::MAKING.contains(&rest[0]) {
                makes = true;
            } else if !synonyms::is_ignored(rest[0]) && synonyms::meaning(rest[0]).is_none() {
                names[at] = index.name(rest[0]);
                is_sure |= names[at] == Name::Sure;
            }
            is_sellers = sells_next;
            at += count;
        }
        if (is_task || names.contains(&Name::Sure)) && names.contains(&Name::Unknown) {
            // "Summarize legal contracts" names no model, although one is called after law.
            names.iter_mut().filter(|name| **name == Name::Rare).for_each(|name| *name = Name::Unknown);
        }
        let unknown: Vec<Box<str>> =
            plain.iter().zip(&names).filter(|(_, name)| **name == Name::Unknown).map(|(word, _)| (*word).into()).collect();
        let is_sold = unknown.is_empty() || is_sure || (makes && medium);
        // What leads to a word that is left out is left out with it, as "on" is in "gpt-4o on mars".
        let leads = |place: usize| {
            let led = names[place..].iter().zip(&plain[place..]).find(|(_, word)| !LEADING.contains(word));
            LEADING.contains(&plain[place]) && led.is_some_and(|(name, _)| *name == Name::Unknown)
        };
        let known = text::without(&lower, |place| names[place] == Name::Unknown || leads(place)).trim().to_owned();
        Self { known: if unknown.is_empty() { lower } else { known }, unknown, is_sold }
    }
}

impl Index {
    /// What a word of a question can be.
    fn name(&self, word: &str) -> Name {
        let mut name = Name::Common;
        text::pieces(word, |piece| {
            if piece.starts_with(|char: char| char.is_ascii_digit()) {
                return;
            }
            let documents = |(term, _): &(u32, f32)| self.postings.get(*term as usize).map_or(0, Vec::len);
            name = match self.words.terms_of(piece).iter().map(documents).max() {
                _ if name == Name::Unknown => Name::Unknown,
                None => Name::Unknown,
                Some(_) if piece.len() > 1 && !is_everyday(piece) => Name::Sure,
                Some(count) if count <= RARE && name != Name::Sure => Name::Rare,
                Some(_) => name,
            };
        });
        name
    }

    /// A question whose mistyped names with a number in them are as they should be. In "gtp-4o" no word by itself is near another.
    fn mended(&self, catalog: &Catalog, lower: &str) -> String {
        let mut mended = String::with_capacity(lower.len());
        for part in lower.split_inclusive(char::is_whitespace) {
            let token = part.trim_end();
            let mut is_odd = false;
            text::pieces(token, |piece| {
                let is_word = piece.len() > 1 && !piece.starts_with(|char: char| char.is_ascii_digit());
                is_odd |= is_word && !is_everyday(piece) && !self.words.has(piece);
            });
            let is_name = is_odd && token.contains(|char: char| char.is_ascii_digit());
            let meant = if is_name { self.slip(catalog, &text::squeezed(token)) } else { None };
            mended.push_str(meant.unwrap_or(token));
            mended.push_str(&part[token.len()..]);
        }
        mended
    }

    /// The name of a model that a word without blanks is a slip of.
    fn slip<'c>(&self, catalog: &'c Catalog, word: &str) -> Option<&'c str> {
        let first = word.chars().next()?;
        let most = 1 + word.len() / 9;
        let alike = self.names.iter().filter(|(name, _)| name.starts_with(first));
        let near = alike.filter_map(|(name, document)| {
            let changes = text::changes(word, name, most)?;
            Some((changes, self.order.get(*document as usize)?, name, document))
        });
        let (_, _, squeezed, document) = near.min()?;
        let names = catalog.models.get(*document as usize)?.names().flat_map(|name| [name, text::bare(name)]);
        names.into_iter().find(|name| text::squeezed(name) == **squeezed)
    }
}
