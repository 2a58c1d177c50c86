//! `lava-mcp demo`: the whole job once, as an MCP client sees it. A child lava-mcp runs in the sandbox with a folder of its own; nothing is left behind.
//!
//! Every step says what was asked and what came back, and is checked. The demo succeeds only if all of it was true.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tokio::process::Command;

use super::{Failure, output};
use crate::{
    domain::{Money, text::counted},
    mcp::client::{McpClient, ToolAnswer},
    platform::private_file,
};

/// A small limit, so that the lid can be seen to hold.
const LIMIT: &str = "0.02/daily";
/// At this model's list price the limit is soon used up.
const MODEL: &str = "gpt-4o-mini";
const DEAR_MODEL: &str = "gpt-4o";

pub(super) async fn demo(json: bool) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("lava-mcp-demo-{}", ulid::Ulid::generate()));
    private_file::create_folder(&folder).map_err(|error| Failure::Error(format!("{}: {error}", folder.display())))?;
    let result = Box::pin(run(&folder, json)).await;
    let _ = std::fs::remove_dir_all(&folder);
    result
}

async fn run(folder: &PathBuf, json: bool) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::Error(error.to_string()))?;
    let mut command = Command::new(program);
    command.arg("--sandbox").arg("--data-dir").arg(folder);
    // The child must not find keys or settings of the person who runs the demo.
    command.env_clear().env("HOME", folder).env("LAVA_CREDENTIAL_STORE", "file").env("LAVA_SESSION_LIMIT", LIMIT);
    let mut show = Show { json, steps: Vec::new(), wrong: 0 };
    show.note(
        "An agent gets a spend key with a limit: 0.02 USD a day. Everything below runs in the sandbox: no account, no network, no money.",
    );
    let mut client = McpClient::start(command, "lava-mcp demo").await?;
    let tools = client.tool_names().await?;
    show.step("tools/list", &Value::Null, &json!(tools), tools.len() == 6, &tools.join(", "));

    let answer = show.call(&mut client, "login", json!({})).await?;
    let key = |path: &str| text(&answer.content, path);
    let ok = answer.content["status"] == "ready" && !answer.content.to_string().contains("\"key\"");
    let said = format!(
        "{}, {} USD a day, {} USD left; the key itself stays in the vault",
        key("/spend_key/key_preview"),
        key("/spend_key/spend_limit/amount"),
        key("/remaining")
    );
    show.step("login", &json!({}), &answer.content, ok && !answer.is_error, &said);

    let asked = json!({"query": "cheap fast model with tools", "kind": "model", "limit": 3});
    let answer = show.call(&mut client, "search", asked.clone()).await?;
    let hits = answer.content["results"].as_array().cloned().unwrap_or_default();
    let lines: Vec<String> = hits
        .iter()
        .map(|hit| {
            format!("{} at {} / {} USD per million tokens", text(hit, "/id"), text(hit, "/pricing/input"), text(hit, "/pricing/output"))
        })
        .collect();
    show.step("search", &asked, &answer.content, !hits.is_empty(), &lines.join("\n"));

    let asked = json!({"model": MODEL, "input": "Say hello to the reader of this demo.", "max_tokens": 60});
    let answer = show.call(&mut client, "prompt", asked.clone()).await?;
    let first_cost = money(&answer.content, "/cost");
    show.step("prompt", &asked, &answer.content, !answer.is_error && first_cost > Money::ZERO, &answered(&answer.content));

    let asked =
        json!({"model": MODEL, "messages": [{"role": "user", "content": "Now stream: I want to see the text grow."}], "max_tokens": 60});
    let answer = show.call(&mut client, "prompt", asked.clone()).await?;
    let streamed = client.notes().concat();
    let same = text(&answer.content, "/content");
    let said = format!("{}\nstreamed as {}", answered(&answer.content), counted(client.notes().len(), "progress note"));
    show.step("prompt", &asked, &answer.content, !streamed.is_empty() && same.starts_with(streamed.trim_end()), &said);

    let asked = json!({"url": "https://api.openai.com/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": "Hello"}, "max_cost": "0.01"});
    let answer = show.call(&mut client, "call", asked.clone()).await?;
    let said = format!(
        "HTTP {}, {} · cost {} USD · {} USD left",
        answer.content["status"],
        counted(answer.content.pointer("/body/data/0/embedding").and_then(Value::as_array).map_or(0, Vec::len), "number"),
        text(&answer.content, "/cost"),
        text(&answer.content, "/remaining")
    );
    show.step("call", &asked, &answer.content, answer.content["status"] == 200, &said);

    let asked = json!({"model": DEAR_MODEL, "input": "Write a very long story.", "max_tokens": 16000});
    let answer = show.call(&mut client, "prompt", asked.clone()).await?;
    let code = text(&answer.content, "/error/code");
    let refused = answer.is_error && matches!(code.as_str(), "insufficient_budget" | "budget_exceeded");
    show.step("prompt", &asked, &answer.content, refused, &format!("refused [{code}]: {}", text(&answer.content, "/error/message")));

    let answer = show.call(&mut client, "usage", json!({"limit": 5})).await?;
    let spent = money(&answer.content, "/spend_key/current_spend");
    let ok = spent >= first_cost && spent <= Money::from_nanos(20_000_000);
    let said = format!(
        "{} USD spent in {}, {} USD left, resets at {}",
        spent,
        counted(answer.content["spend_key"]["current_requests"].as_u64().unwrap_or_default(), "request"),
        text(&answer.content, "/remaining"),
        text(&answer.content, "/resets_at")
    );
    show.step("usage", &json!({"limit": 5}), &answer.content, ok, &said);
    client.close().await;
    show.finish()
}

fn answered(content: &Value) -> String {
    let tokens = |name: &str| content["usage"][name].as_u64().unwrap_or(0);
    format!(
        "“{}”\n{} + {} tokens · cost {} USD · {} USD left",
        text(content, "/content"),
        tokens("prompt_tokens"),
        tokens("completion_tokens"),
        text(content, "/cost"),
        text(content, "/remaining")
    )
}

fn text(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn money(value: &Value, path: &str) -> Money {
    text(value, path).parse().unwrap_or(Money::ZERO)
}

/// Prints the steps and remembers what was not as it should be.
struct Show {
    json: bool,
    steps: Vec<Value>,
    wrong: usize,
}

impl Show {
    fn note(&self, line: &str) {
        if !self.json {
            output::say(line);
        }
    }

    async fn call(&self, client: &mut McpClient, tool: &'static str, arguments: Value) -> Result<ToolAnswer, Failure> {
        let arguments: Map<String, Value> = arguments.as_object().cloned().unwrap_or_default();
        client.call(tool, arguments).await.map_err(Failure::Error)
    }

    fn step(&mut self, tool: &str, asked: &Value, got: &Value, is_true: bool, said: &str) {
        self.wrong += usize::from(!is_true);
        if self.json {
            self.steps.push(json!({"tool": tool, "arguments": asked, "result": got, "as_expected": is_true}));
            return;
        }
        let arguments = if asked.is_null() { String::new() } else { format!(" {asked}") };
        output::say(&format!("\n→ {tool}{arguments}"));
        let mark = if is_true { "←" } else { "✗ not as expected:" };
        for line in said.lines() {
            output::say(&format!("{mark} {line}"));
        }
    }

    fn finish(self) -> Result<(), Failure> {
        if self.json {
            output::print_json(&json!({"ok": self.wrong == 0, "steps": self.steps}))?;
        } else if self.wrong == 0 {
            output::say("\nEvery step worked. `lava-mcp install` adds lava-mcp to your MCP client.");
        }
        if self.wrong == 0 { Ok(()) } else { Err(Failure::Error(format!("{} did not work as expected", counted(self.wrong, "step")))) }
    }
}
