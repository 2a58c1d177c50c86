//! The handler: finds the fixture that a request names, and does what the suite asks of it.

#![expect(deprecated, reason = "sampling, logging and resources/subscribe belong to the older era, which the suite tests too")]

use std::{sync::Arc, time::Duration};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CompleteRequestParams, CompleteResult,
        CreateMessageRequestParams, ElicitRequestParams, GetPromptRequestParams, GetPromptResponse, GetPromptResult, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingMessageNotificationParam, PaginatedRequestParams,
        ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ServerCapabilities, ServerConfig,
        SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    },
    model::{CancelTaskParams, GetTaskParams, GetTaskResult, UpdateTaskParams},
    service::{RequestContext, SubscriptionContext},
    task_manager::TaskManager,
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::{
    answers, jobs,
    lists::{self, made, result},
    rounds::{Round, Rounds},
};

/// How long the fixtures that work in steps take for one.
const STEP: Duration = Duration::from_millis(50);

/// A list that has changed.
#[derive(Clone, Copy)]
enum Changed {
    Tools,
    Prompts,
}

/// The server. Cheap to clone; all clones share what outlives a request.
#[derive(Clone)]
pub(crate) struct Fixture {
    rounds: Rounds,
    tasks: TaskManager,
    changes: broadcast::Sender<Changed>,
}

type Context = RequestContext<RoleServer>;

impl Fixture {
    pub(crate) fn new() -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self { rounds: Rounds::new()?, tasks: TaskManager::new(), changes: broadcast::channel(16).0 })
    }

    /// What a tool that does more than answer does.
    async fn act(&self, name: &str, arguments: &Value, context: &Context) -> Result<Value, ErrorData> {
        let peer = &context.peer;
        match name {
            "test_tool_with_progress" => {
                for done in [0, 50, 100] {
                    if let Some(token) = context.meta.get_progress_token() {
                        let params = made::<ProgressNotificationParam>(json!({"progressToken": token, "progress": done, "total": 100}))?;
                        peer.notify_progress(params).await.map_err(failed)?;
                    }
                    tokio::time::sleep(STEP).await;
                }
            }
            "test_tool_with_logging" | "test_logging_tool" => {
                for said in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                    if !is_modern(context) || context.meta.log_level().is_some() {
                        let params = made::<LoggingMessageNotificationParam>(json!({"level": "info", "data": said}))?;
                        peer.notify_logging_message(params).await.map_err(failed)?;
                    }
                    tokio::time::sleep(STEP).await;
                }
            }
            "test_sampling" => {
                let message = json!({"role": "user", "content": {"type": "text", "text": arguments["prompt"]}});
                let params = made::<CreateMessageRequestParams>(json!({"messages": [message], "maxTokens": 100}))?;
                let answer = peer.create_message(params).await.map_err(failed)?;
                return Ok(answers::text(&format!("LLM response: {}", json!(answer.message.content))));
            }
            "test_elicitation" | "test_elicitation_sep1034_defaults" | "test_elicitation_sep1330_enums" => {
                let answer = peer.create_elicitation(made::<ElicitRequestParams>(form(name, arguments))?).await.map_err(failed)?;
                let (action, content) = (json!(answer.action), json!(answer.content));
                return Ok(answers::text(&format!("Elicitation completed: action={action}, content={content}")));
            }
            "test_missing_capability" if capabilities(context).sampling.is_none() => {
                let needed = made(json!({"sampling": {}}))?;
                return Err(ErrorData::missing_required_client_capability(needed));
            }
            "test_missing_capability" => {}
            "test_trigger_tool_change" => drop(self.changes.send(Changed::Tools)),
            "test_trigger_prompt_change" => drop(self.changes.send(Changed::Prompts)),
            other => return Err(ErrorData::invalid_params(format!("there is no tool {other}"), None)),
        }
        Ok(answers::text("done"))
    }
}

fn failed(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

fn is_modern(context: &Context) -> bool {
    context.protocol_version().is_some_and(|version| !version.has_initialize())
}

fn capabilities(context: &Context) -> ClientCapabilities {
    context.client_capabilities().unwrap_or_default()
}

/// The form that a tool of the older era shows.
fn form(name: &str, arguments: &Value) -> Value {
    let titled = |values: &[(&str, &str)]| -> Value {
        values.iter().map(|(value, title)| json!({"const": value, "title": title})).collect::<Vec<_>>().into()
    };
    let (message, properties, required) = match name {
        "test_elicitation" => {
            let text = |what: &str| json!({"type": "string", "description": what});
            let properties = json!({"username": text("User's response"), "email": text("User's email address")});
            (arguments["message"].clone(), properties, vec!["username", "email"])
        }
        "test_elicitation_sep1034_defaults" => {
            let properties = json!({
                "name": {"type": "string", "default": "John Doe"},
                "age": {"type": "integer", "default": 30},
                "score": {"type": "number", "default": 95.5},
                "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
                "verified": {"type": "boolean", "default": true},
            });
            (json!("Please check these"), properties, vec![])
        }
        _ => {
            let properties = json!({
                "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
                "titledSingle": {"type": "string", "oneOf": titled(&[("value1", "First Option"), ("value2", "Second Option")])},
                "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
                "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
                "titledMulti": {"type": "array", "items": {"anyOf": titled(&[("value1", "First Choice"), ("value2", "Second Choice")])}},
            });
            (json!("Please choose"), properties, vec![])
        }
    };
    let schema = json!({"type": "object", "properties": properties, "required": required});
    json!({"mode": "form", "message": message, "requestedSchema": schema})
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_tool_list_changed()
                .enable_prompts()
                .enable_prompts_list_changed()
                .enable_resources()
                .enable_resources_subscribe()
                .enable_completions()
                .enable_logging()
                .enable_tasks()
                .build(),
        )
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        // What the transport checks `Mcp-Param-…` headers against.
        Some(Tool::new(name.to_owned(), "A fixture", Arc::new(lists::schema_of(name)?)))
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: Context) -> Result<ListToolsResult, ErrorData> {
        result(lists::tools())
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: Context) -> Result<CallToolResponse, ErrorData> {
        let name = &*request.name;
        let arguments = request.arguments.unwrap_or_default();
        let capabilities = capabilities(&context);
        if let Some(answer) = answers::tool(name, &arguments) {
            return result::<CallToolResult>(answer).map(Into::into);
        }
        if let Some(round) = self.rounds.next(name, &capabilities, request.input_responses.as_ref(), request.request_state.as_deref()) {
            return match round? {
                Round::Ask(asks) => Ok(asks.into()),
                Round::Answered(text) if name == "test_tool_with_task" => Ok(jobs::say(&self.tasks, text)),
                Round::Answered(text) => result::<CallToolResult>(answers::text(&text)).map(Into::into),
            };
        }
        if let Some(answer) = jobs::call(&self.tasks, name, &arguments, &capabilities).await {
            return answer;
        }
        result::<CallToolResult>(self.act(name, &Value::Object(arguments), &context).await?).map(Into::into)
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: Context) -> Result<ListPromptsResult, ErrorData> {
        result(lists::prompts())
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, context: Context) -> Result<GetPromptResponse, ErrorData> {
        let (responses, state) = (request.input_responses.as_ref(), request.request_state.as_deref());
        if let Some(round) = self.rounds.next(&request.name, &capabilities(&context), responses, state) {
            return match round? {
                Round::Ask(asks) => Ok(asks.into()),
                Round::Answered(text) => {
                    let message = json!({"role": "user", "content": {"type": "text", "text": text}});
                    result::<GetPromptResult>(json!({"messages": [message]})).map(Into::into)
                }
            };
        }
        let Some(prompt) = answers::prompt(&request.name, &request.arguments.unwrap_or_default()) else {
            return Err(ErrorData::invalid_params(format!("there is no prompt {}", request.name), None));
        };
        result::<GetPromptResult>(prompt).map(Into::into)
    }

    async fn list_resources(&self, _: Option<PaginatedRequestParams>, _: Context) -> Result<ListResourcesResult, ErrorData> {
        result(lists::resources())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        result(lists::templates())
    }

    async fn read_resource(&self, request: ReadResourceRequestParams, _: Context) -> Result<ReadResourceResponse, ErrorData> {
        let Some(contents) = answers::contents(&request.uri) else {
            return Err(ErrorData::resource_not_found("there is no such resource", Some(json!({"uri": request.uri}))));
        };
        result::<ReadResourceResult>(contents).map(Into::into)
    }

    async fn complete(&self, _: CompleteRequestParams, _: Context) -> Result<CompleteResult, ErrorData> {
        result(json!({"completion": {"values": ["test"], "total": 1, "hasMore": false}}))
    }

    async fn set_level(&self, _: SetLevelRequestParams, context: Context) -> Result<(), ErrorData> {
        if is_modern(&context) { Err(ErrorData::method_not_found::<rmcp::model::SetLevelRequestMethod>()) } else { Ok(()) }
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            // The sink itself keeps back what this client did not ask for.
            let _ = match change {
                Ok(Changed::Tools) => context.sink().notify_tool_list_changed().await,
                Ok(Changed::Prompts) => context.sink().notify_prompt_list_changed().await,
                Err(_) => return Ok(()),
            };
        }
    }

    async fn get_task(&self, request: GetTaskParams, _: Context) -> Result<GetTaskResult, ErrorData> {
        self.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, request: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: Context) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&request.task_id)
    }
}
