"""Agents of the command line use the MCP server by themselves: their model, which is a script, calls login, search, prompt and usage, and nobody sits before them."""

import agent_programs as agents
import pytest
from conversation import SILENT
from harness import WHOLE_KEY, binary
from programs import run, serve
from scripted import Call, Scripted
from test_mcp_frameworks import STEPS

# Whether an agent answers a server's question by itself, since nobody is there whom it could ask.
ANSWERS_ITSELF = {"claude", "codex"}

FIRST = {
    # It hides the tools of servers until they are looked for.
    "claude": [Call("ToolSearch", {"query": "select:" + ",".join(f"mcp__lava__{step.tool}" for step in STEPS[:4]), "max_results": 6})],
}

LIMIT = "0.50/weekly"

by_stdio_and_http = pytest.mark.parametrize("transport", ["stdio", "http"])


def work(agent: str, machine, transport: str) -> list[str]:
    """What the tools answered."""
    home = machine.home / agent
    home.mkdir()
    first = FIRST.get(agent, [])

    def go(server: dict):
        with Scripted(*first, *STEPS) as script:
            command, variables = getattr(agents, agent)(home, server, script)
            env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), **SILENT, **variables}
            done = run(command, env=env, cwd=home, timeout=55)
            said = done.stdout + done.stderr
            assert done.returncode == 0 and "It is bought." in done.stdout, said[-3000:]
            everything = said + str([asked.json for asked in script.asked])
            assert not WHOLE_KEY.search(everything), "a key reached the model or the screen"
            assert len(script.results) == len(first) + 4, f"{script.results}\n{said[-2000:]}"
            return script.results[len(first) :]

    if transport == "stdio":
        return go({"command": str(binary()), "args": ["--sandbox"], "env": machine.env})
    with serve(machine) as server:
        return go({"url": server.url})


def bought(machine, answers: list[str]) -> None:
    login, search, prompt, usage = answers
    assert "sandbox" in login and "gpt-4o-mini" in search and "sandbox" in prompt and "limit" in usage, answers
    (entry,) = machine.ledger.ended(1)
    assert entry.kind == "charge" and entry.amount_n > 0
    assert machine.ledger.spend_keys() == 1


@by_stdio_and_http
@pytest.mark.parametrize("agent", ["gemini", "opencode", "cn"])
def test_it_buys_an_answer(machine, agent, transport):
    bought(machine, work(agent, machine, transport))


@by_stdio_and_http
@pytest.mark.parametrize("agent", sorted(ANSWERS_ITSELF))
def test_it_buys_an_answer_within_the_limit_that_was_set(machine, agent, transport):
    """These answer every question by themselves with a cancel or a decline; a limit that a person set beforehand needs no question."""
    machine.env["LAVA_SESSION_LIMIT"] = LIMIT
    answers = work(agent, machine, transport)
    bought(machine, answers)
    (budget,) = machine.ledger.query("SELECT limit_n FROM budget WHERE limit_n IS NOT NULL")
    assert budget["limit_n"] == 500_000_000, budget


@by_stdio_and_http
@pytest.mark.parametrize("agent", sorted(ANSWERS_ITSELF))
def test_without_a_limit_it_learns_at_once_which_setting_allows_it(machine, agent, transport):
    login, search, prompt, usage = work(agent, machine, transport)
    # Nobody said yes, so nothing was made.
    assert machine.ledger.spend_keys() == 0 and machine.ledger.entries() == []
    assert "gpt-4o-mini" in search and "not_logged_in" in prompt, prompt
    assert "LAVA_SESSION_LIMIT" in login, login
