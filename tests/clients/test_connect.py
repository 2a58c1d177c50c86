"""Logging in to the gateway with a browser: Lava's own SDK as it is, and a real Chromium with a person's hands."""

import contextlib
import html
import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from browser import Browser
from gateway import Gateway
from harness import HERE, Machine

STATE = "0123456789abcdef0123456789abcdef"

# A person takes longer to read than this; the gateway does not believe a faster click.
READING_S = 0.9


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def tab(browser):
    browser.tab()


class Login:
    """`Lava.login()` in a program of its own. What it would open in a browser lands in the test's hand."""

    def __init__(self, folder, root: str):
        programs = folder / "bin"
        programs.mkdir()
        self._file = folder / "address"
        opener = programs / "xdg-open"
        opener.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{self._file}.new' && mv '{self._file}.new' '{self._file}'\n")
        opener.chmod(0o755)
        self.process = subprocess.Popen(
            ["node", HERE / "js/login.mjs"],
            env={"PATH": f"{programs}:{os.environ['PATH']}", "GATEWAY_ROOT": root},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def address(self) -> str:
        deadline = time.monotonic() + 20
        while not self._file.exists():
            assert time.monotonic() < deadline and self.process.poll() is None, "the SDK opened no browser"
            time.sleep(0.02)
        return self._file.read_text()

    def outcome(self) -> dict:
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def login(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(root: str) -> Login:
            begun = Login(tmp_path, root)
            stack.callback(begun.process.wait)
            stack.callback(begun.process.kill)
            return begun

        yield start


def exchange(root: str, code: str) -> tuple[int, dict]:
    request = urllib.request.Request(f"{root}/v1/auth/callback", json.dumps({"code": code}).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_person_logs_the_sdk_in(gateway, browser, login):
    # The SDK sends to Lava itself for any other name than this machine's.
    root = gateway.root.replace("127.0.0.1", "localhost")
    begun = login(root)
    asked = browser.open(begun.address())
    assert asked.status == 200 and "Let this program use your gateway?" in asked.text, asked
    assert not asked.complaints, asked.complaints
    assert all(urllib.parse.urlsplit(url).netloc == urllib.parse.urlsplit(root).netloc for url in asked.requests), asked.requests
    time.sleep(READING_S)
    done = browser.press("Authorize")
    assert done.failed is None and done.status == 200 and "You're logged in" in done.text, done
    assert not [complaint for complaint in done.complaints if "Content Security Policy" in complaint], done.complaints

    outcome = begun.outcome()
    credentials = outcome["credentials"]
    assert set(credentials) == {"wallet_id", "secret_key_id", "secret_key", "merchant_id", "account_id"}, credentials
    assert all(isinstance(value, str) and value for value in credentials.values()), credentials
    assert credentials["secret_key"].startswith("aks_test_"), "the gateway is in the sandbox"
    assert outcome["created"]["key"].startswith("lava_sk_") and "after a login" in [key["name"] for key in outcome["listed"]]

    # The code stays in the browser's history, where it is of no more use.
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(done.url).query)["code"][0]
    status, answer = exchange(gateway.root, code)
    assert (status, answer["error"]["code"]) == (400, "login_code_invalid")
    assert not any(credentials["secret_key"] in url for url in done.requests)


def test_a_person_denies_and_the_sdk_ends_at_once(gateway, browser, login):
    begun = login(gateway.root)
    browser.open(begun.address())
    time.sleep(READING_S)
    pressed = time.monotonic()
    denied = browser.press("Deny")
    assert "error=access_denied" in denied.url and "code=" not in denied.url, denied
    assert begun.outcome() == {"failed": "Missing code parameter in callback"}
    assert time.monotonic() - pressed < 10, "the SDK itself would wait for 120 s"


def test_the_login_is_listed_and_can_be_ended(tmp_path, browser, login):
    with Gateway(Machine(tmp_path), sandbox=False) as gateway:
        begun = login(gateway.root)
        browser.open(begun.address() + "&client=Cursor&machine=laptop&limit=5.00/daily")
        time.sleep(READING_S)
        assert browser.press("Authorize").failed is None
        credentials = begun.outcome()["credentials"]
        assert credentials["secret_key"].startswith("aks_live_")
        listed = json.loads(gateway.machine.run("--json", "secret-keys", "list").stdout)
        names = {key["secret_key_id"]: key["name"] for key in listed}
        assert names[credentials["secret_key_id"]] == "login: Cursor on laptop"
        gateway.machine.run("secret-keys", "delete", credentials["secret_key_id"])
        request = urllib.request.Request(f"{gateway.url}/spend_keys", headers={"Authorization": f"Bearer {credentials['secret_key']}"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=10)


def test_a_gateway_of_a_team_asks_for_a_key(tmp_path, browser, login):
    with Gateway(Machine(tmp_path), sandbox=False, listen="0.0.0.0:0") as gateway:
        begun = login(gateway.root.replace("0.0.0.0", "localhost"))
        asked = browser.open(begun.address())
        assert "A secret key of this gateway" in asked.text, asked
        time.sleep(READING_S)
        browser.fill("A secret key of this gateway", "aks_live_wrong")
        refused = browser.press("Authorize")
        assert refused.status == 403 and "That is not a secret key of this gateway" in refused.text, refused
        time.sleep(READING_S)
        browser.fill("A secret key of this gateway", gateway.secret)
        done = browser.press_key("Enter")
        assert done.failed is None and "You're logged in" in done.text, done
        assert not any(gateway.secret in url for url in done.requests)
        assert begun.outcome()["credentials"]["secret_key"] != gateway.secret


class Site:
    """A web site that means no good; to the browser, `localhost` and 127.0.0.1 are two sites."""

    def __init__(self, page: str):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self._server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def test_another_site_gets_nowhere(gateway, browser):
    address = f"{gateway.root}/auth/connect?state={STATE}&port=50123"
    with urllib.request.urlopen(address, timeout=10) as answer:
        token = re.search(r'name="token" value="([^"]+)"', answer.read().decode())[1]
    fields = {"state": STATE, "port": "50123", "client": "", "machine": "", "limit": "", "token": token, "answer": "authorize"}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    page = (
        f'<a href="{html.escape(address)}">Win</a><iframe src="{html.escape(address)}"></iframe>'
        f'<form method="post" action="{gateway.root}/auth/connect">{inputs}<button>Free cake</button></form>'
    )
    with Site(page) as site:
        framed = browser.open(site.url)
        assert framed.frames == ["chrome-error://chromewebdata/"], framed
        led = browser.press("Win")
        assert led.status == 403 and "You came here from another web page" in led.text and "Authorize" not in led.text, led
        browser.open(site.url)
        time.sleep(READING_S)
        forged = browser.press("Free cake")
        assert forged.status == 403 and forged.url == f"{gateway.root}/auth/connect" and "This login cannot continue" in forged.text, forged
    # The same form from the gateway's own page counts, so it was the site that was refused.
    browser.open(address)
    time.sleep(READING_S)
    assert "ERR_CONNECTION_REFUSED" in browser.press("Authorize").failed
