"""Host applications in separate processes, started by their usual servers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of a developer, without our variables."""
    ours = ("TARGCC_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(root), **more}


def run(root: Path, *words: str, **more: str) -> str:
    """Run a Python program and return its output."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=root,
        env=environment(root, **more),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, f"not within 90 s: {what}"
        time.sleep(0.1)


@contextlib.contextmanager
def process(root: Path, words: str, **env: str) -> Iterator[None]:
    """Run a process that is stopped at the end and must exit; its output is in ``log.txt``."""
    log = (root / "log.txt").open("ab")
    command = [sys.executable, *words.split()]
    running = subprocess.Popen(
        command, cwd=root, env=environment(root, **env), stdout=log, stderr=log
    )
    try:
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        log.close()


def rows(database: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return rows of a SQLite file."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        return connection.execute(statement).fetchall()


def answers(url: str) -> bool:
    """Return whether a page responds."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=30).status_code == 200
    return False
