//! `login`: makes sure that there is a key to pay with, within what its owner allows. The key itself is never part of a result.
//!
//! Where that takes a person, a ladder is climbed down, from what keeps most out of the model's sight: a browser that we open, a page that the client opens, a link
//! that the model passes on. All rungs together wait no longer than the least patient of clients; then the answer is `pending`, and the next call goes on from there.

use std::sync::Arc;

use jiff::Timestamp;
use rmcp::model::{CallToolRequestParams, CallToolResponse, InputRequiredResult, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call,
    answer::in_words,
    args,
    ask::{ANSWER_TIMEOUT, Asked, Conversation, No, Seal},
    error::ToolError,
    limit,
    progress::Progress,
    schema::{input_schema, output_schema},
};
use crate::{
    client::{LimitObject, SpendKeyObject},
    domain::{Money, SpendLimit, invocation::in_text, text::counted},
    session::{GatewayInfo, Led, LoggedIn, Narrowing, PendingLogin, Session, SessionError, SetBy},
};

/// Restrictions to ask for; each may only narrow what the owner has set.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// The most money per cycle, such as {"amount": "1.00", "cycle": "daily"}. It cannot be more than the owner's limit.
    spend_limit: Option<LimitObject>,
    /// Models the session may use, such as ["gpt-4o-mini"].
    allowed_models: Option<Vec<String>>,
    /// Providers the session may use, such as ["openai"].
    allowed_providers: Option<Vec<String>>,
    /// When the session key stops working (RFC 3339), such as "2027-01-31T18:00:00Z".
    expires_at: Option<String>,
    /// Replace the key's value with a new one. What it has spent still counts.
    #[serde(default)]
    force: bool,
}

/// The session that is ready, or the login that waits for a person.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// "ready", or "pending" while a person has yet to finish in a browser.
    status: &'static str,
    gateway: GatewayInfo,
    /// The session's spend key, without the key itself.
    spend_key: Option<SpendKeyObject>,
    /// US dollars left in this cycle.
    remaining: Option<String>,
    /// Who set the limit, such as "LAVA_SESSION_LIMIT", "person at login" or "agent at login"; absent where the key was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_set_by: Option<&'static str>,
    /// Where a person finishes a pending login, if you have to show it to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<String>,
    /// What to do while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Where the key is kept: "environment", "request", "keyring" or "file"; absent while there is none.
    stored_in: Option<&'static str>,
    #[serde(skip)]
    set_by: Option<SetBy>,
}

/// What a call comes to: a result, or a question that the client asks before it calls again.
enum Step {
    Done(Box<Output>),
    Ask(Box<InputRequiredResult>),
}

pub(super) fn tool() -> Tool {
    Tool::new_with_raw("login", None, input_schema::<Args>())
        .with_title("Log in")
        .with_raw_output_schema(output_schema::<Output>())
        .with_annotations(ToolAnnotations::new().read_only(false).destructive(false).idempotent(true).open_world(false))
        .describe(
            "Makes a spend key for this session, or reuses the one there is, so that prompt and call can pay. Call it first, and again when a call says that the \
             key is not valid. Returns the key's limit, what is left, and where it is kept; never the key. Arguments can only lower what the owner allows. \
             Status \"pending\" means that the user has yet to finish in a browser: do what next says, then call login again. \
             Example: {\"spend_limit\": {\"amount\": \"1.00\", \"cycle\": \"daily\"}}",
        )
}

pub(super) async fn respond(session: &Arc<Session>, seal: &Seal, call: &Call, request: CallToolRequestParams) -> CallToolResponse {
    match run(session, seal, call, request).await {
        Ok(Step::Ask(round)) => (*round).into(),
        Ok(Step::Done(output)) => super::respond(in_words(Ok(*output), Output::text)),
        Err(error) => super::respond(Err(error.into())),
    }
}

async fn run(session: &Arc<Session>, seal: &Seal, call: &Call, request: CallToolRequestParams) -> Result<Step, ToolError> {
    let args: Args = args::parse(request.arguments.clone().unwrap_or_default())?;
    let force = args.force;
    if force {
        // Whoever forces a login may just have unlocked the keyring.
        session.ask_vault_again();
    }
    let narrowing = args.narrowing()?;
    let patience = session.web().map_or(ANSWER_TIMEOUT, |web| web.patience);
    let talk = Conversation::open(seal, call, request, patience)?;
    // Clients that watch for signs of life see some while a person thinks.
    let _progress = Progress::start(&call.context);
    if session.asks_for_limit(&call.payer).await? {
        // Who calls over HTTP may be a program that answers in the person's stead.
        let by_person = !call.is_http();
        match limit::ask(session, &talk, by_person).await? {
            Asked::Answer(limit) => session.allow(&call.payer, limit, by_person)?,
            Asked::No(no) => return Err(limit::none(no, session, call)),
            Asked::Unable | Asked::Unanswered => {}
            Asked::Later(round) => return Ok(Step::Ask(round)),
        }
    }
    match (session.login(&call.payer, &narrowing, force).await, call.payer.client()) {
        (Err(SessionError::NoSecretKey), Some(name)) if session.web().is_some() => {
            let pending = session.begin_web_login(name).await?;
            match climb_down(session, &talk, call, &pending).await? {
                Asked::Later(round) => return Ok(Step::Ask(round)),
                Asked::Answer(()) => {}
                // Nobody can be waited for who has not been told yet.
                Asked::Unable | Asked::Unanswered | Asked::No(_) => return Ok(Step::Done(Box::new(Output::pending(session, &pending)))),
            }
            if !wait(session, &talk, call, &pending).await? {
                return Ok(Step::Done(Box::new(Output::pending(session, &pending))));
            }
            let logged_in = session.login(&call.payer, &narrowing, force).await?;
            Ok(Step::Done(Box::new(Output::ready(session, logged_in))))
        }
        (logged_in, _) => Ok(Step::Done(Box::new(Output::ready(session, logged_in?)))),
    }
}

/// Leads the person to the page of a login. `Unable` and `Unanswered` mean that only the model can, and has yet to be told.
async fn climb_down(session: &Session, talk: &Conversation<'_>, call: &Call, pending: &Arc<PendingLogin>) -> Result<Asked<()>, ToolError> {
    match pending.led() {
        Led::Nowhere => {}
        Led::Browser | Led::Page | Led::Link => return Ok(Asked::Answer(())),
    }
    // Who calls over HTTP may sit at another machine.
    if !call.is_http()
        && let Some(web) = session.web()
        && web.browser.open(pending.start()).await
    {
        pending.lead(Led::Browser);
        return Ok(Asked::Answer(()));
    }
    let host = pending.url().host_str().unwrap_or_default().to_owned();
    let message = format!(
        "Log in at {host}, so that this agent can pay for AI models and APIs. The page opens in your browser; no key is shown to the agent."
    );
    let about = pending.id();
    let asked = tokio::select! {
        asked = talk.page("login", &about, message, pending.url()) => asked,
        // Some clients only answer when the page is closed again.
        () = pending.over() => return Ok(Asked::Answer(())),
    };
    match asked {
        Ok(Asked::Answer(())) => pending.lead(Led::Page),
        // A client that answers by itself can no more show a page than one that does not say that it can.
        Ok(Asked::Unable | Asked::Unanswered | Asked::No(No::ByItself(_))) => pending.lead(Led::Link),
        Ok(Asked::No(No::Declined)) => {
            session.decline_web_login(pending).await;
            return Err(SessionError::Declined.into());
        }
        // Who closed the page is asked again by the next call.
        Ok(Asked::No(No::Dismissed | No::Unreadable) | Asked::Later(_)) | Err(_) => {}
    }
    asked
}

/// Waits for the person; `false` when they need longer than a call may take.
async fn wait(session: &Session, talk: &Conversation<'_>, call: &Call, pending: &Arc<PendingLogin>) -> Result<bool, ToolError> {
    tokio::select! {
        ended = session.await_web_login(pending, talk.left()) => Ok(ended?),
        () = call.context.ct.cancelled() => Err(ToolError::new("cancelled", "The call was cancelled.", "The login goes on; the next call of login finds it.")),
    }
}

impl Args {
    fn narrowing(self) -> Result<Narrowing, ToolError> {
        Ok(Narrowing {
            spend_limit: self.spend_limit.map(|limit| read_limit(&limit)).transpose()?,
            allowed_models: self.allowed_models.map(|list| not_empty("allowed_models", list)).transpose()?,
            allowed_providers: self.allowed_providers.map(|list| not_empty("allowed_providers", list)).transpose()?,
            expires_at: self.expires_at.map(|text| read_time(&text)).transpose()?,
        })
    }
}

fn read_limit(limit: &LimitObject) -> Result<SpendLimit, ToolError> {
    let read = limit.to_limit().filter(|limit| limit.amount > Money::ZERO);
    read.ok_or_else(|| ToolError::invalid("spend_limit.amount: must be a decimal above zero, as a string, such as \"1.00\""))
}

fn not_empty(name: &str, list: Vec<String>) -> Result<Vec<String>, ToolError> {
    if list.is_empty() { Err(ToolError::invalid(format!("{name}: give at least one entry, or leave it out for all"))) } else { Ok(list) }
}

fn read_time(text: &str) -> Result<Timestamp, ToolError> {
    text.parse().map_err(|_| ToolError::invalid(format!("expires_at: \"{text}\" is not a time such as 2027-01-31T18:00:00Z")))
}

impl Output {
    fn ready(session: &Session, logged_in: LoggedIn) -> Self {
        let remaining = logged_in.key.as_ref().and_then(SpendKeyObject::remaining);
        Self {
            status: "ready",
            gateway: session.info().clone(),
            spend_key: logged_in.key,
            remaining,
            limit_set_by: logged_in.limit_set_by.map(SetBy::as_str),
            set_by: logged_in.limit_set_by,
            login_url: None,
            next: None,
            stored_in: Some(logged_in.stored_in),
        }
    }

    /// The link is told, but for where the client has shown the page: a browser that we started may show it where nobody looks.
    fn pending(session: &Session, pending: &PendingLogin) -> Self {
        let led = pending.led();
        let left = counted(pending.left().as_secs(), "second");
        let next = match led {
            Led::Page => format!(
                "The login page is open in the user's browser, and works for another {left}. Ask them to finish there, then call login again: it \
                 waits for them."
            ),
            Led::Browser => format!(
                "The login page should be open in the user's browser, and works for another {left}. Ask them to finish there; if they do not see it, \
                 give them the link in login_url, word for word. Then call login again: it waits for them."
            ),
            Led::Link | Led::Nowhere => format!(
                "Show the user the link in login_url, word for word, and ask them to log in there; it works for another {left}, with a browser on the \
                 machine on which this server runs. Then call login again: it waits for them. Without such a browser they run `lava-mcp login --no-browser` in \
                 a terminal."
            ),
        };
        Self {
            status: "pending",
            gateway: session.info().clone(),
            spend_key: None,
            remaining: None,
            limit_set_by: None,
            set_by: None,
            login_url: (led != Led::Page).then(|| pending.url().to_string()),
            next: Some(in_text(&next).into_owned()),
            stored_in: None,
        }
    }

    fn text(&self) -> String {
        if let Some(next) = &self.next {
            let link = self.login_url.as_ref().map(|url| format!("\n{url}")).unwrap_or_default();
            return format!("The login is pending.{link}\n{next}");
        }
        let place = match (&self.gateway.url, self.gateway.sandbox) {
            (Some(url), _) => format!("the gateway at {url}"),
            (None, true) => "the sandbox: nothing leaves this machine and no money is spent".to_owned(),
            (None, false) => "the embedded gateway".to_owned(),
        };
        let mut lines = vec![format!("Ready, with {place}.")];
        if let Some(key) = &self.spend_key {
            let limit = key
                .spend_limit
                .as_ref()
                .map_or_else(|| "no limit".to_owned(), |limit| format!("{} USD {}", limit.amount, limit.cycle.in_words()));
            let limit = match self.set_by {
                Some(by) => format!("{limit} ({})", in_text(by.in_words())),
                None => limit,
            };
            lines.push(format!(
                "Spend key {} ({}): {limit}, {} USD left.",
                key.key_preview,
                key.name,
                self.remaining.as_deref().unwrap_or("unlimited")
            ));
        }
        lines.push(format!("The key is kept in the {}. Next: search, prompt or call.", self.stored_in.unwrap_or_default()));
        lines.join("\n")
    }
}

/// Sets a description after the rest, where it is easier to read.
pub(super) trait Describe {
    /// The tool with this description.
    fn describe(self, text: &'static str) -> Self;
}

impl Describe for Tool {
    fn describe(mut self, text: &'static str) -> Self {
        self.description = Some(text.into());
        self
    }
}
