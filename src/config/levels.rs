//! `LAVA_LOG`: what is logged. A word that is neither a level nor a target is an error: a typo that logs nothing, or everything, is found out too late.

use std::str::FromStr;

use tracing_subscriber::filter::LevelFilter;

/// The levels, least first.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];
/// Who logs: this program, and the libraries that may be of interest.
const TARGETS: [&str; 14] =
    ["lava_mcp", "axum", "h2", "hyper", "hyper_util", "keyring", "mio", "reqwest", "rmcp", "rustls", "tokio", "tower", "tracing", "zbus"];
/// How far a word may be from the one that was meant.
const TYPO_MAX: usize = 2;

/// Levels by target, such as `info` or `warn,lava_mcp::gateway=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevels(Vec<(Option<String>, LevelFilter)>);

impl LogLevels {
    /// Each level, and whose it is; `None` stands for everybody else.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, LevelFilter)> {
        self.0.iter().map(|(target, level)| (target.as_deref(), *level))
    }
}

impl FromStr for LogLevels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pieces = text.split(',').map(str::trim).filter(|piece| !piece.is_empty());
        let levels: Vec<_> = pieces.map(piece).collect::<Result<_, _>>()?;
        if levels.is_empty() { Err(format!("it does not name a level; {EXPECTED}")) } else { Ok(Self(levels)) }
    }
}

const EXPECTED: &str = "use error, warn, info, debug, trace or off, for all or as TARGET=LEVEL, such as \"warn,lava_mcp::gateway=debug\"";

fn piece(text: &str) -> Result<(Option<String>, LevelFilter), String> {
    let Some((target, level_text)) = text.split_once('=') else { return Ok((None, level(text)?)) };
    let target = target.trim();
    let level = level(level_text.trim())?;
    let library = target.split("::").next().unwrap_or_default();
    if TARGETS.contains(&library) && target.split("::").all(|part| !part.is_empty()) {
        return Ok((Some(target.to_owned()), level));
    }
    let meant = nearest(library, TARGETS).map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    Err(format!(
        "nothing is logged as \"{target}\"{meant}; targets are {}, and what is below them, such as lava_mcp::gateway",
        TARGETS.join(", ")
    ))
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let word = text.to_ascii_lowercase();
    if let Some((_, level)) = LEVELS.iter().find(|(name, _)| *name == word) {
        return Ok(*level);
    }
    let meant = nearest(&word, LEVELS.map(|(name, _)| name)).map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    Err(format!("\"{text}\" is not a level{meant}; {EXPECTED}"))
}

fn nearest<const N: usize>(word: &str, names: [&'static str; N]) -> Option<&'static str> {
    let near = names.into_iter().map(|name| (if word.starts_with(name) { 0 } else { strsim::damerau_levenshtein(name, word) }, name));
    near.filter(|(distance, _)| !word.is_empty() && *distance <= TYPO_MAX).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_understood_and_nothing_else() {
        let levels: Vec<_> = "warn, lava_mcp::gateway=DEBUG,rmcp=off,".parse::<LogLevels>().unwrap().0;
        let target = |name: &str| Some(name.to_owned());
        assert_eq!(
            levels,
            [(None, LevelFilter::WARN), (target("lava_mcp::gateway"), LevelFilter::DEBUG), (target("rmcp"), LevelFilter::OFF)]
        );
        for (wrong, says) in [
            ("loud", "\"loud\" is not a level; use error, warn"),
            ("warning", "did you mean \"warn\""),
            ("inof", "did you mean \"info\""),
            ("bogus=", "\"\" is not a level"),
            ("=trace", "nothing is logged as \"\""),
            ("=", "\"\" is not a level"),
            ("bogus=debug", "nothing is logged as \"bogus\""),
            ("lava-mcp=debug", "did you mean \"lava_mcp\""),
            ("lava_mcp::=debug", "nothing is logged as"),
            ("lava_mcp=loud", "\"loud\" is not a level"),
            ("info,lava_mcp", "\"lava_mcp\" is not a level"),
            (",", "it does not name a level"),
            ("3", "\"3\" is not a level"),
            ("debug=lava_mcp", "\"lava_mcp\" is not a level"),
        ] {
            let error = wrong.parse::<LogLevels>().unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
