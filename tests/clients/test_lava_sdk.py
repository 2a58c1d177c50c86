"""Lava's own SDK against the gateway: every snippet of its page on spend keys runs as it stands there, with another base URL."""

import base64
import json
import re

import pytest
from recorder import Recorder
from sdks import found, node


@pytest.fixture(scope="module")
def page(gateway):
    """What the snippets of the page printed, and the objects they got; they run once."""
    done = node("manage_spend.mjs", root=gateway.root, LAVA_SECRET_KEY=gateway.secret)
    return done.stdout, found(done)


def test_the_page_creates_a_key(page):
    printed, seen = page
    key = seen["spendKey"]
    assert f"Spend key: {key['key']}\nKey ID: {key['spend_key_id']}\n" in printed
    assert key["key"].startswith("lava_sk_") and key["key_preview"] == key["key"][:16] + "****"
    assert (key["name"], key["status"], key["request_shape"]) == ("Agent - Production", "active", "openai")
    assert (key["allowed_providers"], key["allowed_models"]) == (["openai", "anthropic"], ["gpt-4o-mini", "claude-sonnet-4-20250514"])
    assert (key["spend_limit"], key["rate_limit"]["rpm"]) == ({"amount": "50.00", "cycle": "monthly"}, 60)
    assert (key["current_requests"], float(key["current_spend"]), key["last_used_at"]) == (0, 0, None)


def test_the_page_uses_it_with_the_openai_sdk(page):
    completion = page[1]["completion"]
    assert completion["object"] == "chat.completion" and "Hello!" in completion["choices"][0]["message"]["content"]


def test_the_page_uses_another_with_the_anthropic_sdk(page):
    seen = page[1]
    key, message = seen["anthropicKey"], seen.get("message")
    assert (key["request_shape"], key["allowed_providers"], key["spend_limit"]["amount"]) == ("anthropic", ["anthropic"], "100.00")
    assert message, seen.get("anthropicError")
    assert (message["type"], message["role"]) == ("message", "assistant") and "Hello!" in message["content"][0]["text"]


def test_the_page_updates_the_key(page):
    seen = page[1]
    key, updated = seen["spendKey"], seen["updated"]
    assert (updated["allowed_models"], updated["spend_limit"]) == (["gpt-4o-mini"], {"amount": "100.00", "cycle": "monthly"})
    assert all(updated[name] == key[name] for name in ("spend_key_id", "name", "key_preview", "allowed_providers", "rate_limit"))
    assert updated["current_requests"] == 1 and "key" not in updated
    restricted = seen["restricted"]
    assert (restricted["status"], restricted["code"]) == (403, "model_not_allowed") and "gpt-4o-mini" in restricted["message"]


def test_the_page_rotates_the_key(page):
    printed, seen = page
    rotated = seen["rotated"]
    assert f"New key: {rotated['key']}\n" in printed and rotated["key"] != seen["spendKey"]["key"]
    assert (rotated["spend_key_id"], rotated["spend_limit"]["amount"]) == (seen["spendKey"]["spend_key_id"], "100.00")
    assert (seen["oldKey"]["status"], seen["oldKey"]["code"]) == (401, "invalid_api_key")
    assert seen["withNewKey"]["choices"][0]["message"]["content"]


def test_the_page_monitors_the_spend(page):
    printed, seen = page
    keys = {key["name"]: key for key in seen["keys"]["data"]}
    assert set(keys) == {"Agent - Production", "Agent - Anthropic"} and not any("key" in key for key in keys.values())
    assert re.search(r"^Agent - Production: \$0\.\d*[1-9]\d* spent \(limit: \$100\.00\)\n  2 requests, last used: 20\d\d-\S+Z$", printed, re.MULTILINE), printed
    assert seen["retrieved"]["current_requests"] == 2 and "undefined" not in printed


def test_the_page_revokes_the_key(page):
    seen = page[1]
    assert seen["revoked"] == {"success": True}
    assert (seen["revokedKey"]["status"], seen["revokedKey"]["code"]) == (401, "invalid_api_key")
    assert [key["name"] for key in seen["afterRevoking"]["data"]] == ["Agent - Anthropic"]


@pytest.fixture(scope="module")
def options(gateway):
    return found(node("spend_keys.mjs", root=gateway.root, LAVA_SECRET_KEY=gateway.secret))


def test_every_option_of_the_page_is_kept_and_can_be_lifted(options):
    assert {name: options["created"][name] for name in options["options"]} == options["options"]
    lifted = options["lifted"]
    restrictions = ("allowed_models", "allowed_providers", "spend_limit", "request_limit", "rate_limit", "expires_at")
    assert [lifted[name] for name in restrictions] == [None] * len(restrictions)
    assert (lifted["status"], lifted["request_shape"]) == ("active", "openai")
    assert options["totals"] == [{"amount": "1.00", "cycle": cycle} for cycle in ("weekly", "monthly", "total")]


def test_keys_are_listed_in_pages(options):
    first, second = options["first"], options["second"]
    assert (len(first["data"]), first["has_more"], bool(first["next_cursor"])) == (10, True, True)
    assert (second["has_more"], second["next_cursor"]) == (False, None)
    names = [key["name"] for key in first["data"] + second["data"]]
    assert len(names) == len(set(names)) and {f"key {number}" for number in range(11)} < set(names)


@pytest.mark.parametrize(
    ("case", "status", "says"),
    [
        ("field", 400, ["spend_limit", "daily, weekly, monthly, total"]),
        ("name", 400, ["name", "255"]),
        ("unknown", 404, ["spk_unknown"]),
        ("key", 401, ["invalid_api_key"]),
        ("spendKey", 403, ["spend key", "secret key"]),
    ],
)
def test_what_went_wrong_reaches_the_caller(options, case, status, says):
    message = options["errors"][case]
    assert message.startswith(f"Lava API Error: {status} ") and all(words in message for words in says), message


@pytest.fixture(scope="module")
def calls(gateway):
    with Recorder(gateway.root) as wire:
        yield found(node("gateway.mjs", root=wire.root, LAVA_SECRET_KEY=gateway.secret)), wire.exchanges


def test_the_sdk_lists_models(calls):
    models = calls[0]["models"]
    assert models["object"] == "list"
    listed = {model["id"]: model for model in models["data"]}
    assert {"gpt-4o-mini", "claude-haiku-4-5"} <= set(listed)
    assert all(model["object"] == "model" and isinstance(model["created"], int) and model["owned_by"] for model in listed.values())


def test_a_call_through_the_gateway_is_paid_by_the_secret_key(calls, gateway):
    seen, exchanges = calls
    forwarded = [exchange for exchange in exchanges if exchange.path.startswith("/v1/forward")]
    token = json.loads(base64.b64decode(forwarded[0].request_headers["authorization"].removeprefix("Bearer ")))
    assert token == {"secret_key": gateway.secret}, "what the SDK presents"
    assert seen["openai"].get("object") == "chat.completion", seen["openai"]
    assert seen["anthropic"].get("type") == "message", seen["anthropic"]
    usage = seen["openai"]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert 0 < seen["anthropic"]["usage"]["output_tokens"] <= 50


def test_the_providers_of_the_sdk_are_addresses_that_work(calls):
    assert calls[0]["providers"].get("object") == "chat.completion", calls[0]["providers"]


def test_calls_through_the_gateway_are_on_record(calls):
    seen, exchanges = calls
    paid = [exchange.headers["x-lava-request-id"] for exchange in exchanges if exchange.path.startswith("/v1/forward") and exchange.status == 200]
    recorded = {request["request_id"]: request["provider"] for request in seen["requests"]["data"]}
    assert [recorded.get(request) for request in paid] == ["openai", "anthropic", "openai"], recorded


def test_a_call_that_cannot_be_made_says_why(calls):
    seen = calls[0]
    assert seen["unsupported"]["message"].startswith("Lava API Error: 400 ") and "forward_endpoint_not_supported" in seen["unsupported"]["message"]
    assert seen["stranger"]["message"].startswith("Lava API Error: 401 ") and "invalid_api_key" in seen["stranger"]["message"]
