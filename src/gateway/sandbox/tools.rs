//! Which tools are called: those that are asked for, or named by the person. A model that calls tools at every "hi" would be of no use for trying out a program.

use std::collections::HashSet;

use serde_json::Value;

/// How far a text is read for the names of tools, in bytes.
const READ_BYTES: usize = 8_192;

/// A tool of a request that the caller runs.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    /// Its declaration in the request.
    pub(super) declared: &'a Value,
    /// Its place in the list of the request.
    pub(super) at: usize,
}

/// What the caller says about calling tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    Never,
    /// As the model likes.
    Free,
    /// One of them.
    Any,
    Named(&'a str),
}

/// Where the conversation is.
pub(super) struct Turn<'a> {
    /// What the person wrote last.
    pub(super) said: &'a str,
    /// Whether a tool has just answered.
    pub(super) is_after_result: bool,
    /// Tools that were called since the person wrote.
    pub(super) called: HashSet<&'a str>,
    /// Whether several may be called at once.
    pub(super) is_parallel: bool,
}

impl Turn<'_> {
    /// The tools to call now. After a result the answer is a text, so that the loop of an agent ends; who insists on a call gets one every time, as from a provider:
    /// of a tool that was not called yet, where there is one.
    pub(super) fn choose<'t, 'a>(&self, tools: &'t [Tool<'a>], choice: Choice<'_>) -> Vec<&'t Tool<'a>> {
        let open = || tools.iter().filter(|tool| !self.called.contains(tool.name));
        let said = &self.said[..self.said.floor_char_boundary(READ_BYTES)];
        let named = || open().filter(|tool| is_named(tool.name, said));
        let most = if self.is_parallel { tools.len() } else { 1 };
        match choice {
            Choice::Never => Vec::new(),
            Choice::Free if self.is_after_result => Vec::new(),
            Choice::Free => named().take(most).collect(),
            Choice::Any if named().next().is_some() => named().take(most).collect(),
            Choice::Any => open().chain(tools).take(1).collect(),
            Choice::Named(name) => tools.iter().filter(|tool| tool.name == name).take(1).collect(),
        }
    }
}

/// Whether a text has the name of a tool in it, as a word of its own.
fn is_named(name: &str, text: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            !before.chars().next_back().is_some_and(is_part) && !after.chars().next().is_some_and(is_part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_called_when_it_is_asked_for_or_named() {
        let tools: Vec<Tool<'_>> =
            ["get_weather", "search", "final"].iter().enumerate().map(|(at, name)| Tool { name, declared: &Value::Null, at }).collect();
        let chosen = |said: &str, called: &[&'static str], choice| {
            let turn = Turn { said, is_after_result: !called.is_empty(), called: called.iter().copied().collect(), is_parallel: true };
            turn.choose(&tools, choice).iter().map(|tool| tool.name).collect::<Vec<_>>().join(" ")
        };
        for (said, called, choice, expected) in [
            ("hi", &[][..], Choice::Free, ""),
            ("How is the weather? Do some research.", &[], Choice::Free, ""),
            ("Use get_weather.", &[], Choice::Free, "get_weather"),
            ("search, then “get_weather”", &[], Choice::Free, "get_weather search"),
            ("Use get_weather_now or my-search", &[], Choice::Free, ""),
            ("Use get_weather.", &["get_weather"], Choice::Free, ""),
            ("hi", &[], Choice::Any, "get_weather"),
            ("search this", &[], Choice::Any, "search"),
            ("search this", &["search"], Choice::Any, "get_weather"),
            ("hi", &["get_weather", "search"], Choice::Any, "final"),
            ("hi", &["get_weather", "search", "final"], Choice::Any, "get_weather"),
            ("search this", &["get_weather", "search", "final"], Choice::Any, "get_weather"),
            ("hi", &["unknown"], Choice::Any, "get_weather"),
            ("hi", &[], Choice::Named("search"), "search"),
            ("hi", &["search"], Choice::Named("search"), "search"),
            ("hi", &["get_weather", "search", "final"], Choice::Named("final"), "final"),
            ("search", &["get_weather", "search", "final"], Choice::Free, ""),
            ("Use get_weather.", &[], Choice::Never, ""),
        ] {
            assert_eq!(chosen(said, called, choice), expected, "{said} {called:?} {choice:?}");
        }
        let alone = Turn { said: "search get_weather", is_after_result: false, called: HashSet::new(), is_parallel: false };
        assert_eq!(alone.choose(&tools, Choice::Free).len(), 1);
    }
}
