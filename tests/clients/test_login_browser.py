"""The whole login: an agent at the official client, a person in Chromium, our gateway's own page, and the port that the browser comes back to."""

import time

import anyio.to_thread
import pytest
from browser import Browser
from gateway import Gateway
from harness import ERAS, WHOLE_KEY, Machine, ok, refused

pytestmark = pytest.mark.anyio

# The page does not believe a click that comes sooner.
READING_S = 0.9


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def team(tmp_path):
    """A gateway on a machine of its own, so that nothing is shared but what went over the wire."""
    folder = tmp_path / "team"
    folder.mkdir()
    with Gateway(Machine(folder)) as gateway:
        yield gateway


@pytest.fixture
def laptop(machine, team):
    machine.env |= {"LAVA_API_URL": team.url, "LAVA_SESSION_LIMIT": "0.40/daily"}
    return machine


def decide(chromium, url: str, button: str):
    """What a person does: reads the page, and presses one of its buttons."""
    chromium.tab()
    asked = chromium.open(url)
    time.sleep(READING_S)
    return asked, chromium.press(button)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_person_lets_the_agent_in(laptop, team, chromium, mode):
    async with laptop.client(mode=mode) as client:
        link = ok(await client.call_tool("login", {}))["login_url"]
        asked, done = await anyio.to_thread.run_sync(decide, chromium, link, "Authorize")
        assert "0.40 USD" in asked.text, "the page says what the agent will be able to spend"
        assert done.status == 200 and "You are logged in" in done.text, done
        assert done.url.endswith("/done") and not done.complaints, done
        session = ok(await client.call_tool("login", {}))
        assert session["status"] == "ready" and session["spend_key"]["spend_limit"] == {"amount": "0.40", "cycle": "daily"}
        ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))
        assert ok(await client.call_tool("usage", {}))["spend_key"]["current_requests"] == 1
        first = session["spend_key"]["spend_key_id"]
        # A new value of the same key, with the secret key that the login gave; nobody is asked.
        forced = ok(await client.call_tool("login", {"force": True}))
        assert forced["spend_key"]["spend_key_id"] == first and forced["spend_key"]["current_requests"] == 1
    assert laptop.run("logout", "--all").returncode == 0
    assert laptop.keys_at_rest() == set()
    assert not WHOLE_KEY.search(laptop.log.read_text())


async def test_a_person_denies(laptop, team, chromium):
    async with laptop.client() as client:
        link = ok(await client.call_tool("login", {}))["login_url"]
        _, done = await anyio.to_thread.run_sync(decide, chromium, link, "Deny")
        assert "Not allowed" in done.text and done.url.endswith("/done"), done
        refused(await client.call_tool("login", {}), "login_declined")
        # Only when the user wants it after all.
        assert ok(await client.call_tool("login", {}))["login_url"] != link
    assert laptop.keys_at_rest() == set()
