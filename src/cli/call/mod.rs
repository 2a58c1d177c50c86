//! `lava-mcp call`: calls an API address of the catalog from the command line.

mod answer;
mod body;

use std::path::PathBuf;

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
use crate::{
    client::{BegunAnswer, ClientError, Forward, Forwarded, Target, TargetError},
    config::Settings,
    domain::Money,
    session::{Session, SessionError},
};
use answer::Destination;

/// How to call, below the help.
const EXAMPLES: &str = "\
Examples:
  lava-mcp call openai/models
  lava-mcp call text-embedding-3-small -d '{\"input\": \"Hello\"}'
  lava-mcp call https://api.openai.com/v1/chat/completions -d @body.json --max-cost 0.01
  jq '{model: \"text-embedding-3-small\", input: .}' text.json | lava-mcp call openai/embeddings --output answer.json

`lava-mcp search WORDS --json` shows url, method and example_body of what can be called.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CallArgs {
    /// What to call: an address, an id from search such as openai/gpt-4o-mini, or a provider and a path such as openai/embeddings.
    #[arg(value_name = "URL|ID")]
    url: String,
    /// The verb. Without it, POST with a body and GET without one.
    #[arg(short = 'X', long, value_parser = parse_method)]
    method: Option<Method>,
    /// The body as JSON; @FILE reads it from a file, and - from stdin. Without it, what is piped in is the body.
    #[arg(short, long, value_name = "JSON")]
    data: Option<String>,
    /// Write the answer to a file, whatever it is; if the call fails, the file stays as it was.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The most it may cost, in US dollars; a call that could cost more is refused.
    #[arg(long, value_name = "USD")]
    max_cost: Option<Money>,
}

fn parse_method(text: &str) -> Result<Method, String> {
    match text.to_ascii_uppercase().as_str() {
        verb @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE") => verb.parse().map_err(|_| "a verb is needed".to_owned()),
        _ => Err("GET, POST, PUT, PATCH or DELETE is needed".to_owned()),
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let text = error.to_string();
        match error {
            TargetError::Unknown { named, .. } => Self::coded(
                "forward_endpoint_not_supported",
                format!("{text}\nhint: `lava-mcp search {}` finds what can be called", quoted(&named)),
            ),
            TargetError::NotNow { .. } => Self::coded("forward_endpoint_not_supported", text),
            TargetError::NeedsBody { .. } | TargetError::NoBodyWithGet => {
                Self::coded("bad_body", format!("{text}\nhint: --data takes the body"))
            }
            TargetError::Client(error) => error.into(),
        }
    }
}

/// A word as a shell takes it within a command that is shown; of one that needs quotes, a placeholder.
fn quoted(word: &str) -> &str {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':'));
    if is_plain && !word.starts_with('-') { word } else { "WORDS" }
}

pub(super) async fn call(settings: Settings, args: CallArgs, json: bool) -> Result<(), Failure> {
    let body = match &args.data {
        Some(data) => Some(body::given(data).await?),
        None => None,
    };
    let app = App::new(settings)?;
    let session = app.session.clone();
    paid::pay(app, request(&session, args, body, json)).await
}

async fn request(session: &Session, args: CallArgs, mut body: Option<Map<String, Value>>, json: bool) -> Result<(), Failure> {
    let client = session.client().await?;
    // What cannot be called needs no key.
    let check = async {
        let target = client.find_target(&args.url).await?;
        body = with_pipe(body.take(), &target, args.method.as_ref()).await?;
        Ok(target.with_body(body.clone()).method(args.method.clone()).map(drop)?)
    };
    Box::pin(ensure_key(session, check)).await?;
    let pays = session.forward_key(&command_line()).await?;
    let key = &pays.key;
    let target = client.clone().looking_as(Some(key.clone())).find_target(&args.url).await?;
    let body = with_pipe(body, &target, args.method.as_ref()).await?;
    let target = target.with_body(body);
    let method = target.method(args.method)?;
    let body = target.body.map(|body| Bytes::from(Value::Object(body).to_string()));
    let destination = args.output.as_deref().map(Destination::open).transpose()?;
    let asked = Forward { method, url: target.url, headers: HeaderMap::new(), body, max_cost: args.max_cost };
    let begun = match client.begin_forward(key, asked).await {
        Ok(begun) => begun,
        Err(error) => {
            return Err(match session.explain_forward(&command_line(), &pays, error).await {
                SessionError::Client(error) => refused(error, json),
                explained => explained.into(),
            });
        }
    };
    if !pays.is_limited {
        output::complain("paid with the secret key (LAVA_FORWARD_WITH): the session's limit does not hold for this call");
    }
    let is_shown_as_it_comes = begun.is_stream() && !json && destination.is_none();
    let answer = read(begun, is_shown_as_it_comes).await?;
    let report = match &answer.request_id {
        Some(id) => client.report(key, id).await.ok().flatten(),
        None => None,
    };
    answer::show(&answer, report.as_ref(), destination, is_shown_as_it_comes, json)
}

/// The body that was given, else what is piped in. What takes no body leaves a pipe to others, such as the loop of a script.
async fn with_pipe(
    given: Option<Map<String, Value>>,
    target: &Target,
    method: Option<&Method>,
) -> Result<Option<Map<String, Value>>, Failure> {
    let takes_body = method.map_or(!target.takes_no_body(), |method| *method != Method::GET);
    if given.is_none() && takes_body { body::piped_in().await } else { Ok(given) }
}

async fn read(begun: BegunAnswer, is_shown_as_it_comes: bool) -> Result<Forwarded, ClientError> {
    let mut streamed = output::Streamed::default();
    begun
        .read(&mut |piece| {
            if is_shown_as_it_comes {
                streamed.bytes(piece);
            }
        })
        .await
}

/// What a provider refused with is its answer and goes where answers go, as with `curl --fail-with-body`; the error then only says whose it is.
fn refused(error: ClientError, json: bool) -> Failure {
    match error {
        ClientError::Refused { code, details, request_id, .. } if !json && code == "upstream_error" && details.is_object() => {
            let provider = details.get("provider").and_then(Value::as_str).unwrap_or("the provider");
            let status = details.get("upstream_status").and_then(Value::as_u64);
            let status = status.map_or_else(|| "an error".to_owned(), |status| format!("HTTP {status}"));
            output::say(&json!({ "error": details }).to_string());
            Failure::Coded { text: format!("{provider} answered with {status}"), code, request_id }
        }
        error => error.into(),
    }
}
