//! One line of `data/models.jsonl`: a model as one provider sells it. The same model sold by two providers is two lines, because the
//! price, the limits and often the name differ.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use super::prices::{Prices, Rates, Tier};
use crate::domain::money::Rate;

/// What a model is for. Decides which endpoint it is called through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A conversation in, text out.
    Chat,
    /// The older endpoint: plain text in, its continuation out.
    Completion,
    /// Only served through the responses endpoint.
    Responses,
    /// Text in, a vector out.
    Embedding,
    /// Text in, a picture out.
    Image,
    /// A picture in, a changed picture out.
    ImageEdit,
    /// Text in, a video out.
    Video,
    /// Text in, speech out.
    AudioSpeech,
    /// Speech in, text out.
    AudioTranscription,
    /// A two-way stream of audio.
    Realtime,
    /// Orders documents by relevance.
    Rerank,
    /// A scanned page in, text out.
    Ocr,
    /// Judges whether a text is harmful.
    Moderation,
}

impl Mode {
    /// The name used in the data and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Responses => "responses",
            Self::Embedding => "embedding",
            Self::Image => "image",
            Self::ImageEdit => "image_edit",
            Self::Video => "video",
            Self::AudioSpeech => "audio_speech",
            Self::AudioTranscription => "audio_transcription",
            Self::Realtime => "realtime",
            Self::Rerank => "rerank",
            Self::Ocr => "ocr",
            Self::Moderation => "moderation",
        }
    }
}

/// Something a model can do beyond its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Capability {
    /// Calls tools (functions).
    Tools,
    /// Calls several tools at once.
    ParallelTools,
    /// Reads pictures.
    Vision,
    /// Reads PDF files.
    Pdf,
    /// Hears audio.
    AudioIn,
    /// Speaks.
    AudioOut,
    /// Watches video.
    VideoIn,
    /// Thinks before it answers.
    Reasoning,
    /// Answers in a given JSON schema.
    JsonSchema,
    /// Caches the start of a prompt.
    PromptCache,
    /// Searches the web by itself.
    WebSearch,
    /// Operates a computer's screen and keyboard.
    ComputerUse,
}

impl Capability {
    /// All capabilities, in the order they are listed.
    pub const ALL: [Self; 12] = [
        Self::Tools,
        Self::ParallelTools,
        Self::Vision,
        Self::Pdf,
        Self::AudioIn,
        Self::AudioOut,
        Self::VideoIn,
        Self::Reasoning,
        Self::JsonSchema,
        Self::PromptCache,
        Self::WebSearch,
        Self::ComputerUse,
    ];

    /// The name used in the data and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::ParallelTools => "parallel_tools",
            Self::Vision => "vision",
            Self::Pdf => "pdf",
            Self::AudioIn => "audio_in",
            Self::AudioOut => "audio_out",
            Self::VideoIn => "video_in",
            Self::Reasoning => "reasoning",
            Self::JsonSchema => "json_schema",
            Self::PromptCache => "prompt_cache",
            Self::WebSearch => "web_search",
            Self::ComputerUse => "computer_use",
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// Whether the set holds this one.
    pub const fn has(self, one: Capability) -> bool {
        self.0 & (1 << one as u16) != 0
    }

    /// The members, in the order of [`Capability::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |one| self.has(*one))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |set, one| set | (1 << one as u16)))
    }
}

/// What a price is for when it is not for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One input character.
    Character,
    /// One input second.
    SecondIn,
    /// One output second.
    SecondOut,
    /// One picture read.
    ImageIn,
    /// One picture made.
    ImageOut,
    /// One output pixel.
    PixelOut,
    /// One page read.
    Page,
    /// One query, such as a rerank of a batch of documents.
    Query,
    /// One web search the model makes on its own.
    WebSearch,
}

impl Unit {
    /// The unit in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Character => "character",
            Self::SecondIn => "input second",
            Self::SecondOut => "output second",
            Self::ImageIn => "input image",
            Self::ImageOut => "image",
            Self::PixelOut => "pixel",
            Self::Page => "page",
            Self::Query => "query",
            Self::WebSearch => "web search",
        }
    }
}

/// Where an entry comes from; see `data/NOTICE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// LiteLLM's price list.
    #[serde(rename = "litellm")]
    Litellm,
    /// The genai-prices list, for what LiteLLM does not have.
    #[serde(rename = "genai-prices")]
    GenaiPrices,
}

/// A model as one provider sells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The provider's own name for it, as sent in a request.
    pub id: Box<str>,
    /// The id of the provider.
    pub provider: Arc<str>,
    /// What it is for.
    pub mode: Mode,
    /// Other names that mean the same thing at the same price.
    pub aliases: Box<[Box<str>]>,
    /// The most tokens it reads at once.
    pub context: Option<u64>,
    /// The most tokens it writes.
    pub max_output: Option<u64>,
    /// What else it can do.
    pub capabilities: Capabilities,
    /// Prices that are not for tokens. For display only: the gateway does not count these units.
    pub units: Box<[(Unit, Rate)]>,
    /// Two sources disagree about its price.
    pub disputed: bool,
    /// No longer sold, or not known to be.
    pub retired: bool,
    /// The day it stops working, `YYYY-MM-DD`, as announced.
    pub deprecation: Option<Box<str>>,
    /// Where the entry comes from.
    pub source: Source,
    prices: Option<Prices>,
}

impl Model {
    /// The prices of its tokens, or `None` when no call to it can be priced.
    pub const fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// Adds a fee for each request to all its prices; without one it has no price that could be trusted.
    pub(super) fn charge_each_request(&mut self, fee: Option<Rate>) {
        self.prices = self.prices.take().zip(fee).map(|(mut prices, fee)| {
            let tiers = prices.tiers.iter_mut().chain(prices.reserve.iter_mut()).map(|tier| &mut tier.rates);
            for rates in tiers.chain([&mut prices.rates]) {
                rates.request = rates.request.max(Some(fee));
            }
            prices
        });
    }

    /// The id and every alias.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.id).chain(self.aliases.iter().map(|alias| &**alias))
    }
}

/// A line of the file, borrowed from its text.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) provider: Cow<'a, str>,
    mode: Mode,
    #[serde(default)]
    aliases: Box<[Box<str>]>,
    ctx: Option<u64>,
    max_out: Option<u64>,
    #[serde(default)]
    caps: Vec<Capability>,
    rates: Option<Rates>,
    #[serde(default)]
    tiers: Box<[Tier]>,
    #[serde(default)]
    reserve: Box<[Tier]>,
    #[serde(default)]
    units: Box<[(Unit, Rate)]>,
    #[serde(default)]
    disputed: bool,
    #[serde(default)]
    retired: bool,
    deprecation: Option<Box<str>>,
    src: Source,
}

impl Line<'_> {
    /// The model, with the name of its provider shared among all its models.
    pub(super) fn into_model(self, provider: Arc<str>) -> Model {
        let Self { mut tiers, mut reserve, .. } = self;
        tiers.sort_by_key(|tier| tier.above);
        reserve.sort_by_key(|tier| tier.above);
        Model {
            id: self.id.into(),
            provider,
            mode: self.mode,
            aliases: self.aliases,
            context: self.ctx,
            max_output: self.max_out,
            capabilities: self.caps.into_iter().collect(),
            units: self.units,
            disputed: self.disputed,
            retired: self.retired,
            deprecation: self.deprecation,
            source: self.src,
            prices: self.rates.map(|rates| Prices { rates, tiers, reserve }),
        }
    }
}
