//! `lava-mcp keys`: spend keys of the embedded gateway, or of a remote one with `LAVA_SECRET_KEY`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Failure, output, serve::App};
use crate::{
    client::{Client, SpendKeyObject},
    config::Settings,
    domain::{Cycle, Money, Secret, SpendLimit},
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
    spend_limit: Option<OrNone<SpendLimit>>,
    /// Most requests a cycle, such as 1000/daily.
    #[arg(long, value_name = "COUNT/CYCLE", value_parser = or_none(parse_count))]
    request_limit: Option<OrNone<(u64, Cycle)>>,
    /// Requests a minute, such as 60, or 60/10 with a burst of 10.
    #[arg(long, value_name = "RPM[/BURST]", value_parser = or_none(parse_rate))]
    rate_limit: Option<OrNone<(u32, Option<u32>)>>,
    /// Models it may use, with commas between them; a trailing * matches what follows.
    #[arg(long, value_name = "MODELS", value_parser = or_none(parse_list))]
    models: Option<OrNone<Vec<String>>>,
    /// Providers it may use, with commas between them.
    #[arg(long, value_name = "PROVIDERS", value_parser = or_none(parse_list))]
    providers: Option<OrNone<Vec<String>>>,
    /// When it stops working, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = or_none(|text: &str| text.parse::<jiff::Timestamp>().map_err(|error| error.to_string())))]
    expires_at: Option<OrNone<jiff::Timestamp>>,
    /// Which API it speaks.
    #[arg(long)]
    shape: Option<Shape>,
}

/// A value, or the word `none`.
#[derive(Clone, Debug)]
struct OrNone<T>(Option<T>);

fn or_none<T>(parse: impl Fn(&str) -> Result<T, String> + Clone) -> impl Fn(&str) -> Result<OrNone<T>, String> + Clone {
    move |text| if text == "none" { Ok(OrNone(None)) } else { parse(text).map(|value| OrNone(Some(value))) }
}

fn parse_count(text: &str) -> Result<(u64, Cycle), String> {
    let parsed = text.split_once('/').and_then(|(count, cycle)| Some((count.parse().ok()?, Cycle::parse(cycle)?)));
    parsed.ok_or_else(|| "write a count and a cycle, such as 1000/daily (daily, weekly, monthly or total)".to_owned())
}

fn parse_rate(text: &str) -> Result<(u32, Option<u32>), String> {
    let (rpm, burst) = text.split_once('/').map_or((text, None), |(rpm, burst)| (rpm, Some(burst)));
    let number = |text: &str| text.parse().map_err(|_| "write requests a minute, such as 60, or 60/10 with a burst of 10".to_owned());
    Ok((number(rpm)?, burst.map(number).transpose()?))
}

#[expect(clippy::unnecessary_wraps, reason = "the parser of an argument returns a result")]
fn parse_list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
}

impl Limits {
    /// The fields as the API takes them; what was not named is not there.
    fn into_fields(self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Option<Value>| drop(value.map(|value| fields.insert(name.to_owned(), value)));
        put("spend_limit", self.spend_limit.map(|OrNone(limit)| json!(limit)));
        put(
            "request_limit",
            self.request_limit.map(|OrNone(limit)| json!(limit.map(|(count, cycle)| json!({"count": count, "cycle": cycle})))),
        );
        put("rate_limit", self.rate_limit.map(|OrNone(limit)| json!(limit.map(|(rpm, burst)| json!({"rpm": rpm, "burst": burst})))));
        put("allowed_models", self.models.map(|OrNone(list)| json!(list)));
        put("allowed_providers", self.providers.map(|OrNone(list)| json!(list)));
        put("expires_at", self.expires_at.map(|OrNone(at)| json!(at.map(|at| at.to_string()))));
        put(
            "request_shape",
            self.shape.map(|shape| {
                json!(match shape {
                    Shape::Openai => "openai",
                    Shape::Anthropic => "anthropic",
                })
            }),
        );
        fields
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
            let mut fields = limits.into_fields();
            fields.insert("name".to_owned(), name.into());
            let created = client.create_spend_key(secret, &fields).await?;
            show_new(&created.key, &created.object, quiet, json)
        }
        Action::Rotate { id, quiet } => {
            let rotated = client.rotate_spend_key(secret, &id).await?;
            show_new(&rotated.key, &rotated.object, quiet, json)
        }
        Action::List { limit, cursor } => {
            let page = client.spend_keys(secret, usize::from(limit), cursor.as_deref()).await?;
            if json {
                return output::print_json(&page);
            }
            let keys: Vec<SpendKeyObject> =
                serde_json::from_value(page["data"].clone()).map_err(|error| Failure::Error(error.to_string()))?;
            table(&keys);
            if let Some(cursor) = page["next_cursor"].as_str() {
                output::complain(&format!("More: --cursor {cursor}"));
            }
            Ok(())
        }
        Action::Show { id } => show(&client.spend_key(secret, &id).await?, json),
        Action::Update { id, name, limits } => {
            let mut fields = limits.into_fields();
            fields.extend(name.map(|name| ("name".to_owned(), name.into())));
            if fields.is_empty() {
                return Err(Failure::Error("say what to change, such as --spend-limit 10.00/daily".to_owned()));
            }
            show(&client.update_spend_key(secret, &id, &fields).await?, json)
        }
        Action::Pause { id } => show(&client.update_spend_key(secret, &id, &json!({"status": "paused"})).await?, json),
        Action::Resume { id } => show(&client.update_spend_key(secret, &id, &json!({"status": "active"})).await?, json),
        Action::Revoke { id } => {
            client.revoke_spend_key(secret, &id).await?;
            if json {
                return output::print_json(&json!({"revoked": id}));
            }
            output::complain(&format!("{id} is revoked."));
            Ok(())
        }
    }
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
}
