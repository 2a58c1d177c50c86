"""The commands that a person types first, on a machine with nothing on it."""

import json

import pytest
from harness import ROOT, TOOLS, WHOLE_KEY


@pytest.fixture
def newcomer(machine):
    """Somebody who has just built the program: no setting at all, and no keyring."""
    for name in [name for name in machine.env if name.startswith("LAVA_")]:
        del machine.env[name]
    return machine


def files(machine) -> set:
    return {path for path in machine.home.rglob("*") if not path.is_dir()}


def test_the_demo_does_the_whole_job_and_leaves_nothing_behind(newcomer):
    before = files(newcomer)
    done = newcomer.run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("login", "search", "prompt", "call"):
        assert step in done.stdout, f"the transcript shows {step}"
    assert "spend_limit_exceeded" in done.stdout or "limit" in done.stdout, "the limit refuses something"
    assert "panicked" not in done.stderr
    assert not WHOLE_KEY.search(done.stdout + done.stderr), "a key in the transcript"
    assert files(newcomer) == before


def test_the_doctor_says_what_does_not_work(newcomer):
    done = newcomer.run("doctor")
    said = (done.stdout + done.stderr).lower()
    for subject in ("keyring", "ledger", "provider"):
        assert subject in said, said
    assert "panicked" not in said and not WHOLE_KEY.search(done.stdout + done.stderr)


def test_the_manifest_lists_what_is_served(newcomer):
    done = newcomer.run("manifest")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["manifest_version"] == "0.3"
    assert [tool["name"] for tool in manifest["tools"]] == TOOLS
    assert manifest == json.loads((ROOT / "mcp-manifest.json").read_text()), "run `lava-mcp manifest > mcp-manifest.json`"


@pytest.mark.parametrize("arguments", [["transfer"], ["--colour"], ["prompt"]])
def test_a_wrong_command_line_says_what_is_right(newcomer, arguments):
    done = newcomer.run(*arguments)
    assert done.returncode not in (0, 101) and done.stdout == ""
    assert "Usage" in done.stderr or "usage" in done.stderr


def test_help_and_version(newcomer):
    version = newcomer.run("--version")
    assert version.returncode == 0 and version.stdout.startswith("lava-mcp ")
    help_text = newcomer.run("--help").stdout
    for command in ("login", "logout", "status", "search", "prompt", "call", "doctor", "demo", "manifest"):
        assert command in help_text
