"""Libraries that people build on talk to the gateway as they come: plain, streamed, with a tool, in the sandbox, with a wrong key and with one that is used up."""

import pytest
from conversation import ANSWER, FRAMEWORKS, booked, library, paid_as_listed, python_of
from harness import Machine
from programs import node

# Who speaks which dialect, and where it is installed: in the environment of an MCP SDK of the first or the second generation, or in node_modules.
CLIENTS = {
    "langchain-openai": ("openai", ".venv-mcp2"),
    "langchain-anthropic": ("anthropic", ".venv-mcp2"),
    "pydantic-ai-openai": ("openai", ".venv-mcp2"),
    "pydantic-ai-anthropic": ("anthropic", ".venv-mcp2"),
    "litellm-openai": ("openai", ".venv-mcp2"),
    "litellm-anthropic": ("anthropic", ".venv-mcp2"),
    "smolagents-openai": ("openai", ".venv-mcp1"),
    "instructor": ("openai", ".venv-mcp1"),
    "crewai-openai": ("openai", ".venv-mcp1"),
    "crewai-anthropic": ("anthropic", ".venv-mcp1"),
    "llama-index": ("openai", ".venv-mcp1"),
    "ai-openai-chat": ("openai", "js"),
    "ai-compatible": ("openai", "js"),
    "ai-anthropic": ("anthropic", "js"),
    "langchain-openai-js": ("openai", "js"),
    "langchain-anthropic-js": ("anthropic", "js"),
    "openai-agents-js": ("openai", "js"),
}

STEPS = ["plain", "stream", "tool", "sandbox plain", "sandbox stream", "sandbox form", "wrong", "used up"]

# These have no way of their own to ask for an answer in a form.
WITHOUT_FORM = {"smolagents-openai", "crewai-openai", "crewai-anthropic", "llama-index"}

# instructor always wants a form filled, crewai's own streaming ends in one text.
FORM = {"instructor"}
ONE_PIECE = {"crewai-openai", "crewai-anthropic"}


def command(where: str) -> list[str]:
    return [node(), str(FRAMEWORKS / "js_clients.mjs")] if where == "js" else [python_of(where), str(FRAMEWORKS / "python_clients.py")]


@pytest.fixture(scope="module")
def outcomes(houses, tmp_path_factory):
    """What came of a client's steps. Its process starts once: most of its time is spent on importing itself."""
    known = {}

    def outcomes(client: str):
        if client not in known:
            dialect, where = CLIENTS[client]
            machine = Machine(tmp_path_factory.mktemp(client))
            known[client] = houses.ask(STEPS, dialect, library(command(where), client, machine))
        return known[client]

    return outcomes


@pytest.mark.parametrize("client", CLIENTS)
def test_it_holds_a_conversation(houses, outcomes, client):
    expected = "17" if client in FORM else ANSWER
    for step in ("plain", "stream", "tool"):
        outcome = outcomes(client)[step]
        assert outcome.text == expected, outcome
        assert [exchange.status for exchange in outcome.posts] == [200] * (2 if step == "tool" and client not in FORM else 1), outcome
        if step == "stream" and client not in ONE_PIECE | FORM:
            assert outcome.pieces > 1, outcome
        assert (b"data: " in outcome.posts[0].body) or step != "stream", outcome.posts[0].body
        paid_as_listed(houses.own.machine, outcome.key_id, len(outcome.posts))


@pytest.mark.parametrize("client", CLIENTS)
def test_the_sandbox_answers_it(houses, outcomes, client):
    for step in ("sandbox plain", "sandbox stream"):
        outcome = outcomes(client)[step]
        assert outcome.text and (client in FORM or "sandbox" in outcome.text), outcome
        for entry in booked(houses.sandbox.machine, outcome.key_id, len(outcome.posts)):
            assert entry["kind"] == "charge" and entry["amount_n"] > 0, entry


@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in WITHOUT_FORM])
def test_the_sandbox_fills_its_form(houses, outcomes, client):
    """By the schema that the client sends; how it is sent is the client's own affair."""
    outcome = outcomes(client)["sandbox form"]
    assert outcome.text and outcome.text.lstrip("-").isdigit(), outcome
    booked(houses.sandbox.machine, outcome.key_id, len(outcome.posts))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_key_is_told_at_once(outcomes, client):
    outcome = outcomes(client)["wrong"]
    assert outcome.error and "This API key is not known here" in outcome.error, outcome
    assert [exchange.status for exchange in outcome.posts] == [401], outcome


@pytest.mark.parametrize("client", CLIENTS)
def test_a_used_up_key_is_told_at_once(houses, outcomes, client):
    outcome = outcomes(client)["used up"]
    assert outcome.error and "Service key spend limit exceeded" in outcome.error and "It resets at" in outcome.error, outcome
    assert [exchange.status for exchange in outcome.posts] == [402], outcome
    booked(houses.own.machine, outcome.key_id, 0)


@pytest.mark.parametrize("client", ["ai-anthropic", "ai-openai-chat"])
def test_the_ai_sdk_sends_a_pdf(houses, machine, client):
    """To Anthropic it names the beta of PDFs with each."""
    dialect, where = CLIENTS[client]
    outcome = houses.ask(["sandbox pdf"], dialect, library(command(where), client, machine))["sandbox pdf"]
    assert outcome.text and "sandbox" in outcome.text, outcome
    (post,) = outcome.posts
    assert ("pdfs-2024-09-25" in post.request_headers.get("anthropic-beta", "")) == (dialect == "anthropic"), post.request_headers
    (entry,) = booked(houses.sandbox.machine, outcome.key_id, 1)
    assert entry["kind"] == "charge" and entry["amount_n"] > 0, entry
