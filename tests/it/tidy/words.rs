//! Plain English in what people read: README, guides, help and messages. A short list of phrases that read as if translated, and of words
//! that people meet under another name.

use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::sources;
use crate::documents::for_users;

/// A phrase, and what to write instead. Whole words only.
const PHRASES: [(&str, &str); 45] = [
    ("anew", "again"),
    ("shall", "must, or will"),
    ("tells", "shows, says"),
    ("told by", "shown by, or known from"),
    ("stands in", "is in, appears in"),
    ("stand in", "are in, appear in"),
    ("stands there", "is there"),
    ("stand there", "are there"),
    ("stands before", "is in front of"),
    ("stands against", "prevents"),
    ("of late", "recently"),
    ("in vain", "without success"),
    ("dear", "expensive"),
    ("dearer", "more expensive"),
    ("dearest", "most expensive"),
    ("are no", "are not"),
    ("is no", "is not a"),
    ("was no", "was not a"),
    ("lid", "limit, or account limit"),
    ("sell again", "reinstate"),
    ("sold again", "reinstated"),
    ("the very", "the same, exactly that"),
    ("that very", "that, exactly that"),
    ("lest", "so that … not"),
    ("thereof", "of it"),
    ("whereof", "of which"),
    ("hitherto", "until now"),
    ("an own", "of its own, its own"),
    ("the own", "its own"),
    ("there twice", "duplicate"),
    ("be it", "whether"),
    ("stead", "place"),
    ("a wallet", "a spend key"),
    ("booked", "charged, recorded"),
    ("mend", "repair"),
    ("mended", "repaired"),
    ("no bound", "no upper bound, no limit"),
    ("leads nowhere", "is broken"),
    ("of one's own", "custom, your own"),
    ("commas between", "separated by commas"),
    ("what there is", "what is available"),
    ("those there are", "the ones there are"),
    ("page before", "previous page"),
    ("goes on running", "keeps running"),
    ("else than", "other than"),
];

/// Where a phrase is right English: `no longer`, and `no` after `there`.
fn is_idiom(phrase: &str, before: &str, after: &str) -> bool {
    let last_word_before = before.split_whitespace().next_back().unwrap_or_default().to_lowercase();
    phrase.ends_with(" no") && (after.trim_start().starts_with("longer") || last_word_before.ends_with("there"))
}

/// The phrases in a text, each with what to write instead, and on which line of the text it begins, from 0.
fn offences(text: &str) -> Vec<(usize, String)> {
    let (mut flat, mut begins) = (String::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        begins.push((flat.len(), number));
        for word in line.split_whitespace() {
            flat.push_str(if flat.is_empty() { "" } else { " " });
            flat.push_str(word);
        }
    }
    let lower = flat.to_ascii_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut found = Vec::new();
    for (phrase, instead) in PHRASES {
        for (at, _) in lower.match_indices(phrase) {
            let (before, after) = (&flat[..at], &flat[at + phrase.len()..]);
            if !before.ends_with(is_word) && !after.starts_with(is_word) && !is_idiom(phrase, before, after) {
                let from = before.char_indices().rev().nth(30).map_or(0, |(from, _)| from);
                let shown: String = flat[from..].chars().take(80).collect();
                let line = begins.iter().rev().find(|(begin, _)| *begin < at.max(1)).map_or(0, |(_, line)| *line);
                found.push((line, format!("“{phrase}” ({instead}) in: {shown}")));
            }
        }
    }
    found
}

/// A text, and the line of its file on which it begins, from 1.
type Said = (usize, String);

/// What a source file says to people: its strings, and the documentation of what clap and schemars show. Tests are left out.
fn said(tokens: TokenStream, is_shown: bool, texts: &mut Vec<Said>) {
    let mut docs: Vec<Said> = Vec::new();
    let joined = |docs: &mut Vec<Said>| {
        let lines: Vec<Said> = std::mem::take(docs);
        let first = lines.first().map_or(0, |(line, _)| *line);
        (first, lines.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n"))
    };
    let (mut is_derived, mut is_item, mut is_test) = (false, false, false);
    let (mut after_hash, mut is_inner) = (false, false);
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                (after_hash, is_inner) = (true, false);
                continue;
            }
            TokenTree::Punct(punct) if punct.as_char() == '!' && after_hash => {
                is_inner = true;
                continue;
            }
            TokenTree::Group(group) if after_hash && group.delimiter() == Delimiter::Bracket => {
                let attribute = group.to_string();
                let mut inside = Vec::new();
                said(group.stream(), false, &mut inside);
                if attribute.starts_with("[doc") {
                    // What a file says of itself is for programmers.
                    docs.extend(inside.drain(..).filter(|_| !is_inner));
                } else {
                    is_test |= attribute == "[test]" || attribute.starts_with("[cfg") && attribute.contains("test");
                    let shows = ["Parser", "Args", "Subcommand", "ValueEnum", "JsonSchema"];
                    is_derived |= attribute.starts_with("[derive") && shows.iter().any(|name| attribute.contains(name));
                    texts.append(&mut inside);
                }
            }
            TokenTree::Ident(ident) if ident == "struct" || ident == "enum" => {
                is_item = true;
                if is_derived {
                    texts.push(joined(&mut docs));
                }
                docs.clear();
            }
            // The fields of a struct and the variants of an enum have their own documentation.
            TokenTree::Ident(_) if is_shown && !docs.is_empty() => {
                texts.push(joined(&mut docs));
            }
            TokenTree::Group(group) => {
                if !is_test {
                    said(group.stream(), is_item && is_derived, texts);
                }
                if group.delimiter() == Delimiter::Brace {
                    docs.clear();
                    (is_derived, is_item, is_test) = (false, false, false);
                }
            }
            TokenTree::Literal(literal) => {
                texts.extend(string(&literal.to_string()).map(|text| (literal.span().start().line, text)));
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => {
                docs.clear();
                (is_derived, is_item, is_test) = (false, false, false);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
        after_hash = false;
    }
}

/// The text of a string's literal, near enough to look for words in it, with the lines that it has in its file.
fn string(literal: &str) -> Option<String> {
    let quoted = literal.trim_start_matches(['r', 'b', 'c']).trim_matches('#');
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\\\n", "\n").replace("\\n", " ").replace("\\\"", "\""))
}

/// The phrases in what a source file says, each with its line.
fn offences_in(source: &str) -> Vec<Said> {
    let mut texts = Vec::new();
    said(source.parse().unwrap(), false, &mut texts);
    texts.iter().flat_map(|(first, text)| offences(text).into_iter().map(move |(line, found)| (first + line, found))).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn refuse(found: &[String]) {
    assert!(found.is_empty(), "{} phrases that are not plain English:\n{}", found.len(), found.join("\n"));
}

#[test]
fn documents_are_in_plain_english() {
    let mut found = Vec::new();
    for (shown, text) in for_users() {
        found.extend(offences(&text).into_iter().map(|(line, found)| format!("{shown}:{}: {found}", line + 1)));
    }
    for name in ["Cargo.toml", "server.json"] {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        let described = text.lines().filter(|line| line.contains("description"));
        found.extend(described.flat_map(offences).map(|(_, found)| format!("{name}: {found}")));
    }
    refuse(&found);
}

#[test]
fn what_the_program_says_is_in_plain_english() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        found.extend(offences_in(&text).into_iter().map(|(line, found)| format!("src/{}:{line}: {found}", path.display())));
    }
    refuse(&found);
}

#[test]
fn a_phrase_is_found_in_what_people_read_and_nowhere_else() {
    let source = r##"
        //! anew
        /// The struct is no good.
        #[derive(Debug, Parser)]
        struct Args {
            /// Tells what stands there.
            #[arg(long, help = "in vain")]
            flag: bool, // anew
        }
        /// Read by programmers: anew.
        struct Plain { /** anew */ field: u8 }
        #[error("{name} is no \
             number")]
        fn f() { print("a\" lid {x}", r#"of late"#); }
        #[test]
        fn t() { assert("anew"); }
        #[cfg(test)]
        mod tests { const A: &str = "anew"; }
        const SOLID: &str = "a solid file is no longer there; there is no lid-less dearth";
    "##;
    let found = offences_in(source);
    let phrases: Vec<_> = found.iter().map(|(line, found)| (*line, found.split(['“', '”']).nth(1).unwrap())).collect();
    let expected = [(3, "is no"), (7, "in vain"), (6, "tells"), (6, "stands there"), (12, "is no"), (14, "lid"), (14, "of late")];
    assert_eq!(phrases, expected, "{found:#?}");
}
