"""Frameworks that agents are built with use the MCP server over every transport that they have: login, search, a paid answer, the bill."""

import json

import pytest
from conversation import FRAMEWORKS, SILENT, package, python_of
from harness import TOOLS, WHOLE_KEY, binary, ok
from mcp.client.stdio import StdioServerParameters, stdio_client
from programs import node, run, serve
from scripted import Call, Say, Scripted

from mcp import Client

STEPS = [
    Call("login", {}),
    Call("search", {"query": "gpt-4o-mini", "kind": "model", "limit": 1}),
    Call("prompt", {"model": "gpt-4o-mini", "input": "hi"}),
    Call("usage", {}),
    Say("It is bought."),
]

CLIENTS = {
    "langchain-mcp-adapters": ".venv-mcp1",
    "mcp-use": ".venv-mcp1",
    "google-adk": ".venv-mcp1",
    "fastmcp": ".venv-mcp2",
    "pydantic-ai": ".venv-mcp2",
    "smolagents": ".venv-mcp1",
    "ai-sdk-mcp": "js",
    "langchain-mcp-adapters-js": "js",
}


def use(client: str, machine, server: dict) -> dict:
    where = CLIENTS[client]
    command = [node(), FRAMEWORKS / "mcp_clients.mjs"] if where == "js" else [python_of(where), FRAMEWORKS / "mcp_clients.py"]
    with Scripted(*STEPS) as script:
        google = {"GOOGLE_GEMINI_BASE_URL": script.root, "GOOGLE_API_KEY": "none"}
        done = run([*command, client, json.dumps(server), script.root], env={**machine.env, **SILENT, **google}, cwd=machine.home, timeout=50)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert not WHOLE_KEY.search(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
@pytest.mark.parametrize("client", CLIENTS)
def test_it_buys_an_answer(machine, client, transport):
    if transport == "stdio":
        found = use(client, machine, {"command": str(binary()), "args": ["--sandbox"], "env": machine.env})
    else:
        with serve(machine) as server:
            found = use(client, machine, {"url": server.url if transport == "http" else server.sse, "sse": transport == "sse"})
    # google-adk sorts them.
    assert sorted(found["tools"]) == sorted(TOOLS), found
    answers = found["answers"]
    assert list(answers) == ["login", "search", "prompt", "usage"], found
    assert "ready" in answers["login"].lower() and "gpt-4o-mini" in answers["search"] and "sandbox" in answers["prompt"], found
    (entry,) = machine.ledger.ended(1)
    assert entry.kind == "charge" and entry.amount_n > 0
    assert machine.ledger.spend_keys() == 1


@pytest.mark.anyio
async def test_mcp_remote_brings_http_to_a_client_that_has_only_stdio(machine):
    with serve(machine) as server, machine.log.open("w") as log:
        command = StdioServerParameters(command=node(), args=[package("mcp-remote/dist/proxy.js"), server.url, "--allow-http"], env=machine.env)
        async with Client(stdio_client(command, errlog=log), mode="legacy", read_timeout_seconds=30) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
            assert ok(await client.call_tool("login", {}))["status"] == "ready"
            for step in STEPS[1:4]:
                ok(await client.call_tool(step.tool, step.arguments))
    machine.ledger.ended(1)
