//! Words and names as the search sees them.

/// Most words of a question that are looked at, as [`pieces`] cuts them, and most bytes: no name is as long.
const WORDS_MAX: usize = 40;
const QUESTION_BYTES_MAX: usize = 400;

/// As much of a question as is looked at, cut between words where that is possible.
pub(super) fn beginning(question: &str) -> &str {
    let (mut words, mut last, mut last_break) = (0, None, None);
    for (at, char) in question.char_indices() {
        let is_digit = char.is_alphanumeric().then_some(char.is_ascii_digit());
        words += usize::from(is_digit.is_some() && is_digit != last);
        last = is_digit;
        if is_digit.is_none() {
            last_break = Some(at);
        }
        if words > WORDS_MAX || at >= QUESTION_BYTES_MAX {
            return &question[..last_break.unwrap_or(at)];
        }
    }
    question
}

/// The words of a question in lower case, cut at everything that is neither letter nor digit.
pub(super) fn plain(lower: &str) -> impl Iterator<Item = &str> {
    lower.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// A question without the words at some places among [`plain`]; what stood around the others stays.
pub(super) fn without(lower: &str, is_left_out: impl Fn(usize) -> bool) -> String {
    let mut left = String::with_capacity(lower.len());
    let mut place = 0;
    for part in lower.split_inclusive(|char: char| !char.is_alphanumeric()) {
        let word = part.trim_end_matches(|char: char| !char.is_alphanumeric());
        let is_out = !word.is_empty() && is_left_out(place);
        place += usize::from(!word.is_empty());
        left.push_str(if is_out { &part[word.len()..] } else { part });
    }
    left
}

/// Calls `each` with every word: lower case, cut wherever letters and digits meet. `GPT-4o` is `gpt`, `4`, `o`.
pub(super) fn pieces(text: &str, mut each: impl FnMut(&str)) {
    let mut word = String::with_capacity(16);
    let mut last_is_digit = false;
    for char in text.chars().chain([' ']) {
        let is_digit = char.is_ascii_digit();
        if !word.is_empty() && (!char.is_alphanumeric() || is_digit != last_is_digit) {
            each(&word);
            word.clear();
        }
        if char.is_alphanumeric() {
            word.extend(char.to_lowercase());
        }
        last_is_digit = is_digit;
    }
}

/// A name without anything that people write differently: case, dashes, dots, slashes, blanks.
pub(super) fn squeezed(name: &str) -> String {
    name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The part of a model id behind the last slash: resellers put the maker's name before it.
pub fn bare(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// The runs of digits in a name, each with what stands before and behind it.
fn numbers(name: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + name.get(at..)?.find(|char: char| char.is_ascii_digit())?;
        let rest = &name[start..];
        let end = start + rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        at = end;
        Some((&name[..start], &name[start..end], &name[end..]))
    })
}

/// The version in a name: 4.5 for `claude-opus-4-5-20251101`. A number with a letter behind it counts something else, as in `70b`, and a
/// long one or one that begins with a nought is a date.
pub(super) fn version(name: &str) -> Option<f32> {
    let is_part = |digits: &str| digits.len() < 3 && (digits == "0" || !digits.starts_with('0'));
    let ends = |rest: &str| !rest.starts_with(|char: char| char.is_alphabetic() && char != 'o' && char != 'v');
    numbers(name).find_map(|(_, digits, rest)| {
        let minor = numbers(rest).next().filter(|(gap, part, rest)| matches!(*gap, "." | "-" | "p") && is_part(part) && ends(rest));
        if !is_part(digits) || !(ends(rest) || (rest.starts_with('p') && minor.is_some())) {
            return None;
        }
        let whole = minor.map_or_else(|| digits.to_owned(), |(_, part, _)| format!("{digits}.{part}"));
        whole.parse().ok().filter(|version| *version < 12.0)
    })
}

/// Whether the name has a date in it: eight digits, four, or a month with its nought.
pub(super) fn is_dated(name: &str) -> bool {
    numbers(name).any(|(_, digits, _)| matches!(digits.len(), 4 | 6 | 8) || (digits.len() == 2 && digits.starts_with('0')))
}

/// How many billions of parameters the name speaks of: 30 for `qwen3-30b-a3b`.
pub(super) fn billions(name: &str) -> Option<f32> {
    let sizes = numbers(name).filter(|(_, _, rest)| rest.starts_with('b') && !rest[1..].starts_with(char::is_alphanumeric));
    sizes.filter_map(|(_, digits, _)| digits.parse().ok()).max_by(f32::total_cmp)
}

/// Takes off the endings that do not change what an English word is about. Both sides of a comparison go through here, so a wrong cut
/// costs little.
pub(super) fn stem(word: &str) -> &str {
    const ENDINGS: [(&str, usize); 6] = [("ings", 7), ("ing", 6), ("ions", 8), ("ion", 8), ("ed", 6), ("s", 4)];
    if !word.is_ascii() || word.ends_with("ss") {
        return word;
    }
    let cut = ENDINGS.iter().find(|(ending, shortest)| word.len() >= *shortest && word.ends_with(ending));
    let root = cut.map_or(word, |(ending, _)| &word[..word.len() - ending.len()]);
    let bytes = root.as_bytes();
    match bytes {
        [.., a, b] if cut.is_some() && a == b && root.len() > 4 => &root[..root.len() - 1],
        [.., b'e'] if root.len() > 4 => &root[..root.len() - 1],
        _ => root,
    }
}

/// How many letters must change to make one name of the other, or `None` when that is more than `most`.
pub(super) fn changes(one: &str, other: &str, most: usize) -> Option<usize> {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut this = Vec::with_capacity(last.len());
        this.push(row + 1);
        for (column, b) in other.iter().enumerate() {
            let mut least = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(this[column] + 1);
            // Two letters the wrong way round are one slip.
            if row > 0 && column > 0 && *a == other[column - 1] && one[row - 1] == *b {
                least = least.min(before_last[column - 1] + 1);
            }
            this.push(least);
        }
        if this.iter().all(|count| *count > most) {
            return None;
        }
        before_last = std::mem::replace(&mut last, this);
    }
    last.last().copied().filter(|count| *count <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        pieces(text, |piece| all.push(stem(piece).to_owned()));
        all
    }

    #[test]
    fn a_name_is_cut_where_letters_and_digits_meet() {
        assert_eq!(split("GPT-4o-mini"), ["gpt", "4", "o", "mini"]);
        assert_eq!(split("Qwen/Qwen2.5-72B"), ["qwen", "qwen", "2", "5", "72", "b"]);
        assert_eq!(squeezed("Claude 3.5 Sonnet"), squeezed("claude-3-5-sonnet"));
        assert_eq!(bare("anthropic/claude-sonnet-4"), "claude-sonnet-4");
    }

    #[test]
    fn words_are_left_out_of_a_question() {
        let lower = "openai/gpt-4o on mars, please";
        assert_eq!(plain(lower).collect::<Vec<_>>(), ["openai", "gpt", "4o", "on", "mars", "please"]);
        assert_eq!(without(lower, |place| place == 4), "openai/gpt-4o on , please");
        assert_eq!(without(lower, |_| false), lower);
        assert_eq!(without("-x", |_| true), "-");
    }

    #[test]
    fn a_question_ends_somewhere() {
        assert_eq!(beginning("cheap fast model"), "cheap fast model");
        assert_eq!(beginning(&"ab ".repeat(50)).split_whitespace().count(), WORDS_MAX);
        assert_eq!(beginning(&"a1".repeat(100)), "a1".repeat(20));
        assert_eq!(beginning(&"é".repeat(1_000)).len(), QUESTION_BYTES_MAX);
        assert_eq!(beginning(&format!("{} {}", "a".repeat(300), "b".repeat(300))), "a".repeat(300));
    }

    #[test]
    fn endings_do_not_matter() {
        assert_eq!(split("embeddings embedding embed"), ["embed", "embed", "embed"]);
        assert_eq!(split("images image"), ["imag", "imag"]);
        assert_eq!(split("transcriptions"), split("transcription"));
        assert_eq!(split("reasoning")[0], "reason");
    }

    #[test]
    fn versions_sizes_and_dates_are_told_apart() {
        let versions =
            ["claude-opus-4-5-20251101", "gpt-4o", "gpt-oss-120b", "grok-4.20", "llama-v3p1-405b", "o3-2025-04-16", "command-r-08-2024"];
        assert_eq!(versions.map(version), [Some(4.5), Some(4.0), None, Some(4.2), Some(3.1), Some(3.0), None]);
        assert_eq!(["qwen3-30b-a3b", "gpt-4o", "mixtral-8x22b"].map(billions), [Some(30.0), None, Some(22.0)]);
        assert_eq!(
            ["gpt-4o-2024-08-06", "mistral-large-2512", "gpt-5.6", "gemini-embedding-001"].map(is_dated),
            [true, true, false, false]
        );
    }

    #[test]
    fn slips_are_counted() {
        assert_eq!(changes("sonet", "sonnet", 2), Some(1));
        assert_eq!(changes("haiuk", "haiku", 2), Some(1));
        assert_eq!(changes("gpt", "claude", 2), None);
    }
}
