//! What people call the things the catalog knows by another word. A table of meanings is small, can be read, and does for a list of names
//! what word vectors would do with sixteen megabytes.

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
    ("subtitles", "stt"),
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
    ("content filter", "moderation guard"),
    ("toxicity", "moderation"),
    ("live audio", "realtime"),
    ("phone call", "realtime"),
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
    ("zhipu", "glm"),
    ("alibaba", "qwen"),
    ("dalle", "dall e"),
    ("open source", "llama qwen oss"),
];

/// Words that every question has and no answer needs.
const IGNORED: &[&str] = &[
    "a",
    "an",
    "and",
    "the",
    "for",
    "of",
    "to",
    "in",
    "on",
    "with",
    "by",
    "from",
    "model",
    "models",
    "api",
    "apis",
    "llm",
    "llms",
    "ai",
    "best",
    "good",
    "cheap",
    "cheapest",
    "fast",
    "fastest",
    "latest",
    "new",
    "newest",
    "that",
    "which",
    "can",
    "i",
    "my",
    "me",
    "need",
    "want",
    "use",
    "using",
    "some",
    "any",
    "is",
    "provider",
    "providers",
    "service",
    "please",
    "find",
    "show",
    "list",
];

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
    fn the_table_has_no_phrase_twice() {
        let mut phrases: Vec<_> = TABLE.iter().map(|(phrase, _)| phrase).collect();
        let count = phrases.len();
        phrases.sort_unstable();
        phrases.dedup();
        assert_eq!(phrases.len(), count);
    }
}
