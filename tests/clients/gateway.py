"""A gateway as `lava-mcp gateway` serves it, in the sandbox unless a test has a provider for it, and the little of its API that a test needs to prepare a key."""

import json
import re
import subprocess
import urllib.request

from harness import Machine, binary


class Gateway:
    """Use as a context manager; the program must end well when it is told to."""

    def __init__(self, machine: Machine, sandbox: bool = True, listen: str = "127.0.0.1:0"):
        self.machine = machine
        self._listen = [listen] if listen.startswith("127.") else [listen, "--allow-remote"]
        self._mode = ["--sandbox"] if sandbox else []

    def __enter__(self):
        self.secret = self.machine.run(*self._mode, "secret-keys", "create").stdout.strip()
        command = [binary(), *self._mode, "gateway", "--listen", *self._listen]
        self._process = subprocess.Popen(command, env=self.machine.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        first_line = self._process.stderr.readline()
        found = re.search(r"http://\S+", first_line)
        assert found, f"the gateway did not start: {first_line}"
        # The base URL as OpenAI's SDK takes it; Anthropic's takes the root.
        self.url = found.group()
        self.root = self.url.removesuffix("/v1")
        return self

    def __exit__(self, *_):
        self._process.terminate()
        assert self._process.wait(10) == 0

    def manage(self, method: str, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Authorization": f"Bearer {self.secret}"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def key_object(self, **settings) -> dict:
        return self.manage("POST", "spend_keys", {"name": "sdk", **settings})

    def spend_key(self, **settings) -> str:
        return self.key_object(**settings)["key"]
