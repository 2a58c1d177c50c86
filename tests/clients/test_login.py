"""The login where it takes a person, with the official client: pages, forms, links, a browser; the keyring that keeps what comes of it."""

import json
import re
import subprocess
import threading
import time
import urllib.parse

import anyio
import pytest
from fake_lava import FakeLava, browse
from harness import ERAS, WHOLE_KEY, binary, everything_in, ok, refused
from mcp_types import ElicitResult

pytestmark = pytest.mark.anyio


@pytest.fixture
def lava(machine):
    with FakeLava() as fake:
        machine.env.update(fake.env())
        yield fake


class Person:
    """Whoever sits at the client: fills in forms, and goes through pages."""

    def __init__(self, form: dict | None = None, action: str = "accept", goes: bool = True, reads_for: float = 0):
        self.form, self.action, self.goes, self.reads_for = form, action, goes, reads_for
        self.asked = []

    async def __call__(self, _context, params):
        self.asked.append(params)
        await anyio.sleep(self.reads_for)
        if self.action != "accept":
            return ElicitResult(action=self.action)
        if params.mode == "url":
            if self.goes:
                threading.Thread(target=browse, args=(params.url,), daemon=True).start()
            return ElicitResult(action="accept")
        return ElicitResult(action="accept", content=self.form)


@pytest.mark.parametrize("mode", ERAS)
async def test_the_client_asks_for_the_limit_and_opens_the_page(machine, lava, mode):
    person = Person(form={"amount": "2.00", "cycle": "weekly"})
    async with machine.client(mode=mode, elicitation_callback=person) as client:
        session = ok(await client.call_tool("login", {}))
        assert session["status"] == "ready"
        assert session["spend_key"]["spend_limit"] == {"amount": "2.00", "cycle": "weekly"}
        assert [params.mode for params in person.asked] == ["form", "url"]
        assert not re.search("secret|password|key", json.dumps(person.asked[0].model_dump(mode="json")["requested_schema"]), re.I)
        ok(await client.call_tool("login", {}))
        assert len(person.asked) == 2, "whoever is logged in is not asked"
    assert machine.keys_at_rest() == lava.secrets | {key["key"] for key in lava.keys.values()}
    assert not WHOLE_KEY.search(machine.log.read_text())


@pytest.mark.parametrize("mode", ERAS)
async def test_a_no_is_final(machine, lava, mode):
    async with machine.client(mode=mode, elicitation_callback=Person(action="decline", reads_for=1.1)) as client:
        error = refused(await client.call_tool("login", {}), "login_declined")
        assert "Do not call login again" in error["hint"]
    assert machine.keys_at_rest() == set() and not lava.keys


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_no_that_nobody_has_said_names_the_setting(machine, lava, mode, action):
    """Clients without anybody in front of them answer every question at once."""
    person = Person(action=action)
    async with machine.client(mode=mode, elicitation_callback=person) as client:
        for _ in range(2):
            error = refused(await client.call_tool("login", {}), "limit_needed")
            assert "LAVA_SESSION_LIMIT=5.00/daily" in error["hint"]
    assert len(person.asked) == 2 and machine.keys_at_rest() == set() and not lava.keys


@pytest.mark.parametrize("mode", ERAS)
async def test_a_question_that_was_closed_is_asked_again(machine, lava, mode):
    person = Person(action="cancel", reads_for=1.1)
    async with machine.client(mode=mode, elicitation_callback=person) as client:
        for _ in range(2):
            assert "asked again" in refused(await client.call_tool("login", {}), "limit_needed")["hint"]
    assert len(person.asked) == 2 and not lava.keys


@pytest.mark.parametrize("mode", ERAS)
async def test_without_asking_the_settings_hold_and_the_page_still_opens(machine, lava, mode):
    machine.env |= {"LAVA_ASK": "0", "LAVA_SESSION_LIMIT": "0.30/daily"}
    person = Person()
    async with machine.client(mode=mode, elicitation_callback=person) as client:
        session = ok(await client.call_tool("login", {}))
    assert session["spend_key"]["spend_limit"]["amount"] == "0.30"
    assert [params.mode for params in person.asked] == ["url"]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_cannot_ask_passes_the_link_on(machine, lava, mode):
    async with machine.client(mode=mode) as client:
        began = time.monotonic()
        result = await client.call_tool("login", {})
        pending = ok(result)
        assert time.monotonic() - began < 5
        assert pending["status"] == "pending" and pending["login_url"] in everything_in(result)
        assert "You are logged in" in browse(pending["login_url"])
        assert ok(await client.call_tool("login", {}))["status"] == "ready"
    assert len(lava.secrets) == 1


async def test_a_link_is_good_for_one_answer_and_what_it_proves_is_told(machine, lava):
    async with machine.client() as client:
        url = ok(await client.call_tool("login", {}))["login_url"]
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        back = f"http://127.0.0.1:{query['port']}/callback?state={query['state']}&code="
        assert "The login did not work" in browse(back + "made-up")
        error = refused(await client.call_tool("login", {}), "login_failed")
        assert "the code was used or is too old" in error["message"]
        assert browse(url) == "", "the old link leads nowhere"
        again = ok(await client.call_tool("login", {}))["login_url"]
        assert again != url and "You are logged in" in browse(again)
        ok(await client.call_tool("login", {}))


@pytest.mark.parametrize("mode", ERAS)
async def test_a_browser_of_this_machine_is_opened(machine, lava, mode):
    script, told = machine.home / "browser", machine.home / "told"
    script.write_text(f"#!/bin/sh\necho to stdout\nprintf '%s' \"$*\" > {told}.new\nmv {told}.new {told}\n")
    script.chmod(0o755)
    machine.env["BROWSER"] = str(script)

    def person():
        while not told.exists():
            time.sleep(0.01)
        browse(told.read_text())

    threading.Thread(target=person, daemon=True).start()
    # The client can show pages as well; it need not.
    asked = Person(action="decline")
    machine.env["LAVA_ASK"] = "0"
    async with machine.client(mode=mode, elicitation_callback=asked) as client:
        result = await client.call_tool("login", {})
        assert ok(result)["status"] == "ready"
    assert not asked.asked and "/auth/connect" not in everything_in(result)


async def test_the_keyring_keeps_what_comes_of_it(machine, lava, secret_service):
    del machine.env["LAVA_CREDENTIAL_STORE"]
    machine.env |= secret_service.env | {"LAVA_ASK": "0"}
    person = Person()
    for _ in range(2):
        async with machine.client(elicitation_callback=person) as client:
            assert ok(await client.call_tool("login", {}))["stored_in"] == "keyring"
    assert len(person.asked) == 1 and len(lava.secrets) == 1
    assert machine.keys_at_rest() == set()
    out = machine.run("logout", "--all").stdout
    assert "sk_1" in out and "It still works: delete it in your account" in out, out
    assert not lava.keys, "the session key is revoked"


async def test_nobody_is_asked_for_what_no_vault_could_keep(machine, lava):
    del machine.env["LAVA_CREDENTIAL_STORE"]
    person = Person(form={"amount": "1.00", "cycle": "daily"})
    async with machine.client(elicitation_callback=person) as client:
        refused(await client.call_tool("login", {}), "vault_unavailable")
    assert not person.asked and not lava.secrets


def test_the_command_line_takes_what_a_person_copies(machine, lava):
    process = subprocess.Popen(
        [binary(), "login", "--no-browser"], env=machine.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said = ""
    while not (found := re.search(r"http://\S+/auth/connect\?\S+", said)):
        line = process.stderr.readline()
        assert line, said
        said += line
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(found.group()).query))
    out, errors = process.communicate(f"http://127.0.0.1:{query['port']}/callback?code={lava.code()}&state={query['state']}\n", timeout=20)
    assert process.returncode == 0, said + errors
    assert "Secret key in" in out and not WHOLE_KEY.search(out + said + errors)
