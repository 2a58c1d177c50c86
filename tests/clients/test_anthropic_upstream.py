"""The official Anthropic SDKs through the gateway to an upstream that speaks Anthropic: what it says it used is what is booked."""

import pytest

from conftest import UPSTREAM_KEY
from gateway import Gateway
from harness import cost_n
from sdks import ask

INPUT, OUTPUT = "3", "15"
ANSWER = {"match": {"userMessage": "Hello!"}, "response": {"content": "Hello from the mock.", "usage": {"input_tokens": 11, "output_tokens": 5}}}


@pytest.fixture
def upstream(machine, aimock):
    upstream = aimock([ANSWER])
    machine.env["MOCK_API_KEY"] = UPSTREAM_KEY
    price = f'{{ input = "{INPUT}", output = "{OUTPUT}" }}'
    machine.provider("mock", upstream.base_url, ["m1"], price=price, key_env="MOCK_API_KEY", dialect="anthropic")
    return upstream


@pytest.mark.parametrize("sdk", ["anthropic-py", "anthropic-js"])
def test_what_the_upstream_reports_is_what_is_booked(machine, upstream, sdk):
    with Gateway(machine, sandbox=False) as gateway:
        key = gateway.spend_key(request_shape="anthropic", spend_limit={"amount": "1.00", "cycle": "daily"})
        plain = ask(sdk, gateway.root, key, model="mock/m1", max_tokens=100)
        streamed = ask(sdk, gateway.root, key, stream=True, model="mock/m1", max_tokens=100)
        assert plain.text == streamed.text == "Hello from the mock."
        assert streamed.pieces > 1, "the stream is not gathered into one piece"
        assert (plain.input, plain.output) == (11, 5)
        entries = machine.ledger.ended(2)
    assert [(entry.kind, entry.basis, entry.amount_n) for entry in entries] == [("charge", "measured", cost_n(INPUT, OUTPUT, 11, 5))] * 2
    assert all(entry["path"] == "/v1/messages" for entry in upstream.journal())


def test_a_forward_to_the_upstreams_own_address_is_metered_too(machine, upstream):
    with Gateway(machine, sandbox=False) as gateway:
        body = {"model": "m1", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}
        answer = gateway.manage("POST", f"forward?u={upstream.base_url}/messages", body)
        assert answer["content"][0]["text"] == "Hello from the mock."
        [entry] = machine.ledger.ended(1)
    assert entry.amount_n == cost_n(INPUT, OUTPUT, 11, 5)
