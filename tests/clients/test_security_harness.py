"""The agent security harness against the product: what it finds is listed with a reason, or mended."""

import json
import subprocess

import pytest
from harness import ROOT, WHOLE_KEY, binary
from programs import python_tool, serve

EXCEPTIONS = ROOT / "tests/conformance/security.yml"
# Verdicts that are not "inconclusive": a harness that looks at less has lost something.
JUDGED_MIN = 16


def exceptions() -> dict[str, str]:
    lines = [line.strip().removeprefix("- ") for line in EXCEPTIONS.read_text().splitlines() if line.startswith("  - ")]
    return {name.strip(): reason.strip() for name, _, reason in (line.partition("#") for line in lines)}


def attack(machine, report, *target) -> None:
    command = [python_tool("agent-security"), "test", "mcp", *target, "--report", str(report)]
    done = subprocess.run(command, env=machine.env, cwd=machine.home, capture_output=True, text=True, timeout=100)
    said = done.stdout + done.stderr
    results = json.loads(report.read_text())["results"]
    judged = [result for result in results if not result["not_evaluated"]]
    assert len(judged) >= JUDGED_MIN, said
    found = {result["test_id"]: result["details"] for result in judged if not result["passed"]}
    assert found.keys() == exceptions().keys(), f"{found}\n{said}"
    assert not WHOLE_KEY.search(report.read_text())


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_security_harness_finds_only_what_is_listed(machine, tmp_path, transport):
    report = tmp_path / "report.json"
    if transport == "stdio":
        attack(machine, report, "--transport", "stdio", "--command", f"{binary()} --sandbox")
    else:
        with serve(machine) as server:
            attack(machine, report, "--transport", "http", "--url", server.url)


def test_every_exception_has_a_reason():
    assert exceptions()
    for name, reason in exceptions().items():
        assert len(reason.split()) >= 5, f"no reason: {name}"
