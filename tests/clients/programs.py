"""Programs that other people wrote, run with limits: one that hangs or forks must not take the test run with it."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

from harness import HERE, ROOT, Machine, binary

TOOLS = HERE / "tools"


def node() -> str:
    """Node 22: most of the tools do not run on 20, which many systems have."""
    assert (TOOLS / "node_modules").exists(), "run `npm ci --ignore-scripts` in tests/clients/tools first (scripts/test does)"
    ours = TOOLS / "node_modules/.bin/node"
    if ours.exists():
        return str(ours)
    # No such package for this system: its own must do.
    theirs = shutil.which("node")
    version = subprocess.run([theirs, "--version"], capture_output=True, text=True, check=True).stdout
    assert int(version[1:].split(".")[0]) >= 22, f"the tools need Node 22, this is {version}"
    return theirs


def script(package: str, file: str) -> list[str]:
    """The command for a package's script."""
    return [node(), str(TOOLS / "node_modules" / package / file)]


def native(pattern: str) -> str:
    """A program that npm brings for this kind of machine, without the script that starts it."""
    found = [path for path in (TOOLS / "node_modules").glob(pattern) if os.access(path, os.X_OK)]
    assert len(found) == 1, f"{pattern} in tests/clients/tools/node_modules: {found}"
    return str(found[0])


def python_tool(name: str) -> str:
    path = TOOLS / ".venv/bin" / name
    assert path.exists(), "install tests/clients/tools/requirements.txt into tests/clients/tools/.venv first (scripts/test does)"
    return str(path)


def run(command: list, *, env: dict, cwd: pathlib.Path, timeout: float, input: str | None = None) -> subprocess.CompletedProcess:
    """Runs a program to its end, and all that it started to theirs."""
    env = {**env, "PATH": f"{pathlib.Path(node()).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [str(part) for part in command],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    hung = False
    try:
        out, err = process.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        hung = True
    finally:
        # The group outlives its leader if a child was left behind.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if hung:
        out, err = process.communicate()
        raise AssertionError(f"{command[0]} took longer than {timeout} s\n{out[-4000:]}\n{err[-4000:]}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


class Listening:
    """A server of MCP over HTTP on a free port. Use as a context manager; it must end well when it is told to."""

    def __init__(self, machine: Machine, command: list):
        self._machine = machine
        self._command = [str(part) for part in command]

    def __enter__(self):
        self.process = subprocess.Popen(
            self._command, env=self._machine.env, cwd=self._machine.home, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        first_line = self.process.stderr.readline()
        found = re.search(r"(http://\S+)/mcp", first_line)
        assert found, f"the server did not start: {first_line}"
        self.root = found[1]
        self.url, self.sse = f"{self.root}/mcp", f"{self.root}/sse"
        self.log = []
        # A server whose standard error nobody reads stops when the pipe is full.
        self._reader = threading.Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            assert self.process.wait(10) == 0, "".join(self.log)
        finally:
            self.process.kill()
        self._reader.join(5)
        assert "panicked" not in "".join(self.log)


def serve(machine: Machine, *args: str) -> Listening:
    """`lava-mcp serve` in the sandbox."""
    return Listening(machine, [binary(), "--sandbox", "serve", "--listen", "127.0.0.1:0", *args])


def conformance_fixture() -> pathlib.Path:
    """The fixture server: LAVA_CONFORMANCE_FIXTURE, else the debug build."""
    if given := os.environ.get("LAVA_CONFORMANCE_FIXTURE"):
        return pathlib.Path(given).resolve()
    path = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/examples/conformance_fixture"
    assert path.exists(), "no fixture server: run `cargo build --example conformance_fixture`"
    return path
