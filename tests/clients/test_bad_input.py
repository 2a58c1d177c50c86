"""Bad input of every kind, from outside: a clear answer, nothing spent, nothing lost."""

import json
import re
import signal
import subprocess
import time
from decimal import Decimal

import pytest
from conftest import UPSTREAM_KEY
from fake_upstream import MODELS
from harness import OVER_LIMIT, WHOLE_KEY, Wire, binary, ok, refused

pytestmark = pytest.mark.anyio

# Larger than any request the gateway takes.
# Above the 32 MiB of a body, and below what a line of MCP may have.
OVER_THE_CAP_BYTES = 32 * 1024 * 1024 + 100_000


@pytest.fixture
def upstream(machine, fake):
    """A working upstream whose output costs a tenth of a cent a token, so that limits come into reach."""
    machine.env["FAKE_API_KEY"] = UPSTREAM_KEY
    machine.provider("fake", fake.base_url, MODELS, price='{ input = "0", output = "1000" }', key_env="FAKE_API_KEY")
    return fake


def said(error) -> str:
    return f"{error['message']} {error['hint']}"


async def test_a_model_that_does_not_exist_names_the_nearest(machine):
    async with machine.client("--sandbox") as client:
        ok(await client.call_tool("login", {}))
        for wrong, nearest in [("gpt-4o-mni", "gpt-4o-mini"), ("openai/gpt4o", "gpt-4o"), ("mistral-larg-latest", "mistral-large-latest")]:
            error = refused(await client.call_tool("prompt", {"model": wrong, "input": "hi"}), "model_not_found")
            assert wrong in error["message"]
            assert len(error["nearest"]) == 3 and all(name in error["message"] for name in error["nearest"])
            assert nearest in {name.split("/")[-1] for name in error["nearest"]}, error
        # What is near to nothing still gets a way out.
        error = refused(await client.call_tool("prompt", {"model": "☃", "input": "hi"}), "model_not_found")
        assert "search" in said(error)
    assert machine.ledger.entries() == []


async def test_a_model_without_credentials_says_which_variable(machine):
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        error = refused(await client.call_tool("prompt", {"model": "openai/gpt-4o-mini", "input": "hi"}), "provider_credentials_missing")
        assert "OPENAI_API_KEY" in said(error)
        found = ok(await client.call_tool("search", {"query": "gpt-4o-mini", "kind": "model"}))
        assert found["results"][0]["credentials"] == "missing"
    assert machine.ledger.entries() == []


async def test_a_limit_that_is_used_up_says_what_is_left_and_until_when(machine, upstream):
    machine.env["LAVA_SESSION_LIMIT"] = "0.02/daily"

    def tomorrow():
        return time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))

    possible = {tomorrow()}
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        # 13 tokens of output: 1.3 cents of 2.
        answer = ok(await client.call_tool("prompt", {"model": "fake/good", "input": "hi", "max_tokens": 13}))
        assert Decimal(answer["cost"]) == Decimal("0.013") and Decimal(answer["remaining"]) == Decimal("0.007")
        error = refused(await client.call_tool("prompt", {"model": "fake/good", "input": "hi", "max_tokens": 13}), *OVER_LIMIT)
        assert "0.007" in said(error), "what is left"
        possible.add(tomorrow())
        assert any(day in said(error) for day in possible), "when it resets"
    machine.ledger.ended(1)
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("cap", ["0.012", "0.000000001"])
async def test_a_max_cost_that_is_too_small(machine, upstream, cap):
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        error = refused(
            await client.call_tool("prompt", {"model": "fake/good", "input": "hi", "max_tokens": 13, "max_cost": cap}), "max_cost_exceeded"
        )
        assert "0.013" in said(error), "what it could cost"
        # Exactly enough is enough.
        ok(await client.call_tool("prompt", {"model": "fake/good", "input": "hi", "max_tokens": 13, "max_cost": "0.013"}))
    machine.ledger.ended(1)
    assert len(upstream.seen) == 1


async def test_without_a_cap_the_answer_is_cut_to_what_the_budget_affords(machine, upstream):
    machine.env["LAVA_SESSION_LIMIT"] = "0.5/daily"
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        ok(await client.call_tool("prompt", {"model": "fake/good", "input": "hi"}))
    body = upstream.seen[0].json
    sent = body.get("max_completion_tokens", body.get("max_tokens"))
    assert 0 < sent <= 500, "50 cents pay for 500 tokens"


async def test_a_url_that_is_not_in_the_catalog(machine, upstream):
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        for url in [
            "https://example.com/v1/anything",
            "http://169.254.169.254/latest/meta-data/",
            "https://api.openai.com.example.com/v1/models",
            "file:///etc/passwd",
            f"http://127.0.0.1:{upstream.port}/admin",
        ]:
            error = refused(await client.call_tool("call", {"url": url, "method": "GET"}), "forward_endpoint_not_supported", "invalid_arguments")
            assert "search" in said(error), "how to find what is supported"
    assert machine.ledger.entries() == [] and upstream.seen == []


async def test_a_request_over_the_cap(machine, upstream):
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        error = refused(await client.call_tool("prompt", {"model": "fake/good", "input": "x" * OVER_THE_CAP_BYTES}), "request_too_large")
        assert re.search(r"\d+ ?(MiB|MB|bytes)", said(error)), "how much is allowed"
        ok(await client.call_tool("prompt", {"model": "fake/good", "input": "hi", "max_tokens": 13}))
    machine.ledger.ended(1)
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    "line",
    ["{not json", "[]", "42", '"text"', "{}", '{"jsonrpc":"2.0"}', "\x00\x01", "", "   ", '{"jsonrpc":"2.0","id":1,"method":"no/such/method"}'],
)
async def test_a_line_that_is_no_request(machine, line):
    process = machine.start("--sandbox")
    try:
        wire = Wire(process)
        wire.send_raw(line + "\n")
        wire.send(77, "tools/list")
        assert [tool["name"] for tool in wire.answer(77)["result"]["tools"]][0] == "login"
        process.stdin.close()
        for rest in process.stdout:
            json.loads(rest)
        assert process.wait(5) == 0
    finally:
        process.kill()
    assert "panicked" not in machine.log.read_text()


async def test_nothing_but_json_rpc_on_standard_output(machine):
    machine.env["LAVA_LOG"] = "trace"
    process = machine.start("--sandbox")
    wire = Wire(process)
    wire.send(1, "server/discover")
    wire.answer(1)
    wire.call(2, "login", {})
    wire.answer(2)
    wire.call(3, "prompt", {"model": "gpt-4o-mini", "input": "a secret thought"})
    assert "error" not in wire.answer(3)
    process.stdin.close()
    # `answer` has read all before as JSON; so must be what is left.
    for rest in process.stdout:
        json.loads(rest)
    assert process.wait(5) == 0
    log = machine.log.read_text()
    assert log.strip(), "LAVA_LOG=trace logs something, and to standard error"
    assert not WHOLE_KEY.search(log) and "a secret thought" not in log, "a key or a prompt in the log"


CONFIG_MISTAKES = {
    "wrong key in a provider": (
        '[providers.local]\nbase_url = "http://127.0.0.1:1/v1"\ndialekt = "openai"\n',
        3,
        ["dialekt", "dialect", "base_url", "models"],
    ),
    "wrong table": ('\n[provider.local]\nbase_url = "http://127.0.0.1:1/v1"\n', 2, ["provider", "providers"]),
    "wrong dialect": ('[providers.local]\nbase_url = "http://127.0.0.1:1/v1"\ndialect = "klingon"\n', 3, ["klingon", "openai"]),
    "not TOML": ('[providers.local]\nbase_url = "http://127.0.0.1:1/v1\n', 2, []),
}


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
@pytest.mark.parametrize("command", [[], ["status"]], ids=["serve", "status"])
async def test_a_mistake_in_the_config_file(machine, mistake, command):
    text, line, words = CONFIG_MISTAKES[mistake]
    machine.config.write_text(text)
    done = machine.run(*command)
    assert done.returncode == 1 and done.stdout == ""
    assert f"{machine.config}" in done.stderr
    assert re.search(rf"(:|line ){line}\b", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert "panicked" not in done.stderr


async def test_a_config_file_that_is_named_and_missing(machine):
    done = machine.run("--config", str(machine.home / "absent.toml"), "status")
    assert done.returncode == 1 and "absent.toml" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LAVA_SESSION_LIMIT", "five dollars"),
        ("LAVA_SESSION_LIMIT", "5.00/hourly"),
        ("LAVA_CREDENTIAL_STORE", "pocket"),
        ("LAVA_SPEND_KEY", "lava_sk_tooshort"),
    ],
)
async def test_a_variable_with_a_wrong_value_is_named(machine, variable, value):
    machine.env[variable] = value
    done = machine.run("--sandbox", "login")
    assert done.returncode != 0
    assert variable in done.stderr, done.stderr
    if variable == "LAVA_SPEND_KEY":
        assert value not in done.stderr, "a key is not echoed"
    else:
        assert value in done.stderr


async def test_a_data_folder_that_cannot_be_written(machine, tmp_path):
    # Below a file: that stops even root, for whom no folder is read-only.
    file = tmp_path / "file"
    file.write_text("not a folder")
    machine.env["LAVA_DATA_DIR"] = str(file / "data")
    async with machine.client("--sandbox") as client:
        await client.list_tools()
        error = refused(await client.call_tool("login", {}), "ledger_unavailable", "vault_unavailable")
        assert str(file) in said(error)
    done = machine.run("--sandbox", "login")
    assert done.returncode != 0 and str(file) in done.stderr


async def test_a_ledger_that_is_something_else(machine):
    machine.data.mkdir(mode=0o700)
    machine.ledger.path.write_text("Dear diary, " * 1000)
    async with machine.client("--sandbox") as client:
        error = refused(await client.call_tool("login", {}), "ledger_unavailable")
        assert "ledger.db" in said(error)
    assert machine.ledger.path.read_text().startswith("Dear diary"), "a file that is not ours is left alone"


# In blocks of 512 bytes: too little to open the ledger at all; enough to open it; enough for the first calls.
@pytest.mark.parametrize("blocks", [1, 72, 96, 144])
async def test_a_full_disk_stops_spending_and_loses_nothing(machine, upstream, blocks):
    question = {"model": "fake/good", "input": "hi", "max_tokens": 13}
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        ok(await client.call_tool("prompt", question))
        machine.ledger.ended(1)

    # No file may grow past the limit, and the signal that would end the process is ignored: each write fails as on a full disk.
    process = machine.start(command=["sh", "-c", f'trap "" XFSZ; ulimit -f {blocks}; exec "$0"', str(binary())])
    wire = Wire(process)
    for n in range(40):
        wire.call(n, "prompt", question)
        answer = wire.answer(n)["result"]
        if answer["isError"]:
            assert answer["structuredContent"]["error"]["code"] == "ledger_unavailable", answer
            break
    # A call whose settling found no room is still there as its hold.
    assert len(machine.ledger.open_holds()) + len(machine.ledger.entries()) >= len(upstream.seen)
    assert blocks > 1 or len(upstream.seen) == 1, "called an upstream without a hold on disk"
    process.stdin.close()
    process.wait(10)

    async with machine.client() as client:
        ok(await client.call_tool("prompt", question))
        # With room again, every call that reached the upstream is in the books, each once.
        entries = machine.ledger.ended(len(upstream.seen))
    assert sum(entry.amount_n for entry in entries) >= 13_000_000 * len(upstream.seen)


@pytest.mark.parametrize("model", ["slow", "hang"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_standard_input_closes_in_the_middle_of_a_call(machine, upstream, model, streamed):
    process = machine.start()
    try:
        wire = Wire(process)
        wire.call(0, "login", {})
        wire.answer(0)
        params = {"name": "prompt", "arguments": {"model": f"fake/{model}", "input": "hi", "max_tokens": 13}}
        if streamed:
            params["_meta"] = {"progressToken": "p1"}
        wire.send(1, "tools/call", params)
        upstream.wait_for(1)
        assert len(machine.ledger.open_holds()) == 1, "the hold is on disk before the first byte goes upstream"
        process.stdin.close()
        began = time.monotonic()
        assert process.wait(15) == 0
        assert time.monotonic() - began < 10
    finally:
        process.kill()
    # The process is gone, so whatever it owed the ledger is there now or never.
    [entry] = machine.ledger.ended(1, within=0.5)
    # The upstream had the request and may bill it.
    assert entry.kind in ("charge", "suspect") and entry.amount_n > 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_killed_in_the_middle_of_a_call(machine, upstream, end):
    process = machine.start()
    wire = Wire(process)
    wire.call(0, "login", {})
    wire.answer(0)
    wire.call(1, "prompt", {"model": "fake/hang", "input": "hi", "max_tokens": 13})
    upstream.wait_for(1)
    process.send_signal(end)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    # The next start finds what is owed: over-counted perhaps, forgotten never.
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        ok(await client.call_tool("usage", {}))
        [entry] = machine.ledger.ended(1)
    assert entry.amount_n > 0
    if end == signal.SIGKILL:
        assert (entry.kind, entry.basis, entry.amount_n) == ("suspect", "crash", entry.held_n)
