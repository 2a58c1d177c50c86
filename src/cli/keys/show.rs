//! Spend keys for people: a table of many, and everything about one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    cli::{Failure, output},
    client::{Holds, LimitObject, RateLimitObject, RequestLimitObject, SpendKeyObject},
    config::{Mode, Settings},
    domain::{Cycle, Money, RateLimit, Secret, text::counted},
    store::wall_clock,
};

/// What the wire writes with ten decimals, as people read it.
fn money(text: &str) -> String {
    text.parse::<Money>().map_or_else(|_| text.to_owned(), |money| money.to_string())
}

/// The status, where an expiry that has come counts as one.
fn status(key: &SpendKeyObject) -> &str {
    let has_expired = key.expires_at.as_ref().and_then(|at| at.parse::<Timestamp>().ok()).is_some_and(|at| at <= wall_clock()());
    if has_expired && key.status == "active" { "expired" } else { &key.status }
}

/// A table with a row for each key.
pub(super) fn table(keys: &[SpendKeyObject]) {
    let mut rows = vec![["ID", "KEY", "NAME", "STATUS", "LIMIT", "SPENT", "LEFT", "REQUESTS", "LAST USED"].map(str::to_owned).to_vec()];
    rows.extend(keys.iter().map(|key| {
        vec![
            key.spend_key_id.clone(),
            key.key_preview.clone(),
            key.name.clone(),
            status(key).to_owned(),
            key.spend_limit.as_ref().map_or_else(|| "none".to_owned(), |limit| format!("{} {}", limit.amount, limit.cycle.as_str())),
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

/// A new key, with what is known of it; the only moment at which it can be seen.
pub(super) fn new(key: &Secret, object: &SpendKeyObject, warnings: &[super::Warning], quiet: bool, json: bool) -> Result<(), Failure> {
    if json {
        let mut shown = serde_json::to_value(object).unwrap_or_default();
        shown["key"] = key.expose().into();
        shown["warnings"] = json!(warnings);
        return output::print_json(&shown);
    }
    output::say(key.expose());
    if !quiet {
        output::complain("Save it now: it is not shown again.");
        output::table(&rows(object));
    }
    Ok(())
}

/// One key after a change.
pub(super) fn changed(object: &SpendKeyObject, warnings: &[super::Warning], json: bool) -> Result<(), Failure> {
    if json {
        let mut shown = serde_json::to_value(object).unwrap_or_default();
        shown["warnings"] = json!(warnings);
        return output::print_json(&shown);
    }
    output::table(&rows(object));
    Ok(())
}

/// Everything about one key.
pub(super) fn whole(object: &SpendKeyObject, holds: Option<&Holds>, settings: &Settings, json: bool) -> Result<(), Failure> {
    let aliases = aliases(object, settings);
    if json {
        let mut shown = serde_json::to_value(object).unwrap_or_default();
        shown["model_aliases"] = json!(aliases);
        shown["holds"] = json!(holds);
        return output::print_json(&shown);
    }
    let mut rows = rows(object);
    let mut add = |label: &str, value: String| rows.push(vec![label.to_owned(), value]);
    if let Some(holds) = holds {
        add("In flight", counted(holds.open.len(), "call"));
    }
    if let Some(unverified) = object.unverified() {
        add("Unverified", format!("{unverified} USD; `lava-mcp keys holds {}` shows the charges", object.spend_key_id));
    }
    let aliases: Vec<String> = aliases.iter().map(|(name, model)| format!("{name} = {model}")).collect();
    if !aliases.is_empty() {
        add("Model aliases", aliases.join(", "));
    }
    output::table(&rows);
    Ok(())
}

/// Other names for models that hold for this key; a gateway elsewhere has a config file of its own.
fn aliases(key: &SpendKeyObject, settings: &Settings) -> BTreeMap<String, String> {
    if settings.mode != Mode::Embedded {
        return BTreeMap::new();
    }
    let names = &settings.model_aliases;
    let mut all = names.all.clone();
    let own = names.by_key.get(&key.spend_key_id).or_else(|| names.by_key.get(&key.name));
    all.extend(own.cloned().unwrap_or_default());
    all
}

/// A key as a list of what is set and what is used.
fn rows(key: &SpendKeyObject) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |label: &str, value: String| rows.push(vec![label.to_owned(), value]);
    let extras = key.extras.as_ref();
    let list = |list: Option<&Vec<String>>| list.map_or_else(|| "all".to_owned(), |list| list.join(", "));
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    add("Name", key.name.clone());
    add("ID", key.spend_key_id.clone());
    add("Key", key.key_preview.clone());
    add("Status", status(key).to_owned());
    if let Some(at) = extras.and_then(|extras| extras.revoked_at.clone()) {
        add("Revoked", at);
    }
    add("Spend limit", key.spend_limit.as_ref().map_or_else(|| "none".to_owned(), spend_limit));
    let when = key.spend_limit.as_ref().map_or("in total", |limit| in_cycle(limit.cycle));
    add("Spent", format!("{} USD {when}", money(&key.current_spend)));
    if let Some(held) = extras.map(|extras| extras.held.as_str()) {
        add("Held", format!("{held} USD by calls in flight"));
    }
    // The account limit can leave less than the key's own.
    if let Some(left) = key.remaining() {
        let resets = extras.and_then(|extras| extras.resets_at.as_ref()).map_or_else(String::new, |at| format!(", resets {at}"));
        add("Left", format!("{left} USD{resets}"));
    }
    add("Request limit", key.request_limit.map_or_else(|| "none".to_owned(), request_limit));
    match key.request_limit {
        Some(limit) => {
            let resets =
                extras.and_then(|extras| extras.requests_reset_at.as_ref()).map_or_else(String::new, |at| format!(", resets {at}"));
            let left = limit.count.saturating_sub(key.current_requests);
            add("Requests", format!("{} {}, {left} left{resets}", key.current_requests, in_cycle(limit.cycle)));
        }
        None => add("Requests", format!("{} in total", key.total_requests)),
    }
    add("Rate limit", key.rate_limit.map_or_else(|| "none".to_owned(), rate_limit));
    add("Models", list(key.allowed_models.as_ref()));
    add("Providers", list(key.allowed_providers.as_ref()));
    add("API", key.request_shape.clone());
    if let Some(extras) = extras {
        add("Hosted tools", yes(extras.hosted_tools));
        add("Lower output cap", yes(extras.lower_output_cap));
        if extras.test {
            add("Sandbox", "yes".to_owned());
        }
    }
    add("Expires", key.expires_at.clone().unwrap_or_else(|| "never".to_owned()));
    add("Created", key.created_at.clone());
    add("Last used", key.last_used_at.clone().unwrap_or_else(|| "never".to_owned()));
    add("Total", format!("{} USD, {} since it was created", money(&key.total_spend), counted(key.total_requests, "request")));
    rows
}

fn spend_limit(limit: &LimitObject) -> String {
    format!("{} USD {}", limit.amount, limit.cycle.as_str())
}

fn request_limit(limit: RequestLimitObject) -> String {
    format!("{} {}", limit.count, limit.cycle.as_str())
}

fn rate_limit(limit: RateLimitObject) -> String {
    RateLimit { rpm: limit.rpm, burst: limit.burst }.to_string()
}

const fn in_cycle(cycle: Cycle) -> &'static str {
    match cycle {
        Cycle::Daily => "today",
        Cycle::Weekly => "this week",
        Cycle::Monthly => "this month",
        Cycle::Total => "in total",
    }
}
