"""The whole job through the official MCP client, in both eras of the protocol: log in, search, prompt, call, look at the spend, hit the limit."""

import re
from decimal import Decimal

import pytest
from harness import (
    ERAS,
    OVER_LIMIT,
    TOOLS,
    everything_in,
    ok,
    refused,
    tools_of,
    usd,
    valid,
)
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio

MODEL = "gpt-4o-mini"


@pytest.fixture(params=ERAS)
def mode(request):
    return request.param


async def test_the_tools_are_listed_in_order_and_fully_described(machine, mode):
    async with machine.client("--sandbox", mode=mode) as client:
        assert client.protocol_version == ERAS[mode]
        assert client.server_info.name == "lava-mcp"
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == TOOLS
        for tool in tools:
            assert tool.title and len(tool.description) > 60, tool.name
            assert tool.input_schema["type"] == tool.output_schema["type"] == "object", tool.name
            for name, field in tool.input_schema.get("properties", {}).items():
                assert field.get("description"), f"{tool.name}.{name}"
            assert tool.annotations.read_only_hint is not None and tool.annotations.open_world_hint is not None, tool.name
        hints = {tool.name: tool.annotations for tool in tools}
        assert hints["search"].read_only_hint and hints["usage"].read_only_hint and hints["get_provider_docs"].read_only_hint
        # A call may do anything that the API behind it does: a client must be able to ask its user first.
        assert hints["call"].destructive_hint is not False and not hints["call"].read_only_hint
        # The list does not depend on what was done before on this connection.
        ok(await client.call_tool("login", {}))
        assert [tool.name for tool in (await client.session.list_tools()).tools] == TOOLS


async def test_the_whole_job(machine, mode):
    limit = Decimal("0.01")
    machine.env["LAVA_SESSION_LIMIT"] = f"{limit}/daily"
    results = []

    async with machine.client("--sandbox", mode=mode) as client:
        tools = await tools_of(client)

        async def call(name, arguments):
            result = await client.call_tool(name, arguments)
            results.append(result)
            return result

        for name, arguments in [
            ("prompt", {"model": MODEL, "input": "hi"}),
            ("call", {"url": "https://api.openai.com/v1/models", "method": "GET"}),
            ("usage", {}),
        ]:
            error = refused(await call(name, arguments), "not_logged_in")
            assert "login" in error["hint"] or "login" in error["message"]

        result = await call("login", {})
        session = ok(result)
        valid(result, tools["login"])
        assert session["status"] == "ready"
        assert session["gateway"]["mode"] == "embedded" and session["gateway"]["sandbox"] is True
        assert session["stored_in"] == "file"
        assert Decimal(session["remaining"]) == limit
        key = session["spend_key"]
        assert "key" not in key
        assert Decimal(key["spend_limit"]["amount"]) == limit and key["spend_limit"]["cycle"] == "daily"
        assert re.fullmatch(r"lava_sk_.{8}\*{4}", key["key_preview"])

        result = await call("search", {"query": MODEL, "kind": "model", "limit": 5})
        found = ok(result)
        valid(result, tools["search"])
        assert 0 < len(found["results"]) <= 5 and len(found["results"]) <= found["total"]
        hit = next(r for r in found["results"] if r["id"].split("/")[-1] == MODEL)
        assert hit["kind"] == "model" and hit["credentials"] in ("ready", "not_needed")
        assert hit["method"] == "POST" and hit["url"].startswith("https://")

        result = await call("search", {"query": "gpt", "limit": 3})
        page = ok(result)
        more = ok(await call("search", {"query": "gpt", "limit": 3, "cursor": page["next_cursor"]}))
        assert {r["id"] for r in page["results"]}.isdisjoint(r["id"] for r in more["results"])

        result = await call("prompt", {"model": hit["id"], "input": "Say hello to the auditor.", "max_tokens": 64})
        answer = ok(result)
        valid(result, tools["prompt"])
        assert answer["content"] and answer["message"]["role"] == "assistant"
        assert answer["message"]["content"] == answer["content"]
        assert answer["finish_reason"] in ("stop", "length")
        assert answer["request_id"].startswith("req_")
        assert [attempt for attempt in answer["attempts"]], "how the answer was got"
        first_cost = Decimal(answer["cost"])
        assert first_cost > 0
        assert Decimal(answer["remaining"]) == limit - first_cost
        [entry] = machine.ledger.ended(1)
        assert usd(entry.amount_n) == first_cost and entry.basis == "measured"

        # The request that search handed out works as it stands.
        result = await call("call", {"url": hit["url"], "method": hit["method"], "body": hit["example_body"]})
        called = ok(result)
        valid(result, tools["call"])
        assert called["status"] == 200
        assert called["body"]["choices"][0]["message"]["content"]
        second_cost = Decimal(called["cost"])
        assert second_cost > 0
        assert Decimal(called["remaining"]) == limit - first_cost - second_cost

        result = await call("get_provider_docs", {"provider": "openai"})
        docs = ok(result)
        valid(result, tools["get_provider_docs"])
        assert docs["provider"] == "openai" and docs["docs_url"].startswith("https://") and docs["endpoints"]

        result = await call("usage", {"limit": 10})
        ok(result)
        valid(result, tools["usage"])
        seen = everything_in(result)
        assert MODEL in seen and answer["request_id"] in seen and called["request_id"] in seen

        # Could cost 24 cents. A cap that was asked for is never lowered silently, so this is refused, and says what is left and until when.
        error = refused(await call("prompt", {"model": "gpt-4", "input": "Write a long story.", "max_tokens": 4000}), *OVER_LIMIT)
        left = called["remaining"].rstrip("0")
        assert left in error["message"] + error["hint"] and re.search(r"20\d\d-\d\d-\d\d", error["message"] + error["hint"])

        entries = machine.ledger.ended(2)
        assert usd(sum(entry.amount_n for entry in entries)) == first_cost + second_cost

    keys = machine.keys_at_rest()
    assert keys, "the vault is a file in this test"
    for result in results:
        text = everything_in(result)
        assert not any(key in text for key in keys)
    assert not any(key in machine.log.read_text() for key in keys), "a key in the log"
    vault = [
        path
        for folder in (machine.home, machine.data)
        for path in folder.rglob("*")
        if path.is_file() and any(key.encode() in path.read_bytes() for key in keys)
    ]
    assert all(path.stat().st_mode & 0o077 == 0 for path in vault), "keys in a file that others can read"


async def test_a_streamed_prompt_sends_progress_and_costs_the_same(machine, mode):
    question = {"model": MODEL, "input": "Tell me something about lava.", "max_tokens": 200}
    progress = []

    async def on_progress(done, total, message):
        progress.append((done, message))

    async with machine.client("--sandbox", mode=mode) as client:
        ok(await client.call_tool("login", {}))
        plain = ok(await client.call_tool("prompt", question))
        streamed = ok(await client.call_tool("prompt", question, progress_callback=on_progress))
    assert progress and [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert streamed["content"] == plain["content"]
    assert streamed["usage"] == plain["usage"] and streamed["cost"] == plain["cost"]


async def test_tools_are_offered_to_the_model(machine, mode):
    weather = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    async with machine.client("--sandbox", mode=mode) as client:
        ok(await client.call_tool("login", {}))
        answer = ok(
            await client.call_tool("prompt", {"model": MODEL, "messages": [{"role": "user", "content": "Ask get_weather about Oslo."}], "tools": [weather]})
        )
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


async def test_arguments_that_do_not_exist_are_named(machine, mode):
    async with machine.client("--sandbox", mode=mode) as client:
        for tool, arguments in [
            ("login", {}),
            ("search", {"query": "gpt"}),
            ("prompt", {"model": MODEL, "input": "hi"}),
            ("call", {"url": "https://api.openai.com/v1/models"}),
            ("get_provider_docs", {"provider": "openai"}),
            ("usage", {}),
        ]:
            result = await client.call_tool(tool, {**arguments, "colour": "blue"})
            if tool in ("login", "search", "get_provider_docs", "usage"):
                assert "colour" in ok(result)["warnings"][0], tool
                continue
            # Nothing is bought under an argument that does not count.
            assert "colour" in refused(result, "invalid_arguments")["message"], tool
        # Nor is a limit left out that somebody meant to set.
        assert "budget" in refused(await client.call_tool("login", {"budget": "1.00"}), "invalid_arguments")["message"]


@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("search", {}, "query"),
        ("search", {"query": 5}, "query"),
        ("search", {"query": "gpt", "limit": "many"}, "limit"),
        ("search", {"query": "gpt", "limit": 1000}, "limit"),
        ("search", {"query": "gpt", "kind": "car"}, "kind"),
        ("prompt", {"input": "hi"}, "model"),
        ("prompt", {"model": MODEL}, "messages"),
        ("prompt", {"model": MODEL, "input": "hi", "messages": [{"role": "user", "content": "hi"}]}, "messages"),
        ("prompt", {"model": MODEL, "messages": "hi"}, "messages"),
        ("prompt", {"model": MODEL, "input": "hi", "max_tokens": -1}, "max_tokens"),
        ("prompt", {"model": MODEL, "input": "hi", "max_cost": "a lot"}, "max_cost"),
        ("call", {"url": "https://api.openai.com/v1/models", "method": "FETCH"}, "method"),
        ("login", {"spend_limit": {"amount": "1.00", "cycle": "hourly"}}, "cycle"),
        ("login", {"spend_limit": {"amount": "-1", "cycle": "daily"}}, "amount"),
        ("usage", {"limit": "all"}, "limit"),
    ],
)
async def test_wrong_arguments_are_refused_by_name(machine, tool, arguments, named):
    async with machine.client("--sandbox") as client:
        if tool != "login":
            ok(await client.call_tool("login", {}))
        error = refused(await client.call_tool(tool, arguments), "invalid_arguments")
        assert named in error["message"] + error["hint"]
    assert machine.ledger.entries() == []


async def test_an_unknown_tool_is_a_protocol_error(machine, mode):
    async with machine.client("--sandbox", mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("transfer", {})
        assert caught.value.error.code == -32602 and "transfer" in caught.value.error.message
        # The connection survives it.
        ok(await client.call_tool("search", {"query": "gpt"}))


async def test_the_agent_may_only_narrow_what_the_human_set(machine):
    machine.env["LAVA_SESSION_LIMIT"] = "1.00/daily"
    async with machine.client("--sandbox") as client:
        error = refused(await client.call_tool("login", {"spend_limit": {"amount": "50.00", "cycle": "daily"}}), "limit_not_allowed")
        assert "1" in error["message"] and "LAVA_SESSION_LIMIT" in error["message"], "what is allowed, and who allows it"
        session = ok(await client.call_tool("login", {"spend_limit": {"amount": "0.25", "cycle": "daily"}}))
        assert Decimal(session["remaining"]) == Decimal("0.25")


async def test_the_next_start_uses_the_same_key(machine, mode):
    async with machine.client("--sandbox", mode=mode) as client:
        first = ok(await client.call_tool("login", {}))
        answer = ok(await client.call_tool("prompt", {"model": MODEL, "input": "hi"}))
    async with machine.client("--sandbox", mode=mode) as client:
        # No login: the vault has a key, and a second session is not made to ask for another.
        again = ok(await client.call_tool("prompt", {"model": MODEL, "input": "hi"}))
        assert Decimal(again["remaining"]) < Decimal(answer["remaining"])
        second = ok(await client.call_tool("login", {}))
    assert second["spend_key"]["spend_key_id"] == first["spend_key"]["spend_key_id"]
    assert machine.ledger.spend_keys() == 1


async def test_the_sandbox_by_variable(machine):
    machine.env["LAVA_SANDBOX"] = "1"
    async with machine.client() as client:
        assert ok(await client.call_tool("login", {}))["gateway"]["sandbox"] is True
        ok(await client.call_tool("prompt", {"model": MODEL, "input": "hi"}))
