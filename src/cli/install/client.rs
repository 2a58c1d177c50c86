//! What is particular about each client: the shape of its entry, where it stands in its file, what it passes on, and what a person does next.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::{document::Format, place::Os};

/// A client whose config file we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    Vscode,
    Codex,
    Windsurf,
    Zed,
    Gemini,
    Opencode,
}

/// For whom the server is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// In the user's own settings.
    User,
    /// In the settings of the project in the current folder.
    Project,
}

/// How the client reaches the server.
#[derive(Clone, Debug)]
pub(crate) enum Launch {
    /// It starts this command and speaks over its pipes.
    Stdio {
        command: String,
        /// Variables with their values.
        env: Vec<(String, String)>,
        /// Variables whose values the client takes from its own environment.
        pass: Vec<String>,
    },
    /// It connects to a server that runs at this address.
    Http { url: String },
}

/// What Codex has to be told to hand over on Linux: the way to the keyring, and where settings and ledger are. It leaves out those that are not set.
const CODEX_PASSES: [&str; 4] = ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];

impl Client {
    /// All of them, in the order of the guides.
    pub(crate) const ALL: [Self; 9] = [
        Self::ClaudeDesktop,
        Self::ClaudeCode,
        Self::Cursor,
        Self::Vscode,
        Self::Codex,
        Self::Windsurf,
        Self::Zed,
        Self::Gemini,
        Self::Opencode,
    ];

    /// As it is written on the command line.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Codex => "codex",
            Self::Windsurf => "windsurf",
            Self::Zed => "zed",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
        }
    }

    /// As people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Codex => "Codex",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
            Self::Gemini => "Gemini CLI",
            Self::Opencode => "opencode",
        }
    }

    pub(crate) fn format(self) -> Format {
        if self == Self::Codex { Format::Toml } else { Format::Json }
    }

    /// The key below which servers stand, by name.
    pub(crate) fn root(self) -> &'static str {
        match self {
            Self::Vscode => "servers",
            Self::Codex => "mcp_servers",
            Self::Zed => "context_servers",
            Self::Opencode => "mcp",
            Self::ClaudeDesktop | Self::ClaudeCode | Self::Cursor | Self::Windsurf | Self::Gemini => "mcpServers",
        }
    }

    /// The entry for a server that is reached like this.
    pub(crate) fn entry(self, launch: &Launch, os: Os) -> Result<Map<String, Value>, String> {
        let entry = match launch {
            Launch::Http { url } => self.http_entry(url)?,
            Launch::Stdio { command, env, pass } => {
                let mut entry = match self {
                    Self::ClaudeCode | Self::Vscode => json!({"type": "stdio", "command": command, "args": []}),
                    Self::Opencode => json!({"type": "local", "command": [command], "enabled": true}),
                    Self::Codex => json!({"command": command}),
                    _ => json!({"command": command, "args": []}),
                };
                let mut variables: Map<String, Value> = env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                let mut by_name: Vec<&str> = if os == Os::Linux { CODEX_PASSES.to_vec() } else { Vec::new() };
                for name in pass {
                    match self.reference(name)? {
                        Some(reference) => _ = variables.insert(name.clone(), json!(reference)),
                        None => by_name.push(name),
                    }
                }
                if !variables.is_empty() {
                    let key = if self == Self::Opencode { "environment" } else { "env" };
                    entry[key] = Value::Object(variables);
                }
                if self == Self::Codex && !by_name.is_empty() {
                    entry["env_vars"] = json!(by_name);
                }
                entry
            }
        };
        let Value::Object(entry) = entry else { return Err("an entry is an object".to_owned()) };
        Ok(entry)
    }

    fn http_entry(self, url: &str) -> Result<Value, String> {
        Ok(match self {
            Self::ClaudeDesktop => {
                return Err(
                    "Claude Desktop's config file only takes servers that Claude Desktop starts itself, and its connectors are called from Anthropic's network, which cannot reach this machine. Leave out --url."
                        .to_owned(),
                );
            }
            Self::ClaudeCode | Self::Vscode => json!({"type": "http", "url": url}),
            Self::Cursor | Self::Codex | Self::Zed => json!({"url": url}),
            Self::Windsurf => json!({"serverUrl": url}),
            Self::Gemini => json!({"httpUrl": url}),
            Self::Opencode => json!({"type": "remote", "url": url, "enabled": true}),
        })
    }

    /// How a variable of the client's own environment is named in a value; `None` where names stand in a list of their own. What is not set becomes empty,
    /// which lava-mcp takes for not set.
    fn reference(self, name: &str) -> Result<Option<String>, String> {
        Ok(Some(match self {
            Self::Codex => return Ok(None),
            Self::ClaudeCode | Self::Gemini => format!("${{{name}:-}}"),
            Self::Cursor | Self::Vscode | Self::Windsurf => format!("${{env:{name}}}"),
            Self::Opencode => format!("{{env:{name}}}"),
            Self::ClaudeDesktop => {
                return Err(format!(
                    "Claude Desktop takes values literally and cannot pass {name} on. Keep a provider's key in the keyring (`lava-mcp providers \
                     set NAME`), or write the value with --env {name}=VALUE."
                ));
            }
            Self::Zed => {
                return Err(format!(
                    "Zed takes values literally; a server gets the environment that Zed was started with, so {name} is there when Zed has \
                     it. Leave out --pass, or write the value with --env {name}=VALUE."
                ));
            }
        }))
    }

    /// The keys of an entry that say what is started.
    pub(crate) fn command_of(entry: &Value) -> Option<&str> {
        let command = entry.get("command")?;
        // opencode writes a list; Zed wrote an object once.
        command.as_str().or_else(|| command.get(0)?.as_str()).or_else(|| command.get("path")?.as_str())
    }

    /// The address an entry connects to.
    pub(crate) fn url_of(entry: &Value) -> Option<&str> {
        ["url", "httpUrl", "serverUrl"].iter().find_map(|key| entry.get(key)?.as_str())
    }

    /// The whole file as a person would write it who has only this server.
    pub(crate) fn snippet(self, name: &str, entry: &Map<String, Value>) -> Result<String, String> {
        let empty = if self.format() == Format::Json { "{}" } else { "" };
        self.format().put(empty, &[self.root(), name], &Value::Object(entry.clone())).map(|text| text.trim_end().to_owned())
    }

    /// What makes the client see the change.
    pub(crate) fn next_step(self, scope: Scope) -> &'static str {
        match (self, scope) {
            (Self::ClaudeDesktop, _) => "Quit Claude Desktop entirely (closing the window is not enough) and start it again.",
            (Self::ClaudeCode, Scope::User) => "Start a new session of claude; `claude mcp list` shows whether it is connected.",
            (Self::ClaudeCode, Scope::Project) => "Start claude in this folder and approve the server when it asks.",
            (Self::Cursor, _) => "Open Cursor's settings, MCP, and switch the server on if it is off.",
            (Self::Vscode, _) => {
                "In VS Code run “MCP: List Servers”, choose the server and start it; if it was there before, also “MCP: Reset Cached Tools”."
            }
            (Self::Codex, Scope::User) => "Start a new session of codex; `codex mcp list` shows the server, and /mcp its tools.",
            (Self::Codex, Scope::Project) => "Start codex in this folder; it reads the file when you trust the project.",
            (Self::Windsurf, _) => "In Windsurf's Cascade panel open MCP servers and press refresh.",
            (Self::Zed, _) => "Zed starts it at once; the agent panel's settings show a green dot.",
            (Self::Gemini, _) => "Start gemini in a folder you trust; `gemini mcp list` shows whether it is connected.",
            (Self::Opencode, _) => "Start opencode again; `opencode mcp list` shows whether it is connected.",
        }
    }
}
