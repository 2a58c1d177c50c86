"""Claude Code at the gateway, as `claude -p` runs it: with its own defaults, a tool, a PDF, a web search, a wrong key and a key that is used up.

What it sends is kept in recorded/claude-code.json, so that a new version shows here what it does otherwise.
"""

import base64
import json
import os
import re
import time

import pytest
from command_clients import CODE, claude
from conversation import Houses, Step, booked, paid_as_listed
from harness import HERE, Machine
from programs import run
from recorder import Recorder
from scripted import Call, Say, Scripted

RECORDED = HERE / "recorded/claude-code.json"

BASH = Call("Bash", {"command": f"echo {CODE}", "description": "says it"})

OWN = "study/our-model"

# One page that says "Hello".
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 144]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length 37>>stream
BT /F1 24 Tf 50 80 Td (Hello) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    machines = [Machine(tmp_path_factory.mktemp(name)) for name in ("own", "sandbox")]
    with Scripted() as upstream:
        machines[0].provider("gift", upstream.url, ["our-model"], dialect="anthropic", price='"free"')
        with machines[0].config.open("a") as config:
            config.write('[model_aliases]\n"claude-opus-5-5" = "study/our-model"\n\n')
        with Houses(*machines, upstream) as houses:
            yield houses


class Said:
    """One run of the program."""

    def __init__(self, gateway, machine, made: dict, model: str | None, *more: str, input: str | None = None, **variables: str):
        self.key_id = made.get("spend_key_id")
        began = time.monotonic()
        with Recorder(gateway.root) as recorder:
            command, env = claude("claude", Step("", recorder.root, made["key"], model), machine.home, *more)
            done = run(command, env={"HOME": str(machine.home), **env, **variables}, cwd=machine.home, timeout=50, input=input)
        self.took_s = time.monotonic() - began
        self.out, self.code = done.stdout, done.returncode
        self.everything = done.stdout + done.stderr
        self.posts = [exchange for exchange in recorder.exchanges if exchange.method == "POST"]

    def __repr__(self):
        return f"{self.code}, {self.took_s:.1f} s: {self.everything[-1500:]}\n{[(post.path, post.status, post.body[:300]) for post in self.posts]}"


@pytest.fixture
def own(houses, machine):
    """Before the script: `own(steps, ...)`."""

    def own(steps: list, *more: str, limit="5", model: str | None = OWN, **variables: str) -> Said:
        houses.upstream.steps = steps
        houses.upstream.asked.clear()
        made = houses.own.key_object(request_shape="anthropic", spend_limit={"amount": limit, "cycle": "daily"})
        return Said(houses.own, machine, made, model, *more, **variables)

    return own


@pytest.fixture
def sandbox(houses, machine):
    def sandbox(*more: str, limit="50", model: str | None = None, key: dict | None = None, **variables: str) -> Said:
        made = houses.sandbox.key_object(request_shape="anthropic", spend_limit={"amount": limit, "cycle": "daily"}, **(key or {}))
        return Said(houses.sandbox, machine, made, model, *more, **variables)

    return sandbox


def test_it_runs_a_tool_and_reads_what_it_said(houses, own):
    said = own([BASH, Say(f"It says {CODE}.")], "--allowedTools=Bash")
    assert said.code == 0 and f"It says {CODE}." in said.out, said
    assert len(said.posts) == 2 and CODE in houses.upstream.results[0], said
    paid_as_listed(houses.own.machine, said.key_id, 2)


def test_it_reads_a_pdf(houses, own, machine):
    """A provider of one's own without a price: what a PDF's pages come to cannot be bounded, where the context window is not known."""
    (machine.home / "hello.pdf").write_bytes(PDF)
    said = own([Call("Read", {"file_path": str(machine.home / "hello.pdf")}), Say("It says Hello.")], "--allowedTools=Read", model="gift/our-model")
    assert said.code == 0 and "It says Hello." in said.out, said
    (read,) = houses.upstream.results
    (document,) = [block for block in json.loads(read) if block["type"] == "document"]
    assert base64.b64decode(document["source"]["data"]) == PDF and document["source"]["media_type"] == "application/pdf", document
    booked(houses.own.machine, said.key_id, 2)


def test_the_sandbox_reads_a_pdf(houses, sandbox):
    """The price of the whole context window is set aside for it."""
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()}}
    line = {"type": "user", "message": {"role": "user", "content": [document, {"type": "text", "text": "What does it say?"}]}}
    options = ["--input-format=stream-json", "--output-format=stream-json", "--verbose"]
    said = sandbox(*options, model="claude-haiku-4-5", input=json.dumps(line) + "\n")
    assert said.code == 0 and "lava-mcp sandbox" in said.out, said
    assert b"application/pdf" in said.posts[0].request_body, said
    for entry in booked(houses.sandbox.machine, said.key_id, len(said.posts)):
        assert entry["kind"] == "charge" and 0 < entry["amount_n"] < entry["held_n"], entry


@pytest.mark.parametrize("model", [None, "opus"])
def test_an_alias_sends_its_model_elsewhere(houses, own, model):
    """As the guide has it: what it asks of its default model goes to another one."""
    said = own([BASH, Say(f"It says {CODE}.")], "--allowedTools=Bash", model=model)
    assert said.code == 0 and f"It says {CODE}." in said.out, said
    assert {asked.json["model"] for asked in houses.upstream.asked} == {"our-model"}, houses.upstream.asked
    paid_as_listed(houses.own.machine, said.key_id, 2)


def test_it_searches_the_web_where_the_provider_does(houses, own):
    """The search is a request of its own, with a tool that the provider runs; our own providers decide for themselves."""
    said = own([Call("WebSearch", {"query": "payments for agents"}), Say("Nothing found.")], "--allowedTools=WebSearch", "--tools=WebSearch")
    assert said.code == 0 and "Nothing found." in said.out, said
    searched = [asked.json["tools"] for asked in houses.upstream.asked if any("type" in tool for tool in asked.json["tools"])]
    assert [tool["type"] for tools in searched for tool in tools] == ["web_search_20250305"], searched
    paid_as_listed(houses.own.machine, said.key_id, 3)


@pytest.mark.parametrize("model", [None, "opus", "sonnet", "haiku", "claude-opus-4-8", "claude-sonnet-4-5"])
def test_the_sandbox_answers_its_models(houses, sandbox, model):
    said = sandbox("--allowedTools=Bash", model=model)
    assert said.code == 0 and "lava-mcp sandbox" in said.out, said
    assert {post.status for post in said.posts} == {200}, said
    for entry in booked(houses.sandbox.machine, said.key_id, len(said.posts)):
        assert entry["kind"] == "charge" and entry["amount_n"] > 0, entry


def test_a_small_limit_is_enough_where_the_key_lowers_the_cap(houses, sandbox):
    """Its default of 128,000 tokens may cost more than is left, and then nothing would be answered."""
    said = sandbox(limit="0.50", key={"lava_mcp": {"lower_output_cap": True}})
    assert said.code == 0 and "lava-mcp sandbox" in said.out, said
    assert any("x-lava-output-cap" in post.headers for post in said.posts), said
    booked(houses.sandbox.machine, said.key_id, len(said.posts))


def test_it_says_that_a_limit_is_too_small_for_its_cap(sandbox, houses):
    said = sandbox(limit="0.000001", model="claude-haiku-4-5", CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS="1")
    assert said.code != 0 and "Service key spend limit exceeded" in said.everything, said
    assert [post.status for post in said.posts] == [402], said
    booked(houses.sandbox.machine, said.key_id, 0)


def test_a_web_search_in_the_sandbox_is_refused_in_words(sandbox):
    """The key does not allow what the provider bills apart. Claude Code's own tool of that name shows the refusal to the model and goes on."""
    said = sandbox("--allowedTools=WebSearch", "--tools=WebSearch", "--append-system-prompt=Use the tool WebSearch.", model="claude-haiku-4-5")
    assert said.code == 0, said
    assert {post.status for post in said.posts} <= {200, 400}, said
    for post in said.posts:
        assert post.status == 200 or b"web_search" in post.body, said


def test_a_wrong_key_is_told_at_once(houses, machine):
    said = Said(houses.own, machine, {"key": "lava_sk_" + "x" * 40}, OWN)
    assert said.code != 0 and "This API key is not known here" in said.everything, said
    assert [post.status for post in said.posts] == [401] and said.took_s < 20, said


def test_a_used_up_key_is_told_at_once(houses, own):
    said = own([Say("never")], limit="0.000001")
    assert said.code != 0 and "Service key spend limit exceeded" in said.everything and "It resets at" in said.everything, said
    assert [post.status for post in said.posts] == [402] and said.took_s < 20, said
    booked(houses.own.machine, said.key_id, 0)


def sent(post) -> dict:
    body = json.loads(post.request_body)
    return {
        "betas": post.request_headers["anthropic-beta"].split(","),
        "headers": [name for name in post.request_headers if not name.startswith("x-stainless") and name not in ("host", "connection", "content-length")],
        "fields": list(body),
        "max_tokens": body["max_tokens"],
        "thinking": body.get("thinking"),
        "context_management": body.get("context_management"),
        "output_config": body.get("output_config"),
        "speed": body.get("speed"),
        "safeguards": [guard["type"] for guard in body.get("safeguards", [])],
        "roles": [message["role"] for message in body["messages"]],
        "members of messages": sorted({name for message in body["messages"] for name in message}),
        "members of tools": sorted({name for tool in body["tools"] for name in tool}),
        "tools at the provider": [tool for tool in body["tools"] if "type" in tool],
    }


WAYS = {
    "its default": ([BASH, Say("Done.")], ["--allowedTools=Bash"], {"model": "claude-opus-5-5"}),
    "haiku": ([Say("Done.")], [], {"model": "haiku"}),
    "an older model": ([Say("Done.")], [], {"model": "claude-sonnet-4-5"}),
    "a model that it does not know": ([Say("Done.")], [], {}),
    "a web search": ([Call("WebSearch", {"query": "payments"}), Say("Done.")], ["--allowedTools=WebSearch", "--tools=WebSearch"], {}),
    "auto mode": ([Say("Done.")], ["--permission-mode=auto"], {}),
    "fast mode": ([Say("Done.")], ["--settings", '{"fastMode": true}'], {"model": "claude-opus-5-5"}),
    "streamed to a program": ([Say("Done.")], ["--output-format=stream-json", "--verbose", "--include-partial-messages"], {}),
    "without experiments": ([Say("Done.")], [], {"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1"}),
}


def test_it_sends_what_was_recorded(machine, tmp_path):
    """Fails when a new version sends something else. Then: LAVA_RECORD=1, and look at what is new before it is kept."""
    found = {}
    for way, (steps, more, settings) in WAYS.items():
        settings = dict(settings)
        with Scripted(*steps) as upstream, Recorder(upstream.root) as recorder:
            command, env = claude("claude", Step("", recorder.root, "lava_sk_recorded", settings.pop("model", OWN)), machine.home, *more)
            done = run(command, env={"HOME": str(machine.home), **env, **settings}, cwd=machine.home, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        found[way] = [sent(exchange) for exchange in recorder.exchanges if exchange.method == "POST"]
    package = json.loads((HERE / "tools/package.json").read_text())["devDependencies"]["@anthropic-ai/claude-code"]
    found = {"version": package, "requests": found}
    if os.environ.get("LAVA_RECORD"):
        RECORDED.parent.mkdir(exist_ok=True)
        RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    assert not re.search("lava_sk_", json.dumps(found))
    assert found == json.loads(RECORDED.read_text())
