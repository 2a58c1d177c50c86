//! `lava-mcp providers`: keys of providers in the vault. A key is read from stdin: an argument would end up in the shell's history.

use std::io::{BufRead, IsTerminal};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, output,
    serve::{provider_keys, provider_vault},
};
use crate::{catalog::Catalog, config::Settings, domain::Secret, session::SessionError};

#[derive(Debug, Args)]
pub(super) struct ProvidersArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Keep a provider's key, read from stdin.
    Set {
        /// A provider id, such as openai.
        provider: String,
    },
    /// Forget a provider's key.
    Remove {
        /// A provider id, such as openai.
        provider: String,
    },
    /// List the providers whose key is kept.
    List,
}

impl ProvidersArgs {
    /// Whether a key is to be kept.
    pub(super) const fn keeps_key(&self) -> bool {
        matches!(self.action, Action::Set { .. })
    }
}

pub(super) async fn providers(settings: Settings, args: ProvidersArgs, json: bool) -> Result<(), Failure> {
    let kept = provider_keys(&settings);
    let place = provider_vault(&settings).kind();
    let known = |id: &str| Catalog::embedded().provider(id).is_some() || settings.providers.iter().any(|(name, _)| name == id);
    match args.action {
        Action::List => {
            let keys = kept.load().await.map_err(SessionError::from)?;
            let names: Vec<&String> = keys.keys().collect();
            if json {
                return output::print_json(&json!({"stored_in": place, "providers": names}));
            }
            names.iter().for_each(|name| output::say(name));
            output::complain(&format!("{} keys in the {place}", names.len()));
        }
        Action::Set { provider } => {
            if !known(&provider) {
                return Err(Failure::Error(format!(
                    "no provider is called \"{provider}\"; `lava-mcp search --kind service {provider}` finds them"
                )));
            }
            let key = read_key(&provider)?;
            kept.set(&provider, Some(&key)).await.map_err(SessionError::from)?;
            output::complain(&format!("The key for {provider} is kept in the {place}."));
        }
        Action::Remove { provider } => {
            kept.set(&provider, None).await.map_err(SessionError::from)?;
            output::complain(&format!("The {place} has no key for {provider} any more."));
        }
    }
    Ok(())
}

fn read_key(provider: &str) -> Result<Secret, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::complain(&format!("Paste the key for {provider}, then press Enter:"));
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|error| Failure::Error(error.to_string()))?;
    let key = line.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(Failure::Error("a key on one line of stdin is needed".to_owned()));
    }
    Ok(Secret::new(key))
}
