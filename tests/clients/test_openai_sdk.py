"""The official OpenAI SDK with a spend key, against `lava-mcp gateway`: nothing but key and base URL are set."""

import json
import re
import subprocess
import urllib.request

import httpx2
import openai
import pytest

from harness import binary

MODEL = "gpt-4o-mini"


@pytest.fixture
def gateway(machine):
    """A gateway in the sandbox; gives its base URL and makes spend keys."""
    secret = machine.run("--sandbox", "secret-keys", "create").stdout.strip()
    command = [binary(), "--sandbox", "gateway", "--listen", "127.0.0.1:0"]
    server = subprocess.Popen(command, env=machine.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    url = re.search(r"http://\S+", server.stderr.readline()).group()

    def spend_key(**settings):
        body = json.dumps({"name": "sdk", **settings}).encode()
        request = urllib.request.Request(f"{url}/spend_keys", body, {"Authorization": f"Bearer {secret}"})
        return json.load(urllib.request.urlopen(request))["key"]

    yield url, spend_key
    server.terminate()
    assert server.wait(10) == 0


class Counted:
    """An SDK client that counts the HTTP requests it makes."""

    def __init__(self, url, key):
        self.requests = 0
        hooks = {"request": [self._count]}
        self.sdk = openai.OpenAI(api_key=key, base_url=url, http_client=httpx2.Client(event_hooks=hooks, trust_env=False))

    def _count(self, _):
        self.requests += 1


def test_plain_streamed_and_listed(gateway):
    url, spend_key = gateway
    client = Counted(url, spend_key(spend_limit={"amount": "1.00", "cycle": "daily"})).sdk
    messages = [{"role": "user", "content": "Hello"}]
    plain = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=100)
    assert "sandbox" in plain.choices[0].message.content and plain.usage.total_tokens > 0
    pieces = list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=100, stream=True))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == plain.choices[0].message.content
    with_usage = list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=100, stream=True, stream_options={"include_usage": True}))
    assert with_usage[-1].usage == plain.usage and not with_usage[-1].choices
    assert MODEL in [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    ("settings", "key", "error", "code"),
    [
        ({}, "lava_sk_wrong", openai.AuthenticationError, "invalid_api_key"),
        ({"status": "paused"}, None, openai.PermissionDeniedError, "key_paused"),
        ({"allowed_models": ["gpt-4o"]}, None, openai.PermissionDeniedError, "model_not_allowed"),
        ({"spend_limit": {"amount": "0.000001", "cycle": "daily"}}, None, openai.APIStatusError, "insufficient_budget"),
    ],
)
def test_a_final_refusal_is_tried_once(gateway, settings, key, error, code):
    url, spend_key = gateway
    client = Counted(url, key or spend_key(**settings))
    with pytest.raises(error) as refused:
        client.sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=100)
    assert refused.value.code == code
    assert client.requests == 1, "the SDK tries again by itself unless it is told that this is final"


def test_a_used_up_request_limit_is_tried_once(gateway):
    url, spend_key = gateway
    client = Counted(url, spend_key(request_limit={"count": 1, "cycle": "daily"}))
    ask = lambda: client.sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=9)
    ask()
    with pytest.raises(openai.APIStatusError) as refused:
        ask()
    assert (refused.value.status_code, refused.value.code, client.requests) == (402, "request_quota_exceeded", 2)
