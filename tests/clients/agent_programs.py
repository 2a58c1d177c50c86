"""Agents of the command line with the MCP server in their settings, and a model that follows a script in place of their own.

A function takes an empty home, the server ({"command", "args", "env"} or {"url"}) and the script, and gives the command and its variables.
"""

import json
import pathlib

from command_clients import claude as claude_at
from command_clients import cn as cn_at
from command_clients import opencode as opencode_at
from command_clients import script_of
from conversation import Step
from programs import native
from scripted import Scripted

ORDER = "Buy an answer."


def claude(home: pathlib.Path, server: dict, script: Scripted) -> tuple[list, dict]:
    lava = server if "url" not in server else {"type": "http", **server}
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"lava": lava}}))
    step = Step("", script.root, "none", "claude-opus-5-5")
    return claude_at("claude", step, home, "--mcp-config", home / "mcp.json", "--allowedTools=mcp__lava,ToolSearch")


def codex(home: pathlib.Path, server: dict, script: Scripted) -> tuple[list, dict]:
    settings = {
        "model": "scripted",
        "model_provider": "scripted",
        "approval_policy": "never",
        "check_for_update_on_startup": False,
        "analytics.enabled": False,
        "model_providers.scripted": {"name": "scripted", "base_url": script.url, "wire_api": "responses", "env_key": "SCRIPT_KEY"},
        "mcp_servers.lava": server,
    }
    command = [native("@openai/codex-*/vendor/*/bin/codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    for name, value in settings.items():
        command += ["-c", f"{name}={toml(value)}"]
    (home / ".codex").mkdir()
    return [*command, ORDER], {"CODEX_HOME": str(home / ".codex"), "SCRIPT_KEY": "none"}


def toml(value) -> str:
    """TOML's inline tables are JSON's objects with another sign between name and value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)


def gemini(home: pathlib.Path, server: dict, script: Scripted) -> tuple[list, dict]:
    lava = {"trust": True, **({"httpUrl": server["url"]} if "url" in server else server)}
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
        "mcpServers": {"lava": lava},
    }
    (home / ".gemini").mkdir()
    (home / ".gemini/settings.json").write_text(json.dumps(settings))
    command = [*script_of("@google/gemini-cli/bundle/gemini.js"), "-p", ORDER, "--yolo", "-m", "gemini-2.5-flash"]
    return command, {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": script.root, "GEMINI_CLI_TRUST_WORKSPACE": "true"}


def opencode(home: pathlib.Path, server: dict, script: Scripted) -> tuple[list, dict]:
    command, variables = opencode_at("opencode-openai-compatible", Step("", script.root, "none", "our-model"), home)
    if "url" in server:
        lava = {"type": "remote", **server}
    else:
        lava = {"type": "local", "command": [server["command"], *server["args"]], "environment": server["env"]}
    config = json.loads((home / "opencode.json").read_text())
    (home / "opencode.json").write_text(json.dumps({**config, "mcp": {"lava": {**lava, "enabled": True}}}))
    return command, variables


def cn(home: pathlib.Path, server: dict, script: Scripted) -> tuple[list, dict]:
    command, variables = cn_at("cn-openai", Step("", script.root, "none", "our-model"), home)
    config = json.loads((home / "cn.yaml").read_text())
    lava = {"name": "lava", **({"type": "streamable-http"} if "url" in server else {}), **server}
    (home / "cn.yaml").write_text(json.dumps({**config, "mcpServers": [lava]}))
    return command, variables
