//! How many tokens a request can have as input: what the model reads of it, and how much each part can come to.
//!
//! Byte-level tokenizers never make more tokens than bytes. What people and models say is given to the model as the text that it is, decoded; what is JSON by its nature
//! (tools, arguments, results, schemas) in a form that is seldom published, so its longest rendering counts (`translate::rendering`).

use serde_json::value::RawValue;

use super::{
    BadRequest, RawObject,
    members::{Members, look_alike},
    rendering::{STYLES, decoded, longest, render},
};

/// Tokens that the chat template adds around the whole request, the instructions for using tools included, as long as nothing is known of it.
pub const TEMPLATE_TOKENS: u64 = 1_024;
/// Tokens that it adds around one message, one part of a message, or one tool.
const TOKENS_PER_PIECE: u64 = 16;
/// Most tokens one image may cost. The most expensive rule known is that of gpt-4o-mini in high detail: 2,833 tokens and 5,667 for each of at most eight tiles.
const TOKENS_PER_IMAGE: u64 = 50_000;
/// Texts above this size are not counted: it takes longer than it is worth.
const COUNT_BYTES_MAX: u64 = 1 << 20;

/// What is in a request that changes its chat template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// Tools, or functions; a list without any explains none.
    pub tools: bool,
    /// A form that the answer must have: some providers explain it to the model.
    pub form: bool,
    /// Instructions apart from the conversation.
    pub system: bool,
    /// Images or sound.
    pub media: bool,
    /// A field that sets the template itself, or one that is not known: what such a request costs says nothing about another one.
    pub is_special: bool,
}

/// Bounds of a request's input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bound {
    /// Of all text, in its longest rendering.
    bytes: u64,
    /// Messages, parts and tools.
    pieces: u64,
    images: u64,
    /// Tokens that the provider is known to add by itself.
    added: u64,
    /// Whether something is in there whose tokens its bytes do not bound: a file by reference, a document, a kind that is not known.
    is_unbounded: bool,
    /// What decides about the template.
    pub features: Features,
}

impl Bound {
    /// Most tokens without the template. `None` when nothing bounds them but the context window, and that is not known.
    pub fn tokens(&self, context_window: Option<u64>) -> Option<u64> {
        let bound = self.bytes.saturating_add(self.around()).saturating_add(self.images.saturating_mul(TOKENS_PER_IMAGE));
        if self.is_unbounded { context_window.map(|window| window.max(bound)) } else { Some(bound) }
    }

    fn around(&self) -> u64 {
        self.added.saturating_add(self.pieces.saturating_mul(TOKENS_PER_PIECE))
    }
}

/// Where what a model reads goes: only into its length, or into a count of its tokens.
pub(super) trait Reader {
    /// A text that the model reads as it is.
    fn text(&mut self, text: &str);
    /// A JSON value, which it reads in a form that is not known.
    fn json(&mut self, json: &str);
}

/// Counts bytes.
#[derive(Default)]
struct Bytes(u64);

impl Reader for Bytes {
    fn text(&mut self, text: &str) {
        self.0 = self.0.saturating_add(text.len() as u64);
    }

    fn json(&mut self, json: &str) {
        self.0 = self.0.saturating_add(longest(json));
    }
}

/// Counts tokens, of each JSON value in the rendering that has most of them.
struct Tokens<F> {
    count: F,
    sum: u64,
}

impl<F: Fn(&str) -> u64> Reader for Tokens<F> {
    fn text(&mut self, text: &str) {
        self.sum = self.sum.saturating_add((self.count)(text));
    }

    fn json(&mut self, json: &str) {
        let sent = if json.starts_with('"') { (self.count)(&decoded(json)) } else { 0 };
        let rendered = STYLES.iter().map(|style| (self.count)(&render(json, *style)));
        let most = rendered.fold(sent.max((self.count)(json)), u64::max);
        self.sum = self.sum.saturating_add(most);
    }
}

/// A request body of one dialect, which knows what of it the model reads.
pub(super) trait Readable {
    /// Hands the reader all that the model reads, and notes what is not text.
    fn read<R: Reader>(body: &RawObject, walk: &mut Walk<'_, R>) -> Result<(), BadRequest>;
}

/// Measures a body.
pub(super) fn measure<D: Readable>(body: &RawObject) -> Result<Bound, BadRequest> {
    let mut bytes = Bytes::default();
    let mut walk = Walk { reader: &mut bytes, bound: Bound::default() };
    D::read(body, &mut walk)?;
    let bound = walk.bound;
    Ok(Bound { bytes: bytes.0, ..bound })
}

/// Counts a body's tokens without the template, where it is nothing but text and not too long.
pub(super) fn count<D: Readable>(body: &RawObject, bound: &Bound, count: impl Fn(&str) -> u64) -> Option<u64> {
    if bound.is_unbounded || bound.images > 0 || bound.bytes > COUNT_BYTES_MAX {
        return None;
    }
    let mut tokens = Tokens { count, sum: 0 };
    D::read(body, &mut Walk { reader: &mut tokens, bound: Bound::default() }).ok()?;
    Some(tokens.sum.saturating_add(bound.around()))
}

/// A reader on its way through a body, and what it has met.
pub(super) struct Walk<'r, R> {
    reader: &'r mut R,
    bound: Bound,
}

impl<R: Reader> Walk<'_, R> {
    /// A value that may be a text, else is JSON.
    pub(super) fn text_or_json(&mut self, raw: &RawValue) {
        if raw.get().starts_with('"') { self.reader.text(&decoded(raw.get())) } else { self.json(raw) }
    }

    pub(super) fn json(&mut self, raw: &RawValue) {
        if raw.get() != "null" {
            self.reader.json(raw.get());
        }
    }

    /// A member of an object that nobody knows: its name may be read as well.
    pub(super) fn member(&mut self, name: &str, raw: &RawValue) {
        self.reader.text(name);
        self.json(raw);
    }

    /// A message, a part of one, or a tool.
    pub(super) const fn piece(&mut self) {
        self.bound.pieces += 1;
    }

    pub(super) const fn image(&mut self) {
        self.bound.images += 1;
        self.bound.features.media = true;
    }

    /// Tokens that the provider adds by itself.
    pub(super) const fn added(&mut self, tokens: u64) {
        self.bound.added += tokens;
    }

    pub(super) const fn unbounded(&mut self) {
        self.bound.is_unbounded = true;
    }

    pub(super) const fn features(&mut self) -> &mut Features {
        &mut self.bound.features
    }

    /// A list of tools; each is written out for the model. What kind of tool one is must not be said in a name that readers confuse.
    pub(super) fn tools(&mut self, raw: &RawValue) -> Result<(), BadRequest> {
        if raw.get() == "null" {
            return Ok(());
        }
        self.json(raw);
        let Ok(tools) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
            self.unbounded();
            return Ok(());
        };
        for members in tools.iter().filter_map(|tool| serde_json::from_str::<Members<'_>>(tool.get()).ok()) {
            if let Some((name, meant)) = members.iter().find_map(|(name, _)| Some((name, look_alike(name, || ["type"].into_iter())?))) {
                return Err(BadRequest::look_alike(name, meant));
            }
        }
        self.bound.features.tools |= !tools.is_empty();
        self.bound.pieces += tools.len() as u64;
        Ok(())
    }

    /// Which tools may be used. Where it is none, a template may leave all of them out.
    pub(super) fn tool_choice(&mut self, raw: &RawValue) {
        self.json(raw);
        self.bound.features.is_special |= decoded(raw.get()).contains("none");
    }

    /// The members of an object, if it is one and no reader can take one name for another.
    pub(super) fn members<'a>(&mut self, raw: &'a RawValue, known: &[&'static str]) -> Result<Option<Members<'a>>, BadRequest> {
        if !raw.get().starts_with('{') {
            self.unbounded();
            return Ok(None);
        }
        // It is valid JSON; what can be wrong with it is a name that is there twice.
        let members = serde_json::from_str::<Members<'a>>(raw.get()).map_err(|error| BadRequest::Member(error.to_string()))?;
        let confused = members.iter().find_map(|(name, _)| Some(BadRequest::look_alike(name, look_alike(name, || known.iter().copied())?)));
        confused.map_or(Ok(Some(members)), Err)
    }
}
