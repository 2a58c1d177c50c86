//! `lava-mcp manifest`: the file mcp-manifest.json, made from the tools that are served. It is a valid MCPB 0.3 manifest; what that standard has no place for
//! stands under `_meta`. The MCPB bundle and the registry's server.json are made from it.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    Failure,
    install::{self, Client, Launch, Machine, Os, Scope},
    output,
};
use crate::mcp::LavaMcp;

/// Our domain turned round, with which the names of the registry and keys of `_meta` begin.
const NAMESPACE: &str = "so.lava";
/// The newest schema of the registry.
const REGISTRY_SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";
/// Where `lava-mcp serve` listens unless told otherwise.
const HTTP_URL: &str = "http://127.0.0.1:8484/mcp";
const SSE_URL: &str = "http://127.0.0.1:8484/sse";

#[derive(Debug, Args)]
pub(super) struct ManifestArgs {
    /// Print server.json for the MCP registry instead.
    #[arg(long)]
    server_json: bool,
    /// With --server-json: name this bundle as the package, with its checksum.
    #[arg(long, value_name = "FILE", requires = "server_json", requires = "url")]
    mcpb: Option<PathBuf>,
    /// The address from which the bundle can be downloaded.
    #[arg(long, value_name = "URL", requires = "mcpb")]
    url: Option<String>,
}

pub(super) fn print(args: &ManifestArgs) -> Result<(), Failure> {
    if !args.server_json {
        return output::print_json(&manifest());
    }
    let package = args.mcpb.as_deref().zip(args.url.as_deref());
    let package = package.map(|(file, url)| mcpb_package(file, url)).transpose()?;
    output::print_json(&server_json(package))
}

/// Variables a person may set, with what they mean.
const VARIABLES: [(&str, &str); 13] = [
    ("LAVA_API_URL", "Address of a remote gateway, such as https://api.lava.so; unset means the embedded gateway"),
    ("LAVA_APP_URL", "Web page where a person logs in to a remote gateway; unset: Lava's, or the gateway's own"),
    ("LAVA_SECRET_KEY", "Secret key (aks_live_ or aks_test_) of a remote gateway"),
    ("LAVA_SPEND_KEY", "Spend key to use instead of one made by login"),
    ("LAVA_SANDBOX", "1: nothing leaves the machine"),
    ("LAVA_CONFIG", "Config file"),
    ("LAVA_DATA_DIR", "Folder of the ledger"),
    ("LAVA_CREDENTIAL_STORE", "Where keys are kept: keyring or file"),
    ("LAVA_SESSION_LIMIT", "The most a session may spend, such as 5.00/daily"),
    ("LAVA_ASK", "0: never ask the user how much a new session may spend"),
    ("LAVA_ASK_ABOVE", "Ask the user before a call that may cost more than this, such as 0.50"),
    ("LAVA_FORWARD_WITH", "spend-key, or secret-key where a remote gateway takes no spend keys for calls of a provider's own address"),
    ("LAVA_LOG", "What is logged on stderr, such as info"),
];

/// The manifest.
fn manifest() -> Value {
    let tools = LavaMcp::tools();
    let in_short = |text: &str| text.split_once(". ").map_or(text, |(first, _)| first).to_owned();
    let short: Vec<Value> = tools
        .iter()
        .map(|tool| json!({"name": tool.name, "description": in_short(tool.description.as_deref().unwrap_or_default())}))
        .collect();
    let variables: Vec<Value> = VARIABLES.iter().map(|(name, about)| json!({"name": name, "description": about})).collect();
    json!({
        "manifest_version": "0.3",
        "name": "lava-mcp",
        "display_name": "Lava",
        "version": env!("CARGO_PKG_VERSION"),
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "author": {"name": "The lava-mcp founders"},
        "license": env!("CARGO_PKG_LICENSE"),
        "keywords": ["spend", "gateway", "llm", "wallet"],
        "server": {
            "type": "binary",
            "entry_point": "server/lava-mcp",
            "mcp_config": {
                "command": "${__dirname}/server/lava-mcp",
                "args": [],
                // A switch has always a value, and would be stronger than the config file; whoever wants the sandbox switches it on there.
                "env": {"LAVA_SESSION_LIMIT": "${user_config.session_limit}"},
                "platform_overrides": {"win32": {"command": "${__dirname}/server/lava-mcp.exe"}},
            },
        },
        "tools": short,
        "tools_generated": false,
        "compatibility": {"platforms": ["darwin", "linux", "win32"]},
        "user_config": {
            "session_limit": {
                "type": "string", "title": "Spend limit", "description": "The most a session may spend: amount and cycle (daily, weekly, monthly, total)",
                "default": "5.00/daily", "required": false,
            },
        },
        "_meta": {
            format!("{NAMESPACE}.mcp"): {
                "transports": [
                    {"type": "stdio", "command": "lava-mcp", "args": []},
                    {"type": "streamable-http", "url": HTTP_URL, "command": "lava-mcp", "args": ["serve"]},
                    {"type": "sse", "url": SSE_URL, "command": "lava-mcp", "args": ["serve"], "deprecated": true},
                ],
                "protocol_versions": ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"],
                "tools": tools,
                "login": LOGIN,
                "environment": variables,
                "clients": clients(),
            },
        },
    })
}

/// How a session comes by its key, for whoever lists this server.
const LOGIN: &str = "The login tool makes a spend key and keeps it in the operating system's keyring. With the embedded gateway it needs no browser and no \
    account. With a gateway at an address (LAVA_API_URL) a person logs in with the browser, or sets LAVA_SECRET_KEY or LAVA_SPEND_KEY. Over \
    streamable-http and sse, callers on other machines send a spend key as Authorization: Bearer, and the call spends on that key. A person sets \
    the most a session may spend (LAVA_SESSION_LIMIT); an agent can only ask for less. No tool takes or returns a secret.";

/// For each client: its file on each system and what goes in, as `lava-mcp install` writes it.
fn clients() -> Value {
    let stdio = Launch::Stdio { command: "lava-mcp".to_owned(), env: Vec::new(), pass: Vec::new() };
    let http = Launch::Http { url: HTTP_URL.to_owned() };
    let described = Client::ALL.map(|client| {
        let snippet = |launch| {
            let entry = install::plain_entry(client, launch)?;
            let text = client.snippet("lava", &entry)?;
            // JSON is shown as such, TOML as the text it is.
            Ok::<_, String>(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        };
        let mut about = json!({"title": client.title(), "install": format!("lava-mcp install {}", client.id()), "file": files(client)});
        for (key, launch) in [("stdio", &stdio), ("http", &http)] {
            if let Ok(snippet) = snippet(launch) {
                about[key] = snippet;
            }
        }
        if let Ok(links) = install::plain_entry(client, &stdio).and_then(|entry| install::links(client, "lava", &entry)) {
            about["links"] = json!(links);
        }
        (client.id().to_owned(), about)
    });
    Value::Object(Map::from_iter(described))
}

/// The client's file on each system, in the way people write paths.
fn files(client: Client) -> Value {
    let systems = [("linux", Os::Linux), ("macos", Os::Mac), ("windows", Os::Windows)];
    let paths = systems.into_iter().filter_map(|(name, os)| {
        let variable = |name: &str| match (os, name) {
            (Os::Windows, "USERPROFILE" | "APPDATA" | "LOCALAPPDATA") => Some(format!("%{name}%")),
            (Os::Linux | Os::Mac, "HOME") => Some("~".to_owned()),
            _ => None,
        };
        let machine = Machine { os, variable: &variable, exists: &|_| false };
        let path = machine.config_file(client, Scope::User, Path::new(".")).ok()?.display().to_string();
        let path = if os == Os::Windows { path.replace('/', "\\") } else { path.replace('\\', "/") };
        Some((name.to_owned(), Value::String(path)))
    });
    Value::Object(Map::from_iter(paths))
}

/// The entry for the MCP registry. It names no package unless there is one: a checksum cannot be made up.
fn server_json(package: Option<Value>) -> Value {
    let mut server = json!({
        "$schema": REGISTRY_SCHEMA,
        "name": format!("{NAMESPACE}/lava-mcp"),
        "title": "Lava",
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let Some(package) = package {
        server["packages"] = json!([package]);
    }
    server
}

fn mcpb_package(file: &Path, url: &str) -> Result<Value, Failure> {
    let is_address = url::Url::parse(url).is_ok_and(|url| url.scheme() == "https");
    // The registry takes no other: it has to see from the address that this is an MCP bundle.
    if !is_address || !url.contains("mcp") {
        return Err(format!("--url {url}: give an https address that contains \"mcp\", such as that of the file lava-mcp.mcpb").into());
    }
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if !bytes.starts_with(b"PK") {
        return Err(format!("{} is not an MCPB bundle; scripts/bundle makes one", file.display()).into());
    }
    let digest = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let variables: Vec<Value> = VARIABLES
        .iter()
        .map(|(name, about)| {
            let mut variable = json!({"name": name, "description": about});
            if name.ends_with("_KEY") {
                variable["isSecret"] = json!(true);
            }
            variable
        })
        .collect();
    Ok(json!({
        "registryType": "mcpb",
        "identifier": url,
        "version": env!("CARGO_PKG_VERSION"),
        "fileSha256": digest,
        "transport": {"type": "stdio"},
        "environmentVariables": variables,
    }))
}
