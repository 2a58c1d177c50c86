"""What Gemini, OpenAI's strict mode and Anthropic make of our tools, by their own code: every argument reaches the model, and nothing is refused or dropped."""

import json
import subprocess

import pytest
from agents.strict_schema import ensure_strict_json_schema
from anthropic import transform_schema
from harness import HERE, TOOLS

FOLDER = HERE / "schemas"


@pytest.fixture
async def tools(machine):
    async with machine.client("--sandbox", mode="legacy") as client:
        listed = (await client.list_tools()).tools
    found = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed]
    assert [tool["name"] for tool in found] == TOOLS
    return found


def ask(tools: list[dict], *judge: object) -> dict | list:
    done = subprocess.run([str(part) for part in judge], input=json.dumps(tools), capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def arguments(tools: list[dict]) -> dict[str, list[str]]:
    return {tool["name"]: sorted(tool["inputSchema"]["properties"]) for tool in tools}


@pytest.mark.anyio
async def test_gemini_takes_every_tool_in_python(tools):
    verdicts = ask(tools, FOLDER / ".venv/bin/python", FOLDER / "judge.py")
    assert verdicts == {judge: arguments(tools) for judge in ("declared", "converted", "langchain")}


def untyped(schema: dict, place: str) -> list[str]:
    found = [] if "type" in schema or "anyOf" in schema else [place]
    if "anyOf" in schema and len(schema) > 1:
        found.append(f"{place}: more than anyOf")
    if "null" in json.dumps(schema) or schema.get("nullable"):
        found.append(f"{place}: null")
    for name, part in [*schema.get("properties", {}).items(), *enumerate(schema.get("anyOf", []))]:
        found += untyped(part, f"{place}.{name}")
    return found + (untyped(schema["items"], f"{place}.items") if "items" in schema else [])


@pytest.mark.anyio
async def test_gemini_takes_every_tool_in_the_ai_sdk(tools):
    declarations = ask(tools, "node", FOLDER / "judge.mjs")
    assert {one["name"]: sorted(one["parameters"]["properties"]) for one in declarations} == arguments(tools)
    assert [place for one in declarations for place in untyped(one["parameters"], one["name"])] == []



def described(schema) -> list[str]:
    """What a schema says in words, in order."""
    if isinstance(schema, list):
        return [text for part in schema for text in described(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["description"]] if isinstance(schema.get("description"), str) else []
    return sorted(own + [text for part in schema.values() for text in described(part)])


@pytest.mark.anyio
async def test_openai_and_anthropic_know_every_keyword(tools):
    for tool in tools:
        for side in ("inputSchema", "outputSchema"):
            schema = json.dumps(tool[side])
            ensure_strict_json_schema(json.loads(schema))
            # What Anthropic's SDK does not know it puts into a description.
            assert described(transform_schema(json.loads(schema))) == described(json.loads(schema)), tool["name"]


def test_the_judges_are_pinned_to_the_last_digit():
    wanted = json.loads((FOLDER / "package.json").read_text())["devDependencies"]
    assert all(version[0].isdigit() for version in wanted.values()), wanted
    lines = [line for line in (FOLDER / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert lines and all("==" in line for line in lines)
