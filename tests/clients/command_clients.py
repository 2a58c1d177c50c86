"""Programs of the command line that people talk to a model with: how each is told the gateway's address, its key and the model.

A function takes the client's name, the step and an empty home, and gives the command and its variables.
"""

import json
import pathlib

from conversation import FRAMEWORKS, SILENT, Step, package, python_of
from programs import native, node
from scripted import Call, Say

CODE = "4711"

QUESTION = "Read it to me."

# The tool of each client by which the script reaches the machine, and what it must say then.
TOOLS = {
    "claude": Call("Bash", {"command": f"echo {CODE}", "description": "says it"}),
    "qwen": Call("run_shell_command", {"command": f"echo {CODE}", "is_background": False, "description": "says it"}),
    "cn": Call("Bash", {"command": f"echo {CODE}"}),
    "opencode": Call("bash", {"command": f"echo {CODE}", "description": "says it"}),
    "llm": Call("read_it", {}),
}

# Without any of the traffic beside the model's that it would have.
CLAUDE_SILENT = {
    **SILENT,
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


def claude(name: str, step: Step, home: pathlib.Path, *more: str) -> tuple[list, dict]:
    # Where it reads its questions from standard input, none is given here.
    question = [] if "--input-format=stream-json" in more else [QUESTION]
    command = [native("@anthropic-ai/claude-code-*/claude"), "-p", *question, *more]
    if step.model:
        command += ["--model", step.model]
    return command, {**CLAUDE_SILENT, "ANTHROPIC_BASE_URL": step.root, "ANTHROPIC_API_KEY": step.key}


def qwen(name: str, step: Step, home: pathlib.Path) -> tuple[list, dict]:
    command = [*script_of("@qwen-code/qwen-code/cli-entry.js"), "-p", QUESTION, "--yolo"]
    # It would report every session to its maker.
    (home / ".qwen").mkdir()
    (home / ".qwen/settings.json").write_text(json.dumps({"privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False}}))
    if name == "qwen-anthropic":
        return [*command, "--auth-type", "anthropic"], {"ANTHROPIC_API_KEY": step.key, "ANTHROPIC_BASE_URL": step.root, "ANTHROPIC_MODEL": step.model}
    return command, {"OPENAI_API_KEY": step.key, "OPENAI_BASE_URL": f"{step.root}/v1", "OPENAI_MODEL": step.model}


def cn(name: str, step: Step, home: pathlib.Path) -> tuple[list, dict]:
    model = {"name": "it", "model": step.model, "apiKey": step.key, "roles": ["chat"], "apiBase": f"{step.root}/v1/"}
    model |= {"provider": "anthropic"} if name == "cn-anthropic" else {"provider": "openai", "useResponsesApi": False}
    (home / "cn.yaml").write_text(json.dumps({"name": "it", "version": "1.0.0", "schema": "v1", "models": [model]}))
    return [*script_of("@continuedev/cli/dist/cn.js"), "--config", home / "cn.yaml", "-p", QUESTION, "--auto"], {}


def opencode(name: str, step: Step, home: pathlib.Path) -> tuple[list, dict]:
    about = {"name": "it", "tool_call": True, "limit": {"context": 128_000, "output": 4096}}
    lava = {"npm": f"@ai-sdk/{name.removeprefix('opencode-')}", "options": {"baseURL": f"{step.root}/v1", "apiKey": step.key}, "models": {step.model: about}}
    model = f"lava/{step.model}"
    config = {"provider": {"lava": lava}, "model": model, "small_model": model, "share": "disabled", "autoupdate": False, "permission": {"bash": "allow"}}
    (home / "opencode.json").write_text(json.dumps(config))
    return [opencode_program(), "run", QUESTION], {"OPENCODE_CONFIG": str(home / "opencode.json")}


def llm(name: str, step: Step, home: pathlib.Path) -> tuple[list, dict]:
    (home / "extra-openai-models.yaml").write_text(
        json.dumps([{"model_id": "it", "model_name": step.model, "api_base": f"{step.root}/v1", "supports_tools": True, "api_key_name": "lava"}])
    )
    (home / "keys.json").write_text(json.dumps({"lava": step.key}))
    tool = f"def read_it() -> str:\n    'Reads it.'\n    return '{CODE}'"
    return [python_of(".venv-mcp2"), "-m", "llm", "-m", "it", "--functions", tool, QUESTION], {"LLM_USER_PATH": str(home)}


def aider(name: str, step: Step, home: pathlib.Path) -> tuple[list, dict]:
    # It looks for a newer list of prices where it comes from, unless it has one of today.
    (home / ".aider/caches").mkdir(parents=True)
    (home / ".aider/caches/model_prices_and_context_window.json").write_text("{}")
    dialect = name.removeprefix("aider-")
    quiet = ["analytics", "check-update", "show-release-notes", "show-model-warnings", "auto-lint", "pretty", "git"]
    options = ["--message", QUESTION, "--yes-always", *(f"--no-{name}" for name in quiet), "notes.txt"]
    where = {"OPENAI_API_KEY": step.key, "OPENAI_API_BASE": f"{step.root}/v1"}
    if dialect == "anthropic":
        where = {"ANTHROPIC_API_KEY": step.key, "ANTHROPIC_API_BASE": step.root}
    return [python_of(".venv-mcp1"), "-m", "aider", "--model", f"{dialect}/{step.model}", *options], where


def script_of(path: str) -> list[str]:
    return [node(), package(path)]


def opencode_program() -> str:
    found = sorted(FRAMEWORKS.glob("node_modules/opencode-linux-*/bin/opencode")) or sorted(FRAMEWORKS.glob("node_modules/opencode-*/bin/opencode"))
    assert found, "run `npm ci --ignore-scripts` in tests/clients/frameworks first (scripts/test does)"
    return str(found[0])


def steps_of(name: str) -> list[Call | Say]:
    """What the script does with this client."""
    if name.startswith("aider"):
        return [Say(f"notes.txt\n```\nIt says {CODE}.\n```\n")]
    return [TOOLS[name.split("-")[0]], Say(f"It says {CODE}.")]
