"""A person's browser: headless Chromium, which does what a test says and tells what is on the screen."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess

from harness import HERE


@dataclasses.dataclass
class Screen:
    url: str
    title: str
    status: int | None
    failed: str | None
    text: str | None
    # Addresses of the frames in the page, everything that was asked for since the tab was opened, and what the browser complained about.
    frames: list[str]
    requests: list[str]
    complaints: list[str]


class Browser:
    """Use as a context manager; it has a profile of its own and has never been anywhere."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def __enter__(self):
        program = os.environ.get("CHROMIUM") or shutil.which("chromium")
        assert program, "chromium is missing: apt-get install chromium"
        assert (HERE / "node_modules/playwright-core").exists(), "run `npm ci` in tests/clients first (scripts/test does)"
        home = self._folder / "home"
        home.mkdir()
        self._log = (self._folder / "stderr.log").open("w+")
        self._process = subprocess.Popen(
            ["node", HERE / "js/browser.mjs", self._folder / "profile", program],
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _do(self, step: str, **how) -> Screen:
        self._process.stdin.write(json.dumps({"do": step, **how}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the browser ended with {self._process.wait()}: {pathlib.Path(self._log.name).read_text()}"
        return Screen(**json.loads(answer))

    def open(self, url: str) -> Screen:
        return self._do("open", url=url)

    def fill(self, label: str, text: str) -> Screen:
        return self._do("fill", label=label, text=text)

    def press(self, name: str) -> Screen:
        """Presses a button or follows a link, and waits for the page that comes of it."""
        return self._do("press", name=name)

    def press_key(self, key: str) -> Screen:
        return self._do("press", name="", key=key)

    def tab(self) -> Screen:
        return self._do("tab")
