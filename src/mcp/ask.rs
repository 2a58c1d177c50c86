//! Asks the person at the client something, in the way its protocol era knows, or finds that the client cannot.
//!
//! Until 2025-11-25 the server sends a request of its own and waits. From 2026-07-28 on the call ends with the question, and the client makes it again with the
//! answer; what we must remember meanwhile travels with the client, sealed, because everything a client sends back could be made up.

use std::time::Duration;

use rmcp::{
    RoleServer,
    model::{
        CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, ErrorCode,
        InputRequest, InputRequests, InputRequiredResult, InputResponses, JsonObject, RequestStateCodec, SealOptions,
    },
    service::{RequestContext, ServiceError},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use super::{Call, error::ToolError};
use crate::domain::id::hex;

/// How long a call may wait for a person, whatever they are asked; many clients give a call up after a minute.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);
/// A no that comes faster is a client's own. Nobody sees a question, reads its twenty words and finds the button in a second; a client that asks nobody, such as
/// `claude -p` and `codex exec`, answers within milliseconds.
const READ_MIN: Duration = Duration::from_secs(1);
/// How long an answer may travel with the client.
const STATE_TTL: Duration = Duration::from_secs(600);

/// Seals what travels with the client; each process has its own key.
pub(super) struct Seal {
    codec: Option<RequestStateCodec>,
    /// From which on the times of questions are counted.
    began: Instant,
}

impl Seal {
    pub(super) fn new() -> Self {
        let mut key = [0_u8; 32];
        // Without randomness nothing is sealed, and nobody asked.
        let codec = getrandom::fill(&mut key).ok().and_then(|()| RequestStateCodec::try_new(key).ok());
        Self { codec, began: Instant::now() }
    }
}

/// Why there is no yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// The person does not want it.
    Declined,
    /// The person closed the question, which says neither yes nor no.
    Dismissed,
    /// The client sent something that is not an answer. Nobody has agreed to anything.
    Unreadable,
    /// The client answered by itself, after this time: nobody has read the question.
    ByItself(Duration),
}

impl No {
    /// What an answer after this time means; `None` for a yes.
    pub(super) fn of(action: &ElicitationAction, took: Duration) -> Option<Self> {
        match action {
            ElicitationAction::Accept => None,
            _ if took < READ_MIN => Some(Self::ByItself(took)),
            ElicitationAction::Decline => Some(Self::Declined),
            _ => Some(Self::Dismissed),
        }
    }
}

/// What came of a question.
pub(super) enum Asked<T> {
    Answer(T),
    No(No),
    /// Nobody answered before the call had to end.
    Unanswered,
    /// The client cannot ask.
    Unable,
    /// The call ends here; the client asks, and makes it again with the answer.
    Later(Box<InputRequiredResult>),
}

/// What travels with the client: which question was asked, and about what.
#[derive(Debug, Serialize, Deserialize)]
struct Travelling {
    question: String,
    about: String,
    /// When it was asked.
    asked_ms: u128,
}

/// One call of a tool, and what its client has answered so far.
pub(super) struct Conversation<'a> {
    context: &'a RequestContext<RoleServer>,
    seal: &'a Seal,
    /// Who asked for what: an answer counts for nothing else.
    binding: String,
    answered: Option<(Travelling, InputResponses)>,
    /// When the call has to end, so that several questions together take no longer than one.
    until: Instant,
}

impl<'a> Conversation<'a> {
    /// Reads what came with the call, which may wait so long for a person. An answer that is not to a question of ours, about this very call, is refused.
    pub(super) fn open(seal: &'a Seal, call: &'a Call, request: CallToolRequestParams, patience: Duration) -> Result<Self, ToolError> {
        let until = Instant::now() + patience;
        let arguments: [u8; 32] = Sha256::digest(serde_json::to_vec(&request.arguments).unwrap_or_default()).into();
        let arguments = hex(&arguments);
        let binding = format!("{}\n{}\n{arguments}", call.payer.scope(), request.name);
        let answered = match (request.request_state, request.input_responses) {
            (None, None) => None,
            (state, responses) => {
                let opened =
                    seal.codec.as_ref().zip(state).and_then(|(codec, state)| codec.open_json_with(&state, binding.as_bytes()).ok());
                Some((opened.ok_or_else(not_ours)?, responses.unwrap_or_default()))
            }
        };
        Ok(Self { context: &call.context, seal, binding, answered, until })
    }

    /// How long the call may still wait.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Asks for a few values; without an answer in time there is nothing to go on with. Never for a secret: the client and its model may see them.
    pub(super) async fn form(&self, question: &str, message: String, schema: ElicitationSchema) -> Result<Asked<JsonObject>, ToolError> {
        let asked = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema: schema };
        Ok(match self.ask(question, "", asked, self.modes().0).await? {
            Asked::Answer(Some(Value::Object(content))) => Asked::Answer(content),
            Asked::Answer(None | Some(Value::Null)) => Asked::Answer(JsonObject::new()),
            Asked::Answer(Some(_)) => Asked::No(No::Unreadable),
            Asked::No(no) => Asked::No(no),
            Asked::Unanswered => return Err(unanswered()),
            Asked::Unable => Asked::Unable,
            Asked::Later(round) => Asked::Later(round),
        })
    }

    /// Asks the person to open a page; the model does not see its address. The answer only means that they agreed to open it.
    pub(super) async fn page(&self, question: &str, about: &str, message: String, url: &Url) -> Result<Asked<()>, ToolError> {
        let asked =
            ElicitRequestParams::UrlElicitationParams { meta: None, message, url: url.to_string(), elicitation_id: about.to_owned() };
        Ok(match self.ask(question, about, asked, self.modes().1).await? {
            Asked::Answer(_) => Asked::Answer(()),
            Asked::No(no) => Asked::No(no),
            Asked::Unanswered => Asked::Unanswered,
            Asked::Unable => Asked::Unable,
            Asked::Later(round) => Asked::Later(round),
        })
    }

    async fn ask(&self, question: &str, about: &str, asked: ElicitRequestParams, is_able: bool) -> Result<Asked<Option<Value>>, ToolError> {
        if !is_able {
            return Ok(Asked::Unable);
        }
        if self.context.protocol_version().is_none_or(|version| version.has_initialize()) {
            return self.ask_now(asked).await;
        }
        let now_ms = self.seal.began.elapsed().as_millis();
        if let Some((told, responses)) = &self.answered
            && told.question == question
            && told.about == about
            && let Some(response) = responses.get(question)
        {
            let result: ElicitResult = serde_json::from_value(response.clone()).map_err(|_| not_ours())?;
            let took = u64::try_from(now_ms.saturating_sub(told.asked_ms)).unwrap_or(u64::MAX);
            return Ok(answer(result, Duration::from_millis(took)));
        }
        let travelling = Travelling { question: question.to_owned(), about: about.to_owned(), asked_ms: now_ms };
        let options = SealOptions::new().associated_data(self.binding.as_bytes()).ttl(STATE_TTL);
        let Some(state) = self.seal.codec.as_ref().and_then(|codec| codec.seal_json_with(&travelling, &options).ok()) else {
            return Ok(Asked::Unable);
        };
        let requests = InputRequests::from([(question.to_owned(), InputRequest::Elicitation(ElicitRequest::new(asked)))]);
        Ok(Asked::Later(Box::new(InputRequiredResult::new(Some(requests), Some(state)))))
    }

    async fn ask_now(&self, asked: ElicitRequestParams) -> Result<Asked<Option<Value>>, ToolError> {
        let asked_at = Instant::now();
        let answered = tokio::select! {
            answered = self.context.peer.create_elicitation_with_timeout(asked, Some(self.left())) => answered,
            () = self.context.ct.cancelled() => return Err(ToolError::new("cancelled", "The call was cancelled.", "Nothing was changed.")),
        };
        match answered {
            Ok(result) => Ok(answer(result, asked_at.elapsed())),
            Err(ServiceError::Timeout { .. }) => Ok(Asked::Unanswered),
            // It said that it can ask, and does not know the method: as if it had not said so.
            Err(ServiceError::McpError(error)) if error.code == ErrorCode::METHOD_NOT_FOUND => Ok(Asked::Unable),
            Err(error) => {
                tracing::debug!(%error, "a question was not answered");
                Ok(Asked::No(No::Unreadable))
            }
        }
    }

    /// Whether the client can show forms, and pages.
    fn modes(&self) -> (bool, bool) {
        if super::transport::hears_only_answers(&self.context.extensions) {
            return (false, false);
        }
        let Some(able) = self.context.client_capabilities().and_then(|able| able.elicitation) else { return (false, false) };
        // Clients from before there were pages say neither, and mean forms.
        (able.form.is_some() || able.url.is_none(), able.url.is_some())
    }
}

fn answer(result: ElicitResult, took: Duration) -> Asked<Option<Value>> {
    No::of(&result.action, took).map_or(Asked::Answer(result.content), Asked::No)
}

fn unanswered() -> ToolError {
    ToolError::new(
        "login_unanswered",
        "The user was asked, and did not answer.",
        "When the user is there, call login again. With LAVA_SESSION_LIMIT in this server's environment, login does not ask how much may be spent.",
    )
}

/// One text for every reason: it must not help to make one up.
fn not_ours() -> ToolError {
    ToolError::new(
        "answer_not_valid",
        "This answer does not belong to a question that this server asked about this call, or it came too late.",
        "Call the tool again, without requestState and inputResponses.",
    )
}
