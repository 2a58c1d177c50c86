//! `lava-mcp prompt`: asks a model from the command line.

mod input;
mod sight;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    Failure,
    login::{command_line, ensure_key},
    output, paid,
    serve::App,
};
use crate::{
    client::{ChatOptions, ChatResult, Client, ClientError, RequestReport},
    config::Settings,
    domain::Money,
    session::Session,
};

#[derive(Debug, Args)]
pub(super) struct PromptArgs {
    /// A model id, such as gpt-4o-mini or groq/llama-3.1-8b-instant.
    model: String,
    /// The prompt. What is piped in follows it; `-` means only that. Without either, a terminal is read up to Ctrl-D.
    input: Vec<String>,
    /// What the model is told beforehand, such as "Answer in French".
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A text or a picture (PNG, JPEG, GIF, WebP) to send along; can be given more than once.
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Most tokens of the answer.
    #[arg(long)]
    max_tokens: Option<u64>,
    /// The most it may cost, in US dollars.
    #[arg(long, value_parser = parse_money)]
    max_cost: Option<Money>,
    /// Print the answer as it comes.
    #[arg(long)]
    stream: bool,
}

fn parse_money(text: &str) -> Result<Money, String> {
    text.parse().map_err(|error: crate::domain::money::MoneyError| error.to_string())
}

pub(super) async fn prompt(settings: Settings, args: PromptArgs, json: bool) -> Result<(), Failure> {
    let asked = input::read(&args.input, args.system.as_deref(), &args.file).await?;
    if asked.has_pictures && sight::is_blind(&settings, &args.model) {
        output::complain(&format!(
            "warning: as far as the catalog knows, {} does not read pictures: it may refuse this, or answer without having seen them",
            args.model
        ));
    }
    let app = App::new(settings)?;
    let session = app.session.clone();
    paid::pay(app, ask(&session, &args, asked.messages, json)).await
}

async fn ask(session: &Session, args: &PromptArgs, messages: Value, json: bool) -> Result<(), Failure> {
    let client = session.client().await?;
    Box::pin(ensure_key(session, check_name(&client, &args.model))).await?;
    let key = session.spend_key(&command_line()).await?;
    let mut body = Map::new();
    body.insert("model".to_owned(), args.model.clone().into());
    body.insert("messages".to_owned(), messages);
    body.extend(args.max_tokens.map(|tokens| ("max_tokens".to_owned(), tokens.into())));
    let options = ChatOptions { max_cost: args.max_cost, ..ChatOptions::default() };
    let answer = {
        let mut streamed = output::Streamed::default();
        let mut print = |piece: &str| streamed.say(piece);
        let mut collect = |_: &str| {};
        let on_text: Option<&mut (dyn FnMut(&str) + Send)> = match (args.stream, json) {
            (false, _) => None,
            (true, true) => Some(&mut collect),
            (true, false) => Some(&mut print),
        };
        client.chat(&key, body, &options, on_text).await?
    };
    let report = match &answer.request_id {
        Some(id) => client.report(&key, id).await.ok().flatten(),
        None => None,
    };
    show(&answer, report.as_ref(), args.stream, json)
}

/// Refuses a name that nothing is called by. Whether what is meant can be bought, the request itself finds out.
async fn check_name(client: &Client, model: &str) -> Result<(), Failure> {
    match client.model(model).await {
        Err(ClientError::Refused { code, message, details, .. }) if code == "model_not_found" && details.get("nearest").is_some() => {
            Err(Failure::coded(&code, message))
        }
        _ => Ok(()),
    }
}

fn show(answer: &ChatResult, report: Option<&RequestReport>, was_streamed: bool, json: bool) -> Result<(), Failure> {
    let cost = report.and_then(RequestReport::cost);
    let remaining = report.and_then(RequestReport::remaining);
    let content = answer.message.get("content").and_then(Value::as_str).unwrap_or_default();
    if json {
        return output::print_json(&json!({
            "model": answer.model, "provider": report.map(|report| &report.provider), "content": content, "message": answer.message,
            "finish_reason": answer.finish_reason, "truncated": cut_short(answer).is_some(), "usage": answer.usage, "cost": cost, "remaining": remaining, "request_id": answer.request_id,
        }));
    }
    output::say(if was_streamed { "" } else { content });
    if let Some(calls) = answer.message.get("tool_calls") {
        output::say(&calls.to_string());
    }
    if let Some(why) = cut_short(answer) {
        output::complain(&format!("note: {why}"));
    }
    output::complain(&format!(
        "cost {} USD, {} USD left",
        cost.as_deref().unwrap_or("unknown"),
        remaining.as_deref().unwrap_or("unlimited")
    ));
    Ok(())
}

/// Why an answer is not whole, if it is not.
fn cut_short(answer: &ChatResult) -> Option<&'static str> {
    match answer.finish_reason.as_deref()? {
        "length" => Some("the answer was cut at the most tokens it may have; --max-tokens raises that"),
        "content_filter" => Some("the provider's filter stopped the answer"),
        _ => None,
    }
}
