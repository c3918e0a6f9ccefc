"""docs/first-five-minutes.md is a recording: the test runs every command anew and compares the output.

`TARGCC_UPDATE_RECORDING=1 uv run pytest -n 0 -m soak tests/e2e/test_first_five_minutes.py` records the page anew.
"""

from __future__ import annotations

import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest
from targcc_gen.demo import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform == "win32", reason="the recording is of a POSIX shell"),
]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "first-five-minutes.md"
MARK = "<!-- recording -->"
JOB = "src/acme_jobs/jobs/daily_report.py"
LEFT_OUT = re.compile(r"Using CPython|Creating virtual| *(Building|Built|Download)|.* Heartbeat ")
"""Lines of the second terminal that depend on the cache of uv or on the minute of the hour."""
LIMIT = 300
"""Seconds to wait for a line of output."""
DONE = "        return JobResult.success()"
BUG = """        rows: list[str] = []
        return JobResult.success(f"first row: {rows[0]}")"""
MENDED = """        rows = ["Monday,3,120.00"]
        return JobResult.success(f"first row: {rows[0]}")"""


@dataclass
class Recording:
    """Runs commands in a folder and keeps each line of output with its time; the second terminal is `targcc dev`.

    Attributes:
        folder: The folder of the next command.
        environment: The environment of the commands.
    """

    folder: Path
    environment: dict[str, str]
    began: float = field(default_factory=time.monotonic)
    lines: list[tuple[float, str]] = field(default_factory=list)
    second: subprocess.Popen[str] | None = None
    reader: threading.Thread = field(default_factory=threading.Thread)
    output: queue.Queue[tuple[float, str]] = field(default_factory=queue.Queue)

    def run(self, command: str, status: int = 0) -> None:
        """Run a command to its end."""
        self._write(f"$ {command}")
        with self._started(command) as process:
            assert process.stdout is not None
            output = [self._write(line) for line in process.stdout]
        assert process.returncode == status, (command, output)

    def enter(self, folder: str) -> None:
        """Change the folder."""
        self._write(f"$ cd {folder}")
        self.folder /= folder

    def start(self, command: str, until: str) -> None:
        """Start a command in the second terminal and wait for a line."""
        self._write(f"│ $ {command}")
        self.second = self._started(command)
        self.reader = threading.Thread(target=self._read, args=(self.second.stdout,), daemon=True)
        self.reader.start()
        self.wait(until)

    def wait(self, text: str) -> None:
        """Take lines of the second terminal up to a line with a text."""
        while True:
            moment, line = self.output.get(timeout=LIMIT)
            if not LEFT_OUT.match(line):
                self.lines.append((max(moment, self.lines[-1][0]), f"│ {line}".rstrip()))
            if text in line:
                return

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text of a file as a person does in an editor."""
        text = (self.folder / path).read_text(encoding="utf-8")
        assert old in text, text
        removed = "".join(f"- {line}\n" for line in old.splitlines())
        added = "".join(f"+ {line}\n" for line in new.splitlines())
        for line in f"edit {path}\n{removed}{added}".splitlines():
            self._write(line)
        (self.folder / path).write_text(text.replace(old, new), encoding="utf-8")

    def stop(self) -> None:
        """End the second terminal by Ctrl-C."""
        assert self.second is not None
        self.second.send_signal(signal.SIGINT)
        self.second.wait(LIMIT)
        assert self.second.stdout is not None
        self.reader.join(LIMIT)
        self.second.stdout.close()

    def text(self) -> str:
        """Return the lines, each with minutes and seconds since the start."""
        return "\n".join(
            f"{moment // 60:.0f}:{moment % 60:04.1f}  {line}".rstrip()
            for moment, line in self.lines
        )

    def _started(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            shlex.split(command),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def _read(self, output: IO[str]) -> None:
        for line in output:
            self.output.put((time.monotonic() - self.began, line.rstrip("\n")))

    def _write(self, line: str) -> str:
        self.lines.append((time.monotonic() - self.began, line.rstrip("\n")))
        return line


def recorded(folder: Path) -> str:
    """Run the first five minutes of a new user."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "targcc-gen").symlink_to(Path(sys.executable).with_name("targcc-gen"))
    ours = re.compile("TARGCC_|PYTEST|VIRTUAL_ENV|UV_NO|PYTHONPATH|COV_")
    environment = {name: text for name, text in os.environ.items() if not ours.match(name)} | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "TARGCC_PORT": str(port := free_port()),
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON": sys.executable,
        "NO_COLOR": "1",
        "COLUMNS": "120",
        "PYTHONUNBUFFERED": "1",
    }
    recording = Recording(folder, environment)
    try:
        recording.run("targcc-gen new acme-jobs --yes")
        recording.enter("acme-jobs")
        recording.start("uv run targcc dev --no-open", "Open ")
        recording.run('targcc-gen job DailyReport --cron "0 2 * * *"')
        recording.wait("reloaded")
        recording.edit(JOB, DONE, BUG)
        recording.wait("reloaded")
        recording.run("uv run targcc job run DailyReport --wait", status=1)
        recording.wait("IndexError")
        recording.edit(JOB, BUG, MENDED)
        recording.wait("reloaded")
        recording.run("uv run targcc job run DailyReport --wait")
        recording.wait("succeeded")
        recording.run("uv run pytest -q")
        recording.stop()
    finally:
        if recording.second is not None:
            recording.second.kill()
    return re.sub("token=[^ ]+", "token=…", recording.text().replace(str(port), "8000"))


def masked(text: str) -> str:
    """Return a recording without times, dates, numbers and generated names."""
    text = re.sub(r"(?m)^\d+:[\d.]+ ?", "", text)
    text = re.sub(r"\+h[0-9a-f]{10}", "+h", text)
    text = re.sub(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b|\b[A-Z][a-z]{2}\b", "…", text)
    text = re.sub(r"[+-]?\d+([.:,]\d+)*( ?(ms|s|min|h))?\b", "0", text)
    return "\n".join(re.sub(r"[ ─]+", " ", line).strip() for line in text.splitlines())


def test_the_recording_shows_what_the_commands_print(tmp_path):
    text = recorded(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    before, _, _ = page.partition(MARK)
    if os.environ.get("TARGCC_UPDATE_RECORDING"):
        PAGE.write_text(f"{before}{MARK}\n\n```text\n{text}\n```\n", encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")

    shown = re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)[-1]

    assert masked(shown) == masked(text)
