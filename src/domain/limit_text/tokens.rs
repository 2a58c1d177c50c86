//! The pieces of a limit that somebody typed: numbers, words, and what stands between them.

use crate::domain::Cycle;

/// What stands between an amount and its cycle.
const BETWEEN: [&str; 7] = ["per", "a", "an", "each", "every", "in", "for"];

/// A piece of what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Digits with what people write between them.
    Number(String),
    /// Letters, or a sign of money.
    Word(String),
    Slash,
    Comma,
    Minus,
    /// Whatever else.
    Other,
}

/// Cuts a text into pieces; brackets are what a printed limit has around its cycle.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.trim().to_lowercase().chars().collect();
    let is_digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        at += 1;
        if c.is_whitespace() || matches!(c, '(' | ')') {
            continue;
        }
        let starts_number = c.is_ascii_digit() || (c == '.' && is_digit(at));
        if starts_number {
            while is_digit(at) || (matches!(chars.get(at), Some('.' | ',' | '_')) && is_digit(at + 1)) {
                at += 1;
            }
            found.push(Token::Number(chars[start..at].iter().collect()));
        } else if c.is_alphabetic() || is_money_sign(c) {
            while chars.get(at).is_some_and(|next| next.is_alphabetic() || (c.is_alphabetic() && *next == '$')) {
                at += 1;
            }
            found.push(Token::Word(chars[start..at].iter().collect()));
        } else {
            found.push(match c {
                '/' => Token::Slash,
                ',' => Token::Comma,
                '-' | '−' => Token::Minus,
                _ => Token::Other,
            });
        }
    }
    found
}

pub(super) fn is_money_sign(c: char) -> bool {
    matches!(c, '$' | '¢' | '£' | '¤' | '¥' | '\u{20a0}'..='\u{20cf}')
}

/// The tokens that are left to read.
pub(super) struct Reader<'a>(pub(super) &'a [Token]);

impl<'a> Reader<'a> {
    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.0.first()
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Skips the words of a list that come next; says whether there were any.
    pub(super) fn skip(&mut self, words: &[&str]) -> bool {
        let before = self.0.len();
        while let Some(Token::Word(word)) = self.peek()
            && words.contains(&word.as_str())
        {
            self.0 = &self.0[1..];
        }
        self.0.len() < before
    }

    /// A slash, or words that say the same; whether there was one.
    pub(super) fn separator(&mut self) -> bool {
        let is_slash = self.peek() == Some(&Token::Slash);
        if is_slash {
            self.0 = &self.0[1..];
        }
        self.skip(&BETWEEN) || is_slash
    }

    /// A number, and whether a `k` follows it.
    pub(super) fn number(&mut self) -> Option<(&'a str, bool)> {
        let Some(Token::Number(digits)) = self.peek() else { return None };
        self.0 = &self.0[1..];
        Some((digits, self.skip(&["k"])))
    }
}

/// What the end of a limit says about its cycle.
pub(super) enum Ending {
    Cycle(Cycle),
    /// Nothing is said.
    Missing,
    /// A span of time that no limit has.
    Foreign,
    Unread,
}

pub(super) fn ending(reader: &mut Reader<'_>) -> Ending {
    let has_separator = reader.separator();
    let Some(token) = reader.next() else { return if has_separator { Ending::Unread } else { Ending::Missing } };
    let Token::Word(word) = token else { return Ending::Unread };
    if !reader.0.is_empty() {
        return Ending::Unread;
    }
    let cycle = match word.as_str() {
        "daily" | "day" | "days" => Cycle::Daily,
        "weekly" | "week" | "weeks" | "wk" => Cycle::Weekly,
        "monthly" | "month" | "months" | "mo" | "mth" => Cycle::Monthly,
        "total" | "totally" | "all" | "overall" | "altogether" | "once" | "ever" | "lifetime" => Cycle::Total,
        // Alone behind a number, a letter could be a unit: 5m is five million to many.
        "d" if has_separator => Cycle::Daily,
        "w" if has_separator => Cycle::Weekly,
        "second" | "seconds" | "sec" | "s" | "minute" | "minutes" | "min" | "m" | "hour" | "hours" | "hourly" | "h" | "hr" | "year"
        | "years" | "yearly" | "annually" | "y" | "yr" | "quarter" | "quarterly" | "fortnight" => return Ending::Foreign,
        _ => return Ending::Unread,
    };
    Ending::Cycle(cycle)
}
