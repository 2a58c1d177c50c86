"""What the official SDK of Anthropic can send, against what a gateway sends on to Anthropic: a name that is new there is a decision here.

Counting tokens is free, so only what nobody knows is taken out of it; and a type of tool that nobody knows is refused whatever a key allows.
"""

import json
import re
import urllib.error
import urllib.request
from typing import get_args, get_type_hints

import pytest
from anthropic.types import AnthropicBetaParam, beta
from anthropic.types.beta import BetaToolUnionParam

# Betas that are not sent, by their beginnings, and why.
NOT_SENT = {
    "admin-user-sign-out": "another endpoint",
    "agent-memory": "managed agents, another endpoint",
    "analytics-usage-cost": "another endpoint",
    "ce-claude-code-managed-settings": "another endpoint",
    "ce-plugins": "another endpoint",
    "ce-user-management": "another endpoint",
    "dev-full-thinking": "a trial whose terms are not public",
    "dreaming": "managed agents, another endpoint",
    "efs": "its terms are not public",
    "experimental-claude-tag": "a trial whose terms are not public",
    "google-managed-data-controls": "another endpoint",
    "managed-agents": "another endpoint",
    "mcp-tunnels": "another endpoint",
    "message-batches": "another endpoint",
    "message-threads": "what the model reads of a thread is not in the request",
    "spend-limit-reads": "another endpoint",
    "telemetry-destinations": "another endpoint",
    "user-profiles": "it names the customer that a request is for",
    "user-profiles-billing": "it changes who is billed",
    "webhooks": "another endpoint",
}

BETAS = next(get_args(part) for part in get_args(AnthropicBetaParam) if part is not str)

TYPES = [kind for tool in get_args(BetaToolUnionParam) for kind in get_args(get_args(get_type_hints(tool, include_extras=True)["type"])[0])]


def said(letters: int) -> list[dict]:
    return [{"role": "user", "content": "x" * letters}]


class Asker:
    """Asks in the messages dialect with a key that allows what runs at the provider."""

    def __init__(self, gateway):
        self._url, self._ledger = gateway.url, gateway.machine.ledger
        self._key = gateway.spend_key(request_shape="anthropic", lava_mcp={"hosted_tools": True})
        self._served = 0

    def __call__(self, path: str, betas: str = "", **more) -> tuple[int, str, str]:
        """The status, what was not sent, and the answer."""
        body = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": said(2), **more}
        headers = {"x-api-key": self._key, "content-type": "application/json"} | ({"anthropic-beta": betas} if betas else {})
        request = urllib.request.Request(f"{self._url}/{path}", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                self._served += 1
                return answer.status, answer.headers.get("x-lava-dropped", ""), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, "", error.read().decode()

    def held_n(self, **more) -> int:
        """What is set aside for a request."""
        self._ledger.ended(self._served)
        status, _, answer = self("messages", **more)
        assert status == 200, answer
        return self._ledger.ended(self._served)[-1].held_n


@pytest.fixture(scope="module")
def ask(gateway):
    return Asker(gateway)


def test_every_beta_of_the_sdk_is_sent_or_has_a_reason_not_to_be(ask):
    assert len(BETAS) > 50
    for name in BETAS:
        status, dropped, answer = ask("messages/count_tokens", name)
        beginning = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name)
        assert (status, dropped) == (200, f"anthropic-beta:{name}" if beginning in NOT_SENT else ""), answer


def test_every_tool_of_the_sdk_is_known(ask):
    assert {"browser_toolset_20260801", "tool_search_tool_bm25", "web_search_20250305"} <= set(TYPES)
    mine = {"name": "mine", "input_schema": {"type": "object"}}
    for kind in TYPES:
        tool = {"type": kind, "name": "t", "model": "claude-sonnet-4-5", "max_uses": 1, "input_schema": {"type": "object"}}
        status, dropped, answer = ask("messages", tools=[mine, tool])
        assert (status, dropped) == (200, ""), f"{kind}: {answer}"


# The members of a toolset are the keys of its configuration.
MEMBERS = {"browser_toolset_20260801": beta.BetaBrowserToolsetConfigsParam, "computer_toolset_20260801": beta.BetaComputerToolsetConfigsParam}


def test_a_toolset_is_paid_for_as_the_tools_that_it_has(ask):
    assert set(MEMBERS) == {kind for kind in TYPES if re.search(r"_toolset_\d", kind)}
    token = (ask.held_n(messages=said(2_000)) - ask.held_n(messages=said(1_000))) / 1_000
    one = ask.held_n(tools=[{"type": "bash_20250124", "name": "bash"}])
    for kind, configs in MEMBERS.items():
        more = (ask.held_n(tools=[{"type": kind}]) - one) / token
        # Two thousand tokens for each tool that is described by the provider, and the bytes of its name.
        assert round(more / 2_000) == len(get_type_hints(configs)) - 1, kind
