//! The MCP face: who we are, which tools there are, and who answers a call. Every transport and both protocol eras end up here.
//!
//! Nothing is kept in the connection: all tools are always listed, and a call before `login` is a tool error that says what to do.

mod args;
mod ask;
mod call;
pub mod client;
mod docs;
mod error;
mod login;
mod once;
mod progress;
mod prompt;
mod search;
mod text;
pub mod transport;
mod usage;

use std::sync::{Arc, OnceLock};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde::Serialize;

use crate::session::{Payer, Session};
use ask::Seal;
use error::ToolError;
use once::Once;

/// How long a client may keep the list of tools, in milliseconds. It only changes with the program.
const TOOLS_TTL_MS: u64 = 3_600_000;
/// The name used for clients that do not tell theirs.
const CLIENT_UNKNOWN: &str = "mcp";
/// As much of a client's name is used, in characters.
const CLIENT_NAME_CHARS_MAX: usize = 60;

const INSTRUCTIONS: &str = "lava-mcp gives you a wallet with a lid: one spend key pays for every AI model and API, up to a limit its owner has set. \
     Call login first (it needs no browser with the embedded gateway). Then search for a model or API, and use prompt to ask a model, or call to request an \
     API address from the search results. usage shows what was spent and what is left. Every result tells its cost in USD. You never see or need a key: the \
     gateway adds credentials itself, so never put one into arguments. When the limit is reached, stop and tell the user.";

/// The server. Cheap to clone.
#[derive(Clone)]
pub struct LavaMcp {
    session: Arc<Session>,
    once: Arc<Once>,
    seal: Arc<Seal>,
    /// Who pays on stdio. One process serves one client, so a name that changes later does not open another budget.
    client_name: Arc<OnceLock<String>>,
}

/// A call of a tool, with what the client said about itself.
struct Call {
    payer: Payer,
    context: RequestContext<RoleServer>,
}

impl LavaMcp {
    /// A server for this session.
    pub fn new(session: Arc<Session>) -> Self {
        Self { session, once: Arc::default(), seal: Arc::new(Seal::new()), client_name: Arc::default() }
    }

    /// All tools, always in this order.
    pub fn tools() -> Vec<Tool> {
        vec![login::tool(), search::tool(), prompt::tool(), call::tool(), docs::tool(), usage::tool()]
    }

    /// Who pays: what came with an HTTP request was told by the listener; on stdio it is the one client there is.
    fn payer(&self, context: &RequestContext<RoleServer>) -> Payer {
        let told = context.extensions.get::<http::request::Parts>().and_then(|parts| parts.extensions.get::<Payer>());
        told.cloned().unwrap_or_else(|| {
            let name = context.client_info().map(|client| client.name).unwrap_or_default();
            let name = text::one_line(&name, CLIENT_NAME_CHARS_MAX);
            let name = if name.is_empty() { CLIENT_UNKNOWN.to_owned() } else { name };
            Payer::Client(self.client_name.get_or_init(|| name).clone())
        })
    }

    async fn dispatch(&self, request: CallToolRequestParams, call: Call) -> Result<CallToolResult, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let session = &self.session;
        Ok(match &*request.name {
            "search" => respond(search::run(session, args::parse(arguments)).await, search::Output::text),
            "prompt" => respond(prompt::run(session, &self.once, &call, arguments).await, prompt::Output::text),
            "call" => respond(call::run(session, &self.once, &call, arguments).await, call::Output::text),
            "get_provider_docs" => respond(docs::run(session, args::parse(arguments)).await, docs::Output::text),
            "usage" => respond(usage::run(session, &call, args::parse(arguments)).await, usage::Output::text),
            other => {
                let names: Vec<_> = Self::tools().into_iter().map(|tool| tool.name).collect();
                return Err(ErrorData::invalid_params(format!("there is no tool \"{other}\"; there are {}", names.join(", ")), None));
            }
        })
    }
}

impl ServerHandler for LavaMcp {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::default();
        capabilities.tools = Some(rmcp::model::ToolsCapability::default());
        let about = Implementation::new("lava-mcp", env!("CARGO_PKG_VERSION"))
            .with_title("Lava")
            .with_description("A wallet with a lid for AI agents: models and APIs under one spend limit");
        ServerConfig::new(capabilities).with_server_info(about).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(Self::tools()).with_ttl_ms(TOOLS_TTL_MS).with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let payer = self.payer(&context);
        let call = Call { payer, context };
        if request.name == "login" {
            return Ok(login::respond(&self.session, &self.seal, &call, request).await);
        }
        self.dispatch(request, call).await.map(Into::into)
    }
}

/// A tool's result: structured content, and the same in words. Boxed errors keep results small.
fn respond<T: Serialize>(result: Result<T, ToolError>, text: impl FnOnce(&T) -> String) -> CallToolResult {
    match result {
        Ok(output) => {
            let mut answer = CallToolResult::structured(serde_json::to_value(&output).unwrap_or_default());
            answer.content = vec![ContentBlock::text(text(&output))];
            answer
        }
        Err(error) => {
            let mut answer = CallToolResult::structured_error(error.to_structured());
            answer.content = vec![ContentBlock::text(error.to_text())];
            answer
        }
    }
}
