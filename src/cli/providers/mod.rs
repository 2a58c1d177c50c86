//! `lava-mcp providers`: keys of providers in the vault. A key is typed without being shown, or read from stdin: an argument would end up in the shell's history.

mod shape;
pub(super) mod sources;

use std::collections::HashSet;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure, keyboard, known, output,
    serve::{provider_keys, provider_vault},
};
use crate::{
    catalog::{Catalog, Provider},
    config::Settings,
    domain::Secret,
    session::{ProviderKeys, SessionError, VaultError},
};
use sources::Source;

#[derive(Debug, Args)]
pub(super) struct ProvidersArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Store a provider's key. You are asked for it, and it is not shown while you type or paste it.
    #[command(after_help = "Examples:\n  lava-mcp providers set openai\n  pass show openai | lava-mcp providers set openai")]
    Set {
        /// The provider, such as openai or "Mistral AI".
        #[arg(value_name = "PROVIDER", required = true, num_args = 1..)]
        provider: Vec<String>,
    },
    /// Delete a provider's key.
    #[command(after_help = "Example:\n  lava-mcp providers remove openai")]
    Remove {
        /// The provider, such as openai.
        provider: String,
    },
    /// List the providers that have a key, and where each key comes from.
    List,
}

/// What a person calls the vault.
pub(super) const fn called(kind: &str) -> &str {
    match kind.as_bytes() {
        b"file" => "file store",
        _ => "keyring",
    }
}

impl ProvidersArgs {
    /// Whether a key is to be kept, for a provider that there is.
    pub(super) fn keeps_key(&self, settings: &Settings) -> Result<bool, Failure> {
        let Action::Set { provider } = &self.action else { return Ok(false) };
        meant(settings, &one_name(settings, provider)?).map(|_| true)
    }
}

pub(super) async fn providers(settings: Settings, args: ProvidersArgs, json: bool) -> Result<(), Failure> {
    let kept = provider_keys(&settings);
    match args.action {
        Action::List => list(&settings, &kept, json).await,
        Action::Set { provider } => set(&settings, &kept, &one_name(&settings, &provider)?, json).await,
        Action::Remove { provider } => remove(&settings, &kept, &provider, json).await,
    }
}

async fn list(settings: &Settings, kept: &ProviderKeys, json: bool) -> Result<(), Failure> {
    let kind = provider_vault(settings).kind();
    let vault = called(kind);
    let names = kept.names();
    // The vault is only looked into where something should be there: looking can wake a keyring.
    let unreadable = if names.is_empty() { None } else { kept.load().await.err().map(|error| error.to_string()) };
    let keys = sources::all(settings, &names);
    if let Some(error) = &unreadable {
        output::complain(&format!("warning: {error}"));
    }
    if json {
        let mut in_vault: Vec<&String> = names.iter().collect();
        in_vault.sort_unstable();
        let keys: Vec<Value> = keys.iter().map(|key| key.to_json(settings, kind)).collect();
        return output::print_json(&json!({"stored_in": kind, "providers": in_vault, "keys": keys}));
    }
    if keys.is_empty() {
        output::complain(
            "No provider has a key yet. `lava-mcp providers set openai` stores one; a variable such as OPENAI_API_KEY is used too.",
        );
        return Ok(());
    }
    let mut rows = vec![["PROVIDER", "KEY FROM", "ALSO THERE, NOT USED"].map(str::to_owned).to_vec()];
    for key in &keys {
        let mut places = key.sources.iter().map(|source| source.describe(vault));
        let missing = || key.unset.as_ref().map_or_else(String::new, |name| format!("nowhere: {name} is not set"));
        let first = places.next().unwrap_or_else(missing);
        rows.push(vec![key.provider.clone(), first, places.collect::<Vec<_>>().join(", ")]);
    }
    output::table(&rows);
    for key in &keys {
        if let Some(note) = shadow(&key.sources, &key.provider, vault) {
            output::complain(&format!("note: {note}"));
        }
    }
    Ok(())
}

/// That the key in the vault is not used, because another place comes first.
fn shadow(sources: &[Source], provider: &str, vault: &str) -> Option<String> {
    let first = sources.first().filter(|first| **first != Source::Vault && sources.contains(&Source::Vault))?;
    Some(format!("the key for {provider} in the {vault} is not used: the {} comes first", first.describe(vault)))
}

/// The name that was typed in one word or several. A key beside it, or in its place, is not taken and not repeated.
fn one_name(settings: &Settings, words: &[String]) -> Result<String, Failure> {
    let whole = words.join(" ");
    if known::provider(settings, &whole).is_some() || (words.len() == 1 && !shape::is_key(&whole)) {
        return Ok(whole);
    }
    let name = words.first().filter(|first| known::provider(settings, first).is_some()).map_or("NAME", String::as_str);
    let text = format!("give the provider alone, as in `lava-mcp providers set {name}`: its key is asked for, or piped in");
    Err(Failure::coded("usage", text))
}

/// The provider that is meant, or what to write instead.
fn meant(settings: &Settings, text: &str) -> Result<String, Failure> {
    known::provider(settings, text).ok_or_else(|| {
        let near = known::did_you_mean(&known::providers_near(settings, text));
        let hint = if near.is_empty() { "; `lava-mcp search --kind service` finds them" } else { &near };
        Failure::Error(format!("no provider is called \"{text}\"{hint}"))
    })
}

async fn set(settings: &Settings, kept: &ProviderKeys, text: &str, json: bool) -> Result<(), Failure> {
    let provider = meant(settings, text)?;
    let catalog = Catalog::embedded().provider(&provider);
    let name = catalog.map_or(provider.as_str(), |known| &known.name);
    let line = keyboard::secret_line(&format!("Paste the key for {name} (it is not shown), then press Enter: ")).await?;
    let key = checked(&line)?;
    let kind = provider_vault(settings).kind();
    let vault = called(kind);
    let is_own = settings.providers.iter().any(|(id, config)| *id == provider && config.base_url.is_some());
    let doubt = if is_own { None } else { shape::doubt(&provider, name, key.expose()) };
    kept.set(&provider, Some(&key)).await.map_err(|error| not_kept(&error, &provider, catalog))?;
    let shadowed = shadow(&sources::of(settings, &HashSet::from([provider.clone()]), &provider).sources, &provider, vault);
    let warnings: Vec<String> = doubt.into_iter().chain(shadowed).collect();
    if json {
        output::print_json(&json!({"provider": provider, "stored_in": kind, "warnings": warnings}))?;
    }
    warnings.iter().for_each(|warning| output::complain(&format!("warning: {warning}")));
    if !json {
        output::complain(&format!("The key for {provider} is kept in the {vault}."));
    }
    Ok(())
}

fn not_kept(error: &VaultError, id: &str, catalog: Option<&Provider>) -> Failure {
    let variable = catalog.and_then(|provider| provider.env.first());
    let instead =
        variable.map_or_else(|| "let the config file name a variable that has it".to_owned(), |name| format!("set {name} to the key"));
    Failure::Error(format!("{error}\nhint: {}", error.hint_with(&format!("providers set {id}"), &instead)))
}

/// A key alone, as it is sent to a provider.
fn checked(line: &str) -> Result<Secret, Failure> {
    let key = line.trim();
    let fail = |why: &str| Err(Failure::Error(why.to_owned()));
    if key.is_empty() {
        return fail("no key was given: paste it when asked, or pipe it in, on one line");
    }
    if key.starts_with(['"', '\'']) || key.starts_with("export ") || key.split_once('=').is_some_and(|(name, _)| is_variable(name)) {
        return fail("this is more than a key: leave out quotes and the name of the variable");
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return fail("this is not a key: it has spaces, or characters that no key has");
    }
    Ok(Secret::new(key))
}

/// Whether a text is what people call variables that hold keys.
fn is_variable(name: &str) -> bool {
    name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

async fn remove(settings: &Settings, kept: &ProviderKeys, text: &str, json: bool) -> Result<(), Failure> {
    let kind = provider_vault(settings).kind();
    let vault = called(kind);
    let keys = kept.load().await.map_err(SessionError::from)?;
    // What is kept under a name that is not known any more can be removed too.
    let provider = if keys.contains_key(text) { text.to_owned() } else { meant(settings, text)? };
    if !keys.contains_key(&provider) {
        let elsewhere = sources::of(settings, &HashSet::new(), &provider).sources;
        let elsewhere = elsewhere.first().map_or_else(String::new, |source| format!("; its key comes from the {}", source.describe(vault)));
        return Err(Failure::Error(format!("the {vault} has no key for {provider}{elsewhere}")));
    }
    kept.set(&provider, None).await.map_err(SessionError::from)?;
    if json {
        return output::print_json(&json!({"removed": provider, "stored_in": kind}));
    }
    output::complain(&format!("The {vault} no longer has a key for {provider}."));
    let elsewhere = sources::of(settings, &HashSet::new(), &provider).sources;
    if let Some(source) = elsewhere.first() {
        output::complain(&format!("note: its key still comes from the {}.", source.describe(vault)));
    }
    Ok(())
}
