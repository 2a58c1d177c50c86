"""A guide of docs/guides, followed as its reader does: what it has typed is typed, what it has put into files is put there, and what it shows must come.

A block of `sh` is typed into one terminal, from top to bottom; one with `gateway` or `serve` alone goes on running, as in a terminal of its own. Another block is a file
if the line before it ends in a colon and names one in backquotes; else it is an illustration. A block of `text` is what the `sh` block before it must have printed,
where `…` stands for anything.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import socket

from command_clients import opencode_program
from conversation import FRAMEWORKS, SILENT, package, python_of
from harness import ROOT, Machine, binary
from programs import native, node, run

GUIDES = ROOT / "docs/guides"

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r".*`([^`\s]+)`[^`\n]*:\s*\Z", re.DOTALL)
STAYS = re.compile(r"lava-mcp (?:--\S+ )*(?:gateway|serve)\b.*")
MARK = "@@@ block "


@dataclasses.dataclass
class Block:
    kind: str  # sh, stays, file, text
    text: str
    file: str = ""


def blocks(page: str) -> list[Block]:
    found, end = [], 0
    for match in BLOCK.finditer(page):
        language, text = match.groups()
        before = page[end : match.start()].rstrip("\n").rpartition("\n")[2]
        end = match.end()
        if language == "sh":
            commands = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
            found.append(Block("stays" if len(commands) == 1 and STAYS.match(commands[0]) else "sh", text))
        elif language == "text":
            found.append(Block("text", text))
        elif named := NAMED.match(before):
            found.append(Block("file", text, named[1]))
    return found


def shims(folder: pathlib.Path, more: dict[str, str]) -> None:
    """The programs of the guide by the names under which they are typed. Nothing is fetched here: what a guide installs is there already."""
    lava = shlex.quote(str(binary()))
    commands = {
        # Asked for a provider's key, its reader pastes one.
        "lava-mcp": f'case "$*" in "providers set "*) echo "sk-$([ "$3" = anthropic ] && echo ant-)of-the-reader" | {lava} "$@"; exit;; esac\nexec {lava} "$@"',
        "claude": f'exec {native("@anthropic-ai/claude-code-*/claude")} "$@"',
        "codex": f'exec {native("@openai/codex-*/vendor/*/bin/codex")} "$@"',
        "gemini": f'exec {node()} {package("@google/gemini-cli/bundle/gemini.js")} "$@"',
        "cn": f'exec {node()} {package("@continuedev/cli/dist/cn.js")} "$@"',
        "cline": f'exec {package("@cline")}/cli-linux-*/bin/cline "$@"',
        "opencode": f'exec {opencode_program()} "$@"',
        "node": f'exec {node()} "$@"',
        "npm": f"ln -sfn {FRAMEWORKS}/node_modules node_modules",
        "pip": "exit 0",
        "cargo": "exit 0",
        "python": f'exec {python_of(".venv-mcp2")} "$@"',
        "sudo": 'exec "$@"',
        # There is no service manager here; the test that needs a proxy brings it.
        "systemctl": f'[ "$1" = reload ] && exec {folder}/reload',
        **more,
    }
    folder.mkdir(exist_ok=True)
    for name, command in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{command}\n")
        (folder / name).chmod(0o755)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def as_script(found: list[Block], printed: pathlib.Path) -> str:
    """What the reader does, for a shell."""
    lines = [f"exec >{printed} 2>&1"]
    if any("cline " in block.text for block in found):
        # Its background process would outlive a reader who stumbles.
        lines.append("trap 'cline hub stop' EXIT")
    for number, block in enumerate(found):
        if block.kind == "text":
            continue
        lines.append(f"printf '\\n{MARK}{number}\\n'")
        if block.kind == "sh":
            lines.append(block.text)
        elif block.kind == "stays":
            port = re.search(r":(\d+)|--listen (\d+)", block.text) or re.search("(PORT)", "PORT")
            port = next(group for group in port.groups() if group)
            lines.append(f"{block.text} >>{printed}.{number} 2>&1 & stays=\"${{stays:-}} $!\"")
            lines.append(f"for _ in $(seq 200); do (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.05; done")
        else:
            path = block.file.replace("~", "$HOME", 1)
            lines.append(f'mkdir -p "$(dirname "{path}")"; cat >"{path}" <<\'EOF_OF_GUIDE\'\n{block.text}EOF_OF_GUIDE')
            # The key that the reader was shown last.
            lines.append(f"sed -i \"s/lava_sk_…/$(grep -o 'lava_sk_[A-Za-z0-9]\\{{30,\\}}' {printed} | tail -1)/\" \"{path}\"")
    # What stays is ended, and must end well.
    lines.append('for one in ${stays:-}; do kill $one; wait $one || { echo "it ended with $?" >&2; exit 1; }; done')
    return "\n".join(lines) + "\n"


def shown(text: str) -> re.Pattern:
    """What a `text` block shows, however wide its columns are."""
    pieces = [r"\s+".join(map(re.escape, piece.split())) for piece in text.split("…")]
    return re.compile(r"\s*.*?\s*".join(pieces), re.DOTALL)


class Followed:
    """What came of following a guide once."""

    def __init__(self, guide: str, machine: Machine, instead: dict[str, str], without: str = "", programs: dict[str, str] | None = None, **variables: str):
        page = (GUIDES / guide).read_text()
        if without:
            page = re.sub(rf"^## {without}$.*?(?=^## )", "", page, count=1, flags=re.MULTILINE | re.DOTALL)
        ports = {"4040": str(free_port()), "8484": str(free_port())}
        swaps = {**{f"127.0.0.1:{port}": f"127.0.0.1:{ours}" for port, ours in ports.items()}, **{f"--listen {port}": f"--listen {ours}" for port, ours in ports.items()}}
        self.blocks = blocks(page)
        for block in self.blocks:
            if block.kind == "stays":
                block.text = re.sub(r"\s+#.*", "", block.text).strip()
                if "--listen" not in block.text:
                    block.text += f" --listen 127.0.0.1:{'8484' if ' serve' in block.text else '4040'}"
            for theirs, ours in {**swaps, **instead}.items():
                block.text, block.file = block.text.replace(theirs, ours), block.file.replace(theirs, ours)
        bin_folder = machine.home.parent / "bin"
        shims(bin_folder, programs or {})
        project = machine.home / "project"
        project.mkdir(exist_ok=True)
        printed = machine.home.parent / "printed.txt"
        # Nothing leaves this machine: the reader tries it in the sandbox first.
        env = {**machine.env, **SILENT, "LAVA_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", **variables}
        env["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
        script = machine.home.parent / "typed.sh"
        script.write_text(as_script(self.blocks, printed))
        done = run(["env", f"PATH={env['PATH']}", "bash", "-euo", "pipefail", script], env=env, cwd=project, timeout=110)
        # Some programs colour what they say wherever it goes.
        self.printed, self.errors, self.code = re.sub(r"\x1b\[[0-9;]*m", "", printed.read_text()), done.stderr, done.returncode
        parts = re.split(rf"\n{MARK}(\d+)\n", self.printed)
        self.outputs = {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}

    def check(self) -> None:
        last = max(self.outputs, default=None)
        assert self.code == 0, f"it stumbles at:\n{self.blocks[last].text if last is not None else ''}\n{self.printed[-4000:]}\n{self.errors[-2000:]}"
        before = ""
        for number, block in enumerate(self.blocks):
            if block.kind == "text":
                assert shown(block.text).search(before), f"the guide shows\n{block.text}\nbut there came\n{before}"
            else:
                before = self.outputs[number]
