//! `lava-mcp manifest`: the file mcp-manifest.json, made from the tools that are served. It is a valid MCPB 0.3 manifest; what that standard has no place for
//! stands under `_meta`.

use serde_json::{Value, json};

use crate::mcp::LavaMcp;

/// Variables a person may set, with what they mean.
const VARIABLES: [(&str, &str); 10] = [
    ("LAVA_API_URL", "Address of a remote gateway, such as https://api.lava.so; unset means the embedded gateway"),
    ("LAVA_APP_URL", "Web page where a person logs in to a remote gateway"),
    ("LAVA_SECRET_KEY", "Secret key (aks_live_ or aks_test_) of a remote gateway"),
    ("LAVA_SPEND_KEY", "Spend key to use instead of one made by login"),
    ("LAVA_SANDBOX", "1: nothing leaves the machine"),
    ("LAVA_CONFIG", "Config file"),
    ("LAVA_DATA_DIR", "Folder of the ledger"),
    ("LAVA_CREDENTIAL_STORE", "Where keys are kept: keyring or file"),
    ("LAVA_SESSION_LIMIT", "The most a session may spend, such as 5.00/daily"),
    ("LAVA_LOG", "What is logged on stderr, such as info"),
];

/// The manifest.
pub fn manifest() -> Value {
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
                "env": {"LAVA_SESSION_LIMIT": "${user_config.session_limit}", "LAVA_SANDBOX": "${user_config.sandbox}"},
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
            "sandbox": {
                "type": "boolean", "title": "Sandbox", "description": "Let nothing leave this machine; answers are made up, costs are counted",
                "default": false, "required": false,
            },
        },
        "_meta": {
            "so.lava.mcp": {
                "transports": [{"type": "stdio", "command": "lava-mcp", "args": []}],
                "protocol_versions": ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"],
                "tools": tools,
                "login": "The login tool makes a spend key and keeps it in the operating system's keyring; with the embedded gateway it needs no browser and no account.",
                "environment": variables,
                "clients": {"mcpServers": {"lava": {"command": "lava-mcp"}}},
            },
        },
    })
}
