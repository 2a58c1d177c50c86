"""The official conformance suite against the product, and against the fixture server on the product's own routes."""

import re

import pytest
from harness import ROOT
from programs import Listening, conformance_fixture, run, script, serve

BASELINES = ROOT / "tests/conformance"

# revision -> checks that pass on the fixture server, which is all of them. A suite that runs fewer has lost some.
CHECKS = {"2025-11-25": 83, "2026-07-28": 196}


@pytest.fixture
def suite(machine):
    def conform(url: str, revision: str, *args) -> tuple[int, int, int, str]:
        """Exit code, checks that passed, checks that failed, and all that was said."""
        command = [*script("@modelcontextprotocol/conformance", "dist/index.js"), "server", "--url", url, "--requirements", revision, *args]
        done = run(command, env={"HOME": machine.env["HOME"]}, cwd=machine.home, timeout=50)
        total = re.search(r"Total: (\d+) passed, (\d+) failed", done.stdout)
        assert total, done.stdout + done.stderr
        return done.returncode, int(total[1]), int(total[2]), done.stdout

    return conform


@pytest.mark.parametrize("revision", CHECKS)
def test_the_fixture_server_passes_everything(machine, suite, revision):
    with Listening(machine, [conformance_fixture(), "127.0.0.1:0"]) as server:
        code, passed, failed, said = suite(server.url, revision)
    assert (code, failed) == (0, 0), said
    assert passed == CHECKS[revision], f"{passed} checks passed; if the suite has changed, change CHECKS and docs/CONTRIBUTING.md\n{said}"


@pytest.mark.parametrize("revision", CHECKS)
def test_the_product_fails_only_what_it_says(machine, suite, revision):
    with serve(machine) as server:
        # A listed scenario that passes is an error as well.
        code, passed, _, said = suite(server.url, revision, "--expected-failures", BASELINES / f"product-{revision}.yml")
    assert code == 0, said
    assert passed > 40, said


@pytest.mark.parametrize("revision", CHECKS)
def test_every_line_of_a_baseline_has_a_reason(revision):
    lines = (BASELINES / f"product-{revision}.yml").read_text().splitlines()
    entries = [line for line in lines if line.startswith("  - ")]
    assert entries
    for line in entries:
        assert len(line.partition("#")[2].split()) >= 3, f"no reason: {line}"
