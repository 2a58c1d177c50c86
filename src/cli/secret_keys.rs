//! `lava-mcp secret-keys`: keys that manage the spend keys of the embedded gateway.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, output, serve::App};
use crate::{config::Settings, gateway::Gateway};

#[derive(Debug, Args)]
pub(super) struct SecretKeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a secret key and print it, alone, on stdout. It is not shown again.
    Create {
        /// Its spend keys only reach the sandbox.
        #[arg(long)]
        test: bool,
        /// What you call it.
        #[arg(long, default_value = "secret key")]
        name: String,
    },
    /// List the secret keys.
    List,
    /// End a secret key for good. Spend keys that were made with it go on.
    Delete {
        /// Its id, as list shows it.
        id: String,
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
            output::say(key.expose());
            output::complain("Keep it now: it is not shown again.");
        }
        Action::List => {
            let keys = gateway.secret_keys().map_err(fail)?;
            if json {
                let rows = keys.iter().map(|key| {
                    json!({"secret_key_id": key.id, "key_preview": key.preview, "name": key.name, "test": key.test, "created_at": key.created_at.to_string()})
                });
                return output::print_json(&rows.collect::<Vec<_>>());
            }
            let mut rows = vec![["ID", "KEY", "NAME", "KIND", "CREATED"].map(str::to_owned).to_vec()];
            rows.extend(keys.into_iter().map(|key| {
                let kind = if key.test { "test" } else { "live" };
                vec![key.id, key.preview, key.name, kind.to_owned(), key.created_at.to_string()]
            }));
            output::table(&rows);
        }
        Action::Delete { id } => {
            if !gateway.delete_secret_key(&id).await.map_err(fail)? {
                return Err(Failure::Error(format!("there is no secret key {id}; `lava-mcp secret-keys list` shows them")));
            }
            output::complain(&format!("{id} is deleted."));
        }
    }
    Ok(())
}
