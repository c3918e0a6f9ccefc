"""Processes of a storm: forked by a zygote, stopped, killed and restarted; each event goes to the storm's record."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import processes
import psutil

from storms.proxy import Cable
from storms.record import JOBS, STORM, append
from storms.zygote import ACT, SUBMIT

_WORKER = "targcc_scheduler.worker_process"
"""Text in the command line of a node's worker processes."""
_RECENT = 65_536
"""Bytes at the record's end that are searched for busy processes."""
_ENDS = 60
"""Seconds within which the zygote ends."""
_READY = "Queues "
"""Start of the last line that ``targcc worker`` prints once it works."""


@dataclass
class Process:
    """Process of the storm.

    Args:
        name: A name that is unique within the storm.
        release: The release of the project.
        log: The file with its output.
        cable: Its connection to the server, for network faults.
    """

    name: str
    release: int
    log: Path
    process: psutil.Process
    cable: Cable | None = None
    frozen: bool = field(default=False)
    was_ready: bool = field(default=False)

    @property
    def is_up(self) -> bool:
        """Return whether the process exists."""
        return self.process.is_running()

    def said(self) -> str:
        """Return the process log."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def send(self, number: int) -> None:
        """Send a signal, if the process still exists."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.send_signal(number)

    def workers(self) -> list[psutil.Process]:
        """Return the node's worker processes."""
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self.process.children():
                with contextlib.suppress(psutil.Error):
                    if any(_WORKER in word for word in child.cmdline()):
                        children.append(child)
        return children

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue the process and all its descendants."""
        self.frozen = frozen
        with contextlib.suppress(psutil.NoSuchProcess):
            everybody = [self.process, *self.process.children(recursive=True)]
            for process in everybody:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def wait(self, seconds: float) -> bool:
        """Wait for the end; return whether the process ended in time."""
        deadline = time.monotonic() + seconds
        while self.is_up:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


class Processes:
    """Start the processes of a storm.

    Args:
        folder: The folder of logs and record.
        environment: Variables for every process.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.everybody: list[Process] = []
        self._folder = folder
        self._numbers: dict[str, int] = {}
        variables = processes.environment(
            PYTHONPATH=os.pathsep.join(map(str, _tests())), **environment
        )
        with (folder / "zygote.log").open("w") as log:
            self._zygote = subprocess.Popen(
                [sys.executable, "-m", "storms.zygote"],
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._answer()

    def start(
        self, role: str, release: int, words: list[str], *, cable: Cable | None = None, **more: str
    ) -> Process:
        """Start a process with the variables in ``more`` added to its environment."""
        name = self.next_name(role)
        self._numbers[role] = self._numbers.get(role, 0) + 1
        log = self._folder / f"{name}.log"
        order: dict[str, Any] = {
            "folder": str(self._folder / f"release{release}"),
            "environment": {"STORM_NODE": name, "STORM_RELEASE": str(release), **more},
            "log": str(log),
            "words": words,
        }
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        pid = int(self._answer())
        started = Process(name, release, log, psutil.Process(pid), cable)
        self.everybody.append(started)
        self.say("node", node=name, target=pid, role=role, release=release)
        return started

    def next_name(self, role: str) -> str:
        """Return the name of the next process in a role."""
        return f"{role}{self._numbers.get(role, 0) + 1}"

    def submit(self, release: int, **more: str) -> Process:
        """Start a submitter."""
        return self.start("submitter", release, [SUBMIT], **more)

    def act(self, release: int, **more: str) -> Process:
        """Start a process that acts as people do."""
        return self.start("person", release, [ACT], **more)

    def look(self) -> None:
        """Record which processes have become ready and which have ended by themselves."""
        for process in self.everybody:
            if not process.was_ready and _READY in process.said():
                process.was_ready = True
                self.say("ready", node=process.name)

    def busy(self) -> set[int]:
        """Return the ids of processes with a job that has begun and not ended, by the end of the record."""
        record = self._folder / JOBS
        if not record.exists():  # no job has begun yet
            return set()
        with record.open("rb") as file:
            file.seek(max(0, record.stat().st_size - _RECENT))
            lines = file.read().splitlines()[1:]
        last: dict[int, str] = {}
        for line in map(json.loads, lines):
            if line["event"] in {"start", "end"}:
                last[line["pid"]] = line["event"]
        return {pid for pid, event in last.items() if event == "start"}

    def kill(self, process: Process) -> None:
        """Kill a process."""
        self.say("fault", kind="kill", node=process.name)
        process.send(signal.SIGKILL)
        process.wait(10)
        self.ended(process)

    def terminate(self, process: Process, seconds: float) -> bool:
        """Ask a process to stop, wait, and kill it after a timeout; return whether it stopped."""
        self.say("fault", kind="term", node=process.name)
        process.send(signal.SIGTERM)
        if not process.wait(seconds):
            self.kill(process)
            return False
        self.ended(process)
        return True

    def ended(self, process: Process) -> None:
        """Record the end of a process."""
        self.say("ended", node=process.name)
        if process.cable is not None:
            process.cable.close()

    def say(self, event: str, **values: Any) -> None:
        """Append a line to the storm's record."""
        append(self._folder / STORM, event, **values)

    def close(self) -> None:
        """Kill every remaining process and the zygote."""
        for process in self.everybody:
            if process.is_up:
                process.freeze(frozen=False)
                process.send(signal.SIGKILL)
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(_ENDS)
        assert self._zygote.stdout is not None
        self._zygote.stdout.close()

    def _answer(self) -> str:
        assert self._zygote.stdout is not None
        line = self._zygote.stdout.readline().strip()
        if not line:
            raise RuntimeError((self._folder / "zygote.log").read_text())
        return line


def _tests() -> list[Path]:
    tests = Path(__file__).resolve().parents[1]
    return [tests, tests / "scheduler", tests / "scheduler" / "packages"]
