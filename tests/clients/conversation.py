"""Clients of the gateway in conversation: a model that follows a script, a gateway before it with prices of its own and one in the sandbox, and what came of each step.

A client is asked the same things in the same order, so that one table of expectations serves them all.
"""

import dataclasses
import json
import time

from gateway import Gateway
from harness import HERE, Machine, cost_n
from programs import node, run
from recorder import Exchange, Recorder
from scripted import INPUT_TOKENS, OUTPUT_TOKENS, Call, Say, Scripted

FRAMEWORKS = HERE / "frameworks"

PRICE = {"input": "0.15", "output": "0.60"}

# Nothing leaves this machine: what is not for it goes to a proxy that is not there.
NOWHERE = "http://127.0.0.1:9"
HERE_ONLY = "127.0.0.1,localhost"

# No program of the tests reports to its maker.
SILENT = {
    **{name: NOWHERE for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")},
    **{name: HERE_ONLY for name in ("NO_PROXY", "no_proxy")},
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "OTEL_SDK_DISABLED": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TESTING": "true",
    "ANONYMIZED_TELEMETRY": "false",
    "MCP_USE_ANONYMIZED_TELEMETRY": "false",
    "CONTINUE_TELEMETRY_ENABLED": "0",
    "CONTINUE_ALLOW_ANONYMOUS_TELEMETRY": "0",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
}

ANSWER = "It has 17 degrees."


def python_of(venv: str) -> str:
    path = FRAMEWORKS / venv / "bin/python"
    assert path.exists(), f"install tests/clients/frameworks/requirements-{venv.removeprefix('.venv-')}.txt first (scripts/test does)"
    return str(path)


def package(path: str) -> str:
    found = FRAMEWORKS / "node_modules" / path
    assert found.exists(), "run `npm ci --ignore-scripts` in tests/clients/frameworks first (scripts/test does)"
    return str(found)


@dataclasses.dataclass
class Step:
    """What a client is asked, where, and with which key."""

    step: str
    root: str
    key: str
    model: str


@dataclasses.dataclass
class Outcome:
    step: str
    key_id: str | None
    exchanges: list[Exchange]
    text: str | None = None
    pieces: int = 0
    error: str | None = None
    took_s: float = 0

    @property
    def posts(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.method == "POST"]


class Houses:
    """Two gateways: one before the script, with a provider for each dialect, and one in the sandbox. Use as a context manager."""

    DIALECTS = {"openai": "house", "anthropic": "study"}
    SANDBOX = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}

    def __init__(self, own: Machine, sandbox: Machine, upstream: Scripted):
        self.upstream = upstream
        for dialect, name in self.DIALECTS.items():
            own.provider(name, upstream.url, ["our-model"], dialect=dialect, price=f'{{ input = "{PRICE["input"]}", output = "{PRICE["output"]}" }}')
        self.own = Gateway(own, sandbox=False)
        self.sandbox = Gateway(sandbox)

    def __enter__(self):
        self.own.__enter__()
        self.sandbox.__enter__()
        return self

    def __exit__(self, *_):
        self.sandbox.__exit__()
        self.own.__exit__()

    def ask(self, steps: list[str], dialect: str, client) -> dict[str, Outcome]:
        """Has `client` take these steps: it is given them all at once and yields what came of each, in their order."""
        recorders, asked, outcomes = [], [], {}
        for name in steps:
            gateway = self.sandbox if name.startswith("sandbox") else self.own
            limit = "0.000001" if name == "used up" else "50"
            made = gateway.key_object(request_shape=dialect, spend_limit={"amount": limit, "cycle": "daily"})
            recorder = Recorder(gateway.root).__enter__()
            recorders.append(recorder)
            model = self.SANDBOX[dialect] if gateway is self.sandbox else f"{self.DIALECTS[dialect]}/our-model"
            asked.append(Step(name, recorder.root, "lava_sk_" + "x" * 40 if name == "wrong" else made["key"], model))
            outcomes[name] = Outcome(name, made["spend_key_id"], recorder.exchanges)
        try:
            for name, found in client(asked):
                for field, value in found.items():
                    setattr(outcomes[name], field, value)
        finally:
            for recorder in recorders:
                recorder.__exit__()
        return outcomes


def library(command: list[str], name: str, machine: Machine):
    """A client in a process of its own, which takes all the steps by itself."""

    def take(steps: list[Step]):
        began = time.monotonic()
        sent = json.dumps([{**dataclasses.asdict(step), "step": step.step.removeprefix("sandbox ")} for step in steps])
        done = run([*command, name, sent], env={**machine.env, **SILENT}, cwd=machine.home, timeout=55)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
        assert len(lines) == len(steps), done.stdout[-2000:] + done.stderr[-2000:]
        took = (time.monotonic() - began) / len(steps)
        for step, line in zip(steps, lines, strict=True):
            yield step.step, {**line, "step": step.step, "took_s": took}

    return take


def program(name: str, command, machine: Machine):
    """A program of the command line, started once for each step. `command` gives its arguments and its variables."""

    def take(steps: list[Step]):
        for step in steps:
            began = time.monotonic()
            home = machine.home / step.step.replace(" ", "-")
            home.mkdir()
            arguments, variables = command(name, step, home)
            env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), **SILENT, **variables}
            done = run(arguments, env=env, cwd=home, timeout=55)
            said = done.stdout + done.stderr
            found = {"text": done.stdout, "pieces": 1} if done.returncode == 0 else {"error": said}
            yield step.step, {**found, "took_s": time.monotonic() - began}

    return take


def booked(machine: Machine, key_id: str, count: int, within: float = 10) -> list[dict]:
    """Waits until none of a key's holds is open, then checks that it paid for so many calls; gives what was booked."""
    deadline = time.monotonic() + within
    while True:
        ledger = machine.ledger
        open_holds = ledger.query(f"SELECT * FROM hold WHERE key_id = '{key_id}'")
        entries = ledger.query(f"SELECT * FROM entry WHERE key_id = '{key_id}' AND kind <> 'correction' ORDER BY seq")
        if (not open_holds and len(entries) >= count) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not open_holds and len(entries) == count, f"{len(open_holds)} open holds, {len(entries)} of {count} entries: {entries}"
    (budget,) = ledger.query(f"SELECT * FROM budget WHERE key_id = '{key_id}'")
    assert budget["held_n"] == 0 and budget["total_spent_n"] == sum(entry["amount_n"] for entry in entries), (budget, entries)
    return entries


def paid_as_listed(machine: Machine, key_id: str, calls: int) -> None:
    """Every call of a conversation with the script costs the same to the last digit."""
    each = cost_n(PRICE["input"], PRICE["output"], INPUT_TOKENS, OUTPUT_TOKENS)
    for entry in booked(machine, key_id, calls):
        assert (entry["kind"], entry["basis"], entry["amount_n"]) == ("charge", "measured", each), entry


def script() -> Scripted:
    """The script of all these conversations. Frameworks that want to be answered by a tool are."""
    instead = (Call("final_answer", {"answer": ANSWER}), Call("(?:Partial)?Answer", {"degrees": 17}))
    return Scripted(Call("weather", {"city": "Graz"}), Say(ANSWER), instead=instead)
