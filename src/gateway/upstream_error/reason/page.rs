//! The words of a page in HTML or XML.

use super::one_line;

/// The title and the words of a page, without its markup.
pub(super) fn page(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let between = |open: &str, close: &str| {
        let start = lower.find(open).and_then(|at| Some(at + lower.get(at..)?.find('>')? + 1))?;
        let end = start + lower.get(start..)?.find(close)?;
        text.get(start..end)
    };
    let title = one_line(&decoded(between("<title", "</title").unwrap_or_default()));
    let words = one_line(&decoded(&without_markup(text, &lower)));
    match words.strip_prefix(title.as_str()).map_or(words.as_str(), str::trim) {
        "" => title,
        rest if title.is_empty() => rest.to_owned(),
        rest => format!("{title}: {rest}"),
    }
}

/// What is between tags, outside of what nobody sees.
fn without_markup(text: &str, lower: &str) -> String {
    let mut words = String::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('<').map(|open| at + open) {
        words.push_str(&text[at..open]);
        words.push(' ');
        let unseen = ["head", "style", "script", "!--"].iter().find(|name| lower[open + 1..].starts_with(**name));
        let close = match unseen {
            Some(&"!--") => lower[open..].find("-->").map(|end| open + end + 3),
            Some(name) if !lower[open + 1 + name.len()..].starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let end = lower[open..].find(&format!("</{name}")).map_or(open, |end| open + end);
                lower[end..].find('>').map(|length| end + length + 1)
            }
            _ => lower[open..].find('>').map(|length| open + length + 1),
        };
        let Some(close) = close else { return words };
        at = close;
    }
    words.push_str(&text[at..]);
    words
}

fn decoded(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c))
}
