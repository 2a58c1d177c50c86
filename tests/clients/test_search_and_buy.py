"""What the tool `search` offers is bought as it is shown, with `prompt` and `call`; what it says cannot be bought is refused. For questions that people ask, through the official client."""

import pytest
from harness import ok, refused

pytestmark = pytest.mark.anyio

QUERIES = """
cheap vision model | embeddings | transcribe audio | claude | gemini flash | image generation | text to speech | rerank | fast model with tools | openai
llama on groq | ocr | gpt-4o-mini | anthropic | google | openrouter | reasoning | cheapest model | long context | deepseek
mistral | qwen coder | free model | moderation | video | realtime voice | azure | bedrock | elevenlabs | whisper
grok | kimi | json schema output | pdf | web search | an llm for a weather bot | text-embedding-3-small | o3 | gtp-4o | summarize
"""


# What a request is refused with that nobody here can answer.
WHY_NOT = ("provider_credentials_missing", "dialect_not_supported")


def queries():
    return [query.strip() for line in QUERIES.strip().splitlines() for query in line.split("|")]


async def buy(client, hit):
    """Sends a result back as it was shown; returns what went wrong, by tool."""
    wrong = []
    if "prompt" in hit.get("tools", []):
        answer = await client.call_tool("prompt", {"model": hit["id"], "input": "Hello", "max_tokens": 20})
        if answer.is_error:
            wrong.append(("prompt", hit["id"], answer.structured_content))
    if "call" in hit.get("tools", []):
        arguments = {"url": hit["url"], "method": hit["method"]}
        if hit.get("example_body") is not None:
            arguments["body"] = hit["example_body"]
        answer = await client.call_tool("call", arguments)
        if answer.is_error or answer.structured_content["status"] != 200:
            wrong.append(("call", hit["id"], answer.structured_content))
    return wrong


async def test_what_the_search_offers_is_bought_as_it_is_shown(machine):
    machine.env["LAVA_SESSION_LIMIT"] = "500.00/daily"
    offered, wrong = 0, []
    async with machine.client("--sandbox", timeout=120) as client:
        ok(await client.call_tool("login", {}))
        seen = set()
        for query in queries():
            page = ok(await client.call_tool("search", {"query": query, "limit": 8}))
            assert page["results"], query
            for hit in page["results"]:
                assert hit["available"] != bool(hit.get("unavailable_reason")), hit
                if hit["id"] in seen or not hit["available"]:
                    continue
                seen.add(hit["id"])
                assert hit["tools"], hit
                offered += 1
                wrong += await buy(client, hit)
    assert not wrong, wrong
    assert offered > 100


async def test_what_cannot_be_bought_says_why_and_is_refused(machine):
    """A machine with no key of any provider: each says which one is missing, or why it could not be asked anyway."""
    tried = 0
    async with machine.client() as client:
        ok(await client.call_tool("login", {}))
        for query in queries()[:12]:
            for hit in ok(await client.call_tool("search", {"query": query, "kind": "model", "limit": 3}))["results"]:
                assert hit["available"] is False and hit["unavailable_reason"], hit
                tried += 1
                refused(await client.call_tool("prompt", {"model": hit["id"], "input": "Hello", "max_tokens": 20}), *WHY_NOT)
                if hit.get("example_body") is not None:
                    arguments = {"url": hit["url"], "method": hit["method"], "body": hit["example_body"]}
                    refused(await client.call_tool("call", arguments), *WHY_NOT)
    assert tried > 30
