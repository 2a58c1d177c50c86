"""A model server on this machine is used without being named only where it belongs to somebody who could read the request anyway.

It takes root to start programs as somebody else, so elsewhere this is skipped.
"""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from gateway import Gateway

OLLAMA = 11_434

SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": "small"}]})
    def do_POST(self):
        print("asked", flush=True)
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "here"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self.answer({"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
"""

needs_root = pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="starts programs as other users")


@contextlib.contextmanager
def model_server_of(user: int):
    """A model server on Ollama's port that runs as this user; ends with how often it was asked for an answer."""
    command = ["/usr/bin/python3", "-c", SERVER, str(OLLAMA)]
    process = subprocess.Popen(command, user=user, group=user, extra_groups=[], stdout=subprocess.PIPE, text=True, cwd="/")
    try:
        assert process.stdout.readline() == "ready\n", "is the port taken?"
        yield process
    finally:
        process.kill()
        process.wait()


def models(gateway) -> list[str]:
    return [model["id"] for model in gateway.manage("GET", "models")["data"]]


def ask(gateway) -> int:
    body = b'{"model": "ollama/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}'
    headers = {"Authorization": f"Bearer {gateway.spend_key()}", "content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{gateway.url}/chat/completions", body, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


@needs_root
@pytest.mark.parametrize(
    "user, is_used",
    [(0, True), (5, True), (54_321, False), (65_534, False)],
    ids=["root", "a system account", "a person", "nobody"],
)
def test_a_local_server_is_used_only_if_its_account_is_trusted(machine, user, is_used):
    with model_server_of(user) as server, Gateway(machine, sandbox=False) as gateway:
        assert ("small" in " ".join(models(gateway))) == is_used
        assert (ask(gateway) == 200) == is_used
        server.kill()
        assert server.stdout.read().count("asked") == is_used, "nothing of a request reaches somebody else's program"


@needs_root
def test_a_port_that_changes_hands_is_asked_nothing_more(machine):
    """Ollama ends, and another user takes its port while its list of models is still believed."""
    with Gateway(machine, sandbox=False) as gateway:
        with model_server_of(0):
            assert ask(gateway) == 200
        time.sleep(0.1)
        with model_server_of(54_321) as server:
            assert ask(gateway) != 200
            server.kill()
            assert "asked" not in server.stdout.read()
