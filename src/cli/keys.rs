//! `lava-mcp keys`: spend keys of the embedded gateway, or of a remote one with `LAVA_SECRET_KEY`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Failure, holds, output, serve::App};
use crate::{
    client::{Change, Client, KeyTerms, KeyUpdate, NewKey, PageQuery, SpendKeyObject},
    config::Settings,
    domain::{Cycle, Money, RateLimit, RequestLimit, RequestShape, Secret, SpendLimit, Status},
};

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a spend key and show it, once.
    Create {
        /// What you call it.
        name: String,
        #[command(flatten)]
        limits: Limits,
        /// Print the key alone.
        #[arg(long)]
        quiet: bool,
    },
    /// List the spend keys, newest first.
    List {
        /// How many, 1 to 100.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=100))]
        limit: u8,
        /// The next_cursor of the page before.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one spend key.
    Show {
        /// Its id, as list shows it.
        id: String,
    },
    /// Change limits; what is not named stays, and `none` lifts a limit.
    Update {
        /// Its id.
        id: String,
        /// What you call it.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Refuse a key until it is resumed.
    Pause {
        /// Its id.
        id: String,
    },
    /// Let a paused key work again.
    Resume {
        /// Its id.
        id: String,
    },
    /// Give a key a new value; the old one stops working at once.
    Rotate {
        /// Its id.
        id: String,
        /// Print the new key alone.
        #[arg(long)]
        quiet: bool,
    },
    /// End a key for good.
    Revoke {
        /// Its id.
        id: String,
    },
    /// Show money that is set aside, and unverified charges.
    Holds {
        /// Only those of this spend key.
        id: Option<String>,
    },
    /// Take an unverified charge back that the provider did not bill.
    WriteOff {
        /// The hold, as holds shows it.
        hold: String,
        /// Why, for the books; 1 to 255 characters.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Which endpoint family a key may use.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    Openai,
    Anthropic,
}

#[derive(Debug, Args)]
struct Limits {
    /// Most money a cycle, such as 50.00/monthly.
    #[arg(long, value_name = "AMOUNT/CYCLE", value_parser = or_none(SpendLimit::parse_short))]
    spend_limit: Option<Change<SpendLimit>>,
    /// Most requests a cycle, such as 1000/daily.
    #[arg(long, value_name = "COUNT/CYCLE", value_parser = or_none(parse_count))]
    request_limit: Option<Change<RequestLimit>>,
    /// Requests a minute, such as 60, or 60/10 with a burst of 10.
    #[arg(long, value_name = "RPM[/BURST]", value_parser = or_none(parse_rate))]
    rate_limit: Option<Change<RateLimit>>,
    /// Models it may use, with commas between them; a trailing * matches what follows.
    #[arg(long, value_name = "MODELS", value_parser = or_none(parse_list))]
    models: Option<Change<Vec<String>>>,
    /// Providers it may use, with commas between them.
    #[arg(long, value_name = "PROVIDERS", value_parser = or_none(parse_list))]
    providers: Option<Change<Vec<String>>>,
    /// When it stops working, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = or_none(|text: &str| text.parse::<jiff::Timestamp>().map_err(|error| error.to_string())))]
    expires_at: Option<Change<jiff::Timestamp>>,
    /// Which API it speaks.
    #[arg(long)]
    shape: Option<Shape>,
    /// Let it buy what a provider runs for a fee of its own, such as web searches; `false` ends that.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    hosted_tools: Option<bool>,
    /// Lower an output cap that is more than there is money for, as Claude Code's, rather than refuse the request; `false` ends that.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    lower_output_cap: Option<bool>,
}

/// A value, or the word `none`.
pub(super) fn or_none<T>(parse: impl Fn(&str) -> Result<T, String> + Clone) -> impl Fn(&str) -> Result<Change<T>, String> + Clone {
    move |text| if text == "none" { Ok(Change::Lift) } else { parse(text).map(Change::Set) }
}

fn parse_count(text: &str) -> Result<RequestLimit, String> {
    let parsed =
        text.split_once('/').and_then(|(count, cycle)| Some(RequestLimit { count: count.parse().ok()?, cycle: Cycle::parse(cycle)? }));
    parsed.ok_or_else(|| "write a count and a cycle, such as 1000/daily (daily, weekly, monthly or total)".to_owned())
}

fn parse_rate(text: &str) -> Result<RateLimit, String> {
    let (rpm, burst) = text.split_once('/').map_or((text, None), |(rpm, burst)| (rpm, Some(burst)));
    let number = |text: &str| text.parse().map_err(|_| "write requests a minute, such as 60, or 60/10 with a burst of 10".to_owned());
    Ok(RateLimit { rpm: number(rpm)?, burst: burst.map(number).transpose()? })
}

#[expect(clippy::unnecessary_wraps, reason = "the parser of an argument returns a result")]
fn parse_list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
}

impl From<Shape> for RequestShape {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Openai => Self::Openai,
            Shape::Anthropic => Self::Anthropic,
        }
    }
}

impl Limits {
    const fn terms(&self) -> KeyTerms {
        KeyTerms { hosted_tools: self.hosted_tools, lower_output_cap: self.lower_output_cap }
    }

    fn into_new_key(self, name: String) -> NewKey {
        NewKey {
            terms: self.terms(),
            request_shape: self.shape.map_or_else(RequestShape::default, RequestShape::from),
            spend_limit: self.spend_limit.and_then(Change::value),
            request_limit: self.request_limit.and_then(Change::value),
            rate_limit: self.rate_limit.and_then(Change::value),
            allowed_models: self.models.and_then(Change::value),
            allowed_providers: self.providers.and_then(Change::value),
            expires_at: self.expires_at.and_then(Change::value),
            ..NewKey::named(name)
        }
    }

    fn into_update(self, name: Option<String>) -> KeyUpdate {
        KeyUpdate {
            terms: self.terms(),
            name,
            status: None,
            request_shape: self.shape.map(RequestShape::from),
            spend_limit: self.spend_limit.unwrap_or_default(),
            request_limit: self.request_limit.unwrap_or_default(),
            rate_limit: self.rate_limit.unwrap_or_default(),
            allowed_models: self.models.unwrap_or_default(),
            allowed_providers: self.providers.unwrap_or_default(),
            expires_at: self.expires_at.unwrap_or_default(),
        }
    }
}

pub(super) async fn keys(settings: Settings, args: KeysArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let done = async {
        let secret = app.session.owner_key().await?;
        let client = app.session.client().await?;
        run(&client, &secret, args.action, json).await
    };
    let done = done.await;
    app.close().await;
    done
}

async fn run(client: &Client, secret: &Secret, action: Action, json: bool) -> Result<(), Failure> {
    match action {
        Action::Create { name, limits, quiet } => {
            let created = client.create_spend_key(secret, &limits.into_new_key(name)).await?;
            show_new(&created.key, &created.object, quiet, json)
        }
        Action::Rotate { id, quiet } => {
            let rotated = client.rotate_spend_key(secret, &id).await?;
            show_new(&rotated.key, &rotated.object, quiet, json)
        }
        Action::List { limit, cursor } => {
            let page = client.spend_keys(secret, &PageQuery { limit: Some(limit), cursor }).await?;
            if json {
                return output::print_json(&page);
            }
            table(&page.data);
            if let Some(cursor) = page.next_cursor {
                output::complain(&format!("More: --cursor {cursor}"));
            }
            Ok(())
        }
        Action::Show { id } => show(&client.spend_key(secret, &id).await?, json),
        Action::Update { id, name, limits } => {
            let update = limits.into_update(name);
            if update.is_empty() {
                return Err(Failure::Error("say what to change, such as --spend-limit 10.00/daily".to_owned()));
            }
            show(&client.update_spend_key(secret, &id, &update).await?, json)
        }
        Action::Pause { id } => show(&client.update_spend_key(secret, &id, &to_status(Status::Paused)).await?, json),
        Action::Resume { id } => show(&client.update_spend_key(secret, &id, &to_status(Status::Active)).await?, json),
        Action::Revoke { id } => {
            client.revoke_spend_key(secret, &id).await?;
            if json {
                return output::print_json(&json!({"revoked": id}));
            }
            output::complain(&format!("{id} is revoked."));
            Ok(())
        }
        Action::Holds { id } => holds::show(client, secret, id.as_deref(), json).await,
        Action::WriteOff { hold, reason } => holds::write_off(client, secret, &hold, &reason, json).await,
    }
}

fn to_status(status: Status) -> KeyUpdate {
    KeyUpdate { status: Some(status), ..KeyUpdate::default() }
}

fn show_new(key: &Secret, object: &SpendKeyObject, quiet: bool, json: bool) -> Result<(), Failure> {
    if json {
        let mut shown = serde_json::to_value(object).unwrap_or_default();
        shown["key"] = key.expose().into();
        return output::print_json(&shown);
    }
    output::say(key.expose());
    if !quiet {
        output::complain("Keep it now: it is not shown again.");
        table(std::slice::from_ref(object));
    }
    Ok(())
}

fn show(object: &SpendKeyObject, json: bool) -> Result<(), Failure> {
    if json {
        return output::print_json(object);
    }
    table(std::slice::from_ref(object));
    Ok(())
}

fn table(keys: &[SpendKeyObject]) {
    let money = |text: &str| text.parse::<Money>().map_or_else(|_| text.to_owned(), |money| money.to_string());
    let mut rows = vec![["ID", "KEY", "NAME", "STATUS", "LIMIT", "SPENT", "LEFT", "REQUESTS", "LAST USED"].map(str::to_owned).to_vec()];
    rows.extend(keys.iter().map(|key| {
        let limit =
            key.spend_limit.as_ref().map_or_else(|| "none".to_owned(), |limit| format!("{} {}", limit.amount, limit.cycle.as_str()));
        vec![
            key.spend_key_id.clone(),
            key.key_preview.clone(),
            key.name.clone(),
            key.status.clone(),
            limit,
            money(&key.current_spend),
            key.remaining().unwrap_or_else(|| "-".to_owned()),
            key.current_requests.to_string(),
            key.last_used_at.clone().unwrap_or_else(|| "never".to_owned()),
        ]
    }));
    output::table(&rows);
    for (key, unverified) in keys.iter().filter_map(|key| Some((key, key.unverified()?))) {
        output::complain(&format!("{}: {unverified} USD of unverified charges; `lava-mcp keys holds` shows them.", key.spend_key_id));
    }
}
