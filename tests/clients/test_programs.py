"""Programs that people use with MCP servers, and programs that test them, meet the built binary."""

import json
import re
import subprocess

import pytest
from harness import TOOLS, WHOLE_KEY, binary
from programs import native, python_tool, run, script, serve


def quiet(machine, **more: str) -> dict:
    """The machine's environment, for programs that would report home."""
    return {**machine.env, "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", **more}


@pytest.fixture
def claude(machine):
    program = native("@anthropic-ai/claude-code-*/claude")

    def claude(*args) -> str:
        done = run([program, *args], env=quiet(machine), cwd=machine.home, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return claude


def test_claude_code_connects(machine, claude):
    with serve(machine) as server:
        claude("mcp", "add", "lava-stdio", "--", binary(), "--sandbox")
        claude("mcp", "add", "--transport", "http", "lava-http", server.url)
        claude("mcp", "add", "--transport", "sse", "lava-sse", server.sse)
        # A name that does not answer shows that the words are not always the same.
        claude("mcp", "add", "nobody", "--", "/bin/false")
        listed = claude("mcp", "list")
    states = dict(re.findall(r"^(\S+): .* - (.*)$", listed, re.MULTILINE))
    assert states.keys() == {"lava-stdio", "lava-http", "lava-sse", "nobody"}, listed
    for name, state in states.items():
        assert ("Connected" in state) == (name != "nobody"), listed


class Codex:
    """Codex as its own IDE extensions use it: JSON-RPC with the app server."""

    def __init__(self, machine):
        self._process = subprocess.Popen(
            [native("@openai/codex-*/vendor/*/bin/codex"), "app-server"],
            env=quiet(machine, CODEX_HOME=str(machine.home / ".codex")),
            cwd=machine.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._id = 0
        # What its user was asked, and would see as a form.
        self.questions: list[str] = []
        self.ask("initialize", {"clientInfo": {"name": "lava-mcp-tests", "version": "1"}})

    def _send(self, message: dict) -> None:
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, params: dict) -> dict:
        self._id += 1
        self._send({"id": self._id, "method": method, "params": params})
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("method") == "mcpServer/elicitation/request":
                self.questions.append(message["params"]["message"])
                self._send({"id": message["id"], "result": {"action": "accept", "content": {"amount": "0.50", "cycle": "weekly"}}})
            elif message.get("id") == self._id:
                assert "result" in message, message
                return message["result"]
        raise AssertionError(f"codex closed its output before it answered {method}")

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def test_codex_connects_and_calls(machine):
    def codex(*args):
        done = run([native("@openai/codex-*/vendor/*/bin/codex"), *args], env=quiet(machine), cwd=machine.home, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr

    with serve(machine) as server:
        # It hands a server a dozen variables, and those that are named.
        named = [part for name in ("LAVA_CREDENTIAL_STORE", "LAVA_DATA_DIR") for part in ("--env", f"{name}={machine.env[name]}")]
        codex("mcp", "add", "lava-stdio", *named, "--", binary(), "--sandbox")
        codex("mcp", "add", "lava-http", "--url", server.url)
        app = Codex(machine)
        try:
            servers = {server["name"]: server for server in app.ask("mcpServerStatus/list", {})["data"]}
            # What its model would do; that needs an account, and calling the tools does not.
            thread = app.ask("thread/start", {"cwd": str(machine.home)})["thread"]["id"]
            for name in servers:
                for tool, arguments in (("login", {}), ("prompt", {"model": "gpt-4o-mini", "input": "hi"})):
                    call = {"threadId": thread, "server": name, "tool": tool, "arguments": arguments}
                    answer = app.ask("mcpServer/tool/call", call)
                    assert not answer.get("isError"), answer
                assert 0.4 < float(answer["structuredContent"]["remaining"]) < 0.5, answer
            assert app.questions and "How much" in app.questions[0]
        finally:
            app.close()
    assert servers.keys() == {"lava-stdio", "lava-http"}, servers
    for server in servers.values():
        assert server["serverInfo"]["name"] == "lava-mcp", server
        assert set(server["tools"]) == set(TOOLS)
    machine.ledger.ended(2)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
def test_the_inspector_finds_no_fault(machine, transport, era):
    inspector = [*script("@modelcontextprotocol/inspector", "clients/launcher/build/index.js"), "--cli"]

    def inspect(target: list, *args) -> subprocess.CompletedProcess:
        return run([*inspector, *target, "--protocol-era", era, *args], env=machine.env, cwd=machine.home, timeout=40)

    def both(target: list) -> None:
        # Exit code 6: a schema that some clients reject.
        listed = inspect(target, "--method", "tools/list", "--strict")
        assert listed.returncode == 0, listed.stderr
        assert [tool["name"] for tool in json.loads(listed.stdout)["tools"]] == TOOLS
        called = inspect(target, "--method", "tools/call", "--tool-name", "login")
        assert called.returncode == 0 and json.loads(called.stdout)["structuredContent"]["status"] == "ready", called.stdout + called.stderr

    if transport == "stdio":
        # It hands a server only what is named.
        named = [part for name in ("LAVA_CREDENTIAL_STORE", "LAVA_DATA_DIR") for part in ("-e", f"{name}={machine.env[name]}")]
        both([binary(), "--sandbox", *named])
    else:
        with serve(machine) as server:
            both([server.url if transport == "http" else server.sse])


def test_the_fuzzer_neither_crashes_nor_confuses_the_server(machine, tmp_path):
    assert machine.run("--sandbox", "login").returncode == 0
    command = [python_tool("mcp-fuzzer"), "--mode", "all", "--phase", "both", "--protocol", "stdio", "--endpoint", f"{binary()} --sandbox"]
    limits = ["--runs", "20", "--runs-per-type", "10", "--timeout", "10", "--seed", "7", "--no-network", "--output-dir", tmp_path / "fuzzed"]
    done = run([*command, *limits], env=machine.env, cwd=machine.home, timeout=55)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    counted = {name: int(count) for name, count in re.findall(r"^Total ([\w /-]+): (\d+)$", said, re.MULTILINE)}
    assert counted["Tools Tested"] == len(TOOLS) and counted["Fuzzing Runs"] >= 2 * 20 * len(TOOLS), counted
    for trouble in ("Crashes", "Exceptions", "Transport/Protocol Anomalies"):
        assert counted[trouble] == 0, said[-3000:]
    assert "panicked" not in said and not WHOLE_KEY.search(said)
    # Whatever it bought is booked.
    assert machine.ledger.open_holds() == []


def test_the_scanner_sees_no_poison(machine):
    command = [python_tool("mcp-scanner"), "--analyzers", "yara", "--raw", "stdio", "--stdio-command", binary(), "--stdio-arg=--sandbox"]
    done = run(command, env=quiet(machine), cwd=machine.home, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr
    scanned = json.loads(done.stdout)
    assert {item["tool_name"] for item in scanned} == set(TOOLS), done.stdout
    for item in scanned:
        assert item["status"] == "completed" and item["is_safe"], item
