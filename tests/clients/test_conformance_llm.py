"""llm-comply against the sandbox: what it answers is what the providers' own descriptions of their APIs demand, in both dialects, plain and streamed."""

import json
import pathlib
import urllib.request

import llm_comply
import pytest
from harness import ROOT
from llm_comply.config import ComplianceConfig
from llm_comply.result import TestStatus
from llm_comply.runner import TestRunner
from llm_comply.schema import SpecLoader
from llm_comply.tests import get_tests

SPECS = pathlib.Path(llm_comply.__file__).parent / "specs"
# Models for which no check is left out.
DIALECTS = {
    "openai-chat": ("openai", "gpt-5-mini", SpecLoader(str(SPECS / "openai_chat.json"))),
    "anthropic": ("anthropic", "claude-haiku-4-5", SpecLoader(str(SPECS / "anthropic.json"))),
}
CHECKS = [(dialect, check) for dialect in DIALECTS for check in get_tests(dialect)]


def exceptions() -> dict[str, str]:
    lines = (ROOT / "tests/conformance/llm-comply.txt").read_text().splitlines()
    entries = [line.partition(":") for line in lines if line and not line.startswith("#")]
    return {check: reason.strip() for check, _, reason in entries}


def test_the_suite_is_as_large_as_it_was_and_every_exception_has_a_reason():
    assert [sum(dialect == other for other, _ in CHECKS) for dialect in DIALECTS] == [9, 9]
    ids = {check.id for _, check in CHECKS}
    for check, reason in exceptions().items():
        assert check in ids and len(reason.split()) >= 3, f"{check}: {reason}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("dialect", "check"), CHECKS, ids=[check.id for _, check in CHECKS])
def test_the_sandbox_passes(gateway, dialect, check):
    shape, model, spec = DIALECTS[dialect]
    headers = {} if shape == "openai" else {"auth_header": "x-api-key", "use_bearer_prefix": False, "extra_headers": {"anthropic-version": "2023-06-01"}}
    config = ComplianceConfig(base_url=gateway.url, api_key=gateway.spend_key(request_shape=shape), model=model, **headers)
    result = TestRunner(config, [check], spec).run_one(check)
    passed = result.status == TestStatus.PASSED and not result.warnings
    assert passed != (check.id in exceptions()), f"{result.status}: {result.errors} {result.warnings}"


def events(gateway, path: str, key: str, body: dict) -> list[dict]:
    data = json.dumps({**body, "stream": True}).encode()
    request = urllib.request.Request(f"{gateway.url}/{path}", data, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"n": 2, "logprobs": True, "top_logprobs": 3},
        {"reasoning_effort": "low"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": TOOL}}], "tool_choice": "required"},
        {"stop": ["sandbox"]},
        {"max_tokens": 3},
    ],
    ids=lambda more: "-".join(more) or "plain",
)
def test_every_chunk_has_all_members_and_one_id(gateway, more):
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}], "stream_options": {"include_usage": True}, **more}
    chunks = events(gateway, "chat/completions", gateway.spend_key(), body)
    spec = DIALECTS["openai-chat"][2]
    for chunk in chunks:
        # The reference says that both are null before the end; the description forgets the one, and the null in the enum of the other.
        known = {name: value for name, value in chunk.items() if name != "usage" or value is not None}
        wrong = [error for error in spec.validate(known, "CreateChatCompletionStreamResponse") if "finish_reason: None is not one of" not in error]
        assert wrong == [], chunk
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]) for chunk in chunks}) == 1
    assert all(chunk["usage"] is None for chunk in chunks[:-1]) and chunks[-1]["usage"]["total_tokens"] > 0 and chunks[-1]["choices"] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000},
        {"tools": [{"name": "f", "input_schema": TOOL}], "tool_choice": {"type": "any"}},
        {"stop_sequences": ["sandbox"]},
        {"max_tokens": 3},
    ],
    ids=lambda more: "-".join(more) or "plain",
)
def test_every_event_has_all_members(gateway, more):
    body = {"model": "claude-haiku-4-5", "max_tokens": 300, "messages": [{"role": "user", "content": "Hello"}], **more}
    seen = events(gateway, "messages", gateway.spend_key(request_shape="anthropic"), body)
    spec = DIALECTS["anthropic"][2]
    schemas = {
        "message_start": "MessageStartEvent",
        "content_block_start": "ContentBlockStartEvent",
        "content_block_delta": "ContentBlockDeltaEvent",
        "content_block_stop": "ContentBlockStopEvent",
        "message_delta": "MessageDeltaEvent",
        "message_stop": "MessageStopEvent",
    }
    for event in seen:
        if event["type"] != "ping":
            assert spec.validate(event, schemas[event["type"]]) == [], event
    assert (seen[0]["type"], seen[-1]["type"]) == ("message_start", "message_stop")
