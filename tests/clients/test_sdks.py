"""Answers in the four official SDKs, plain and streamed, and what the gateway booked for them."""

import time

import anthropic
import httpx2
import pytest
from sdks import MESSAGES, MODELS, SDKS, ask, family


def booked(gateway, request_id: str) -> dict:
    """A request as the gateway reports it, once it is settled: that is a moment after its answer."""
    deadline = time.monotonic() + 10
    while True:
        report = gateway.manage("GET", f"requests/{request_id}")
        if report["status"] != "pending":
            return report
        assert time.monotonic() < deadline, report
        time.sleep(0.02)


@pytest.mark.parametrize("sdk", SDKS)
def test_plain_and_streamed_answers_are_the_same_and_are_booked_as_told(sdk, gateway, wire):
    key = gateway.key_object(request_shape=family(sdk), spend_limit={"amount": "1.00", "cycle": "daily"})
    plain = ask(sdk, wire.root, key["key"])
    streamed = ask(sdk, wire.root, key["key"], stream=True)
    assert "sandbox" in plain.text and MODELS[family(sdk)] in plain.text, plain
    assert streamed.pieces > 1, "a stream comes in pieces"
    assert (streamed.text, streamed.input, streamed.output) == (plain.text, plain.input, plain.output)
    costs = []
    for exchange in wire.exchanges:
        report = booked(gateway, exchange.headers["x-lava-request-id"])
        assert (report["model_usage"]["input_tokens"], report["model_usage"]["output_tokens"]) == (plain.input, plain.output), report
        assert report["lava_mcp"]["spend_key_id"] == key["spend_key_id"]
        costs.append(report["cost"])
    assert len(costs) == 2 and costs[0] == costs[1] and float(costs[0]) > 0, costs
    spent = gateway.manage("GET", f"spend_keys/{key['spend_key_id']}")
    assert (spent["current_requests"], float(spent["current_spend"])) == (2, pytest.approx(2 * float(costs[0])))


@pytest.mark.parametrize("sdk", SDKS)
def test_an_answer_that_reaches_its_cap_says_so(sdk, gateway, wire):
    key = gateway.spend_key(request_shape=family(sdk))
    assert ask(sdk, wire.root, key, max_tokens=5).output == 5
    reason = wire.last.json["choices"][0]["finish_reason"] if family(sdk) == "openai" else wire.last.json["stop_reason"]
    assert reason == {"openai": "length", "anthropic": "max_tokens"}[family(sdk)]


def test_anthropics_sdk_may_send_its_key_as_a_bearer_token(gateway, wire):
    """Some tools take the key as an auth token; then it is no x-api-key."""
    key = gateway.spend_key(request_shape="anthropic")
    client = anthropic.Anthropic(auth_token=key, base_url=wire.root, http_client=httpx2.Client(trust_env=False))
    answer = client.messages.create(model=MODELS["anthropic"], messages=MESSAGES, max_tokens=50)
    assert answer.content[0].text and answer.stop_reason in ("end_turn", "max_tokens")
    sent = wire.last.request_headers
    assert sent["authorization"] == f"Bearer {key}" and "x-api-key" not in sent
