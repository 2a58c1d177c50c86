//! `prompt`: asks a model, and tells what it cost.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Call, args,
    args::{input_schema, output_schema},
    error::ToolError,
    login::Describe as _,
    once::Once,
    progress::Progress,
    text,
};
use crate::{
    client::{ChatOptions, ChatResult, Fallback},
    domain::{Money, Secret},
    session::Session,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Args {
    /// A model id from search, such as "gpt-4o-mini"; "provider/model" forces a provider.
    model: String,
    /// The conversation in OpenAI's form, such as [{"role": "user", "content": "Hello"}]. Give this or input.
    messages: Option<Vec<Map<String, Value>>>,
    /// The prompt as plain text. Give this or messages.
    input: Option<String>,
    /// Most tokens of the answer, hidden reasoning included.
    max_tokens: Option<u64>,
    /// 0 to 2; higher is more varied.
    temperature: Option<f64>,
    /// 0 to 1; the share of likely tokens to pick from.
    top_p: Option<f64>,
    /// A text, or up to four, at which the answer ends.
    stop: Option<Value>,
    /// Functions the model may call, in OpenAI's form.
    tools: Option<Vec<Map<String, Value>>>,
    /// "auto", "none", "required", or one function.
    tool_choice: Option<Value>,
    /// {"type": "json_object"}, or a json_schema.
    response_format: Option<Map<String, Value>>,
    /// "low", "medium" or "high", for models that reason.
    reasoning_effort: Option<String>,
    /// Where to try next when the provider fails, in order; at most five.
    fallbacks: Option<Vec<Fallback>>,
    /// The most this call may cost, in US dollars, such as "0.05". It is refused if it could cost more.
    max_cost: Option<String>,
    /// A text of your choice. A repeated call with the same key and arguments returns the first result and is paid once.
    idempotency_key: Option<String>,
}

/// The answer, and what it cost.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Output {
    /// The model that answered.
    model: String,
    provider: Option<String>,
    /// The answer's text; empty when the model calls a tool.
    content: String,
    /// The assistant's whole message, with tool_calls if there are any.
    message: Map<String, Value>,
    /// Why it ended: "stop", "length" (raise max_tokens), "tool_calls", and others.
    finish_reason: Option<String>,
    /// Tokens, as the provider reported them.
    usage: Option<Value>,
    /// US dollars; null when the gateway does not tell.
    cost: Option<String>,
    /// US dollars left in this cycle.
    remaining: Option<String>,
    request_id: Option<String>,
    /// Which providers were tried, in order, with outcome and cost.
    attempts: Vec<Value>,
}

pub(super) fn tool() -> Tool {
    Tool::new_with_raw("prompt", None, input_schema::<Args>())
        .with_title("Ask a model")
        .with_raw_output_schema(output_schema::<Output>())
        .with_annotations(ToolAnnotations::new().read_only(false).destructive(false).idempotent(false).open_world(true))
        .describe(
            "Asks an AI model and pays from the session's spend key. Use it for any chat model that search finds; needs login. Returns the answer, tool calls, \
             tokens, cost in USD and what is left. It is refused, and nothing is spent, when the most it could cost is above the limit or max_cost. \
             Example: {\"model\": \"gpt-4o-mini\", \"input\": \"Say hello\", \"max_tokens\": 50, \"max_cost\": \"0.01\"}",
        )
}

pub(super) async fn run(session: &Session, once: &Once, call: &Call, arguments: JsonObject) -> Result<Output, ToolError> {
    let args: Args = args::parse(arguments.clone())?;
    let key = args.idempotency_key.clone();
    let scope = format!("prompt {}", call.payer.scope());
    once.run(&scope, key.as_deref(), &arguments, || ask(session, call, args)).await
}

async fn ask(session: &Session, call: &Call, args: Args) -> Result<Output, ToolError> {
    let options = ChatOptions { fallbacks: args.fallbacks.clone().unwrap_or_default(), max_cost: read_money(args.max_cost.as_deref())? };
    let body = body_of(args)?;
    let key = session.spend_key(&call.payer).await?;
    check_max_cost(session, &key, options.max_cost).await?;
    let client = session.client().await?;
    let progress = Progress::start(&call.context);
    let mut pass_on = progress.as_ref().map(|progress| |piece: &str| progress.add(piece));
    let on_text = pass_on.as_mut().map(|pass_on| pass_on as &mut (dyn FnMut(&str) + Send));
    let answered = tokio::select! {
        answered = client.chat(&key, body, &options, on_text) => answered,
        // Dropping the request tells the gateway, which stops the provider and books what was used.
        () = call.context.ct.cancelled() => return Err(ToolError::new("cancelled", "The call was cancelled.", "What it had used is booked.")),
    };
    if let Some(progress) = progress {
        progress.finish().await;
    }
    match answered {
        Ok(answer) => Ok(report(session, &key, answer).await),
        Err(error) => {
            let error = ToolError::from(error);
            if error.is_key_refused() {
                session.forget().await;
            }
            Err(error)
        }
    }
}

async fn report(session: &Session, key: &Secret, answer: ChatResult) -> Output {
    let report = match (session.client().await, &answer.request_id) {
        (Ok(client), Some(id)) => client.report(key, id).await.ok().flatten(),
        _ => None,
    };
    let message = match text::visible_value(Value::Object(answer.message)) {
        Value::Object(message) => message,
        _ => Map::new(),
    };
    let content = message.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
    Output {
        model: answer.model,
        provider: report.as_ref().map(|report| report.provider.clone()),
        content,
        message,
        finish_reason: answer.finish_reason,
        usage: answer.usage,
        cost: report.as_ref().and_then(crate::client::RequestReport::cost),
        remaining: report.as_ref().and_then(crate::client::RequestReport::remaining),
        request_id: answer.request_id,
        attempts: report.as_ref().map(crate::client::RequestReport::attempts).unwrap_or_default(),
    }
}

fn body_of(args: Args) -> Result<Map<String, Value>, ToolError> {
    let messages = match (args.messages, args.input) {
        (Some(messages), None) if !messages.is_empty() => json!(messages),
        (None, Some(input)) if !input.is_empty() => json!([{"role": "user", "content": input}]),
        (Some(_), Some(_)) => return Err(ToolError::invalid("Give messages or input, not both.")),
        _ => return Err(ToolError::invalid("messages or input is needed, and must not be empty.")),
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

/// A limit that the gateway would not obey must not be promised.
pub(super) async fn check_max_cost(session: &Session, key: &Secret, max_cost: Option<Money>) -> Result<(), ToolError> {
    if max_cost.is_none() || session.obeys_max_cost(key).await? {
        return Ok(());
    }
    Err(ToolError::new(
        "max_cost_not_supported",
        "This gateway does not limit the cost of a single call.",
        "Leave max_cost out, and lower max_tokens instead.",
    ))
}

/// An amount given as text.
pub(super) fn read_money(text: Option<&str>) -> Result<Option<Money>, ToolError> {
    let read = |text: &str| text.parse().ok().filter(|money: &Money| !money.is_negative());
    text.map(|text| {
        read(text).ok_or_else(|| ToolError::invalid(format!("max_cost: \"{text}\" is not an amount in US dollars such as \"0.05\"")))
    })
    .transpose()
}

impl Output {
    pub(super) fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.content.is_empty() {
            parts.push(self.content.clone());
        }
        parts.extend(self.message.get("tool_calls").map(|calls| format!("Tool calls: {calls}")));
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
