"""The MCPB bundle, packed with the official tool, and the registry's server.json that is made from it."""

import hashlib
import json
import pathlib
import shutil
import subprocess
import zipfile

import pytest
from harness import HERE, ROOT, TOOLS, binary

MCPB = HERE / "node_modules/.bin/mcpb"


def mcpb(*arguments):
    assert MCPB.exists(), "run `npm ci` in tests/clients first (scripts/test does)"
    return subprocess.run([MCPB, *arguments], capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL)


def test_the_manifest_is_one_that_the_official_tool_accepts():
    validated = mcpb("validate", ROOT / "mcp-manifest.json")
    assert validated.returncode == 0, validated.stdout + validated.stderr


def test_the_official_tool_would_refuse_a_wrong_one(tmp_path):
    manifest = json.loads((ROOT / "mcp-manifest.json").read_text())
    manifest["transports"] = []
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert mcpb("validate", tmp_path / "manifest.json").returncode != 0


@pytest.fixture
def small_binary(tmp_path):
    """The program without its debug information: packing 100 MB takes longer than a test may."""
    path = tmp_path / "lava-mcp"
    shutil.copy(binary(), path)
    subprocess.run(["strip", path], check=False)
    return path


def test_a_bundle_is_packed_and_starts(machine, small_binary, tmp_path):
    bundle = tmp_path / "lava-mcp.mcpb"
    packed = subprocess.run([ROOT / "scripts/bundle", small_binary, bundle], capture_output=True, text=True, timeout=55)
    assert packed.returncode == 0, packed.stdout + packed.stderr

    unpacked = tmp_path / "unpacked"
    assert mcpb("unpack", bundle, unpacked).returncode == 0
    manifest = json.loads((unpacked / "manifest.json").read_text())
    assert manifest["compatibility"]["platforms"] == ["linux"]
    program = pathlib.Path(manifest["server"]["mcp_config"]["command"].replace("${__dirname}", str(unpacked)))
    assert program == unpacked / manifest["server"]["entry_point"]
    with zipfile.ZipFile(bundle) as archive:
        mode = archive.getinfo(manifest["server"]["entry_point"]).external_attr >> 16
    assert mode & 0o111, "it can be run"
    program.chmod(0o755)
    listed = subprocess.run([program, "manifest"], capture_output=True, text=True, env=machine.env, timeout=20)
    assert [tool["name"] for tool in json.loads(listed.stdout)["tools"]] == TOOLS

    url = "https://example.com/lava-mcp.mcpb"
    entry = json.loads(machine.run("manifest", "--server-json", "--mcpb", str(bundle), "--url", url).stdout)
    (package,) = entry["packages"]
    assert package["fileSha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert (package["registryType"], package["identifier"], package["transport"]) == ("mcpb", url, {"type": "stdio"})


def test_what_is_no_program_is_not_packed(tmp_path):
    text = tmp_path / "lava-mcp"
    text.write_text("#!/bin/sh\n")
    refused = subprocess.run([ROOT / "scripts/bundle", text, tmp_path / "x.mcpb"], capture_output=True, text=True, timeout=20)
    assert refused.returncode == 2 and "no program" in refused.stderr
    assert not (tmp_path / "x.mcpb").exists()
