//! Words of everyday English. One that nothing in the catalog is called by is what a question is about, and not a slip of a model's name:
//! who asks to send an SMS does not mean the model "seed".

use std::sync::OnceLock;

/// The packed list; `build.rs` made it from `src/catalog/data/english.txt`, whose source is in the NOTICE beside it.
static WORDS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/english.txt.gz"));

/// Whether it is a word of everyday English, in lower case as it is written.
pub(super) fn is_everyday(word: &str) -> bool {
    static UNPACKED: OnceLock<String> = OnceLock::new();
    contains(UNPACKED.get_or_init(|| super::unpack(WORDS)), word)
}

/// Looks a word up in sorted lines by halving.
fn contains(lines: &str, word: &str) -> bool {
    let bytes = lines.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low.midpoint(high);
        let start = bytes[..middle].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = bytes[middle..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| middle + at);
        match bytes[start..end].cmp(word.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_at_every_place_of_the_list() {
        for lines in ["", "a\n", "a\nbb\nccc\n", "a\nbb\nccc"] {
            for word in ["a", "bb", "ccc"] {
                assert_eq!(contains(lines, word), lines.lines().any(|line| line == word), "{word} in {lines:?}");
            }
            for word in ["", "b", "cccc", "0", "z"] {
                assert!(!contains(lines, word), "{word:?} in {lines:?}");
            }
        }
    }

    #[test]
    fn the_list_can_be_read_and_is_sorted() {
        let list = super::super::unpack(WORDS);
        assert!(list.lines().is_sorted() && list.lines().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        assert!(["send", "weather", "tickets", "seed", "zebra"].iter().all(|word| is_everyday(word)));
        // Families of models that a dictionary knows as well: a name, or a slip of one.
        assert!(!["llama", "lama", "sonnet", "haiku", "opus", "grok", "gpt", "mistrial"].iter().any(|word| is_everyday(word)));
    }
}
