//! `lava-mcp search`: finds models and providers.

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, output, serve::App};
use crate::config::Settings;

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Words to look for.
    #[arg(required_unless_present = "provider")]
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
    cursor: Option<String>,
}

pub(super) async fn search(settings: Settings, args: SearchArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let mut parameters = vec![("query", args.query.join(" ")), ("limit", args.limit.to_string())];
    parameters.extend(args.kind.map(|kind| ("kind", kind)));
    parameters.extend(args.provider.map(|provider| ("provider", provider)));
    parameters.extend(args.cursor.map(|cursor| ("cursor", cursor)));
    let page = match app.session.client().await {
        Ok(client) => client.search(&parameters).await.map_err(Failure::from),
        Err(error) => Err(error.into()),
    };
    app.close().await;
    let page = page?;
    if json {
        return output::print_json(&json!({"total": page.total, "results": page.results, "next_cursor": page.next_cursor}));
    }
    let mut rows = vec![["ID", "IN", "OUT", "CREDENTIALS", "ABOUT"].map(str::to_owned).to_vec()];
    rows.extend(page.results.iter().map(|hit| {
        let text = |path: &str| hit.pointer(path).and_then(Value::as_str).unwrap_or("-").to_owned();
        vec![text("/id"), text("/pricing/input"), text("/pricing/output"), text("/credentials"), text("/summary")]
    }));
    output::table(&rows);
    output::complain(&format!("{} of {} results; prices in USD per million tokens", page.results.len(), page.total));
    Ok(())
}
