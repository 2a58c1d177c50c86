//! What a question asks for besides a name. An agent writes "cheap fast model with tools": none of these words is in the name of a good
//! answer. Each is read as a demand or a leaning, and only the words that are left are looked up.

#![expect(clippy::float_arithmetic, reason = "scores order the answers; no money is computed here")]

use super::super::{
    Capability, Catalog, Mode, Model,
    index::{Index, SPECIAL, Traits},
    synonyms,
};

/// What a word or phrase means when it is not a name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sense {
    /// The model must be able to do this.
    Can(Capability),
    /// The model must be for this.
    For(Mode),
    /// A picture, film or sound: read or made, which the rest of the question decides.
    Medium(Mode, Capability),
    /// Whatever medium is named, it is read, not made.
    Reads,
    Code,
    Open,
    Free,
    /// A low price, the more the higher the number.
    Cheap(u8),
    Small,
    Best,
    New,
    /// At least this many tokens of context.
    Long(u64),
    /// What comes next is who sells it.
    Seller,
    Nothing,
}

use Capability as C;
use Mode as M;
use Sense::{Best, Can, Cheap, Code, For, Free, Long, Medium, New, Nothing, Open, Reads, Seller, Small};

const PICTURE: Sense = Medium(M::Image, C::Vision);
const FILM: Sense = Medium(M::Video, C::VideoIn);
/// A context that is long by what is sold today.
const LONG: u64 = 400_000;

/// The longest phrase that fits is taken first, so an ability may be named in several words.
#[rustfmt::skip]
const SENSES: &[(Sense, &[&str])] = &[
    (Can(C::Tools), &["tools", "tool", "tool use", "tool calls", "tool calling", "tool support", "function calling", "function calls", "function call", "functions", "agent", "agents", "agentic"]),
    (Can(C::ParallelTools), &["parallel tools", "parallel tool calls", "parallel tool calling", "parallel function calling"]),
    (Can(C::Vision), &["vision", "visual", "multimodal", "image input", "image understanding", "image recognition", "image to text", "screenshots", "screenshot", "vlm"]),
    (Can(C::Pdf), &["pdf", "pdfs", "read pdf", "pdf input", "pdf files"]),
    (Can(C::AudioIn), &["audio", "audio input", "audio understanding", "hears", "hear", "listen", "listens"]),
    (Can(C::AudioOut), &["audio output", "speaks"]),
    (Can(C::VideoIn), &["video input", "video understanding", "watch video", "watch videos"]),
    (Can(C::Reasoning), &["reasoning", "reason", "thinking", "thinks", "think", "chain of thought", "math", "maths", "logic"]),
    (Can(C::JsonSchema), &["json", "json mode", "json schema", "json output", "structured output", "structured outputs", "structured data", "schema"]),
    (Can(C::PromptCache), &["caching", "cache", "prompt caching", "prompt cache", "cached input", "context caching"]),
    (Can(C::WebSearch), &["web search", "search the web", "searches the web", "web browsing", "browse the web", "internet access", "online search", "search grounding"]),
    (Can(C::ComputerUse), &["computer use", "computer control", "browser use"]),
    (For(M::Embedding), &["embedding", "embeddings", "embed", "vectors", "vector", "semantic search", "text embedding"]),
    (For(M::Rerank), &["rerank", "reranker", "reranking", "ranking"]),
    (For(M::AudioTranscription), &["speech to text", "speech recognition", "transcription", "transcriptions", "transcribe", "transcribing", "stt", "asr", "audio transcription", "transcribe audio", "dictation", "subtitles"]),
    (For(M::AudioSpeech), &["text to speech", "tts", "speech synthesis", "voice synthesis", "speech", "speech generation", "voice generation", "read aloud", "aloud", "voice over", "narration"]),
    (For(M::Image), &["image generation", "image generator", "text to image", "picture generation", "draw", "drawing", "illustration", "image creation"]),
    (For(M::ImageEdit), &["image edit", "image editing", "edit images", "edit image", "edit photos", "inpainting"]),
    (For(M::Video), &["video generation", "text to video", "video generator", "movie", "clip", "animation"]),
    (For(M::Realtime), &["realtime", "real time", "live audio", "realtime audio", "realtime voice", "voice agent", "phone call"]),
    (For(M::Ocr), &["ocr", "scan", "scanned", "scans", "document parsing", "scanned documents", "scanned pdf"]),
    (For(M::Moderation), &["moderation", "content filter", "content moderation", "toxicity"]),
    (PICTURE, &["image", "images", "picture", "pictures", "photo", "photos"]),
    (FILM, &["video", "videos"]),
    (Reads, &["read", "reads", "reading", "see", "sees", "understand", "understands", "understanding", "analyze", "analyse", "analysis", "describe", "describes", "look", "watch", "watches", "input", "inputs", "caption", "accepts"]),
    (Code, &["code", "coding", "coder", "programming", "developer", "write code", "writing code", "software engineering"]),
    (Open, &["open", "open source", "open weight", "open weights", "opensource", "oss", "self hostable"]),
    (Free, &["free", "no cost", "gratis", "zero cost", "free of charge", "for free"]),
    (Cheap(1), &["cheap", "cheaper", "affordable", "low cost", "low price", "inexpensive", "budget", "economical", "cost effective", "good value", "low priced"]),
    (Cheap(3), &["cheapest", "lowest price", "lowest cost", "least expensive", "cheapest possible"]),
    (Small, &["fast", "faster", "fastest", "quick", "quickest", "small", "smaller", "smallest", "mini", "tiny", "lightweight", "light weight", "light", "low latency", "speed", "speedy"]),
    (Best, &["best", "flagship", "smart", "smartest", "strongest", "strong", "powerful", "most powerful", "most capable", "frontier", "top", "sota", "state of the art", "biggest", "largest", "highest quality", "high quality", "intelligent", "most intelligent", "advanced"]),
    (New, &["latest", "newest", "new", "recent", "most recent"]),
    (Long(LONG), &["long context", "large context", "big context", "huge context", "longest context", "largest context", "long context window", "large context window", "big context window", "long documents", "long document"]),
    (Seller, &["on", "from", "via", "at", "by", "through", "hosted on", "hosted by", "served by", "sold by"]),
    (Nothing, &["good", "great", "nice", "decent", "chat", "text", "support", "supports", "supporting", "capable", "language", "something", "one", "it", "also", "but", "what", "who", "does", "do", "has", "have", "having", "input", "output", "ability", "able", "available", "make", "makes", "create", "creates", "generate", "generates", "produce", "option", "very", "really", "most", "files", "documents", "document", "are", "be", "give", "suggest", "recommend", "recommended", "context", "window", "tokens", "general", "purpose", "s", "task", "tasks", "calling"]),
];

/// What a question asks for, and the words that are left of it.
#[derive(Debug, Default)]
pub(in super::super) struct Intent {
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
    /// No word is left that could be a name: then what does not fit is no answer.
    pub(in super::super) pure: bool,
    /// What is looked up.
    pub(in super::super) words: String,
}

impl Intent {
    /// Reads a question; `None` when it asks for nothing but a name.
    pub(in super::super) fn read(catalog: &Catalog, index: &Index, question: &str) -> Option<Self> {
        let lower = question.to_lowercase();
        let plain: Vec<&str> = lower.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let mut intent = Self { pure: true, special: special(&plain), ..Self::default() };
        let mut senses = Vec::new();
        // Each word to look up, and whether it is part of a name or only of an ability.
        let mut left: Vec<(&str, bool)> = Vec::new();
        let mut at = 0;
        while at < plain.len() {
            let rest = &plain[at..];
            let (mut count, sense) = longest(rest).unwrap_or((1, if synonyms::is_ignored(rest[0]) { Nothing } else { Reads }));
            let known = longest(rest).is_some() || sense == Nothing;
            if sense == Seller {
                if let Some((more, seller)) = seller(catalog, &rest[count..]) {
                    count += more;
                    intent.seller = Some(seller.into());
                }
            } else if !known {
                match seller(catalog, rest).filter(|(_, id)| is_only_a_seller(catalog, index, rest[0], id)) {
                    Some((more, seller)) => {
                        count = more;
                        intent.seller = intent.seller.or(Some(seller.into()));
                        left.extend(rest[..more].iter().map(|word| (*word, false)));
                    }
                    None => match tokens(rest[0]).filter(|_| plain.iter().any(|word| matches!(*word, "context" | "tokens" | "window"))) {
                        Some(tokens) => senses.push(Long(tokens)),
                        None => left.push((rest[0], true)),
                    },
                }
            } else if sense != Nothing {
                senses.push(sense);
                // What a thing is for is in its words; how cheap or good it is, is not. "Small" is both.
                if matches!(sense, For(_) | Medium(..) | Code | Small | Can(Capability::WebSearch)) {
                    left.extend(rest[..count].iter().map(|word| (*word, false)));
                }
            }
            at += count;
        }
        let named = left.iter().any(|(_, name)| *name);
        let asks = senses.iter().any(|sense| *sense != Reads) || (intent.seller.is_some() && named && lower.contains(' '));
        if !asks {
            return None;
        }
        intent.pure = !named;
        let reads = senses.contains(&Reads);
        senses.iter().for_each(|sense| intent.add(*sense, reads));
        let skip = |word: &str| intent.pure && matches!(longest(&[word]), Some((_, Small)));
        let words: Vec<&str> = left.iter().map(|(word, _)| *word).filter(|word| !skip(word)).collect();
        intent.words = words.join(" ");
        Some(intent)
    }

    fn add(&mut self, sense: Sense, reads: bool) {
        match sense {
            Can(one) => self.abilities.push(one),
            Medium(_, one) if reads => self.abilities.push(one),
            For(mode) | Medium(mode, _) => self.modes |= bit(mode),
            Code => self.code = true,
            Open => self.open = true,
            Free => self.free = true,
            Cheap(much) => self.thrift = self.thrift.max(much),
            Small => self.small = true,
            Best => self.best = true,
            New => self.new = true,
            Long(tokens) => self.context = self.context.max(tokens),
            Reads | Seller | Nothing => {}
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
    pub(in super::super) const fn is_about_price(&self) -> bool {
        self.thrift > 0 || self.free
    }

    /// How many demands the model does not meet.
    pub(in super::super) fn unmet(&self, model: &Model, traits: &Traits) -> u8 {
        let modes = if self.modes == 0 { bit(M::Chat) | bit(M::Responses) | bit(M::Completion) } else { self.modes };
        let demands = [
            modes & bit(model.mode) != 0,
            !self.free || traits.free,
            !self.open || traits.open,
            !self.code || traits.code,
            self.context == 0 || model.context.is_some_and(|context| context >= self.context),
            self.seller.as_ref().is_none_or(|seller| *model.provider == **seller),
        ];
        let able = self.abilities.iter().map(|one| model.capabilities.has(*one));
        demands.into_iter().chain(able).fold(0, |unmet, met| unmet + u8::from(!met))
    }

    /// Whether somebody else sells it than was asked for.
    pub(in super::super) fn is_elsewhere(&self, provider: &str) -> bool {
        self.seller.as_deref().is_some_and(|seller| seller != provider)
    }

    /// How much the model is what the question leans to.
    pub(in super::super) fn liking(&self, model: &Model, traits: &Traits) -> f32 {
        let cheap = traits.cheapness.unwrap_or(0.0);
        let mut liking = traits.generality(self.special) * (0.45 + 0.55 * traits.recency);
        if self.thrift > 0 {
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

const fn bit(mode: Mode) -> u16 {
    1 << mode as u16
}

/// The words that name a special purpose.
fn special(words: &[&str]) -> u64 {
    (0_u64..).zip(SPECIAL).filter(|(_, one)| words.contains(one)).fold(0, |set, (place, _)| set | 1 << place)
}

/// The sense of the longest phrase at the start of the words.
fn longest(words: &[&str]) -> Option<(usize, Sense)> {
    let mut found: Option<(usize, Sense)> = None;
    for (sense, phrases) in SENSES {
        for phrase in *phrases {
            if !phrase.starts_with(words[0]) {
                continue;
            }
            let mut rest = words.iter();
            let count = phrase.split(' ').count();
            if found.is_none_or(|(most, _)| count > most) && phrase.split(' ').all(|part| rest.next() == Some(&part)) {
                found = Some((count, *sense));
            }
        }
    }
    found
}

/// The provider named at the start of the words, with how many words name it.
fn seller<'c>(catalog: &'c Catalog, words: &[&str]) -> Option<(usize, &'c str)> {
    (1..=words.len().min(3)).rev().find_map(|count| {
        let known = ["-", ""].iter().find_map(|glue| catalog.provider(&words[..count].join(glue)))?;
        Some((count, known.models_of.as_deref().unwrap_or(&known.id)))
    })
}

/// Many a provider is called like its models, or like an everyday word: only a well-known one that has no such model is surely meant.
fn is_only_a_seller(catalog: &Catalog, index: &Index, word: &str, id: &str) -> bool {
    let known = catalog.provider_places.get(id).is_some_and(|place| *place < super::PLACES);
    known && !index.lines.contains_key(word)
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
