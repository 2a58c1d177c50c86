//! `lava-mcp account`: the account limit, which holds for all keys together.

use clap::{Args, Subcommand};

use super::{Failure, keys::or_none, output, serve::App};
use crate::{
    client::{AccountObject, Change},
    config::Settings,
    domain::{Money, SpendLimit},
};

#[derive(Debug, Args)]
pub(super) struct AccountArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set the account limit; `none` removes it. What all keys have already spent in this cycle counts.
    #[command(after_help = "Examples:\n  lava-mcp account limit 50/month\n  lava-mcp account limit none")]
    Limit {
        /// The most money per cycle, such as 50/month or 50.00/monthly, or none.
        #[arg(value_name = "AMOUNT/CYCLE", required = true, num_args = 1..)]
        limit: Vec<String>,
    },
}

pub(super) async fn account(settings: Settings, args: AccountArgs, json: bool) -> Result<(), Failure> {
    let limit = match &args.action {
        // `5 a day` comes as three words.
        Some(Action::Limit { limit }) => Some(or_none(SpendLimit::parse_short)(&limit.join(" "))?),
        None => None,
    };
    let app = App::new(settings)?;
    let done = async {
        let secret = app.session.owner_key().await?;
        let client = app.session.client().await?;
        let account = match args.action {
            None => client.account(&secret).await?,
            Some(Action::Limit { .. }) => client.limit_account(&secret, limit.and_then(Change::value)).await?,
        };
        show(&account, json)
    };
    let done = done.await;
    app.close().await;
    done
}

fn show(account: &AccountObject, json: bool) -> Result<(), Failure> {
    if json {
        return output::print_json(account);
    }
    let spent = account.current_spend.parse::<Money>().map_or_else(|_| account.current_spend.clone(), |spent| spent.to_string());
    let when = if account.spend_limit.is_some() { "this cycle" } else { "in total" };
    let limit =
        account.spend_limit.as_ref().map_or_else(|| "none".to_owned(), |limit| format!("{} USD {}", limit.amount, limit.cycle.as_str()));
    let mut rows = vec![
        ["Account", if account.test { "sandbox" } else { "live" }].map(str::to_owned).to_vec(),
        vec!["Limit".to_owned(), limit],
        vec!["Spent".to_owned(), format!("{spent} USD {when}")],
        vec!["Held".to_owned(), format!("{} USD by calls in flight", account.held)],
        vec!["Left".to_owned(), account.remaining.as_ref().map_or_else(|| "unlimited".to_owned(), |left| format!("{left} USD"))],
    ];
    rows.extend(account.resets_at.as_ref().map(|at| vec!["Resets".to_owned(), at.clone()]));
    output::table(&rows);
    Ok(())
}
