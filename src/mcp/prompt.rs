//! `prompt`: asks a model, and tells what it cost.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Call, LavaMcp,
    answer::{Answer, CHARS_MAX, Stop},
    args,
    confirm::{self, Purchase},
    content::{Shelf, Truncated},
    error::ToolError,
    login::Describe as _,
    once, paid,
    progress::Progress,
    schema::{input_schema, output_schema},
    shapes, text,
};
use crate::{
    client::{ChatOptions, ChatResult, Client, Fallback, RequestReport},
    domain::Secret,
};

/// The longest answer that somebody may ask for in one piece, in characters.
const LONG_CHARS_MAX: usize = 100_000;
/// Characters that a token stands for, about, with room for a language that needs more.
const CHARS_PER_TOKEN: usize = 5;
/// Room in a result for everything but what the model wrote, in characters.
const AROUND_CHARS: usize = 2_500;
/// As much of a name is shown, in characters.
const NAME_CHARS_MAX: usize = 120;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Args {
    /// A model id from search, such as "gpt-4o-mini"; "provider/model" forces a provider.
    model: String,
    /// The conversation in OpenAI's form, such as [{"role": "user", "content": "Hello"}]. Give this or input.
    #[schemars(with = "Option<Vec<shapes::Message>>")]
    messages: Option<Vec<Map<String, Value>>>,
    /// The prompt as plain text. Give this or messages.
    input: Option<String>,
    /// Most tokens of the answer, hidden reasoning included. An answer above 20,000 characters is cut, with a link to the rest, unless this asks for more.
    max_tokens: Option<u64>,
    /// 0 to 2; higher is more varied.
    temperature: Option<f64>,
    /// 0 to 1; the share of likely tokens to pick from.
    top_p: Option<f64>,
    /// Up to four strings at which the answer ends, or a single string.
    #[schemars(with = "Option<Vec<String>>")]
    stop: Option<Value>,
    /// Functions the model may call, in OpenAI's form.
    #[schemars(with = "Option<Vec<shapes::Function>>")]
    tools: Option<Vec<Map<String, Value>>>,
    /// "auto", "none", "required", or one function, such as {"type": "function", "function": {"name": "f"}}, as JSON text or as an object.
    #[schemars(with = "Option<String>")]
    tool_choice: Option<Value>,
    /// {"type": "json_object"}, or a json_schema.
    #[schemars(with = "Option<shapes::ResponseFormat>")]
    response_format: Option<Map<String, Value>>,
    /// "low", "medium" or "high", for models that reason.
    reasoning_effort: Option<String>,
    /// Where to try next when the provider fails, in order; at most five.
    fallbacks: Option<Vec<Fallback>>,
    /// The most this call may cost, in US dollars, such as "0.05". It is refused if it could cost more.
    max_cost: Option<String>,
    /// Any string. Repeating the call with the same key and arguments returns the first result and pays only once.
    idempotency_key: Option<String>,
}

/// The answer, and what it cost.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// The model that answered.
    model: String,
    provider: Option<String>,
    /// The answer's text; empty when the model calls a tool.
    content: String,
    /// Present when the answer was too long to be shown whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncated>,
    /// The assistant's message, with tool_calls if there are any. A long text is only in content; for images and sound it shows where they are.
    message: Map<String, Value>,
    /// Why it ended: "stop", "length" (raise max_tokens), "tool_calls", and others.
    finish_reason: Option<String>,
    /// Tokens, as the provider reported them.
    #[schemars(with = "Option<Map<String, Value>>")]
    usage: Option<Value>,
    /// US dollars; absent when the gateway does not say.
    cost: Option<String>,
    /// US dollars left in this cycle.
    remaining: Option<String>,
    request_id: Option<String>,
    /// Which providers were tried, in order, with outcome and cost.
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    attempts: Vec<Value>,
}

pub(super) fn tool() -> Tool {
    let mut tool = Tool::new_with_raw("prompt", None, input_schema::<Args>())
        .with_title("Ask a model")
        .with_raw_output_schema(output_schema::<Output>())
        .with_annotations(ToolAnnotations::new().read_only(false).destructive(false).idempotent(false).open_world(true))
        .describe(
            "Asks an AI model and pays from the session's spend key. Use it for any chat model that search finds; needs login. Returns the answer, tool calls, \
             tokens, cost in USD and what is left. It is refused, and nothing is spent, when the most it could cost is above the limit or max_cost. \
             If the connection breaks, the same call with the same idempotency_key returns the answer that was paid for; without one a broken connection can cancel \
             the call. \
             Example: {\"model\": \"gpt-4o-mini\", \"input\": \"Say hello\", \"max_tokens\": 50, \"max_cost\": \"0.01\"}",
        );
    // A client that cuts results lets those pass for which somebody has set max_tokens.
    let mut meta = rmcp::model::MetaObject::default();
    meta.0.insert("anthropic/maxResultSizeChars".to_owned(), LONG_CHARS_MAX.into());
    tool.meta = Some(meta);
    tool
}

pub(super) async fn run(server: &LavaMcp, call: Call, arguments: JsonObject) -> Result<Answer, Stop> {
    let args: Args = args::parse(arguments.clone())?;
    let digest = once::digest("prompt", &arguments);
    let key = args.idempotency_key.clone();
    paid::run(server, call, ("prompt", key), &arguments, |server, call| async move { ask(&server, &call, args, digest).await }).await
}

async fn ask(server: &LavaMcp, call: &Call, args: Args, digest: [u8; 32]) -> Result<Answer, Stop> {
    let session = &server.session;
    let max_cost = paid::read_money(args.max_cost.as_deref())?;
    check_model("model", &args.model)?;
    for (at, fallback) in args.fallbacks.iter().flatten().enumerate() {
        check_model(&format!("fallbacks[{at}].model"), &fallback.model)?;
    }
    let what = format!("{} answers a prompt", text::one_line(&args.model, NAME_CHARS_MAX));
    let fallbacks = args.fallbacks.clone().unwrap_or_default();
    let given_up = call.given_up(&server.cancellations, args.idempotency_key.is_some());
    let chars_max = args.max_tokens.and_then(|tokens| usize::try_from(tokens).ok()).unwrap_or(0).saturating_mul(CHARS_PER_TOKEN);
    let chars_max = chars_max.clamp(CHARS_MAX, LONG_CHARS_MAX);
    let mut body = body_of(args)?;
    let key = session.spend_key(&call.payer).await?;
    let is_bounded = paid::is_bounded(server, &key, max_cost).await?;
    let client = session.client().await?;
    let progress = Progress::start(&call.context);
    let mut pass_on = progress.as_ref().map(|progress| |piece: &str| progress.add(piece));

    let purchase = Purchase { what, max_cost, changes: false, is_bounded, digest };
    let mut permit = confirm::permit(server, call, &purchase).await?;
    let answer = loop {
        let options = ChatOptions { fallbacks: fallbacks.clone(), max_cost: permit.max_cost };
        let body = if permit.may_be_widened() { body.clone() } else { std::mem::take(&mut body) };
        let on_text = pass_on.as_mut().map(|pass_on| pass_on as &mut (dyn FnMut(&str) + Send));
        let answered = tokio::select! {
            answered = client.chat(&key, body, &options, on_text) => answered,
            // Dropping the request tells the gateway, which stops the provider and books what was used.
            () = given_up.cancelled() => return Err(ToolError::cancelled().into()),
        };
        match answered {
            Ok(answer) => break answer,
            Err(error) => permit = paid::after_failure(server, call, &purchase, &permit, (&client, &key), error).await?,
        }
    };
    let mut shelf = Shelf::new(server, call);
    let output = output(&mut shelf, report(&client, &key, &answer).await, answer, chars_max).await;
    if let Some(progress) = progress {
        progress.finish().await;
    }
    Ok(Answer::new(&output, &output.text(chars_max)).with(shelf.into_blocks()))
}

async fn report(client: &Client, key: &Secret, answer: &ChatResult) -> Option<RequestReport> {
    client.report(key, answer.request_id.as_ref()?).await.ok().flatten()
}

async fn output(shelf: &mut Shelf<'_>, report: Option<RequestReport>, answer: ChatResult, chars_max: usize) -> Output {
    let mut message = text::visible_value(Value::Object(answer.message));
    shelf.take_media(&mut message).await;
    let content = message.get("content").map(words_of).unwrap_or_default();
    let room = chars_max.saturating_sub(AROUND_CHARS);
    let size = |message: &Value| message.to_string().chars().count();
    let (mut content, mut truncated) = (content, None);
    if size(&message) + text::json_chars(&content) > room {
        let fields = message.as_object_mut();
        let whole = fields.and_then(|fields| fields.remove("content")).filter(|content| !content.is_string());
        if size(&message) > room / 2 {
            // It is not the text that is long, but a call or what was thought before.
            let role = message.get("role").cloned();
            if let (Some(content), Some(fields)) = (whole, message.as_object_mut()) {
                fields.insert("content".to_owned(), content);
            }
            (_, truncated) = shelf.cut(message.to_string(), "application/json", 0).await;
            message = json!({ "role": role });
        }
        let (shown, rest) = shelf.cut(content, "text/plain", room.saturating_sub(size(&message))).await;
        (content, truncated) = (shown, rest.or(truncated));
    }
    Output {
        model: text::one_line(&answer.model, NAME_CHARS_MAX),
        provider: report.as_ref().map(|report| text::one_line(&report.provider, NAME_CHARS_MAX)),
        content,
        truncated,
        message: if let Value::Object(message) = message { message } else { Map::new() },
        finish_reason: answer.finish_reason.map(|reason| text::one_line(&reason, NAME_CHARS_MAX)),
        usage: answer.usage.filter(|usage| usage.is_object() && usage.to_string().len() < AROUND_CHARS / 2),
        cost: report.as_ref().and_then(RequestReport::cost),
        remaining: report.as_ref().and_then(RequestReport::remaining),
        request_id: answer.request_id,
        attempts: report.iter().flat_map(RequestReport::attempts).map(text::attempt).collect(),
    }
}

/// The text of a message's content, which can come in parts.
fn words_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// A provider alone would be asked for a model without a name, and some answer with one of their choice.
fn check_model(field: &str, name: &str) -> Result<(), ToolError> {
    match name.split_once('/') {
        Some((provider, model)) if model.trim().is_empty() => {
            let shown = text::one_line(provider, NAME_CHARS_MAX);
            Err(ToolError::invalid(format!("{field}: \"{shown}/\" names a provider but no model; give the id of a model from search")))
        }
        None if name.trim().is_empty() => Err(ToolError::invalid(format!("{field}: give the id of a model, such as \"gpt-4o-mini\""))),
        _ => Ok(()),
    }
}

fn body_of(args: Args) -> Result<Map<String, Value>, ToolError> {
    let messages = match (args.messages, args.input) {
        (Some(messages), None) if !messages.is_empty() => json!(messages),
        (None, Some(input)) if !input.is_empty() => json!([{"role": "user", "content": input}]),
        (Some(_), Some(_)) => return Err(ToolError::invalid("Give messages or input, not both.")),
        _ => return Err(ToolError::invalid("Give messages or input; it must not be empty.")),
    };
    let mut body = Map::new();
    body.insert("model".to_owned(), args.model.into());
    body.insert("messages".to_owned(), messages);
    let optional = [
        ("max_tokens", args.max_tokens.map(Value::from)),
        ("temperature", args.temperature.map(Value::from)),
        ("top_p", args.top_p.map(Value::from)),
        ("stop", args.stop),
        ("tools", args.tools.map(|tools| json!(tools))),
        ("tool_choice", args.tool_choice),
        ("response_format", args.response_format.map(Value::Object)),
        ("reasoning_effort", args.reasoning_effort.map(Value::from)),
    ];
    body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(body)
}

impl Output {
    fn text(&self, chars_max: usize) -> String {
        let mut parts = Vec::new();
        if !self.content.is_empty() {
            parts.push(self.content.clone());
        }
        parts.extend(self.truncated.as_ref().map(Truncated::words));
        let left = chars_max.saturating_sub(AROUND_CHARS + self.content.chars().count());
        parts.extend(self.message.get("tool_calls").map(|calls| format!("Tool calls: {}", text::shorten(&calls.to_string(), left).0)));
        parts.push(format!(
            "[{} · {} · cost {} USD · {} USD left]",
            self.model,
            self.finish_reason.as_deref().unwrap_or("no finish reason"),
            self.cost.as_deref().unwrap_or("unknown"),
            self.remaining.as_deref().unwrap_or("unlimited")
        ));
        parts.join("\n\n")
    }
}
