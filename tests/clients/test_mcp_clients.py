"""The official MCP SDKs do the whole job over every transport, in every protocol era that they speak."""

import json

import pytest
from conversation import FRAMEWORKS
from harness import ERAS, TOOLS, WHOLE_KEY, binary, ok, refused
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from programs import TOOLS as FOLDER
from programs import node, run, serve

from mcp import Client

MODEL = "gpt-4o-mini"


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_the_python_sdk_does_the_whole_job(machine, transport, mode):
    with serve(machine) as server:
        pipe = streamable_http_client(server.url) if transport == "http" else sse_client(server.sse)
        async with Client(pipe, mode=mode, read_timeout_seconds=20) as client:
            assert client.protocol_version == ERAS[mode]
            assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
            refused(await client.call_tool("prompt", {"model": MODEL, "input": "hi"}), "not_logged_in")
            assert ok(await client.call_tool("login", {}))["status"] == "ready"
            answer = ok(await client.call_tool("prompt", {"model": MODEL, "input": "hi"}))
            assert float(answer["cost"]) > 0
        # Another client of the same machine finds the session there is.
        pipe = streamable_http_client(server.url)
        async with Client(pipe, mode=mode, read_timeout_seconds=20) as client:
            ok(await client.call_tool("prompt", {"model": MODEL, "input": "hi"}))
    machine.ledger.ended(2)
    assert machine.ledger.spend_keys() == 1


def typescript(machine, sdk: str, mode: str, transport: str, target: dict) -> dict:
    command = [node(), FOLDER / "mcp_client.mjs", sdk, mode, transport, json.dumps(target)]
    done = run(command, env={"HOME": machine.env["HOME"]}, cwd=machine.home, timeout=40)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not WHOLE_KEY.search(done.stdout + done.stderr)
    assert "unknown format" not in done.stderr, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
@pytest.mark.parametrize(("sdk", "mode"), [("client", "auto"), ("client", "legacy"), ("sdk", "legacy")])
def test_the_typescript_sdks_do_the_whole_job(machine, sdk, mode, transport):
    if transport == "stdio":
        found = typescript(machine, sdk, mode, transport, {"command": str(binary()), "args": ["--sandbox"], "env": machine.env})
    else:
        with serve(machine) as server:
            found = typescript(machine, sdk, mode, transport, {"url": server.url if transport == "http" else server.sse})
    assert (found["server"], found["tools"]) == ("lava-mcp", TOOLS)
    # The older SDK tells its version over HTTP only.
    assert found["protocol"] == ERAS[mode] or (sdk == "sdk" and found["protocol"] is None)
    assert "login" in found["instructions"]
    answers = found["answers"]
    assert [name for name, answer in answers.items() if answer["isError"]] == ["get_provider_docs"], answers
    assert answers["login"]["structuredContent"]["status"] == "ready"
    assert answers["search"]["structuredContent"]["results"][0]["kind"] == "model"
    assert float(answers["prompt"]["structuredContent"]["cost"]) > 0
    assert float(answers["usage"]["structuredContent"]["spend_key"]["current_spend"]) > 0
    # Both SDKs throw a result away that does not match the tool's schema, failures included: the model would never read why.
    assert answers["get_provider_docs"]["structuredContent"]["error"]["hint"]
    assert all(answer["text"].strip() for answer in answers.values())
    machine.ledger.ended(1)


def test_the_tools_are_pinned_to_the_last_digit():
    """A release of somebody else's must not turn an old commit red."""
    for folder in (FOLDER, FRAMEWORKS):
        wanted = json.loads((folder / "package.json").read_text())
        for name, version in {**wanted["devDependencies"], **wanted.get("optionalDependencies", {})}.items():
            assert version[0].isdigit(), f"{name} {version}"
        for path in folder.glob("requirements*.txt"):
            lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
            assert lines and all("==" in line for line in lines), path
