//! `lava-mcp secret-keys`: keys that manage the spend keys of the embedded gateway.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, keyboard, output, serve::App};
use crate::{config::Settings, gateway::Gateway, store::SecretKey};

#[derive(Debug, Args)]
pub(super) struct SecretKeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a secret key and print it, alone, on stdout. It is not shown again.
    #[command(after_help = "Example:\n  export LAVA_SECRET_KEY=$(lava-mcp secret-keys create --name \"our backend\")")]
    Create {
        /// Its spend keys only reach the sandbox.
        #[arg(long)]
        test: bool,
        /// Its name.
        #[arg(long, default_value = "secret key")]
        name: String,
    },
    /// List the secret keys.
    List,
    /// Delete a secret key for good; on a terminal you are asked first. Spend keys made with it keep working.
    Delete {
        /// Its id, or its name if no other key has it, as list shows them.
        key: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
}

pub(super) async fn secret_keys(settings: Settings, args: SecretKeysArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let gateway = app.gateway().await?;
    let done = run(&gateway, args.action, json).await;
    app.close().await;
    done
}

async fn run(gateway: &Gateway, action: Action, json: bool) -> Result<(), Failure> {
    let fail = |error: crate::store::StoreError| Failure::Error(error.to_string());
    match action {
        Action::Create { test, name } => {
            let key = gateway.create_secret_key(&name, test).await.map_err(fail)?;
            if json {
                let keys = gateway.secret_keys().map_err(fail)?;
                let mut shown = keys.iter().find(|made| made.preview == key.preview()).map(object).unwrap_or_default();
                shown["key"] = key.expose().into();
                return output::print_json(&shown);
            }
            output::say(key.expose());
            output::complain("Save it now: it is not shown again.");
        }
        Action::List => {
            let keys = gateway.secret_keys().map_err(fail)?;
            if json {
                return output::print_json(&keys.iter().map(object).collect::<Vec<_>>());
            }
            if keys.is_empty() {
                output::complain("No secret keys yet; `lava-mcp secret-keys create --name NAME` makes one.");
                return Ok(());
            }
            let mut rows = vec![["ID", "KEY", "NAME", "KIND", "CREATED"].map(str::to_owned).to_vec()];
            rows.extend(keys.into_iter().map(|key| {
                let kind = if key.test { "test" } else { "live" };
                vec![key.id, key.preview, key.name, kind.to_owned(), key.created_at.to_string()]
            }));
            output::table(&rows);
        }
        Action::Delete { key, yes } => {
            let keys = gateway.secret_keys().map_err(fail)?;
            let SecretKey { id, name, .. } = find(&keys, &key)?;
            if !yes && keyboard::is_there() && !keyboard::confirm(&format!("Delete \"{name}\" ({id})? It cannot be undone.")).await? {
                return Err(Failure::Cancelled(format!("{id} was not deleted")));
            }
            if !gateway.delete_secret_key(id).await.map_err(fail)? {
                return Err(unknown(&key));
            }
            if json {
                return output::print_json(&json!({"deleted": id, "name": name}));
            }
            output::complain(&format!("\"{name}\" ({id}) is deleted."));
        }
    }
    Ok(())
}

fn object(key: &SecretKey) -> Value {
    json!({"secret_key_id": key.id, "key_preview": key.preview, "name": key.name, "test": key.test, "created_at": key.created_at.to_string()})
}

/// The key with this id or, if there is none, this name.
fn find<'a>(keys: &'a [SecretKey], text: &str) -> Result<&'a SecretKey, Failure> {
    if let Some(key) = keys.iter().find(|key| key.id == text) {
        return Ok(key);
    }
    let same: Vec<&SecretKey> = keys.iter().filter(|key| key.name == text).collect();
    match same.as_slice() {
        [one] => Ok(one),
        [] => Err(unknown(text)),
        several => {
            let ids = several.iter().map(|key| key.id.as_str()).collect::<Vec<_>>().join(", ");
            Err(Failure::Error(format!("{} secret keys are called \"{text}\"; give an id: {ids}", several.len())))
        }
    }
}

fn unknown(text: &str) -> Failure {
    Failure::Error(format!("no secret key is called \"{text}\"; `lava-mcp secret-keys list` shows the keys"))
}
