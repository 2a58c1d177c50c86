"""What the tests share: a user's empty machine, an MCP client on it, and the eye of an auditor on the ledger.

Nothing here imports or reads the program's source; whatever a test knows, a user could know too.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import time
from decimal import ROUND_CEILING, Decimal

import jsonschema
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp import Client

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

TOOLS = ["login", "search", "prompt", "call", "get_provider_docs", "usage"]

# mode of the official client -> the protocol revision that must come out of it
ERAS = {"auto": "2026-07-28", "legacy": "2025-11-25"}

# A whole key, or enough of one to worry. The preview that people see ends after eight characters.
WHOLE_KEY = re.compile(r"(?:lava_sk|aks_live|aks_test)_[A-Za-z0-9]{12,}")

# What is left does not pay for the call, or nothing is left. Both are final until the limit resets.
OVER_LIMIT = ("insufficient_budget", "budget_exceeded")

# The upstream was reached and its answer is of no use.
BROKEN_ANSWER = ("upstream_broken", "upstream_error")

NANO = 1_000_000_000


def binary() -> pathlib.Path:
    """The program under test: LAVA_MCP_BIN, else the release build, else the debug build."""
    if given := os.environ.get("LAVA_MCP_BIN"):
        return pathlib.Path(given).resolve()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        if (path := target / profile / "lava-mcp").exists():
            return path
    raise FileNotFoundError("no lava-mcp to test: run `cargo build --release`, or set LAVA_MCP_BIN")


class Machine:
    """A user's machine with nothing on it: empty home, empty data folder, and an environment that inherits next to nothing."""

    def __init__(self, folder: pathlib.Path):
        self.home = folder / "home"
        self.data = folder / "data"
        self.config = folder / "config.toml"
        self.log = folder / "stderr.log"
        for path in (self.home, self.home / "run"):
            path.mkdir(mode=0o700)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            # Named, so that a bus or a config folder of the person who runs the tests is never found.
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.home}/no-bus",
            "LAVA_CONFIG": str(self.config),
            "LAVA_DATA_DIR": str(self.data),
            "LAVA_CREDENTIAL_STORE": "file",
        }
        self.config.touch()

    def provider(self, name: str, base_url: str, models, price='{ input = "0.15", output = "0.60" }', key_env=None, dialect="openai") -> None:
        """Adds a custom provider to the config file."""
        lines = [
            f"[providers.{name}]",
            f"base_url = {json.dumps(base_url)}",
            f"dialect = {json.dumps(dialect)}",
            f"models = {json.dumps(list(models))}",
            f"price = {price}",
        ]
        if key_env:
            lines.append(f"api_key_env = {json.dumps(key_env)}")
        with self.config.open("a") as file:
            file.write("\n".join(lines) + "\n\n")

    @contextlib.asynccontextmanager
    async def client(self, *args: str, mode: str = "auto", timeout: float = 30, **callbacks):
        """The official MCP client, connected to the program over stdio."""
        params = StdioServerParameters(command=str(binary()), args=list(args), env=self.env)
        with self.log.open("a") as log:
            try:
                async with Client(stdio_client(params, errlog=log), mode=mode, read_timeout_seconds=timeout, **callbacks) as client:
                    yield client
            except BaseExceptionGroup as group:
                # The client's task groups wrap a failed assertion three times; the assertion alone is what one wants to read.
                error = group
                while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
                    error = error.exceptions[0]
                raise error from None

    def run(self, *args: str, timeout: float = 30, **kwargs) -> subprocess.CompletedProcess:
        """The program as a command, with nothing on its standard input."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([binary(), *args], env=self.env, timeout=timeout, capture_output=True, text=True, cwd=self.home, **kwargs)

    def start(self, *args: str, command: list | None = None) -> subprocess.Popen:
        """The program with its standard input in the test's hand."""
        with self.log.open("a") as log:
            return subprocess.Popen(
                command or [binary(), *args],
                env=self.env,
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )

    def keys_at_rest(self) -> set[str]:
        """Every whole key that the program wrote to a file of this machine."""
        found = set()
        for folder in (self.home, self.data):
            for path in folder.rglob("*"):
                if path.is_file() and path.stat().st_size < 1 << 20:
                    found.update(WHOLE_KEY.findall(path.read_bytes().decode("latin-1")))
        return found

    @property
    def ledger(self) -> "Ledger":
        return Ledger(self.data / "ledger.db")


@dataclasses.dataclass
class Entry:
    kind: str
    amount_n: int
    basis: str
    usage: dict
    hold_id: str
    held_n: int
    upstream_status: int | None


class Ledger:
    """Reads the ledger file directly and read-only: an auditor does not ask the program what the program did."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def query(self, sql: str) -> list[dict]:
        if not self.path.exists():
            return []
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)
        with contextlib.closing(connection):
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def open_holds(self) -> list[dict]:
        return self.query("SELECT * FROM hold")

    def entries(self) -> list[Entry]:
        """The entries that end a hold, oldest first."""
        rows = self.query("SELECT * FROM entry WHERE kind <> 'correction' ORDER BY seq")
        fields = [field.name for field in dataclasses.fields(Entry) if field.name != "usage"]
        return [Entry(usage=json.loads(row["usage_json"] or "{}"), **{name: row[name] for name in fields}) for row in rows]

    def ended(self, count: int, within: float = 10) -> list[Entry]:
        """Waits until `count` holds have ended and none is open, then checks what must always be true.

        Settling comes after the last byte of an answer, so right after an answer a hold may still be open.
        """
        deadline = time.monotonic() + within
        while True:
            holds, entries = self.open_holds(), self.entries()
            if not holds and len(entries) >= count:
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"after {within} s: {len(holds)} open holds {holds}, {len(entries)} of {count} entries: {entries}")
            time.sleep(0.02)
        assert len(entries) == count, f"{len(entries)} entries, {count} expected: {entries}"
        assert len({entry.hold_id for entry in entries}) == count, f"a hold ended twice: {entries}"
        for entry in entries:
            assert 0 <= entry.amount_n <= entry.held_n, f"more was booked than was set aside: {entry}"
            if entry.kind == "void":
                assert entry.amount_n == 0, entry
        for budget in self.query("SELECT * FROM budget"):
            assert budget["held_n"] == 0, budget
            booked = self.query(f"SELECT coalesce(sum(amount_n), 0) AS n FROM entry WHERE key_id = '{budget['key_id']}'")[0]["n"]
            assert budget["total_spent_n"] == booked, f"the budget says {budget}, its entries {booked}"
            if budget["limit_n"] is not None:
                assert budget["spent_n"] <= budget["limit_n"], f"over the limit: {budget}"
        return entries

    def spend_keys(self) -> int:
        return len(self.query("SELECT id FROM spend_key WHERE id <> owner"))


def cost_n(price_input: str, price_output: str, input_tokens: int, output_tokens: int) -> int:
    """What a call costs in nano-dollars: the exact sum, rounded up once."""
    exact = Decimal(price_input) * input_tokens + Decimal(price_output) * output_tokens
    return int((exact * NANO / 1_000_000).to_integral_value(ROUND_CEILING))


def usd(nano: int) -> Decimal:
    return Decimal(nano) / NANO


def text_of(result) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


def everything_in(result) -> str:
    """The whole result as the model's side receives it."""
    return result.model_dump_json(by_alias=True)


def ok(result) -> dict:
    """The structured content of a call that worked."""
    assert not result.is_error, everything_in(result)
    assert isinstance(result.structured_content, dict), everything_in(result)
    assert text_of(result).strip(), "a result for people who cannot see structured content"
    assert not WHOLE_KEY.search(everything_in(result)), "a key in a tool result"
    return result.structured_content


def refused(result, *codes: str) -> dict:
    """The error object of a call that was refused, with one of these codes."""
    assert result.is_error, everything_in(result)
    error = result.structured_content["error"]
    assert error["code"] in codes, f"{error['code']!r} is not one of {codes}: {everything_in(result)}"
    assert error["message"].strip() and error["hint"].strip(), error
    assert error["message"] in text_of(result), "the sentence for the model is in the text too"
    assert not WHOLE_KEY.search(everything_in(result)), "a key in an error"
    return error


def valid(result, tool) -> None:
    """Checks a result against the output schema, with a validator that is not the client's own."""
    jsonschema.Draft202012Validator.check_schema(tool.output_schema)
    jsonschema.validate(result.structured_content, tool.output_schema, cls=jsonschema.Draft202012Validator)


async def tools_of(client) -> dict:
    return {tool.name: tool for tool in (await client.list_tools()).tools}


class Wire:
    """JSON-RPC lines by hand, for what no well-behaved client would send."""

    # The official client's name: a session key belongs to a client by name, and some tests go on where that client left off.
    NAME = "mcp"

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def send_raw(self, text: str) -> None:
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def send(self, id, method: str, params: dict | None = None) -> None:
        params = dict(params or {})
        params.setdefault("_meta", {}).update(
            {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": self.NAME, "version": "0"},
            }
        )
        self.send_raw(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + "\n")

    def call(self, id, tool: str, arguments: dict) -> None:
        self.send(id, "tools/call", {"name": tool, "arguments": arguments})

    def answer(self, id) -> dict:
        """Reads until the answer to `id`. pytest-timeout bounds the wait."""
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == id and ("result" in message or "error" in message):
                return message
        raise AssertionError(f"standard output closed before the answer to {id}")
