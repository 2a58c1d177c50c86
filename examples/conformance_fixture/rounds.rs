//! Fixtures of the 2026-07-28 era that need something from the client first: they answer what is missing, and the client asks again with it.

use std::time::Duration;

use rmcp::{
    ErrorData,
    model::{ClientCapabilities, InputRequiredResult, InputResponses, RequestStateCodec, SealOptions},
};
use serde_json::{Value, json};

use crate::lists::made;

/// Tools that ask in rounds.
pub(crate) const TOOLS: &[&str] = &[
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_tampered_state",
    "test_input_required_result_capabilities",
    "test_streaming_elicitation",
    "test_tool_with_task",
];

/// How long a round may take.
const STATE_TTL: Duration = Duration::from_secs(600);

/// A form with one field.
pub(crate) fn form(message: &str, field: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "properties": {field: {"type": kind}}, "required": [field]});
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}})
}

fn sampling(question: &str) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": question}});
    json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

/// The rounds of a fixture, each with all it asks for, and whether a sealed state says which round it is.
fn rounds(name: &str, capabilities: &ClientCapabilities) -> Option<(Vec<Value>, bool)> {
    let name_form = || form("What is your name?", "name", "string");
    let confirm = || json!({"confirm": form("Please confirm", "ok", "boolean")});
    Some(match name {
        "test_input_required_result_elicitation" | "test_streaming_elicitation" | "test_tool_with_task" => {
            (vec![json!({"user_name": name_form()})], false)
        }
        "test_input_required_result_sampling" => (vec![json!({"capital_question": sampling("What is the capital of France?")})], false),
        "test_input_required_result_list_roots" => (vec![json!({"client_roots": roots()})], false),
        "test_input_required_result_prompt" => {
            (vec![json!({"user_context": form("What context should the prompt use?", "context", "string")})], false)
        }
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => (vec![confirm()], true),
        "test_input_required_result_multiple_inputs" => {
            (vec![json!({"user_name": name_form(), "greeting": sampling("Generate a greeting"), "client_roots": roots()})], true)
        }
        "test_input_required_result_multi_round" => {
            let first = json!({"step1": form("Step 1: What is your name?", "name", "string")});
            (vec![first, json!({"step2": form("Step 2: What is your favorite color?", "color", "string")})], true)
        }
        "test_input_required_result_capabilities" => {
            let mut asks = json!({});
            if capabilities.sampling.is_some() {
                asks["greeting"] = sampling("Generate a greeting");
            }
            if capabilities.elicitation.is_some() {
                asks["user_name"] = name_form();
            }
            (vec![asks], false)
        }
        _ => return None,
    })
}

/// Where a fixture is with its questions.
pub(crate) enum Round {
    Ask(InputRequiredResult),
    Answered(String),
}

/// Seals what a client carries from round to round.
#[derive(Clone)]
pub(crate) struct Rounds {
    codec: RequestStateCodec,
}

impl Rounds {
    pub(crate) fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self { codec: RequestStateCodec::try_new(key)? })
    }

    /// The next round of a fixture; `None` if it does not ask.
    pub(crate) fn next(
        &self,
        name: &str,
        capabilities: &ClientCapabilities,
        responses: Option<&InputResponses>,
        state: Option<&str>,
    ) -> Option<Result<Round, ErrorData>> {
        let (rounds, is_sealed) = rounds(name, capabilities)?;
        Some(self.step(name, &rounds, is_sealed, responses, state))
    }

    fn step(
        &self,
        name: &str,
        rounds: &[Value],
        is_sealed: bool,
        responses: Option<&InputResponses>,
        state: Option<&str>,
    ) -> Result<Round, ErrorData> {
        // Bound to the fixture, so that the state of one is worth nothing to another.
        let options = SealOptions::new().associated_data(name.as_bytes()).ttl(STATE_TTL);
        let mut at = match state {
            Some(state) if is_sealed => self
                .codec
                .open_json_with::<usize>(state, name.as_bytes())
                .map_err(|error| ErrorData::invalid_params(format!("the request state is not one of ours: {error}"), None))?,
            _ => 0,
        };
        let answered = |asks: &Value| {
            let answers = |key: &String| responses.and_then(|responses| responses.get(key)).is_some_and(Value::is_object);
            asks.as_object().is_some_and(|asks| !asks.is_empty() && asks.keys().all(answers))
        };
        if rounds.get(at).is_some_and(answered) {
            at += 1;
        }
        let Some(asks) = rounds.get(at) else {
            let told = serde_json::to_string(&responses).unwrap_or_default();
            return Ok(Round::Answered(format!("{}You said {told}", if is_sealed { "state-ok. " } else { "" })));
        };
        let mut result = json!({"resultType": "input_required", "inputRequests": asks});
        if is_sealed {
            let sealed = self.codec.seal_json_with(&at, &options);
            result["requestState"] = sealed.map_err(|error| ErrorData::internal_error(error.to_string(), None))?.into();
        }
        made(result).map(Round::Ask)
    }
}
