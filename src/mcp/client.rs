//! A small MCP client of a lava-mcp that runs as a child process: what the demo and tests speak through.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::{
    ClientHandler, RoleClient,
    model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam},
    service::{NotificationContext, RunningService, serve_client},
    transport::TokioChildProcess,
};
use serde_json::{Map, Value};
use tokio::process::Command;

/// A connection to a server.
pub struct McpClient {
    service: RunningService<RoleClient, Handler>,
    notes: Arc<Mutex<Vec<String>>>,
}

/// What a tool answered.
#[derive(Clone, Debug)]
pub struct ToolAnswer {
    /// Whether the tool failed.
    pub is_error: bool,
    /// Its structured content.
    pub content: Value,
}

struct Handler {
    name: &'static str,
    notes: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new(self.name, env!("CARGO_PKG_VERSION")))
    }

    async fn on_progress(&self, note: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.message.unwrap_or_default());
    }
}

impl McpClient {
    /// Starts a server and connects to it under `name`.
    ///
    /// # Errors
    /// A sentence when the server cannot be started, or does not answer.
    pub async fn start(command: Command, name: &'static str) -> Result<Self, String> {
        let child = TokioChildProcess::new(command).map_err(|error| format!("the server could not be started: {error}"))?;
        let notes = Arc::<Mutex<Vec<String>>>::default();
        let handler = Handler { name, notes: notes.clone() };
        let service = serve_client(handler, child).await.map_err(|error| format!("the server did not answer: {error}"))?;
        Ok(Self { service, notes })
    }

    /// The names of the server's tools, in its order.
    ///
    /// # Errors
    /// A sentence when the server does not answer.
    pub async fn tool_names(&self) -> Result<Vec<String>, String> {
        let tools = self.service.list_all_tools().await.map_err(|error| error.to_string())?;
        Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// A sentence when the server does not answer; a tool that fails is an answer.
    pub async fn call(&self, tool: &'static str, arguments: Map<String, Value>) -> Result<ToolAnswer, String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let result = self.service.call_tool(params).await.map_err(|error| error.to_string())?;
        Ok(ToolAnswer { is_error: result.is_error == Some(true), content: result.structured_content.unwrap_or_default() })
    }

    /// The progress notes of the last call, as far as they have come.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the connection; the server then ends by itself.
    pub async fn close(self) {
        let _ = self.service.cancel().await;
    }
}
