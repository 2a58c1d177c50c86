//! `lava-mcp install CLIENT` and `uninstall`: our entry in the client's own config file, and nothing else in it.
//!
//! The file is read, the change is made in its text and checked against what the text means, and only then it replaces the file.

mod change;
mod client;
mod diff;
mod document;
mod file;
mod json;
mod link;
mod place;
mod program;
mod toml;
mod toml_layout;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Failure, output};
use crate::{
    config::{Environment, Flags},
    domain::SpendLimit,
};

use change::Change;
pub(super) use client::{Client, Launch, Scope};
pub(super) use link::links;
pub(super) use place::{Machine, Os};

/// How often a file that another program keeps changing is read anew.
const ATTEMPTS_MAX: usize = 5;

#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Give the server a variable with this value; can be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Have the client pass on this variable of its own environment; can be repeated.
    #[arg(long, value_name = "NAME")]
    pass: Vec<String>,
    /// The most a session may spend, such as 5.00/daily.
    #[arg(long, value_name = "LIMIT")]
    limit: Option<String>,
    /// Register a server that runs at this address (lava-mcp serve) instead of one that the client starts.
    #[arg(long, value_name = "URL", conflicts_with_all = ["env", "pass", "limit"])]
    url: Option<String>,
    /// Only print what to paste into the file.
    #[arg(long, conflicts_with = "dry_run")]
    print: bool,
    /// Only print links that open the client with the server filled in (Cursor, VS Code).
    #[arg(long, conflicts_with_all = ["dry_run", "print"])]
    link: bool,
}

#[derive(Debug, Args)]
pub(super) struct UninstallArgs {
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
struct TargetArgs {
    /// The client.
    #[arg(value_enum)]
    client: Client,
    /// The server's name in the client.
    #[arg(long, default_value = "lava")]
    name: String,
    /// Which settings to change: the user's, or those of the project in this folder.
    #[arg(long, value_enum, default_value = "user")]
    scope: Scope,
    /// Show the change, write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Change an entry of that name even if it starts another program.
    #[arg(long)]
    force: bool,
}

/// What was done, for scripts.
struct Outcome {
    action: &'static str,
    file: PathBuf,
    backup: Option<PathBuf>,
    /// What changed, for `--dry-run`.
    diff: Option<String>,
}

pub(super) fn install(args: &InstallArgs, flags: &Flags, environment: &Environment, json: bool) -> Result<(), Failure> {
    let target = &args.target;
    target.check_name()?;
    let launch = launch(args, flags, environment)?;
    let client = target.client;
    let entry = client.entry(&launch, Os::HERE)?;
    if args.print || args.link {
        let lines = if args.link { links(client, &target.name, &entry)? } else { vec![client.snippet(&target.name, &entry)?] };
        if json {
            return output::print_json(&json!({"client": client.id(), if args.link { "links" } else { "snippet" }: lines}));
        }
        lines.iter().for_each(|line| output::say(line));
        return Ok(());
    }
    let file = target.file(environment)?;
    if file.parent().is_some_and(|folder| !folder.exists()) && target.scope == Scope::User {
        output::complain(&format!("note: {} does not look installed here: its folder did not exist yet", client.title()));
    }
    for (name, _) in clear_text_secrets(&launch) {
        output::complain(&format!(
            "note: {name} is in {} in clear text; `lava-mcp providers set` keeps a provider's key in the keyring",
            file.display()
        ));
    }
    let outcome = target.apply(file, |text| change::install(target, &entry, text))?;
    target.report(&outcome, json, true)
}

pub(super) fn uninstall(args: &UninstallArgs, environment: &Environment, json: bool) -> Result<(), Failure> {
    let target = &args.target;
    target.check_name()?;
    let file = target.file(environment)?;
    let outcome = target.apply(file, |text| change::uninstall(target, text))?;
    target.report(&outcome, json, false)
}

fn launch(args: &InstallArgs, flags: &Flags, environment: &Environment) -> Result<Launch, Failure> {
    if let Some(url) = &args.url {
        if flags.sandbox || flags.config.is_some() || flags.data_dir.is_some() {
            return Err("With --url the server is already running: give --sandbox, --config and --data-dir to `lava-mcp serve`."
                .to_owned()
                .into());
        }
        return Ok(Launch::Http { url: checked_url(url)? });
    }
    let mut env = Vec::new();
    let mut set = |name: &str, value: String| {
        env.retain(|(known, _)| known != name);
        env.push((name.to_owned(), value));
    };
    if let Some(limit) = &args.limit {
        SpendLimit::parse_short(limit).map_err(|error| format!("--limit: {error}"))?;
        set("LAVA_SESSION_LIMIT", limit.clone());
    }
    if flags.sandbox {
        set("LAVA_SANDBOX", "1".to_owned());
    }
    if let Some(store) = flags.store {
        set("LAVA_CREDENTIAL_STORE", store.as_str().to_owned());
    }
    // The client starts the server in another folder and without these flags.
    for (name, path) in [("LAVA_CONFIG", &flags.config), ("LAVA_DATA_DIR", &flags.data_dir)] {
        if let Some(path) = path {
            let path = std::path::absolute(path).map_err(|error| error.to_string())?;
            set(name, path.to_str().ok_or_else(|| format!("{} is not Unicode", path.display()))?.to_owned());
        }
    }
    for pair in &args.env {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("--env {pair}: write NAME=VALUE"))?;
        check_variable("--env", name)?;
        set(name, value.to_owned());
    }
    for name in &args.pass {
        check_variable("--pass", name)?;
    }
    let (command, warning) = program::path(environment.get("PATH"))?;
    if let Some(warning) = warning {
        output::complain(&format!("note: {warning}"));
    }
    Ok(Launch::Stdio { command, env, pass: args.pass.clone() })
}

fn checked_url(text: &str) -> Result<String, Failure> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| format!("--url {text}: give an address such as http://127.0.0.1:8484/mcp"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("--url: an address with a password in it shows the password to everybody; leave it out".to_owned().into());
    }
    if url.path().trim_end_matches('/').ends_with("/sse") {
        return Err(format!("--url {text}: that is the deprecated transport; use the address that ends in /mcp").into());
    }
    Ok(text.to_owned())
}

fn check_variable(flag: &str, name: &str) -> Result<(), Failure> {
    let is_fine = !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_fine && !name.is_empty() { Ok(()) } else { Err(format!("{flag} {name}: that is not the name of a variable").into()) }
}

/// Variables whose names say that they hold a key.
fn clear_text_secrets(launch: &Launch) -> impl Iterator<Item = &(String, String)> {
    let env = if let Launch::Stdio { env, .. } = launch { env.as_slice() } else { &[] };
    env.iter().filter(|(name, _)| ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.to_ascii_uppercase().ends_with(word)))
}

impl TargetArgs {
    fn check_name(&self) -> Result<(), Failure> {
        let is_fine = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        // Clients put it in front of the names of tools, which may have 63 characters in all.
        if is_fine && (1..=32).contains(&self.name.len()) {
            return Ok(());
        }
        Err(format!("--name {}: use 1 to 32 letters, digits, - or _", self.name).into())
    }

    fn file(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        let variable = |name: &str| environment.get(name).map(str::to_owned);
        let machine = Machine { os: Os::HERE, variable: &variable, exists: &Path::exists };
        let project = std::env::current_dir().map_err(|error| error.to_string())?;
        let file = machine.config_file(self.client, self.scope, &project)?;
        Ok(match self.scope {
            Scope::Project => file::within(&project, &file)?,
            Scope::User => file::behind_links(&file)?,
        })
    }

    /// Reads the file, changes its text and writes it, anew if somebody else wrote in between.
    fn apply(&self, file: PathBuf, change: impl Fn(Option<&str>) -> Result<Change, String>) -> Result<Outcome, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let old = file::read(&file)?;
            let explained = |error: String| format!("{}: {error}. The file was not touched.", file.display());
            let old_text = old.as_ref().map(file::Original::text).transpose().map_err(explained)?;
            let Change { action, text } = change(old_text).map_err(explained)?;
            let Some(text) = text else { return Ok(Outcome { action, file, backup: None, diff: None }) };
            if self.dry_run {
                let diff = diff::unified(&file.display().to_string(), old_text, &text);
                return Ok(Outcome { action, file, backup: None, diff: Some(diff) });
            }
            if let Some(backup) = file::replace(&file, old.as_ref(), &text, self.scope == Scope::User)? {
                return Ok(Outcome { action, file, backup, diff: None });
            }
        }
        Err(format!("Another program keeps changing {}. Close {} and try again.", file.display(), self.client.title()).into())
    }

    fn report(&self, outcome: &Outcome, json: bool, is_install: bool) -> Result<(), Failure> {
        let next = self.client.next_step(self.scope);
        let is_written = outcome.diff.is_none() && !matches!(outcome.action, "unchanged" | "absent");
        if json {
            let mut report = json!({
                "client": self.client.id(), "name": self.name, "action": outcome.action, "file": outcome.file, "written": is_written,
                "backup": outcome.backup,
            });
            if let Some(diff) = &outcome.diff {
                report["diff"] = json!(diff);
            }
            if is_install {
                report["next"] = json!(next);
            }
            return output::print_json(&report);
        }
        if let Some(diff) = &outcome.diff {
            output::Streamed::default().say(diff);
            output::complain("Nothing was written.");
            return Ok(());
        }
        let file = outcome.file.display();
        output::say(&match outcome.action {
            "absent" => format!("There is no server \"{}\" in {file}: nothing to remove.", self.name),
            "unchanged" => format!("The server \"{}\" is already in {file} with these settings: nothing was changed.", self.name),
            "removed" => format!("Removed the server \"{}\" from {file}.", self.name),
            action => format!("{} the server \"{}\" in {file}.", if action == "updated" { "Updated" } else { "Added" }, self.name),
        });
        if let Some(backup) = &outcome.backup {
            output::say(&format!("The previous file is kept as {}.", backup.display()));
        }
        if is_install {
            output::say(&format!("Next: {next} Then tell the agent: “Log in to {} and say what I may spend.”", self.name));
        }
        Ok(())
    }
}

/// The entry that the manifest and the guides show: the plain command, without anything of this machine.
pub(super) fn plain_entry(client: Client, launch: &Launch) -> Result<Map<String, Value>, String> {
    client.entry(launch, Os::Linux)
}
