//! The MCP face: who we are, which tools there are, and who answers a call. Every transport and both protocol eras end up here.
//!
//! Nothing is kept in the connection: all tools are always listed, and a call before `login` is a tool error that says what to do.

mod added;
mod answer;
mod args;
mod ask;
mod call;
mod cancel;
pub mod client;
mod confirm;
mod content;
mod docs;
mod error;
mod limit;
mod login;
mod media;
mod once;
mod paid;
mod params;
mod progress;
mod prompt;
mod prompts;
mod resources;
mod results;
mod schema;
mod search;
mod shapes;
mod text;
pub mod transport;
mod unknown;
mod usage;

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock, OnceLock},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CancelledNotificationParam, CompleteRequestParams, CompleteResult,
        CompletionInfo, CustomRequest, CustomResult, ErrorCode, GetPromptRequestParams, GetPromptResponse, Implementation,
        InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, Prompt, PromptsCapability, ReadResourceRequestParams, ReadResourceResponse, Reference, Resource,
        ResourceTemplate, ResourcesCapability, ServerCapabilities, ServerConfig, Tool, ToolsCapability,
    },
    service::{NotificationContext, RequestContext},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::Money,
    session::{Payer, Session},
};
use answer::{in_words, respond};
use ask::Seal;
use cancel::Cancellations;
use confirm::{Questions, Reply};
pub(crate) use media::{extension as media_extension, kind_of as media_kind, kind_of_body as media_kind_of_body};
use once::Once;
use results::Results;

/// How long a client may keep a list, in milliseconds. Lists only change with the program.
const LISTS_TTL_MS: u64 = 3_600_000;
/// The name used for clients that do not tell theirs.
const CLIENT_UNKNOWN: &str = "mcp";
/// As much of the name of a tool, a prompt or a method is repeated to whoever made it up, in characters.
const NAME_CHARS_MAX: usize = 128;
/// As much of a client's name is used, in characters.
const CLIENT_NAME_CHARS_MAX: usize = 60;

const INSTRUCTIONS: &str = "lava-mcp lets you buy AI models and APIs from one spend key, up to a limit that its owner has set. \
     Call login first (it needs no browser with the embedded gateway). Then search for a model or API, and use prompt to ask a model, or call to request an \
     API address from the search results. usage shows what was spent and what is left. A result that is cut says where it goes on. Every result shows its cost in USD. You never see or need a key: the \
     gateway adds credentials itself, so never put one into arguments. When the limit is reached, stop and tell the user.";

/// All tools, always in this order.
static TOOLS: LazyLock<Vec<Tool>> =
    LazyLock::new(|| vec![login::tool(), search::tool(), prompt::tool(), call::tool(), docs::tool(), usage::tool()]);

/// What a person sets for the tools.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder in which long results are kept.
    pub results: PathBuf,
    /// Calls that may cost more than this are asked about first.
    pub ask_above: Option<Money>,
}

/// The server. Cheap to clone.
#[derive(Clone)]
pub struct LavaMcp {
    session: Arc<Session>,
    once: Arc<Once>,
    seal: Arc<Seal>,
    results: Results,
    questions: Arc<Questions>,
    cancellations: Arc<Cancellations>,
    ask_above: Option<Money>,
    /// Who pays on stdio. One process serves one client, so a name that changes later does not open another budget.
    client_name: Arc<OnceLock<String>>,
}

/// A call of a tool, with what the client said about itself.
struct Call {
    payer: Payer,
    context: RequestContext<RoleServer>,
    /// The answer to a question that was asked before, when the call is sent again.
    reply: Option<Reply>,
}

impl Call {
    /// Whether the client speaks the protocol without sessions, in which a server cannot ask by itself.
    fn is_modern(&self) -> bool {
        is_modern(&self.context)
    }

    /// Whether it came over HTTP.
    fn is_http(&self) -> bool {
        self.context.extensions.get::<http::request::Parts>().is_some()
    }

    /// Whether the client can put a form before a person.
    fn can_ask(&self) -> bool {
        if transport::hears_only_answers(&self.context.extensions) {
            return false;
        }
        let elicitation = self.context.client_capabilities().and_then(|capabilities| capabilities.elicitation);
        // Before there were kinds of questions, a client that could ask at all could do this.
        elicitation.is_some_and(|can| can.form.is_some() || can.url.is_none())
    }

    /// When to give up: the client cancelled, or is gone. A call with an idempotency key over HTTP goes on when its connection ends, since its client will send it
    /// again for the result. In the protocol without sessions it always goes on: there, a broken stream and a cancellation look the same.
    fn given_up(&self, cancellations: &Cancellations, has_key: bool) -> Arc<CancellationToken> {
        match has_key && self.is_http() {
            true if self.is_modern() => Arc::default(),
            true => cancellations.watch(&self.context.peer, &self.context.id),
            false => Arc::new(self.context.ct.clone()),
        }
    }
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| !version.has_initialize())
}

/// Looks at the page that is asked for. Every list is one page, so nobody has a cursor.
fn first_page(asked: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match asked.and_then(|asked| asked.cursor).filter(|cursor| !cursor.is_empty()) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("params.cursor: unknown cursor; this list has one page, so leave it out", None)),
    }
}

impl LavaMcp {
    /// A server for this session.
    pub fn new(session: Arc<Session>, options: Options) -> Self {
        let Options { results, ask_above } = options;
        Self {
            session,
            once: Arc::default(),
            seal: Arc::new(Seal::new()),
            results: Results::new(results),
            questions: Arc::default(),
            cancellations: Arc::default(),
            ask_above,
            client_name: Arc::default(),
        }
    }

    /// All tools, always in this order.
    pub fn tools() -> Vec<Tool> {
        TOOLS.clone()
    }

    /// All prompts, always in this order.
    pub fn prompts() -> Vec<Prompt> {
        prompts::list()
    }

    /// All resources that have an address of their own, always in this order.
    pub fn resources() -> Vec<Resource> {
        resources::list()
    }

    /// The addresses of all other resources, always in this order.
    pub fn resource_templates() -> Vec<ResourceTemplate> {
        resources::templates()
    }

    /// Who pays: what came with an HTTP request was told by the listener; on stdio it is the one client there is.
    fn payer(&self, context: &RequestContext<RoleServer>) -> Payer {
        let parts = context.extensions.get::<http::request::Parts>();
        let name = || {
            let name = context.client_info().map(|client| client.name).unwrap_or_default();
            let name = text::one_line(&name, CLIENT_NAME_CHARS_MAX);
            if name.is_empty() { CLIENT_UNKNOWN.to_owned() } else { name }
        };
        match parts.and_then(|parts| Some((parts, parts.extensions.get::<Payer>()?))) {
            // Those who share a key are told apart by their session, and where the protocol has none, by their name.
            Some((parts, Payer::Client(client))) => {
                let session = transport::session_id(&parts.headers).map_or_else(name, str::to_owned);
                Payer::Member { client: client.clone(), session }
            }
            Some((_, payer)) => payer.clone(),
            None => Payer::Client(self.client_name.get_or_init(name).clone()),
        }
    }

    async fn dispatch(&self, request: CallToolRequestParams, call: Call) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let session = &self.session;
        Ok(respond(match &*request.name {
            "search" => in_words(search::run(session, &call.payer, args::parse(arguments)).await, search::Output::text),
            "prompt" => prompt::run(self, call, arguments).await,
            "call" => call::run(self, call, arguments).await,
            "get_provider_docs" => in_words(docs::run(session, &call.payer, args::parse(arguments)).await, docs::Output::text),
            "usage" => usage::run(self, &call, args::parse(arguments)).await,
            other => return Err(no_tool(other)),
        }))
    }
}

fn no_tool(name: &str) -> ErrorData {
    let names: Vec<_> = TOOLS.iter().map(|tool| &*tool.name).collect();
    ErrorData::invalid_params(
        format!("no tool is called \"{}\"; the tools are {}", text::one_line(name, NAME_CHARS_MAX), names.join(", ")),
        None,
    )
}

impl ServerHandler for LavaMcp {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::default();
        capabilities.tools = Some(ToolsCapability::default());
        capabilities.resources = Some(ResourcesCapability::default());
        capabilities.prompts = Some(PromptsCapability::default());
        capabilities.completions = Some(serde_json::Map::new());
        let about = Implementation::new("lava-mcp", env!("CARGO_PKG_VERSION"))
            .with_title("Lava")
            .with_description("Lets an AI agent buy AI models and APIs from one spend key, whose limit holds");
        ServerConfig::new(capabilities).with_server_info(about).with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        mut request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let begun = self.negotiate_initialize(&request)?;
        // The era of what follows is the one that was agreed, whatever was asked for.
        request.protocol_version = begun.protocol_version.clone();
        context.peer.set_peer_info(request);
        Ok(begun)
    }

    async fn list_tools(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        first_page(asked)?;
        let tools = ListToolsResult::with_all_items(Self::tools());
        Ok(if is_modern(&context) { tools.with_ttl_ms(LISTS_TTL_MS).with_cache_scope(CacheScope::Public) } else { tools })
    }

    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.results.sweep();
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else { return Err(no_tool(&request.name)) };
        let (arguments, ignored) = match args::read(tool, request.arguments.take().unwrap_or_default()) {
            Ok(given) => given.into_parts(),
            Err(error) => return Ok(respond(Err(error.into()))),
        };
        request.arguments = Some(arguments);
        let payer = self.payer(&context);
        let response = if request.name == "login" {
            login::respond(&self.session, &self.seal, &Call { payer, context, reply: None }, request).await
        } else {
            let reply = Reply::new(request.request_state.clone(), request.input_responses.clone());
            Box::pin(self.dispatch(request, Call { payer, context, reply })).await?
        };
        Ok(args::finish(tool, &ignored, response))
    }

    async fn on_cancelled(&self, cancelled: CancelledNotificationParam, context: NotificationContext<RoleServer>) {
        if let Some(request) = &cancelled.request_id {
            self.cancellations.cancel(&context.peer, request);
        }
    }

    async fn list_resources(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        first_page(asked)?;
        let list = ListResourcesResult::with_all_items(Self::resources());
        Ok(if is_modern(&context) { list.with_ttl_ms(LISTS_TTL_MS).with_cache_scope(CacheScope::Public) } else { list })
    }

    async fn list_resource_templates(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        first_page(asked)?;
        let list = ListResourceTemplatesResult::with_all_items(Self::resource_templates());
        Ok(if is_modern(&context) { list.with_ttl_ms(LISTS_TTL_MS).with_cache_scope(CacheScope::Public) } else { list })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let mut read = resources::read(self, &self.payer(&context), &request.uri).await?;
        if !is_modern(&context) {
            (read.ttl_ms, read.cache_scope) = (None, None);
        }
        Ok(read.into())
    }

    async fn list_prompts(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        first_page(asked)?;
        let list = ListPromptsResult::with_all_items(Self::prompts());
        Ok(if is_modern(&context) { list.with_ttl_ms(LISTS_TTL_MS).with_cache_scope(CacheScope::Public) } else { list })
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, _: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&request.name, &request.arguments.unwrap_or_default()).map(Into::into)
    }

    async fn on_custom_request(&self, request: CustomRequest, _: RequestContext<RoleServer>) -> Result<CustomResult, ErrorData> {
        if let Some(fault) = params::fault(&request.method, request.params) {
            return Err(ErrorData::invalid_params(fault, None));
        }
        let method = text::one_line(&request.method, NAME_CHARS_MAX);
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("unknown method \"{method}\""), None))
    }

    async fn complete(&self, request: CompleteRequestParams, context: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let typed = request.argument.value.as_str();
        // Of a list, its last entry is completed.
        let (before, beginning) = match &request.r#ref {
            Reference::Prompt(prompt) if prompt.name == "compare_models" && request.argument.name == "models" => {
                typed.rfind(',').map_or(("", typed), |comma| typed.split_at(comma + 1))
            }
            Reference::Resource(template) if template.uri.starts_with(resources::MODELS) && request.argument.name == "id" => ("", typed),
            _ => return Ok(CompleteResult::default()),
        };
        let found = resources::complete_model(self, &self.payer(&context), beginning.trim_start()).await.unwrap_or_default();
        let space = if before.is_empty() { "" } else { " " };
        let found = found.into_iter().map(|id| format!("{before}{space}{id}")).collect();
        Ok(CompleteResult::new(CompletionInfo::new(found).unwrap_or_default()))
    }
}
