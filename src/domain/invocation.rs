//! Commands of ours that a text suggests, with the flags this process was started with: what is printed works as printed.
//!
//! Texts are written as `` `lava-mcp keys list` ``, wherever they arise. Each door (the command line, the tools' errors, the gateway's answers) passes them through
//! [`in_text`], which puts `--sandbox`, `--config` and the like after the program's name. A text that has been through it once does not change again.

use std::{borrow::Cow, path::Path, sync::OnceLock};

const PROGRAM: &str = "lava-mcp";

/// The flags of this process as a shell takes them, each followed by a space.
static FLAGS: OnceLock<String> = OnceLock::new();

/// Sets the flags of this process, in the order in which they are shown; once, at the start.
pub fn set(flags: &[(&str, Option<&Path>)]) {
    let _ = FLAGS.set(written(flags));
}

fn written(flags: &[(&str, Option<&Path>)]) -> String {
    let one = |(flag, value): &(&str, Option<&Path>)| match value {
        Some(value) => format!("{flag} {} ", quoted(&value.to_string_lossy())),
        None => format!("{flag} "),
    };
    flags.iter().map(one).collect()
}

fn flags() -> &'static str {
    FLAGS.get().map_or("", String::as_str)
}

/// A command such as `keys holds`, as a person types it.
pub fn command(rest: &str) -> String {
    format!("{PROGRAM} {}{rest}", flags())
}

/// The text with the flags of this process in each command of ours that it quotes with backticks.
pub fn in_text(text: &str) -> Cow<'_, str> {
    with_flags(text, flags())
}

fn with_flags<'a>(text: &'a str, flags: &str) -> Cow<'a, str> {
    if flags.is_empty() || !text.contains(PROGRAM) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + flags.len());
    for (at, part) in text.split('`').enumerate() {
        if at > 0 {
            shown.push('`');
        }
        match insertion_point(part).filter(|_| at % 2 == 1) {
            Some(at) if at == part.len() => shown.extend([part, " ", flags.trim_end()]),
            Some(at) => shown.extend([&part[..at], " ", flags, part[at..].trim_start()]),
            None => shown.push_str(part),
        }
    }
    Cow::Owned(shown)
}

/// Where flags belong in a quoted command: behind the program's name, where a subcommand follows, or nothing more in a command of another program that starts ours.
fn insertion_point(command: &str) -> Option<usize> {
    let begins = if command.starts_with(PROGRAM) { Some(0) } else { command.find(" lava-mcp").map(|at| at + 1) };
    let end = begins? + PROGRAM.len();
    let rest = &command[end..];
    let is_subcommand = rest.strip_prefix(' ').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    (is_subcommand || rest.is_empty() && end > PROGRAM.len()).then_some(end)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_./:@%+=,-".contains(c) || cfg!(windows) && c == '\\';
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    if cfg!(windows) { Cow::Owned(format!("\"{word}\"")) } else { Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_flags_and_nothing_else_does() {
        for (text, expected) in [
            ("Run `lava-mcp login`.", "Run `lava-mcp --sandbox login`."),
            (
                "`lava-mcp keys holds` shows them, `lava-mcp status` too",
                "`lava-mcp --sandbox keys holds` shows them, `lava-mcp --sandbox status` too",
            ),
            ("`LAVA_SESSION_LIMIT=1/daily lava-mcp serve`", "`LAVA_SESSION_LIMIT=1/daily lava-mcp --sandbox serve`"),
            ("`claude mcp add lava -- lava-mcp`", "`claude mcp add lava -- lava-mcp --sandbox`"),
            // Names, files, and what has its flags.
            ("lava-mcp login", "lava-mcp login"),
            ("update `lava-mcp`", "update `lava-mcp`"),
            ("`lava-mcp --help`", "`lava-mcp --help`"),
            ("`lava-mcp --data-dir x keys list`", "`lava-mcp --data-dir x keys list`"),
            ("`lava-mcp/config.toml` in `x` of lava-mcp login", "`lava-mcp/config.toml` in `x` of lava-mcp login"),
            ("`x` lava-mcp keys `y`", "`x` lava-mcp keys `y`"),
        ] {
            assert_eq!(with_flags(text, "--sandbox "), expected);
            assert_eq!(with_flags(expected, "--sandbox "), expected, "once is enough");
            assert_eq!(with_flags(text, ""), text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_takes_the_flags_as_they_were_given() {
        let flags = |path: &str| written(&[("--sandbox", None), ("--data-dir", Some(Path::new(path)))]);
        for (path, shown) in [
            ("/var/lib/lava", "/var/lib/lava"),
            ("my data", "'my data'"),
            ("it's", r"'it'\''s'"),
            ("~/x", "'~/x'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
            ("Größe", "Größe"),
        ] {
            assert_eq!(flags(path), format!("--sandbox --data-dir {shown} "));
        }
    }
}
