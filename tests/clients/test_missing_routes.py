"""Programs whose own model speaks what the gateway does not offer: they are told so in a sentence that names the setting that helps, and give up soon."""

import json

import pytest
from agent_programs import codex, gemini
from conversation import SILENT, Step, library
from harness import HERE
from programs import node, run
from recorder import Recorder


class At:
    """The gateway in the place of a script, as the commands of the agents take it."""

    def __init__(self, root: str):
        self.root, self.url = root, f"{root}/v1"


@pytest.mark.parametrize("agent", ["codex", "gemini"])
def test_an_agent_says_what_helps(machine, gateway, agent):
    home = machine.home / agent
    home.mkdir()
    nobody = {"command": "/bin/false", "args": [], "env": {}}
    with Recorder(gateway.root) as wire:
        command, variables = {"codex": codex, "gemini": gemini}[agent](home, nobody, At(wire.root))
        key = gateway.spend_key()
        variables = {name: key if value == "none" else value for name, value in variables.items()}
        done = run(command, env={"HOME": str(home), **SILENT, **variables}, cwd=home, timeout=55)
    said = " ".join((done.stdout + done.stderr).split())
    asked = [exchange for exchange in wire.exchanges if exchange.method == "POST"]
    assert asked and {exchange.status for exchange in asked} == {404} and len(asked) <= 10, [(one.path, one.status) for one in wire.exchanges]
    path = asked[0].path.partition("?")[0]
    assert path.rpartition("/")[2] in said or path.partition(":")[0] in said or "404" in said, said[-2000:]
    message = json.loads(asked[0].body)["error"]["message"]
    assert "responses" in message.lower() or "generateContent" in message or "v1beta" in message, message


def test_a_library_that_prefers_responses_is_told(machine, gateway):
    """The sentence of the gateway is what the caller of the library reads."""
    with Recorder(gateway.root) as wire:
        step = Step("plain", wire.root, gateway.spend_key(), "gpt-4o-mini")
        command = [node(), str(HERE / "frameworks/js_clients.mjs")]
        ((_, found),) = library(command, "ai-openai-responses", machine)([step])
    assert "responses" in found["error"] and [exchange.status for exchange in wire.exchanges] == [404], (found, wire.exchanges)
