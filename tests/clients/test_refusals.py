"""What the four official SDKs do with a refusal, left as they come: a final one costs one HTTP request, a temporary one a bounded wait.

Every request is counted at the wire, and every refusal is read as the SDK's caller reads it.
"""

import dataclasses
import datetime
import re
import time

import pytest
from gateway import Gateway
from recorder import Recorder
from sdks import SDKS, ask, family

# The longest that an SDK may be kept waiting, and the times it tries in all.
WAIT_MAX_S = 60
ATTEMPTS_MAX = 3


@dataclasses.dataclass
class Case:
    status: int
    code: str
    type: str


CASES = {
    "unknown": Case(401, "invalid_api_key", "authentication_error"),
    "revoked": Case(401, "invalid_api_key", "authentication_error"),
    "rotated": Case(401, "invalid_api_key", "authentication_error"),
    "expired": Case(401, "invalid_api_key", "authentication_error"),
    "paused": Case(403, "key_paused", "permission_error"),
    "model": Case(403, "model_not_allowed", "permission_error"),
    "provider": Case(403, "provider_not_allowed", "permission_error"),
    "shape": Case(403, "request_shape_not_allowed", "permission_error"),
    "too dear": Case(402, "insufficient_budget", "billing_error"),
    "quota": Case(402, "request_quota_exceeded", "billing_error"),
}


def key_for(case: str, sdk: str, gateway: Gateway) -> str:
    """A key that is refused in the way of this case."""
    shape = {"request_shape": family(sdk)}
    settings = {
        "paused": {"status": "paused"},
        "model": {"allowed_models": ["gpt-4o"]},
        "provider": {"allowed_providers": ["groq"]},
        "shape": {"request_shape": "anthropic" if family(sdk) == "openai" else "openai"},
        "too dear": {"spend_limit": {"amount": "0.000001", "cycle": "daily"}},
        "quota": {"request_limit": {"count": 1, "cycle": "daily"}},
    }
    if case == "unknown":
        return "lava_sk_" + "x" * 40
    if case == "expired":
        expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
        key = gateway.spend_key(**shape, expires_at=expiry.isoformat())
        time.sleep(1.1)
        return key
    created = gateway.key_object(**{**shape, **settings.get(case, {})})
    if case == "revoked":
        gateway.manage("DELETE", f"spend_keys/{created['spend_key_id']}")
    if case == "rotated":
        gateway.manage("POST", f"spend_keys/{created['spend_key_id']}/rotate")
    if case == "quota":
        assert ask(sdk, gateway.root, created["key"]).text
    return created["key"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sdk", SDKS)
def test_a_final_refusal_is_tried_once(sdk, case, gateway, wire):
    expect_one_attempt(sdk, case, gateway, wire, stream=False)


# What is refused before, in, and after the body is looked at.
@pytest.mark.parametrize("case", ["unknown", "model", "too dear"])
@pytest.mark.parametrize("sdk", SDKS)
def test_a_stream_is_refused_like_a_plain_answer(sdk, case, gateway, wire):
    expect_one_attempt(sdk, case, gateway, wire, stream=True)


def expect_one_attempt(sdk: str, case: str, gateway: Gateway, wire: Recorder, stream: bool) -> None:
    key = key_for(case, sdk, gateway)
    outcome = ask(sdk, wire.root, key, stream=stream)
    expected = CASES[case]
    assert (outcome.status, outcome.code) == (expected.status, expected.code), outcome
    assert len(wire.exchanges) == 1, "the SDK tries again by itself unless it is told that this is final"
    refusal = wire.last
    assert "retry-after" not in refusal.headers and "retry-after-ms" not in refusal.headers
    if expected.status == 401:
        assert refusal.headers["www-authenticate"].startswith("Bearer")
    assert refusal.headers["x-should-retry"] == "false"
    # The gateway's own sentence reaches whoever called the SDK.
    assert refusal.json["error"]["message"] in outcome.message, outcome
    if family(sdk) == "anthropic":
        assert outcome.type == expected.type, outcome
        assert (refusal.json["type"], refusal.json["request_id"]) == ("error", refusal.headers["x-lava-request-id"])


@pytest.mark.parametrize("sdk", SDKS)
def test_a_refusal_over_the_limit_says_what_would_fit(sdk, gateway, wire):
    amount = {"openai": "0.001", "anthropic": "0.02"}[family(sdk)]
    key = gateway.spend_key(request_shape=family(sdk), spend_limit={"amount": amount, "cycle": "daily"})
    outcome = ask(sdk, wire.root, key, max_tokens=4000)
    assert (outcome.status, outcome.code, len(wire.exchanges)) == (402, "insufficient_budget", 1), outcome
    error = wire.last.json["error"]
    fits = error["max_affordable_tokens"]
    for words in ("Service key spend limit exceeded.", amount, f"max_tokens of at most {fits}", error["resets_at"]):
        assert words in outcome.message, outcome
    answer = ask(sdk, wire.root, key, max_tokens=fits)
    assert answer.text and len(wire.exchanges) == 2, answer


@pytest.mark.parametrize("sdk", SDKS)
def test_a_rate_limit_delays_and_does_not_fail(sdk, gateway, wire):
    """One request every three seconds: the second question is answered after a wait that the gateway told."""
    key = gateway.spend_key(request_shape=family(sdk), rate_limit={"rpm": 20, "burst": 1})
    first = ask(f"{family(sdk)}-py", gateway.root, key)
    assert first.text, first
    outcome = ask(sdk, wire.root, key)
    assert outcome.text, outcome
    statuses = [exchange.status for exchange in wire.exchanges]
    assert 2 <= len(statuses) <= ATTEMPTS_MAX and statuses[-1] == 200 and set(statuses[:-1]) == {429}, statuses
    assert outcome.took_s < 15, outcome
    for refusal, again in zip(wire.exchanges, wire.exchanges[1:], strict=False):
        told_s = int(refusal.headers["retry-after-ms"]) / 1000
        assert 0 < told_s <= 3 and again.began - refusal.began >= told_s * 0.99, "the wait that was told is kept"


@pytest.mark.parametrize("sdk", SDKS)
def test_no_wait_is_longer_than_a_minute(sdk, gateway, wire):
    """An SDK waits as long as it is told, some for weeks: so it is never told more, however slow the limit."""
    key = gateway.spend_key(request_shape=family(sdk), rate_limit={"rpm": 1, "burst": 1})
    first = ask(f"{family(sdk)}-py", gateway.root, key)
    assert first.text, first
    outcome = ask(sdk, wire.root, key, max_retries=0)
    assert (outcome.status, outcome.code, len(wire.exchanges)) == (429, "rate_limit_exceeded", 1), outcome
    headers = wire.last.headers
    assert 1 <= int(headers["retry-after"]) <= WAIT_MAX_S and 0 < int(headers["retry-after-ms"]) <= WAIT_MAX_S * 1000
    assert headers.get("x-should-retry") != "false", "waiting helps here"
    if family(sdk) == "anthropic":
        assert outcome.type == "rate_limit_error", outcome


# How long until the limit is whole again, as OpenAI writes it: 1s, 6m0s, 20ms.
OPENAI_RESET = re.compile(r"(?=.)(\d+h)?(\d+m)?(\d+(\.\d+)?s)?|\d+ms")


def rate_headers(sdk: str, headers: dict[str, str]) -> tuple[str, str, str] | None:
    """Limit, remaining and reset, where the key has a rate limit."""
    if family(sdk) == "openai":
        names = [f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset")]
    else:
        names = [f"anthropic-ratelimit-requests-{name}" for name in ("limit", "remaining", "reset")]
    present = [name in headers for name in names]
    assert len(set(present)) == 1, f"some of {names} are missing: {headers}"
    return tuple(headers[name] for name in names) if all(present) else None


@pytest.mark.parametrize("sdk", ["openai-py", "anthropic-py"])
def test_the_headers_tell_what_is_left_of_the_rate_limit(sdk, gateway, wire):
    key = gateway.spend_key(request_shape=family(sdk), rate_limit={"rpm": 2})
    told = []
    for _ in range(3):
        ask(sdk, wire.root, key, max_retries=0)
        limit, remaining, reset = rate_headers(sdk, wire.last.headers)
        told.append((wire.last.status, limit, remaining))
        if family(sdk) == "openai":
            assert OPENAI_RESET.fullmatch(reset), reset
        else:
            ahead = datetime.datetime.fromisoformat(reset) - datetime.datetime.now(datetime.UTC)
            assert -2 < ahead.total_seconds() <= WAIT_MAX_S, reset
    assert told == [(200, "2", "1"), (200, "2", "0"), (429, "2", "0")]
    ask(sdk, wire.root, gateway.spend_key(request_shape=family(sdk)))
    assert (wire.last.status, rate_headers(sdk, wire.last.headers)) == (200, None), "no limit, no headers about one"
