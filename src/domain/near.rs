//! Which names a mistyped one may be meant for.

/// How alike two names must be, of 1, so that one is suggested for the other.
const ALIKE: f64 = 0.85;
/// How many names are suggested.
const SHOWN: usize = 3;

/// A name without case, and without what people put between words.
pub fn fold(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-' | '_' | '.')).flat_map(char::to_lowercase).collect()
}

/// Up to three of these, given as (what it is called, what is suggested), that look most like `text`; each once.
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let wanted = fold(text);
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut scored: Vec<(f64, &str)> = names
        .map(|(name, id)| {
            let name = fold(name);
            let is_part = wanted.len() > 2 && (name.contains(&wanted) || (name.len() > 2 && wanted.contains(&name)));
            (strsim::jaro_winkler(&wanted, &name).max(if is_part { ALIKE } else { 0.0 }), id)
        })
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut ids: Vec<String> = Vec::new();
    for (_, id) in scored {
        if ids.len() < SHOWN && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The end of a sentence that suggests names; empty where there are none.
pub fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        [first @ .., last] => format!("; did you mean {} or {last}?", first.join(", ")),
    }
}
