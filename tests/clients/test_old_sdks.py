"""The official SDKs of a year ago, which many programs still have in them: a whole conversation, without one line of complaint on either side."""

import json
import os
import shutil
import subprocess

import pytest
from harness import HERE, TOOLS, binary
from programs import serve

OLD = HERE / "old_sdks"
PYTHON = OLD / ".venv/bin/python"

SDKS = {
    "typescript-1.12": ["node", OLD / "conversation.mjs", "sdk-1-12"],
    "typescript-1.20": ["node", OLD / "conversation.mjs", "sdk-1-20"],
    "python-1.9": [PYTHON, OLD / "conversation.py"],
    "python-1.16": [PYTHON, OLD / "conversation.py"],
}


def converse(sdk: str, machine, transport: str, target) -> dict:
    assert PYTHON.exists() and (OLD / "node_modules").exists(), "tests/clients/old_sdks is not installed (scripts/test does it)"
    env = {**machine.env, "PYTHONDONTWRITEBYTECODE": "1"}
    if sdk == "python-1.9":
        env["PYTHONPATH"] = str(OLD / ".venv/mcp-1.9")
    program, *rest = SDKS[sdk]
    command = [shutil.which(program, path=os.environ["PATH"]), *rest, transport, target]
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, timeout=60)
    # On stdio this is also what the server has logged.
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    return json.loads(done.stdout)


def check(told: dict) -> None:
    assert told["errors"] == []
    assert told["tools"] == TOOLS and told["hit"] == "openai/gpt-4o-mini"
    for answer in ("plain", "streamed"):
        assert "sandbox" in told[answer] and "USD left" in told[answer], told
    assert told["notes"] > 0 and "2 requests" in told["usage"], told
    assert all(count > 0 for count in told["lists"]), told
    assert told["refused"] in (-32602, True), told


@pytest.mark.parametrize("sdk", SDKS)
def test_over_stdio(sdk, machine):
    check(converse(sdk, machine, "stdio", binary()))


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize("sdk", SDKS)
def test_over_http(sdk, transport, machine):
    with serve(machine) as server:
        check(converse(sdk, machine, transport, server.root))
    # A line for each request is what a server logs; a warning is more.
    assert [line for line in server.log if not line.startswith("and for older clients at ") and " INFO " not in line] == []
