"""Programs of the command line talk to the gateway: a conversation in which a tool runs, the sandbox, a wrong key and one that is used up."""

import re
import subprocess
import time

import pytest
from command_clients import CODE, aider, cn, llm, opencode, qwen, steps_of
from conversation import SILENT, Houses, Step, booked, paid_as_listed, program
from harness import Machine
from recorder import Recorder
from scripted import Scripted

CLIENTS = {
    "qwen-openai": qwen,
    "qwen-anthropic": qwen,
    "cn-openai": cn,
    "cn-anthropic": cn,
    "opencode-openai-compatible": opencode,
    "opencode-anthropic": opencode,
    "llm": llm,
    "aider-openai": aider,
    "aider-anthropic": aider,
}

# opencode asks for a title beside each conversation; aider repeats a 402 for a minute, and is watched in a test of its own.
BESIDE = {"opencode-openai-compatible": 1, "opencode-anthropic": 1}


def dialect(client: str) -> str:
    return "anthropic" if client.endswith("anthropic") else "openai"


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    machines = [Machine(tmp_path_factory.mktemp(name)) for name in ("own", "sandbox")]
    with Scripted() as upstream, Houses(*machines, upstream) as houses:
        yield houses


@pytest.fixture
def ask(houses, machine):
    def ask(client: str, *steps: str):
        houses.upstream.steps = steps_of(client)
        houses.upstream.asked.clear()
        return houses.ask(list(steps), dialect(client), program(client, CLIENTS[client], machine))

    return ask


@pytest.mark.parametrize("client", CLIENTS)
def test_it_holds_a_conversation(houses, ask, client):
    outcome = ask(client, "tool")["tool"]
    assert outcome.text and f"It says {CODE}." in outcome.text, outcome
    assert all(exchange.status == 200 for exchange in outcome.posts), outcome
    if client.startswith("aider"):
        # Its tool is the file that it writes.
        assert len(outcome.posts) == 1, outcome
    else:
        assert len(outcome.posts) == 2 + BESIDE.get(client, 0), outcome
        assert CODE in houses.upstream.results[0], houses.upstream.results
    paid_as_listed(houses.own.machine, outcome.key_id, len(outcome.posts))


@pytest.mark.parametrize("client", CLIENTS)
def test_the_sandbox_answers_it(houses, ask, client):
    outcome = ask(client, "sandbox")["sandbox"]
    assert outcome.text and "lava-mcp sandbox" in outcome.text, outcome
    for entry in booked(houses.sandbox.machine, outcome.key_id, len(outcome.posts)):
        assert entry["kind"] == "charge" and entry["amount_n"] > 0, entry


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_key_is_told_at_once(ask, client):
    outcome = ask(client, "wrong")["wrong"]
    said = " ".join((outcome.error or outcome.text or "").split())
    assert "This API key is not known here" in said, outcome
    assert [exchange.status for exchange in outcome.posts] == [401] * (1 + BESIDE.get(client, 0)), outcome


@pytest.mark.parametrize("client", [name for name in CLIENTS if not name.startswith("aider")])
def test_a_used_up_key_is_told_at_once(houses, ask, client):
    outcome = ask(client, "used up")["used up"]
    said = " ".join((outcome.error or outcome.text or "").split())
    assert "Service key spend limit exceeded" in said and "It resets at" in said, outcome
    assert [exchange.status for exchange in outcome.posts] == [402] * (1 + BESIDE.get(client, 0)), outcome
    booked(houses.own.machine, outcome.key_id, 0)


def test_aider_tells_of_a_used_up_key_though_it_tries_again(houses, machine):
    """It takes a 402 for a fault that passes and repeats it for a minute, longer and longer apart; the sentence comes first."""
    made = houses.own.key_object(request_shape="openai", spend_limit={"amount": "0.000001", "cycle": "daily"})
    with Recorder(houses.own.root) as recorder:
        command, variables = aider("aider-openai", Step("used up", recorder.root, made["key"], "house/our-model"), machine.home)
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**machine.env, **SILENT, **variables},
            cwd=machine.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            said, deadline = "", time.monotonic() + 40
            while "It resets at" not in " ".join(said.split()) and time.monotonic() < deadline:
                said += process.stdout.readline()
        finally:
            process.kill()
            process.wait()
    assert re.search(r"Service\s+key\s+spend\s+limit\s+exceeded", said), said
    assert {exchange.status for exchange in recorder.exchanges} == {402} and len(recorder.exchanges) <= 3
    booked(houses.own.machine, made["spend_key_id"], 0)
