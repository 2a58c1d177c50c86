//! A small MCP client of a lava-mcp that runs as a child process: what the demo speaks through. It speaks the era without sessions, a line a message, and so
//! needs none of the SDK's client.

use std::{process::Stdio, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A server that says nothing for this long is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// One that does not end after its input has ended is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a server.
pub struct McpClient {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    requests: u64,
    notes: Vec<String>,
}

/// What a tool answered.
#[derive(Clone, Debug)]
pub struct ToolAnswer {
    /// Whether the tool failed.
    pub is_error: bool,
    /// Its structured content.
    pub content: Value,
}

impl McpClient {
    /// Starts a server and connects to it under `name`.
    ///
    /// # Errors
    /// A sentence when the server cannot be started, or does not answer.
    pub async fn start(mut command: Command, name: &'static str) -> Result<Self, String> {
        let failed = |error: String| format!("the server could not be started: {error}");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|error| failed(error.to_string()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| failed("it has no pipes".to_owned()))?;
        let mut client = Self { name, child, input, output: BufReader::new(output).lines(), requests: 0, notes: Vec::new() };
        client.request("server/discover", json!({})).await?;
        Ok(client)
    }

    /// The names of the server's tools, in its order.
    ///
    /// # Errors
    /// A sentence when the server does not answer.
    pub async fn tool_names(&mut self) -> Result<Vec<String>, String> {
        let listed = self.request("tools/list", json!({})).await?;
        let tools = listed["tools"].as_array().cloned().unwrap_or_default();
        Ok(tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect())
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// A sentence when the server does not answer; a tool that fails is an answer.
    pub async fn call(&mut self, tool: &str, arguments: Map<String, Value>) -> Result<ToolAnswer, String> {
        self.notes.clear();
        let mut result = self.request("tools/call", json!({"name": tool, "arguments": arguments})).await?;
        Ok(ToolAnswer { is_error: result["isError"] == true, content: result["structuredContent"].take() })
    }

    /// The progress notes of the last call.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Closes the connection; the server then ends by itself.
    pub async fn close(self) {
        let Self { mut child, input, .. } = self;
        drop(input);
        let _ = tokio::time::timeout(END_TIMEOUT, child.wait()).await;
    }

    async fn request(&mut self, method: &str, mut params: Value) -> Result<Value, String> {
        self.requests += 1;
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": self.name, "version": env!("CARGO_PKG_VERSION")},
            "progressToken": self.requests,
        });
        let line = json!({"jsonrpc": "2.0", "id": self.requests, "method": method, "params": params});
        let failed = |error: std::io::Error| format!("the server did not answer: {error}");
        self.input.write_all(format!("{line}\n").as_bytes()).await.map_err(failed)?;
        loop {
            let read = tokio::time::timeout(ANSWER_TIMEOUT, self.output.next_line()).await;
            let read = read.map_err(|_| format!("the server did not answer {method} within {} seconds", ANSWER_TIMEOUT.as_secs()))?;
            let line = read.map_err(failed)?.ok_or_else(|| format!("the server ended before it had answered {method}"))?;
            let mut message: Value =
                serde_json::from_str(&line).map_err(|_| format!("the server sent a line that is not a message: {line}"))?;
            if message["method"] == "notifications/progress" {
                self.notes.extend(message["params"]["message"].as_str().map(str::to_owned));
            }
            if message["id"] == self.requests {
                return match message["error"]["message"].as_str() {
                    Some(error) => Err(format!("the server refused {method}: {error}")),
                    None => Ok(message["result"].take()),
                };
            }
        }
    }
}
