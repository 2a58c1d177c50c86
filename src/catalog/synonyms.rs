//! What people call the things the catalog knows by another word. A table of meanings is small, can be read, and does for a list of names
//! what word vectors would do with sixteen megabytes.

use super::{Capability, Mode};
use Capability as C;
use Mode as M;
use Sense::{Best, Can, Chat, Cheap, Code, For, Free, Long, Medium, New, Nothing, Open, Reads, Seller, Small};

/// Phrases, and the words to look for as well. The longest phrase that fits is taken first.
#[rustfmt::skip]
const TABLE: &[(&str, &str)] = &[
    ("text to speech", "tts"),
    ("speech synthesis", "tts"),
    ("voice synthesis", "tts"),
    ("voice generation", "tts"),
    ("voice over", "tts"),
    ("read aloud", "tts"),
    ("aloud", "tts"),
    ("speak", "tts"),
    ("voice", "tts realtime audio"),
    ("speech to text", "stt transcribe"),
    ("speech recognition", "stt transcribe"),
    ("transcribe", "stt"),
    ("transcribing", "stt"),
    ("transcription", "stt transcribe"),
    ("transcript", "stt"),
    ("dictation", "stt"),
    ("subtitle", "stt"),
    ("subtitles", "stt"),
    ("captions", "stt"),
    ("asr", "stt"),
    ("text to image", "image generation"),
    ("picture", "image"),
    ("photo", "image"),
    ("draw", "image generation"),
    ("drawing", "image generation"),
    ("illustration", "image generation"),
    ("art", "image generation"),
    ("text to video", "video generation"),
    ("movie", "video generation"),
    ("clip", "video generation"),
    ("animation", "video generation"),
    ("vector", "embedding"),
    ("vectors", "embedding"),
    ("semantic search", "embedding rerank"),
    ("similarity", "embedding"),
    ("rag", "embedding rerank"),
    ("retrieval", "embedding rerank"),
    ("ranking", "rerank"),
    ("reranker", "rerank"),
    ("relevance", "rerank"),
    ("function calling", "tools"),
    ("tool calling", "tools"),
    ("tool calls", "tools"),
    ("functions", "tools"),
    ("tool use", "tools"),
    ("agents", "tools"),
    ("agentic", "tools"),
    ("structured output", "schema"),
    ("json mode", "schema"),
    ("json", "schema"),
    ("see images", "vision"),
    ("image input", "vision"),
    ("image understanding", "vision"),
    ("multimodal", "vision audio"),
    ("thinking", "reasoning"),
    ("think", "reasoning"),
    ("math", "reasoning"),
    ("logic", "reasoning"),
    ("scan", "ocr"),
    ("scanned", "ocr"),
    ("document parsing", "ocr"),
    ("read pdf", "pdf ocr"),
    ("code", "coder codex codestral"),
    ("coding", "coder codex codestral devstral"),
    ("programming", "coder codex codestral"),
    ("developer", "coder codex codestral"),
    ("safety", "moderation guard"),
    ("guardrail", "moderation guard"),
    ("guardrails", "moderation guard"),
    ("content filter", "moderation guard"),
    ("toxicity", "moderation"),
    ("live audio", "realtime"),
    ("real time", "realtime"),
    ("browse", "web search"),
    ("online", "web search"),
    ("internet", "web search"),
    ("no cost", "free"),
    ("gratis", "free"),
    ("chatgpt", "openai gpt"),
    ("bard", "gemini google"),
    ("amazon", "bedrock nova"),
    ("aws", "bedrock"),
    ("microsoft", "azure phi"),
    ("gcp", "vertex google"),
    ("facebook", "meta llama"),
    ("music", "lyria"),
    ("song", "lyria"),
    ("songs", "lyria"),
    ("zhipu", "glm"),
    ("alibaba", "qwen"),
    ("dalle", "dall e"),
    ("open source", "llama qwen oss"),
];

/// Parts of a name that say the model is for something special: somebody who does not ask for that wants another.
#[rustfmt::skip]
pub(super) const SPECIAL: [&str; 63] = [
    "audio", "realtime", "search", "codex", "code", "coder", "codestral", "devstral", "guard", "safeguard", "vision", "vl", "transcribe",
    "tts", "image", "live", "cyber", "law", "robotics", "computer", "deep", "research", "discovery", "ft", "exp", "experimental",
    "preview", "beta", "contributor", "customtools", "multi", "embed", "ocr", "build", "cli", "vibe", "labs", "rosalind", "daybreak",
    "extended", "container", "omni", "learnlm", "lyria", "mythos", "non", "base", "streaming", "math", "character", "roleplay",
    "translate", "med", "medgemma", "voxtral", "tuning", "uncensored", "shieldgemma", "lora", "auto", "router", "paddleocr", "batch",
];
/// Parts of a name that say the model is small and fast.
pub(super) const SMALL: [&str; 15] =
    ["mini", "nano", "flash", "haiku", "lite", "small", "instant", "tiny", "micro", "air", "luna", "fast", "ministral", "light", "edge"];
/// How the names of models begin that anybody may run.
pub(super) const OPEN: [&str; 20] = [
    "llama",
    "meta",
    "qwen",
    "gemma",
    "deepseek",
    "mistral-7b",
    "mixtral",
    "open-mistral",
    "mistral-nemo",
    "mistral-small",
    "ministral",
    "gpt-oss",
    "phi",
    "glm",
    "kimi",
    "olmo",
    "minimax",
    "granite",
    "nemotron",
    "devstral",
];
/// Parts of a name that say the model writes code.
pub(super) const CODE: [&str; 6] = ["code", "coder", "codex", "codestral", "devstral", "starcoder"];
/// Parts of a name that do not tell two models of a family apart.
pub(super) const EDITION: [&str; 8] = ["latest", "preview", "beta", "exp", "experimental", "instruct", "it", "reasoning"];

/// Words that every question has and no answer needs.
#[rustfmt::skip]
const IGNORED: &[&str] = &[
    "a", "an", "and", "the", "for", "of", "to", "in", "on", "with", "by", "from", "model", "models", "api", "apis", "llm", "llms", "ai",
    "best", "good", "cheap", "cheapest", "fast", "fastest", "latest", "new", "newest", "that", "which", "what", "vs", "versus", "or", "compare", "can", "i", "my", "me",
    "need", "want", "use", "using", "some", "any", "is", "provider", "providers", "service", "please", "find", "show", "list",
];

/// What a word or phrase means when it is not a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sense {
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
    /// A model, or something that any chat model does.
    Chat,
    Nothing,
}

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
    (For(M::AudioTranscription), &["speech to text", "speech recognition", "transcription", "transcriptions", "transcribe", "transcribing", "stt", "asr", "audio transcription", "transcribe audio", "dictation", "subtitle", "subtitles", "captions"]),
    (For(M::AudioSpeech), &["text to speech", "tts", "speech synthesis", "voice synthesis", "speech", "speech generation", "voice generation", "read aloud", "aloud", "voice over", "narration"]),
    (For(M::Image), &["image generation", "image generator", "text to image", "picture generation", "draw", "drawing", "illustration", "image creation"]),
    (For(M::ImageEdit), &["image edit", "image editing", "edit images", "edit image", "edit photos", "inpainting"]),
    (For(M::Video), &["video generation", "text to video", "video generator", "movie", "clip", "animation"]),
    (For(M::Realtime), &["realtime", "real time", "live audio", "realtime audio", "realtime voice", "voice agent"]),
    (For(M::Ocr), &["ocr", "scan", "scanned", "scans", "document parsing", "scanned documents", "scanned pdf"]),
    (For(M::Moderation), &["moderation", "guardrail", "guardrails", "content filter", "content moderation", "toxicity"]),
    (PICTURE, &["image", "images", "picture", "pictures", "photo", "photos"]),
    (FILM, &["video", "videos"]),
    (Reads, &["read", "reads", "reading", "see", "sees", "understand", "understands", "understanding", "analyze", "analyse", "analysis", "describe", "describes", "look", "watch", "watches", "input", "inputs", "caption", "accepts"]),
    (Code, &["code", "coding", "coder", "programming", "developer", "write code", "writing code", "software engineering", "code review", "code generation", "code completion", "debugging", "refactoring", "python", "javascript", "typescript", "sql", "golang", "rust", "java", "kotlin", "ruby", "php", "bash", "regex"]),
    (Open, &["open", "open source", "open weight", "open weights", "opensource", "oss", "self hostable"]),
    (Free, &["free", "no cost", "gratis", "zero cost", "free of charge", "for free"]),
    (Cheap(1), &["cheap", "cheaper", "affordable", "low cost", "low price", "inexpensive", "budget", "economical", "cost effective", "good value", "low priced"]),
    (Cheap(3), &["cheapest", "lowest price", "lowest cost", "least expensive", "cheapest possible"]),
    (Small, &["fast", "faster", "fastest", "quick", "quickest", "small", "smaller", "smallest", "mini", "tiny", "lightweight", "light weight", "light", "low latency", "speed", "speedy"]),
    (Best, &["best", "flagship", "smart", "smartest", "strongest", "strong", "powerful", "most powerful", "most capable", "frontier", "top", "sota", "state of the art", "biggest", "largest", "highest quality", "high quality", "intelligent", "most intelligent", "advanced"]),
    (New, &["latest", "newest", "new", "recent", "most recent"]),
    (Long(LONG), &["long context", "large context", "big context", "huge context", "longest context", "largest context", "long context window", "large context window", "big context window", "long documents", "long document"]),
    (Seller, &["on", "from", "via", "at", "by", "through", "hosted on", "hosted by", "served by", "sold by"]),
    (Chat, &["model", "models", "llm", "llms", "ai", "language model", "language models", "chat model", "chat models", "chat bot", "bot", "bots", "write", "explain", "answer", "summarize", "summarise", "summarizing", "summarising", "summary", "summaries", "summarization", "translation", "translating", "writing", "classification", "extraction", "chatbot", "assistant", "translate", "classify", "extract", "rewrite", "paraphrase", "proofread", "proofreading", "brainstorm", "brainstorming", "sentiment", "sentiment analysis", "question answering", "roleplay", "role play", "chatting", "conversation", "storytelling", "copywriting"]),
    (Nothing, &["english", "french", "german", "spanish", "italian", "portuguese", "russian", "chinese", "japanese", "korean", "arabic", "hindi", "good", "great", "nice", "decent", "chat", "text", "support", "supports", "supporting", "capable", "language", "something", "one", "it", "also", "but", "what", "who", "does", "do", "has", "have", "having", "output", "ability", "able", "available", "make", "makes", "create", "creates", "generate", "generates", "produce", "option", "very", "really", "most", "files", "documents", "document", "are", "be", "give", "suggest", "recommend", "recommended", "context", "window", "tokens", "general", "purpose", "s", "task", "tasks", "calling"]),
];

/// The sense of the longest phrase at the start of the words.
pub(super) fn longest(words: &[&str]) -> Option<(usize, Sense)> {
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

/// Words by which a picture, film or sound is made.
pub(super) const MAKING: [&str; 12] =
    ["generate", "generates", "create", "creates", "make", "makes", "produce", "edit", "draw", "paint", "turn", "render"];

/// Words of everyday English that nobody uses of anything but a model when they stand beside words that no model is called by.
#[rustfmt::skip]
const SURE: [&str; 22] = [
    "vision", "multimodal", "reasoning", "embedding", "embeddings", "embed", "transcribe", "transcribing", "transcription", "moderation", "coding",
    "programming", "agentic", "dictation", "narration", "draw", "drawing", "illustration", "debugging", "refactoring", "coder", "debug",
];

/// Whether a phrase asks for a model, whatever else a question says: "movie tickets" asks for no model of movies.
pub(super) fn is_sure(phrase: &[&str], sense: Sense, is_everyday: impl Fn(&str) -> bool) -> bool {
    match sense {
        Chat => true,
        Can(_) | For(_) | Medium(..) | Code => match phrase {
            ["real", "time"] | ["pdf" | "pdfs"] => false,
            [word] => SURE.contains(word) || !is_everyday(word),
            _ => true,
        },
        Long(_) | Reads | Open | Free | Cheap(_) | Small | Best | New | Seller | Nothing => false,
    }
}

/// What else to look for beside a word.
pub(super) fn meaning(word: &str) -> Option<&'static str> {
    TABLE.iter().find(|(phrase, _)| *phrase == word).map(|(_, meaning)| *meaning)
}

/// Whether the word says nothing by itself.
pub(super) fn is_ignored(word: &str) -> bool {
    IGNORED.contains(&word)
}

/// The words to look for beside these, with how many of them the meaning covers: (first word, words covered, other words).
pub(super) fn meanings(words: &[&str]) -> Vec<(usize, usize, &'static str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = TABLE
            .iter()
            .filter_map(|(phrase, meaning)| {
                let count = phrase.split(' ').count();
                let fits = words.len() >= at + count && phrase.split(' ').zip(&words[at..]).all(|(part, word)| part == *word);
                fits.then_some((count, *meaning))
            })
            .max_by_key(|(count, _)| *count);
        match longest {
            Some((count, meaning)) => {
                found.push((at, count, meaning));
                at += count;
            }
            None => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_phrase_wins() {
        assert_eq!(meanings(&["text", "to", "speech"]), [(0, 3, "tts")]);
        assert_eq!(meanings(&["speech", "to", "text"]), [(0, 3, "stt transcribe")]);
        assert_eq!(meanings(&["gpt", "vectors"]), [(1, 1, "embedding")]);
        assert!(meanings(&["gpt"]).is_empty());
    }

    #[test]
    fn a_phrase_has_one_sense_and_fits_in_a_set() {
        let mut phrases: Vec<_> = SENSES.iter().flat_map(|(_, phrases)| *phrases).collect();
        let count = phrases.len();
        phrases.sort_unstable();
        phrases.dedup();
        assert_eq!(phrases.len(), count);
        assert!(SPECIAL.len() <= 64);
        assert_eq!(longest(&["json", "schema"]), Some((2, Can(C::JsonSchema))));
        assert_eq!(longest(&["gpt"]), None);
    }

    #[test]
    fn the_table_has_no_phrase_twice() {
        let mut phrases: Vec<_> = TABLE.iter().map(|(phrase, _)| phrase).collect();
        let count = phrases.len();
        phrases.sort_unstable();
        phrases.dedup();
        assert_eq!(phrases.len(), count);
    }
}
