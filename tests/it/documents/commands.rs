//! What the documents say to type exists: commands, flags and variables. And the reference has all of them.

use std::collections::BTreeSet;

use axum::http::Method;
use clap::{Command, CommandFactory, Parser, error::ErrorKind};
use lava_mcp::cli::Cli;
use serde_json::Value;

use super::{documents, lines};
use crate::harness::{Harness, request};

/// Flags of other programs that the documents mention by themselves.
const FLAGS_OF_OTHERS: [&str; 1] = ["--allowedTools"];
/// Variables that only an example sets, for itself.
const VARIABLES_OF_EXAMPLES: [&str; 1] = ["LAVA_CLAUDE_KEY"];

/// The commands in a line of shell, each as its words. What is piped, redirected or substituted begins another one.
fn shell(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote) = (None::<String>, None);
    for c in line.chars().chain([';']) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '#' && word.is_none() => break,
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() || "|;&<>()".contains(c) => {
                commands.last_mut().unwrap().extend(word.take());
                if !c.is_whitespace() {
                    commands.push(Vec::new());
                }
            }
            None => word.get_or_insert_default().push(c),
        }
    }
    commands
}

/// What a command gives to this program, if it starts it.
fn arguments(command: &[String]) -> Option<&[String]> {
    let is_setting = |word: &String| word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    let command = &command[command.iter().take_while(|word| is_setting(word)).count()..];
    match command.first()?.as_str() {
        "lava-mcp" => Some(&command[1..]),
        "cargo" if command.get(1).is_some_and(|word| word == "run") => {
            command.iter().position(|word| word == "--").map(|at| &command[at + 1..])
        }
        _ => None,
    }
}

/// Why the program does not take these arguments. In running text, what a command also needs can be left out, and a word in capitals stands for a name.
fn refusal(arguments: &[String], is_whole: bool) -> Option<String> {
    let named = arguments.iter().map(|word| match word.as_str() {
        "CLIENT" => "cursor",
        "COMMAND" => "keys",
        word => word,
    });
    let error = Cli::try_parse_from(["lava-mcp"].into_iter().chain(named)).err()?;
    let is_fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => {
            !is_whole
        }
        _ => false,
    };
    (!is_fine).then(|| format!("lava-mcp {}: {}", arguments.join(" "), error.to_string().lines().next().unwrap_or_default()))
}

/// The pieces of code in the running text of a document.
fn inline_code(text: &str) -> Vec<String> {
    let prose: Vec<&str> = lines(text).filter(|(block, _)| block.is_none()).map(|(_, line)| line).collect();
    let prose = prose.join("\n");
    let paragraphs = prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
    paragraphs.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The documents for people who use the program, by their names.
pub(crate) fn for_users() -> Vec<(String, String)> {
    let is_for_users = |name: &str| name.starts_with("docs/guides/") || ["README.md", "docs/REFERENCE.md"].contains(&name);
    let named =
        documents().into_iter().map(|(path, text)| (path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string(), text));
    named.filter(|(name, _)| is_for_users(name)).collect()
}

/// The words of a text that begin like this.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.split(|c| !is_word(c)).filter(|word| word.len() > prefix.len() && word.starts_with(prefix)).collect()
}

fn long_flags(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_global_set());
    let long = own.filter_map(|argument| argument.get_long()).filter(|name| !["help", "version"].contains(name));
    long.map(|name| format!("--{name}")).collect()
}

/// Every command that does something, with the words that name it.
fn leaves(command: &Command, name: &str, found: &mut Vec<(String, BTreeSet<String>)>) {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
    for below in below {
        let name = format!("{name} {}", below.get_name()).trim().to_owned();
        if !below.is_subcommand_required_set() {
            found.push((name.clone(), long_flags(below)));
        }
        leaves(below, &name, found);
    }
}

fn program() -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    leaves(&Cli::command(), "", &mut found);
    found
}

#[test]
fn every_command_in_the_documents_exists() {
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for (path, text) in documents().into_iter().filter(|(path, _)| !path.ends_with("CHANGELOG.md")) {
        let mut check = |line: &str, is_whole: bool| {
            let commands = shell(line);
            let ours: Vec<_> = commands.iter().filter_map(|command| arguments(command)).collect();
            checked += ours.len();
            let refused = ours.into_iter().filter_map(|arguments| refusal(arguments, is_whole));
            wrong.extend(refused.map(|reason| format!("{}: {reason}", path.display())));
        };
        let typed: Vec<&str> = lines(&text).filter(|(block, _)| *block == Some("sh")).map(|(_, line)| line).collect();
        typed.join("\n").replace("\\\n", " ").lines().for_each(|line| check(line, true));
        inline_code(&text).iter().for_each(|code| check(code, false));
    }
    assert!(wrong.is_empty(), "commands that the program does not take:\n{}", wrong.join("\n"));
    assert!(checked > 100, "only {checked} commands were found in the documents");
}

#[test]
fn every_flag_in_the_documents_exists() {
    let mut known: BTreeSet<String> = program().into_iter().flat_map(|(_, flags)| flags).collect();
    known.extend(Cli::command().get_arguments().filter_map(|argument| argument.get_long()).map(|name| format!("--{name}")));
    let mut checked = 0;
    for (name, text) in for_users() {
        for code in inline_code(&text).iter().filter(|code| code.starts_with("--")) {
            checked += 1;
            let flag = code.split([' ', '=']).next().unwrap();
            assert!(known.contains(flag) || FLAGS_OF_OTHERS.contains(&flag), "{name}: there is no flag {flag}");
        }
    }
    assert!(checked > 50, "only {checked} flags were found in the documents");
}

#[test]
fn every_variable_is_one_that_the_program_reads_and_is_in_the_reference() {
    let sources = crate::tidy::sources();
    let read: BTreeSet<&str> = sources.values().flat_map(|text| words(text, "LAVA_")).collect();
    assert!(read.contains("LAVA_SPEND_KEY"), "{read:?}");
    for (name, text) in for_users() {
        for variable in words(&text, "LAVA_") {
            assert!(read.contains(variable) || VARIABLES_OF_EXAMPLES.contains(&variable), "{name}: nothing reads {variable}");
        }
    }
    let reference = reference();
    let missing: Vec<&&str> = read.iter().filter(|name| !reference.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/REFERENCE.md: {missing:?}");
}

fn reference() -> String {
    for_users().into_iter().find(|(name, _)| name == "docs/REFERENCE.md").unwrap().1
}

#[tokio::test]
async fn every_address_in_the_reference_is_served() {
    let harness = Harness::start().await;
    let reference = reference();
    let (_, section) = reference.split_once("\n## The API\n").unwrap();
    let addresses: Vec<String> = inline_code(section).into_iter().filter(|code| code.starts_with("/v1/") && !code.ends_with('/')).collect();
    assert!(addresses.iter().any(|address| address == "/v1/chat/completions"), "{addresses:?}");
    let unknown = harness.send(request(Method::GET, "/v1/nothing", None, Value::Null)).await;
    assert!(unknown.text().contains("has no route"), "what an unknown address is answered with: {}", unknown.text());
    for address in addresses {
        let answer = harness.send(request(Method::GET, &address, None, Value::Null)).await;
        assert!(!answer.text().contains("has no route"), "{address}: {}", answer.text());
    }
    harness.finish().await;
}

#[test]
fn the_reference_has_every_command_with_its_flags() {
    let reference = reference();
    let (_, commands) = reference.split_once("## Commands\n").unwrap();
    let (commands, _) = commands.split_once("\n## ").unwrap();
    let rows: Vec<Vec<&str>> = commands.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').collect()).collect();
    let of_all = commands.lines().filter(|line| !line.starts_with('|')).flat_map(|line| words(line, "--")).collect::<BTreeSet<_>>();
    for global in Cli::command().get_arguments().filter(|argument| argument.is_global_set()).filter_map(|argument| argument.get_long()) {
        assert!(of_all.contains(&*format!("--{global}")), "--{global} is not said to work with every command");
    }
    for (name, flags) in program() {
        let is_named = |row: &Vec<&str>| inline_code(row[1]).iter().any(|code| *code == name || code.starts_with(&format!("{name} ")));
        let row = rows.iter().find(|row| is_named(row)).unwrap_or_else(|| panic!("no row for lava-mcp {name}"));
        let listed: BTreeSet<String> = words(row[3], "--").into_iter().map(str::to_owned).collect();
        assert_eq!(listed, flags, "flags of lava-mcp {name}");
    }
}

#[test]
fn what_does_not_exist_is_noticed() {
    let refused =
        |line: &str, is_whole| shell(line).iter().filter_map(|command| arguments(command)).any(|words| refusal(words, is_whole).is_some());
    for line in [
        "lava-mcp keyz list",
        "export A=$(lava-mcp keys create \"a b\" --spend-limit 5/fortnight) # x",
        "LAVA_LOG=info lava-mcp gateway --port 1",
        "cat key | lava-mcp login --secret-key",
        "cargo run --release -- demos",
    ] {
        assert!(refused(line, true) && refused(line, false), "{line}");
    }
    assert!(refused("lava-mcp keys update", true) && !refused("lava-mcp keys update", false));
    for line in [
        "lava-mcp keys create \"a b\" --spend-limit 5/day --quiet > key",
        "lava-mcp login --secret-key-stdin < key.txt",
        "claude -- lava-mcp x",
    ] {
        assert!(!refused(line, true), "{line}");
    }
}
