//! `lava-mcp keys`: spend keys of the embedded gateway, or of a remote one with `LAVA_SECRET_KEY`.

mod args;
mod find;
mod holds;
mod show;
mod warnings;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, keyboard, output, serve::App};
use crate::{
    client::{Client, KeyUpdate, PageQuery},
    config::Settings,
    domain::{Secret, Status},
};
use args::Limits;
pub(super) use args::or_none;
use find::{Purpose, find};
use warnings::Warning;

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a spend key and show it once. It needs a limit of money or of requests, or --unlimited.
    #[command(after_help = "Examples:\n  lava-mcp keys create \"my editor\" --spend-limit 5/day --models 'gpt-4o*'\n  \
                            lava-mcp keys create ci --request-limit 1k/day --expires-at 30d --quiet")]
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        limits: Limits,
        /// Print the key alone.
        #[arg(long)]
        quiet: bool,
    },
    /// List the spend keys, newest first.
    List {
        /// Also list those that are revoked.
        #[arg(long)]
        all: bool,
        /// How many, 1 to 100.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=100))]
        limit: u8,
        /// The next_cursor of the previous page.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show everything about one spend key.
    #[command(after_help = "Example:\n  lava-mcp keys show \"my editor\"")]
    Show {
        /// Its name or id, as list shows it; a revoked one by its id.
        key: String,
    },
    /// Change a key's limits; what is not given stays, and `none` removes a limit.
    #[command(after_help = "Example:\n  lava-mcp keys update \"my editor\" --spend-limit 10/day --expires-at none")]
    Update {
        /// Its name or id.
        key: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Refuse a key until it is resumed.
    Pause {
        /// Its name or id.
        key: String,
    },
    /// Let a paused key work again.
    Resume {
        /// Its name or id.
        key: String,
    },
    /// Give a key a new value; the old one stops working at once.
    Rotate {
        /// Its name or id.
        key: String,
        /// Print the new key alone.
        #[arg(long)]
        quiet: bool,
    },
    /// Revoke a key for good. On a terminal you are asked first; `list --all` still shows the key.
    #[command(after_help = "Example:\n  lava-mcp keys revoke \"my editor\" --yes")]
    Revoke {
        /// Its name or id.
        key: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
    /// Show money that is set aside, and unverified charges.
    Holds {
        /// Only those of this spend key, by its name or id.
        key: Option<String>,
    },
    /// Write off an unverified charge that the provider did not bill.
    #[command(after_help = "Example:\n  lava-mcp keys write-off hold_01KB… --reason \"not on the bill\"")]
    WriteOff {
        /// The hold, as `keys holds` shows it.
        hold: String,
        /// The reason, kept in the ledger; 1 to 255 characters.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

pub(super) async fn keys(settings: Settings, args: KeysArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings.clone())?;
    let done = async {
        let secret = app.session.owner_key().await?;
        let client = app.session.client().await?;
        Command { settings: &settings, client: &client, secret: &secret, json }.run(args.action).await
    };
    let done = done.await;
    app.close().await;
    done
}

/// A command with what it needs.
struct Command<'a> {
    settings: &'a Settings,
    client: &'a Client,
    secret: &'a Secret,
    json: bool,
}

impl Command<'_> {
    async fn run(&self, action: Action) -> Result<(), Failure> {
        let Self { client, secret, json, .. } = *self;
        match action {
            Action::Create { name, limits, quiet } => self.create(name, limits, quiet).await,
            Action::List { all, limit, cursor } => self.list(all, PageQuery { limit: Some(limit), cursor }).await,
            Action::Show { key } => {
                let key = find(client, secret, &key, Purpose::Show).await?;
                // A gateway that is not ours does not show them.
                let holds = client.holds(secret, Some(&key.spend_key_id)).await.ok();
                show::whole(&key, holds.as_ref(), self.settings, json)
            }
            Action::Update { key, name, limits } => self.update(&key, name, limits).await,
            Action::Pause { key } => self.set_status(&key, Status::Paused).await,
            Action::Resume { key } => self.set_status(&key, Status::Active).await,
            Action::Rotate { key, quiet } => {
                let id = find(client, secret, &key, Purpose::Change).await?.spend_key_id;
                let rotated = client.rotate_spend_key(secret, &id).await?;
                show::new(&rotated.key, &rotated.object, &[], quiet, json)
            }
            Action::Revoke { key, yes } => self.revoke(&key, yes).await,
            Action::Holds { key } => {
                let id = match key {
                    Some(key) => Some(find(client, secret, &key, Purpose::Show).await?.spend_key_id),
                    None => None,
                };
                holds::show(client, secret, id.as_deref(), json).await
            }
            Action::WriteOff { hold, reason } => holds::write_off(client, secret, &hold, &reason, json).await,
        }
    }

    async fn create(&self, name: String, mut limits: Limits, quiet: bool) -> Result<(), Failure> {
        limits.check_new()?;
        let mut warnings = self.warnings(&mut limits).await;
        let new = limits.into_new_key(name);
        warnings.extend(warnings::duplicate(&new.name, &find::all(self.client, self.secret).await?, None));
        let created = self.client.create_spend_key(self.secret, &new).await?;
        warn(&warnings);
        show::new(&created.key, &created.object, &warnings, quiet, self.json)
    }

    async fn list(&self, all: bool, page: PageQuery) -> Result<(), Failure> {
        let is_first = page.cursor.is_none();
        let page = match all {
            true => self.client.spend_keys_with_revoked(self.secret, &page).await?,
            false => self.client.spend_keys(self.secret, &page).await?,
        };
        if self.json {
            return output::print_json(&page);
        }
        if page.data.is_empty() {
            output::complain(match is_first {
                true => {
                    "No spend keys; `lava-mcp keys create NAME --spend-limit 5/day` makes one, and `lava-mcp keys list --all` shows revoked ones."
                }
                false => "No spend keys follow this cursor; `lava-mcp keys list` shows the first ones.",
            });
            return Ok(());
        }
        show::table(&page.data);
        if let Some(cursor) = page.next_cursor {
            output::complain(&format!("More: --cursor {cursor}"));
        }
        Ok(())
    }

    async fn update(&self, key: &str, name: Option<String>, mut limits: Limits) -> Result<(), Failure> {
        let before = find(self.client, self.secret, key, Purpose::Change).await?;
        let mut warnings = self.warnings(&mut limits).await;
        let update = limits.into_update(name, &before)?;
        if update.is_empty() {
            return Err(Failure::Error("say what to change, such as --spend-limit 10.00/daily".to_owned()));
        }
        if let Some(name) = update.name.as_ref().filter(|name| **name != before.name) {
            warnings.extend(warnings::duplicate(name, &find::all(self.client, self.secret).await?, Some(&before.spend_key_id)));
        }
        let updated = self.client.update_spend_key(self.secret, &before.spend_key_id, &update).await?;
        warn(&warnings);
        show::changed(&updated, &warnings, self.json)
    }

    async fn set_status(&self, key: &str, status: Status) -> Result<(), Failure> {
        let id = find(self.client, self.secret, key, Purpose::Change).await?.spend_key_id;
        let update = KeyUpdate { status: Some(status), ..KeyUpdate::default() };
        let updated = self.client.update_spend_key(self.secret, &id, &update).await?;
        if self.json {
            return output::print_json(&updated);
        }
        show::table(&[updated]);
        Ok(())
    }

    async fn revoke(&self, key: &str, yes: bool) -> Result<(), Failure> {
        let key = find(self.client, self.secret, key, Purpose::Change).await?;
        let (id, name) = (&key.spend_key_id, &key.name);
        if !yes && keyboard::is_there() && !keyboard::confirm(&format!("Revoke \"{name}\" ({id})? It cannot be undone.")).await? {
            return Err(Failure::Cancelled(format!("{id} was not revoked")));
        }
        self.client.revoke_spend_key(self.secret, id).await?;
        if self.json {
            return output::print_json(&json!({"revoked": id, "name": name}));
        }
        output::complain(&format!("\"{name}\" ({id}) is revoked."));
        Ok(())
    }

    /// What is likely not meant in the lists; providers get their ids on the way.
    async fn warnings(&self, limits: &mut Limits) -> Vec<Warning> {
        let mut warnings = warnings::models(self.client, self.settings, limits.models.as_ref()).await;
        let (providers, more) = warnings::providers(self.client, self.settings, limits.providers.take()).await;
        limits.providers = providers;
        warnings.extend(more);
        warnings
    }
}

fn warn(warnings: &[Warning]) {
    warnings.iter().for_each(|warning| output::complain(&format!("warning: {}", warning.message)));
}
