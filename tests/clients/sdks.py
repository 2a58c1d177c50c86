"""The four official SDKs behind one function, so that a promise is checked with each of them alike.

Nothing but key and base URL is set, unless a test asks for a number of retries.
"""

import dataclasses
import json
import os
import subprocess
import time

import anthropic
import httpx2
import openai

from harness import HERE

SDKS = ["openai-py", "anthropic-py", "openai-js", "anthropic-js"]

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}

MESSAGES = [{"role": "user", "content": "Hello!"}]


def family(sdk: str) -> str:
    return sdk.partition("-")[0]


@dataclasses.dataclass
class Outcome:
    """An answer, or how the SDK's caller learns that there is none."""

    took_s: float = 0
    text: str | None = None
    pieces: int = 0
    input: int | None = None
    output: int | None = None
    status: int | None = None
    code: str | None = None
    type: str | None = None
    message: str | None = None


def node(script: str, *args: str, root: str, timeout: float = 50, **env: str) -> subprocess.CompletedProcess:
    """Runs a script of this folder; what it found is the JSON in its last line."""
    assert (HERE / "node_modules/openai").exists(), "run `npm ci` in tests/clients first (scripts/test does)"
    env = {"PATH": os.environ["PATH"], "GATEWAY_ROOT": root, **env}
    done = subprocess.run(["node", HERE / "js" / script, *args], env=env, timeout=timeout, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done


def found(done: subprocess.CompletedProcess) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


def ask(sdk: str, root: str, key: str, *, stream: bool = False, max_retries: int | None = None, **body) -> Outcome:
    """One question. A refusal is an outcome, not an exception; whatever else goes wrong is raised."""
    body = {"model": MODELS[family(sdk)], **body}
    began = time.monotonic()
    if sdk.endswith("-js"):
        retries = [] if max_retries is None else [str(max_retries)]
        done = node("ask.mjs", family(sdk), "stream" if stream else "plain", json.dumps(body), *retries, root=root, SPEND_KEY=key)
        return Outcome(took_s=time.monotonic() - began, **found(done))
    options = {} if max_retries is None else {"max_retries": max_retries}
    options["http_client"] = httpx2.Client(trust_env=False, timeout=30)
    body = {"messages": MESSAGES, "max_tokens": 100, **body}
    outcome = Outcome()
    try:
        if sdk == "openai-py":
            ask_openai(openai.OpenAI(api_key=key, base_url=f"{root}/v1", **options), body, stream, outcome)
        else:
            ask_anthropic(anthropic.Anthropic(api_key=key, base_url=root, **options), body, stream, outcome)
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        # Anthropic's SDK keeps the whole body, OpenAI's what is in its `error`.
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error", body)
        outcome = Outcome(status=error.status_code, code=inner.get("code"), type=inner.get("type"), message=error.message)
    outcome.took_s = time.monotonic() - began
    return outcome


def ask_openai(client: openai.OpenAI, body: dict, stream: bool, outcome: Outcome) -> None:
    if not stream:
        answer = client.chat.completions.create(**body)
        outcome.text, outcome.pieces, usage = answer.choices[0].message.content, 1, answer.usage
    else:
        outcome.text = ""
        for chunk in client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True}):
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                outcome.text += piece
                outcome.pieces += 1
            usage = chunk.usage
    outcome.input, outcome.output = usage.prompt_tokens, usage.completion_tokens


def ask_anthropic(client: anthropic.Anthropic, body: dict, stream: bool, outcome: Outcome) -> None:
    if not stream:
        answer, outcome.pieces = client.messages.create(**body), 1
    else:
        with client.messages.stream(**body) as events:
            outcome.pieces = sum(1 for _ in events.text_stream)
            answer = events.get_final_message()
    outcome.text = answer.content[0].text
    outcome.input, outcome.output = answer.usage.input_tokens, answer.usage.output_tokens
