"""Upstreams that fail, through the official client. However a call ends, its hold ends exactly once, and the caller's key stays at home.

What each ending must cost: nothing if the upstream refused or was never reached; what it reported if it reported; and if it may have worked
and nobody knows how much, an upper estimate. Never less than the truth.
"""

import json
import re
import socket
import time
from decimal import Decimal

import anyio
import anyio.to_thread
import pytest
from conftest import UPSTREAM_KEY
from fake_upstream import MODELS, TEXT, USAGE
from harness import BROKEN_ANSWER, ERAS, OVER_LIMIT, WHOLE_KEY, cost_n, ok, refused, usd
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio

# Not whole nano-dollars per token, so that rounding up shows.
INPUT, OUTPUT = "0.123457", "0.654321"
PRICE = f'{{ input = "{INPUT}", output = "{OUTPUT}" }}'

GOOD = {"match": {}, "response": {"content": "Hello from the mock.", "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}}}

WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def streamed(request):
    return request.param


async def ignore_progress(done, total, message):
    pass


async def prompt(client, streamed, **arguments):
    """A request with a progress token is streamed from the upstream."""
    return await client.call_tool("prompt", arguments, progress_callback=ignore_progress if streamed else None)


class OneCall:
    """A machine with one upstream, logged in, that makes one call and keeps what came of it."""

    def __init__(self, machine, name):
        self.machine, self.name = machine, name

    async def __call__(self, streamed, **arguments):
        arguments.setdefault("max_tokens", 100)
        async with self.machine.client() as client:
            ok(await client.call_tool("login", {}))
            result = await prompt(client, streamed, **arguments)
            # The session is not worse for it.
            ok(await client.call_tool("usage", {}))
            [entry] = self.machine.ledger.ended(1)
        return result, entry


@pytest.fixture
def with_aimock(machine, aimock):
    """Starts aimock with one fixture and configures it as the provider `mock`."""

    def start(*fixtures):
        upstream = aimock([*fixtures, GOOD])
        machine.env["MOCK_API_KEY"] = UPSTREAM_KEY
        machine.provider("mock", upstream.base_url, ["m1"], price=PRICE, key_env="MOCK_API_KEY")
        return upstream

    yield start


@pytest.fixture
def with_fake(machine, fake):
    machine.env["FAKE_API_KEY"] = UPSTREAM_KEY
    machine.provider("fake", fake.base_url, MODELS, price=PRICE, key_env="FAKE_API_KEY")
    yield fake
    keys = machine.keys_at_rest()
    for request in fake.seen:
        assert request.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        text = request.raw.decode()
        assert not WHOLE_KEY.search(text) and not any(key in text for key in keys), "the caller's key went upstream"
        assert not [name for name in request.headers if name.startswith("x-lava")], "our own headers went upstream"


async def test_a_call_that_works(machine, with_aimock, streamed):
    upstream = with_aimock()
    result, entry = await OneCall(machine, "mock")(streamed, model="mock/m1", input="hi")
    answer = ok(result)
    assert answer["content"] == "Hello from the mock." and answer["provider"] == "mock"
    assert (entry.kind, entry.basis) == ("charge", "measured")
    assert entry.amount_n == cost_n(INPUT, OUTPUT, 11, 5)
    assert Decimal(answer["cost"]) == usd(entry.amount_n)
    # The journal is what an eye at the upstream sees. It hides the authorization header, but admits nobody without the right one.
    [seen] = upstream.journal()
    assert seen["response"]["status"] == 200
    assert not WHOLE_KEY.search(json.dumps(seen)) and not any(key in json.dumps(seen) for key in machine.keys_at_rest())
    assert bool(seen["body"].get("stream")) == streamed
    assert seen["body"]["model"] == "m1"
    if streamed:
        assert seen["body"]["stream_options"]["include_usage"] is True


async def test_a_round_trip_with_tools(machine, with_aimock, streamed):
    upstream = with_aimock(
        {
            "match": {"userMessage": "Weather", "hasToolResult": False},
            "response": {
                "toolCalls": [{"id": "call_1", "name": "get_weather", "arguments": {"city": "Oslo"}}],
                "usage": {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37},
            },
        },
        {
            "match": {"hasToolResult": True},
            "response": {"content": "It is cold.", "usage": {"prompt_tokens": 44, "completion_tokens": 4, "total_tokens": 48}},
        },
    )
    messages = [{"role": "user", "content": "Weather in Oslo?"}]
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        first = ok(await prompt(client, streamed, model="mock/m1", messages=messages, tools=[WEATHER], tool_choice="auto", max_tokens=100))
        assert first["finish_reason"] == "tool_calls"
        [call] = first["message"]["tool_calls"]
        assert call["id"] == "call_1" and call["function"]["name"] == "get_weather"
        assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}

        messages += [first["message"], {"role": "tool", "tool_call_id": call["id"], "content": "-4 degrees"}]
        second = ok(await prompt(client, streamed, model="mock/m1", messages=messages, tools=[WEATHER], max_tokens=100))
        assert second["content"] == "It is cold." and second["finish_reason"] == "stop"
    entries = machine.ledger.ended(2)
    assert [entry.amount_n for entry in entries] == [cost_n(INPUT, OUTPUT, 30, 7), cost_n(INPUT, OUTPUT, 44, 4)]
    sent = upstream.journal()[0]["body"]
    assert sent["tools"] == [WEATHER] and sent["tool_choice"] == "auto"


@pytest.mark.parametrize(
    ("response", "codes", "said"),
    [
        ({"error": {"message": "boom in the engine room", "type": "server_error"}, "status": 500}, ["upstream_error"], r"boom in the engine room"),
        ({"error": {"message": "overloaded", "type": "server_error"}, "status": 503}, ["upstream_error"], "overloaded"),
        (
            {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429, "retryAfter": 7},
            ["upstream_error", "rate_limit_exceeded"],
            r"\b7 ?s\b|\b7 seconds",
        ),
        ({"error": {"message": "no such deployment", "type": "invalid_request_error"}, "status": 404}, ["upstream_error"], "no such deployment"),
    ],
    ids=["500", "503", "429", "404"],
)
async def test_a_refusal_of_the_upstream_costs_nothing(machine, with_aimock, streamed, response, codes, said):
    upstream = with_aimock({"match": {"userMessage": "fail"}, "response": response})
    result, entry = await OneCall(machine, "mock")(streamed, model="mock/m1", input="please fail")
    error = refused(result, *codes)
    assert re.search(said, error["message"] + error["hint"]), error
    assert (entry.kind, entry.amount_n) == ("void", 0)
    assert entry.upstream_status == response["status"]
    # Retrying is the caller's decision: each try is a call that may be billed.
    assert len(upstream.journal()) == 1


async def test_a_key_that_the_upstream_refuses(machine, with_aimock):
    with_aimock()
    machine.env["MOCK_API_KEY"] = "wrong-key-of-the-human"
    result, entry = await OneCall(machine, "mock")(False, model="mock/m1", input="hi")
    error = refused(result, "provider_credentials_rejected")
    assert "MOCK_API_KEY" in error["message"] + error["hint"], "says which variable to look at"
    assert "wrong-key" not in json.dumps(error)
    assert (entry.kind, entry.amount_n) == ("void", 0)


BROKEN = [(model, streamed) for model in ("cut", "early-close", "garbage", "html", "empty") for streamed in (False, True)]


@pytest.mark.parametrize(("model", "streamed"), BROKEN, ids=[f"{model}-{'streamed' if streamed else 'plain'}" for model, streamed in BROKEN])
async def test_an_answer_that_breaks_is_an_error_and_is_paid(machine, with_fake, model, streamed):
    result, entry = await OneCall(machine, "fake")(streamed, model=f"fake/{model}", input="hi")
    refused(result, *BROKEN_ANSWER)
    # The upstream took the request, so it may bill it. How much is unknown: an upper estimate, or the whole hold.
    assert entry.kind in ("charge", "suspect") and entry.basis in ("estimated", "hold")
    assert entry.amount_n > 0
    if model == "cut" and streamed:
        shown = len(TEXT.split(" ")) // 2
        assert entry.amount_n >= cost_n(INPUT, OUTPUT, 1, shown), "less than what was seen"
    assert len(with_fake.seen) == 1


async def test_one_event_of_a_stream_that_is_garbage(machine, with_fake):
    """Whether that ends the call or is passed over is taste; that the whole answer arrives or an error does, and that it is paid, is not."""
    result, entry = await OneCall(machine, "fake")(True, model="fake/garbage-stream", input="hi")
    if result.is_error:
        refused(result, *BROKEN_ANSWER)
        assert entry.kind == "charge" and entry.amount_n > 0
    else:
        assert ok(result)["content"] == TEXT
        assert entry.amount_n == cost_n(INPUT, OUTPUT, USAGE["prompt_tokens"], USAGE["completion_tokens"])


async def test_a_stream_that_aimock_cuts(machine, with_aimock):
    with_aimock(
        {
            "match": {"userMessage": "cut"},
            "response": {"content": "A long answer that will be cut somewhere in the middle of it."},
            "truncateAfterChunks": 4,
            "latency": 30,
        }
    )
    result, entry = await OneCall(machine, "mock")(True, model="mock/m1", input="cut me")
    refused(result, *BROKEN_ANSWER)
    assert entry.kind == "charge" and entry.basis in ("estimated", "hold") and entry.amount_n > 0


@pytest.mark.parametrize("fault", ["malformedRate", "disconnectRate"])
async def test_chaos_of_aimock(machine, with_aimock, streamed, fault):
    upstream = with_aimock({"match": {"userMessage": "chaos"}, "response": {"content": "x"}, "chaos": {fault: 1}})
    result, entry = await OneCall(machine, "mock")(streamed, model="mock/m1", input="chaos please")
    refused(result, *BROKEN_ANSWER)
    assert entry.kind in ("charge", "suspect") and entry.amount_n > 0
    assert len(upstream.journal()) == 1


async def test_an_answer_without_usage_is_given_and_estimated(machine, with_fake, streamed):
    result, entry = await OneCall(machine, "fake")(streamed, model="fake/no-usage", input="hi")
    answer = ok(result)
    assert answer["content"] == TEXT
    assert (entry.kind, entry.basis) == ("charge", "estimated")
    # Never less than a plain count of words, never more than the hold (which is checked for every entry).
    assert entry.amount_n >= cost_n(INPUT, OUTPUT, 1, len(TEXT.split(" ")))
    assert Decimal(answer["cost"]) == usd(entry.amount_n)


@pytest.mark.parametrize("model", ["slow", "trickle"])
async def test_a_slow_answer_is_worth_waiting_for(machine, with_fake, streamed, model):
    result, entry = await OneCall(machine, "fake")(streamed, model=f"fake/{model}", input="hi")
    answer = ok(result)
    assert answer["content"] == TEXT
    assert answer["usage"]["prompt_tokens"] == USAGE["prompt_tokens"] and answer["usage"]["completion_tokens"] == USAGE["completion_tokens"]
    assert (entry.kind, entry.basis) == ("charge", "measured")
    assert entry.amount_n == cost_n(INPUT, OUTPUT, USAGE["prompt_tokens"], USAGE["completion_tokens"])


async def test_a_mistake_of_the_caller_comes_back_in_the_words_of_the_upstream(machine, with_fake, streamed):
    result, entry = await OneCall(machine, "fake")(streamed, model="fake/refuses-400", input="hi", temperature=1.5)
    error = refused(result, "upstream_error")
    assert "temperature must be at most 2" in error["message"]
    assert (entry.kind, entry.amount_n) == ("void", 0)


async def test_nobody_listens(machine, streamed):
    with socket.socket() as closed:
        # Bound and not listening: the port is taken, so nothing else can answer there.
        closed.bind(("127.0.0.1", 0))
        machine.provider("gone", f"http://127.0.0.1:{closed.getsockname()[1]}/v1", ["m1"], price=PRICE)
        began = time.monotonic()
        result, entry = await OneCall(machine, "gone")(streamed, model="gone/m1", input="hi")
        error = refused(result, "upstream_unreachable")
        assert time.monotonic() - began < 15
    assert "gone" in error["message"].lower(), "which provider"
    assert (entry.kind, entry.amount_n) == ("void", 0)


async def test_a_fallback_answers_when_the_first_upstream_fails(machine, with_aimock, with_fake):
    upstream = with_aimock({"match": {"userMessage": "fail"}, "response": {"error": {"message": "boom", "type": "server_error"}, "status": 500}})
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        answer = ok(
            await client.call_tool(
                "prompt",
                {
                    "model": "mock/m1",
                    "input": "please fail",
                    "max_tokens": 100,
                    "fallbacks": [{"url": f"{with_fake.base_url}/chat/completions", "model": "good"}],
                },
            )
        )
        first, second = machine.ledger.ended(2)
    assert answer["content"] == TEXT and answer["provider"] == "fake"
    assert len(answer["attempts"]) == 2
    assert (first.kind, first.amount_n) == ("void", 0)
    assert (second.kind, second.amount_n) == ("charge", cost_n(INPUT, OUTPUT, USAGE["prompt_tokens"], USAGE["completion_tokens"]))
    assert len(upstream.journal()) == 1 and len(with_fake.seen) == 1


async def test_the_same_idempotency_key_is_paid_once(machine, with_fake):
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        question = {"model": "fake/good", "input": "hi", "max_tokens": 100, "idempotency_key": "order-66"}
        one = ok(await client.call_tool("prompt", question))
        two = ok(await client.call_tool("prompt", question))
        assert one["content"] == two["content"] and one["request_id"] == two["request_id"]
        machine.ledger.ended(1)
    assert len(with_fake.seen) == 1


async def test_forty_calls_at_once_stay_within_the_limit(machine, with_fake):
    # One answer costs about 11 micro-dollars, so this pays for some of them and not for all.
    machine.env["LAVA_SESSION_LIMIT"] = "0.0002/total"
    results = []
    async with machine.client(timeout=55) as client:
        ok(await client.call_tool("login", {}))

        async def one():
            results.append(await client.call_tool("prompt", {"model": "fake/good", "input": "hi", "max_tokens": 13}))

        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(one)
        worked = [result for result in results if not result.is_error]
        for result in results:
            if result.is_error:
                # What does not fit beside the calls in flight may be told to wait instead.
                refused(result, *OVER_LIMIT, "budget_held")
        assert 0 < len(worked) < 40
        entries = machine.ledger.ended(len(worked))
    assert len(with_fake.seen) == len(worked)
    assert sum(entry.amount_n for entry in entries) <= 200_000


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_stops_waiting_still_pays(machine, with_fake, streamed, mode):
    async with machine.client(mode=mode) as client:
        ok(await client.call_tool("login", {}))
        # The official client tells the server when it gives up.
        with pytest.raises(MCPError):
            await client.call_tool("prompt", {"model": "fake/hang", "input": "hi", "max_tokens": 100}, 1, ignore_progress if streamed else None)
        ok(await client.call_tool("usage", {}))
        # It may go on reading for a while to learn what the call cost; until then the money stays set aside.
        assert len(machine.ledger.open_holds()) + len(machine.ledger.entries()) == 1
    [entry] = machine.ledger.ended(1)
    assert entry.kind == "charge" and entry.amount_n > 0
    assert with_fake.hung_up.wait(5), "the upstream still works for nobody"


async def test_two_processes_share_a_ledger(machine, with_fake):
    """Two programs of one user, each with its own lava-mcp: the second must neither block the first nor take its open call for a dead one."""
    async with machine.client() as first:
        ok(await first.call_tool("login", {}))
        async with anyio.create_task_group() as group:
            answers = []

            async def slow():
                answers.append(await first.call_tool("prompt", {"model": "fake/slow", "input": "hi", "max_tokens": 100}))

            group.start_soon(slow)
            await anyio.to_thread.run_sync(with_fake.wait_for, 1)
            async with machine.client() as second:
                ok(await second.call_tool("prompt", {"model": "fake/good", "input": "hi", "max_tokens": 100}))
                assert not answers, "the first call is still open, or this proves nothing"
                ok(await second.call_tool("usage", {}))
        ok(answers[0])
    entries = machine.ledger.ended(2)
    assert [(entry.kind, entry.basis) for entry in entries] == [("charge", "measured")] * 2
