//! `lava-mcp call`: calls an API address of the catalog from the command line.

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::{
    Failure,
    login::{command_line, ensure_key},
    output, paid,
    serve::App,
};
use crate::{client::RequestReport, config::Settings, domain::Money, session::Session};

#[derive(Debug, Args)]
pub(super) struct CallArgs {
    /// The address, as search shows it.
    url: String,
    /// The verb; POST with a body, GET without.
    #[arg(short = 'X', long)]
    method: Option<Method>,
    /// The JSON body.
    #[arg(short, long, value_parser = parse_body)]
    data: Option<Map<String, Value>>,
    /// The most it may cost, in US dollars.
    #[arg(long)]
    max_cost: Option<Money>,
}

fn parse_body(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("a JSON object is needed: {error}"))
}

pub(super) async fn call(settings: Settings, args: CallArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let session = app.session.clone();
    paid::pay(app, request(&session, args, json)).await
}

async fn request(session: &Session, args: CallArgs, json: bool) -> Result<(), Failure> {
    Box::pin(ensure_key(session)).await?;
    let pays = session.forward_key(&command_line()).await?;
    let key = &pays.key;
    let client = session.client().await?;
    let method = args.method.unwrap_or(if args.data.is_some() { Method::POST } else { Method::GET });
    let body = args.data.map(|data| Bytes::from(Value::Object(data).to_string()));
    let answer = match client.forward(key, method, &args.url, HeaderMap::new(), body, args.max_cost).await {
        Ok(answer) => answer,
        Err(error) => return Err(session.explain_forward(&command_line(), &pays, error).await.into()),
    };
    if !pays.is_limited {
        output::complain("paid with the secret key (LAVA_FORWARD_WITH): the session's limit does not hold for this call");
    }
    let report = match &answer.request_id {
        Some(id) => client.report(key, id).await?,
        None => None,
    };
    let (cost, remaining) = (report.as_ref().and_then(RequestReport::cost), report.as_ref().and_then(RequestReport::remaining));
    let text = String::from_utf8_lossy(&answer.body);
    if json {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| text.clone().into());
        return output::print_json(&json!({
            "status": answer.status, "body": body, "cost": cost, "remaining": remaining, "request_id": answer.request_id,
        }));
    }
    output::say(&text);
    output::complain(&format!(
        "HTTP {}, cost {} USD, {} USD left",
        answer.status,
        cost.as_deref().unwrap_or("unknown"),
        remaining.as_deref().unwrap_or("unlimited")
    ));
    Ok(())
}
