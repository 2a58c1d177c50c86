//! `lava-mcp search`: finds models and providers.

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, login::command_line, output, serve::App};
use crate::{
    client::SearchPage,
    config::Settings,
    domain::{invocation::in_text, text::counted},
};

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Words to look for.
    #[arg(required_unless_present_any = ["provider", "kind"])]
    query: Vec<String>,
    /// Only models, or only services.
    #[arg(long, value_parser = ["model", "service", "any"])]
    kind: Option<String>,
    /// Only what this provider has.
    #[arg(long)]
    provider: Option<String>,
    /// How many results, 1 to 25.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=25))]
    limit: u8,
    /// The next_cursor of the previous page.
    #[arg(long)]
    cursor: Option<usize>,
}

pub(super) async fn search(settings: Settings, args: SearchArgs, json: bool) -> Result<(), Failure> {
    if args.provider.is_none() && args.kind.as_deref() != Some("service") && args.query.iter().all(|word| word.trim().is_empty()) {
        return Err(Failure::Error(
            "no words to look for; give some, such as `lava-mcp search cheap vision`, a --provider, or `--kind service` for all providers"
                .to_owned(),
        ));
    }
    let app = App::new(settings)?;
    let mut parameters = vec![("query", args.query.join(" ")), ("limit", args.limit.to_string())];
    parameters.extend(args.kind.map(|kind| ("kind", kind)));
    parameters.extend(args.provider.map(|provider| ("provider", provider)));
    parameters.extend(args.cursor.map(|cursor| ("cursor", cursor.to_string())));
    let page = match app.session.looker_with_kept_key(&command_line()).await {
        Ok(client) => client.search(&parameters).await.map_err(Failure::from),
        Err(error) => Err(error.into()),
    };
    app.close().await;
    let page = page?;
    if json {
        return output::print_json(
            &json!({"total": page.total, "results": page.results, "next_cursor": page.next_cursor, "note": page.note}),
        );
    }
    print(&page);
    Ok(())
}

/// A table of the results, then what keeps some of them from being bought, and how one is bought.
fn print(page: &SearchPage) {
    let reason = |hit: &Value| hit.get("unavailable_reason").and_then(Value::as_str).map(str::to_owned);
    let is_available = |hit: &Value| hit.get("available").and_then(Value::as_bool).unwrap_or(true);
    if !page.results.is_empty() {
        let mut rows = vec![["ID", "IN", "OUT", "BUY", "ABOUT"].map(str::to_owned).to_vec()];
        rows.extend(page.results.iter().map(|hit| {
            let text = |path: &str| hit.pointer(path).and_then(Value::as_str).unwrap_or("-").to_owned();
            let buy = if is_available(hit) { "yes" } else { "no" };
            vec![text("/id"), text("/pricing/input"), text("/pricing/output"), buy.to_owned(), text("/summary")]
        }));
        output::table(&rows);
        output::complain(&format!("{} of {}; prices in USD per million tokens", page.results.len(), counted(page.total, "result")));
    }
    page.note.iter().for_each(|note| output::complain(note));
    // Many results have the same reason: a provider without a key.
    let mut reasons: Vec<String> = Vec::new();
    for why in page.results.iter().filter(|hit| !is_available(hit)).filter_map(reason) {
        if !reasons.contains(&why) {
            reasons.push(why);
        }
    }
    reasons.iter().for_each(|why| output::complain(&format!("cannot be bought now: {why}")));
    if let Some(how) = page.results.iter().filter(|hit| is_available(hit)).find_map(example) {
        output::complain(&in_text(&format!("to buy one: `{how}`")));
    }
    if let Some(cursor) = &page.next_cursor {
        output::complain(&format!("for more, add --cursor {cursor}"));
    }
}

/// A command that buys a result.
fn example(hit: &Value) -> Option<String> {
    let text = |name: &str| hit.get(name).and_then(Value::as_str);
    let can = |tool: &str| hit.get("tools").and_then(Value::as_array).is_some_and(|tools| tools.iter().any(|known| known == tool));
    match (text("id"), text("kind")) {
        (Some(id), Some("model")) if can("prompt") => Some(format!("lava-mcp prompt {id} \"Hello\"")),
        (_, Some("model")) if can("call") => Some(format!("lava-mcp call {} --data '{}'", text("url")?, hit.get("example_body")?)),
        _ => None,
    }
}
