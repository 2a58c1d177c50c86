"""Every guide of docs/guides is followed from top to bottom, twice on the same machine: what a reader types is what runs here."""

import json
import re
import shlex

import pytest
from conversation import SILENT, package
from guide import GUIDES, Followed, blocks, free_port
from harness import binary
from programs import node, run

# Guides for clients of the gateway: following one buys an answer, with the key that it makes.
BUYS = ["claude-code.md", "continue.md", "cline.md", "vercel-ai-sdk.md", "langchain.md"]

# What a guide leaves to the machine of its reader.
VARIABLES = {
    # A folder is trusted in a dialog of its own.
    "gemini.md": {"GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_API_KEY": "none"},
}

# At another address than the usual one, `uninstall` cannot know that the entry is ours.
INSTEAD = {"serve.md": {"uninstall claude-code": "uninstall claude-code --force"}}

# One needs a proxy and one a gateway at an address: test_lan_gateway.py, test_login.py.
ELSEWHERE = {"lan-gateway.md", "login.md"}

FOLLOWED = sorted(path.name for path in GUIDES.glob("*.md") if path.name not in ELSEWHERE and any(block.kind == "sh" for block in blocks(path.read_text())))


@pytest.fixture
def variables(tmp_path):
    def variables(guide: str) -> dict[str, str]:
        if guide != "cline.md":
            return VARIABLES.get(guide, {})
        # It reports to its maker for ten seconds before it ends, unless this file says otherwise.
        settings = tmp_path / "cline.json"
        settings.write_text(json.dumps({"telemetryOptOut": True, "autoUpdateEnabled": False}))
        return {"CLINE_GLOBAL_SETTINGS_PATH": str(settings), "CLINE_HUB_PORT": str(free_port())}

    return variables


def spent(machine) -> dict[str, int]:
    """What each key has paid, by its name."""
    rows = machine.ledger.query("SELECT spend_key.name AS name, total_spent_n AS n FROM budget JOIN spend_key ON spend_key.id = budget.key_id WHERE id <> owner")
    return {row["name"]: row["n"] for row in rows}


# What "Undo" says in words only, because the file may hold more of the person's own.
TAKEN_OUT_BY_HAND = {"claude-code.md": [".claude/settings.json"]}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("guide", FOLLOWED)
def test_it_is_followed_twice_without_a_stumble(machine, variables, guide):
    for _ in range(2):
        Followed(guide, machine, INSTEAD.get(guide, {}), **variables(guide)).check()
        for path in TAKEN_OUT_BY_HAND.get(guide, []):
            (machine.home / path).unlink()
    if guide in BUYS:
        assert spent(machine) and all(spent(machine).values()), spent(machine)
        assert machine.ledger.query("SELECT * FROM hold") == []


# The README begins with a build, which is there already, and ends with these tests.
README_INSTEAD = {"./scripts/test": "true"}
BUILT = {"cargo": f'[ "$1" = run ] && shift 3 && exec {shlex.quote(str(binary()))} "$@"; exit 0'}


@pytest.mark.timeout(240)
def test_the_readme_is_followed_twice_without_a_stumble(machine):
    for _ in range(2):
        Followed("../../README.md", machine, README_INSTEAD, programs=BUILT).check()
        assert (machine.home / ".config/lava-mcp/config.toml").exists(), "its settings are in force"
        # Its reader keeps the key.
        gone = machine.run("--sandbox", "keys", "revoke", "my editor", "--yes")
        assert gone.returncode == 0, gone.stderr


def test_what_a_guide_links_to_is_there():
    """Pages, and headings in them."""
    for page in [*GUIDES.glob("*.md"), *GUIDES.parent.glob("*.md"), GUIDES.parent.parent / "README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            other = (page.parent / path).resolve() if path else page
            assert other.exists(), f"{page.name} links to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
                anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
                assert anchor in anchors, f"{page.name} links to {target}"


def test_every_guide_is_listed():
    index = (GUIDES / "README.md").read_text()
    for page in GUIDES.glob("*.md"):
        assert page.name == "README.md" or f"({page.name}" in index, page.name


def test_gemini_removes_what_looks_like_a_secret_unless_it_is_named(machine):
    """As its guide has it: what it gives to a server that it starts."""
    server, seen = machine.home / "lava-mcp", machine.home / "seen"
    server.write_text(f'#!/bin/sh\nenv >{seen}\nexec {binary()} "$@"\n')
    server.chmod(0o755)
    (machine.home / ".gemini").mkdir()
    lava = {"command": str(server), "args": ["--sandbox"], "env": {"GROQ_API_KEY": "${GROQ_API_KEY:-}", "LAVA_CREDENTIAL_STORE": "file"}}
    (machine.home / ".gemini/settings.json").write_text(json.dumps({"mcpServers": {"lava": lava}}))
    theirs = {"OPENAI_API_KEY": "1", "GROQ_API_KEY": "2", "LAVA_SPEND_KEY": "3", "LAVA_SESSION_LIMIT": "1.00/daily"}
    command = [node(), package("@google/gemini-cli/bundle/gemini.js"), "mcp", "list"]
    run(command, env={**machine.env, **SILENT, **VARIABLES["gemini.md"], **theirs}, cwd=machine.home, timeout=50)
    found = set(re.findall(r"^(\w+)=", seen.read_text(), re.MULTILINE))
    assert {"GROQ_API_KEY", "LAVA_CREDENTIAL_STORE", "LAVA_SESSION_LIMIT"} <= found, found
    assert not found & {"OPENAI_API_KEY", "LAVA_SPEND_KEY"}, found
