"""A real language model behind the gateway: real tokens at a real price, and a ledger that agrees with the model's own count to the nano-dollar."""

import json
import re
import urllib.request
from decimal import Decimal

import openai
import pytest
from harness import cost_n, ok, usd

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

INPUT, OUTPUT = "0.15", "0.60"


@pytest.fixture
def local(machine, real_model):
    machine.provider("local", f"{real_model}/v1", ["smollm2"], price=f'{{ input = "{INPUT}", output = "{OUTPUT}" }}')
    return machine


def generated_tokens(real_model) -> int:
    """How many tokens the model has generated in its life, by its own counter."""
    with urllib.request.urlopen(f"{real_model}/metrics", timeout=5) as answer:
        return int(re.search(r"^llamacpp:tokens_predicted_total (\d+)", answer.read().decode(), re.M)[1])


def input_tokens(real_model, messages) -> int:
    """How long the question is, by the model's own tokenizer, asked directly and not through the gateway."""
    direct = openai.OpenAI(base_url=f"{real_model}/v1", api_key="none")
    return direct.chat.completions.create(model="smollm2", messages=messages, max_tokens=1).usage.prompt_tokens


def check(machine, real_model, answer, messages, before) -> None:
    usage = answer["usage"]
    assert usage["completion_tokens"] == generated_tokens(real_model) - before
    assert usage["prompt_tokens"] == input_tokens(real_model, messages)
    [entry] = machine.ledger.ended(1)
    assert (entry.kind, entry.basis) == ("charge", "measured")
    assert (entry.usage["input"], entry.usage["output"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert entry.amount_n == cost_n(INPUT, OUTPUT, usage["prompt_tokens"], usage["completion_tokens"])
    assert Decimal(answer["cost"]) == usd(entry.amount_n)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_ledger_agrees_with_the_model(local, real_model, mode, streamed):
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Name one colour of the sky."}]
    progress = []

    async def on_progress(done, total, message):
        progress.append(done)

    before = generated_tokens(real_model)
    async with local.client(mode=mode, timeout=120) as client:
        ok(await client.call_tool("login", {}))
        answer = ok(
            await client.call_tool(
                "prompt",
                {"model": "local/smollm2", "messages": messages, "max_tokens": 24, "temperature": 0},
                progress_callback=on_progress if streamed else None,
            )
        )
    assert bool(progress) == streamed
    assert answer["provider"] == "local" and answer["content"].strip()
    assert answer["finish_reason"] in ("stop", "length")
    check(local, real_model, answer, messages, before)


async def test_from_the_command_line(local, real_model):
    assert local.run("login").returncode == 0
    messages = [{"role": "user", "content": "Say hello."}]
    before = generated_tokens(real_model)
    done = local.run("prompt", "local/smollm2", "Say hello.", "--max-tokens", "16", "--stream", timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    [entry] = local.ledger.ended(1)
    assert entry.usage["output"] == generated_tokens(real_model) - before
    assert entry.usage["input"] == input_tokens(real_model, messages)
    assert entry.amount_n == cost_n(INPUT, OUTPUT, entry.usage["input"], entry.usage["output"])

    done = local.run("--json", "prompt", "local/smollm2", "Say hello.", "--max-tokens", "16", timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Decimal(answer["cost"]) == usd(local.ledger.ended(2)[1].amount_n)


async def test_the_model_chosen_by_name_alone(local, real_model):
    async with local.client(timeout=120) as client:
        ok(await client.call_tool("login", {}))
        answer = ok(await client.call_tool("prompt", {"model": "smollm2", "input": "Say hello.", "max_tokens": 4}))
        assert answer["provider"] == "local"
        found = ok(await client.call_tool("search", {"query": "smollm2"}))
        assert found["results"][0]["id"] == "local/smollm2"
