"""Compared systems and their processes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import peer_notes
import psutil
import pytest
import redis
from projects import PATH

HERE = Path(__file__).parent
HOUR = (datetime.now(UTC).hour + 6) % 24
"""Hour at which scheduled jobs are due: never during the benchmark."""


@dataclass(frozen=True)
class Peer:
    """A compared system on its database."""

    name: str
    module: str
    url: str
    statements: Callable[[Path], int]
    """Return the total number of statements sent to the database, given the file that counts SQLite statements."""

    def connected(self) -> AbstractAsyncContextManager[peer_notes.Send]:
        """Return the client of the system, which creates runs."""
        client: AbstractAsyncContextManager[peer_notes.Send]
        client = importlib.import_module(self.module).connected(self.url)
        return client


class Worker:
    """Worker process of a peer, and its record.

    Args:
        peer: The compared system.
        folder: The folder for record and log.
        jobs: The folder of the package ``peer_jobs``.
        variables: Additional environment variables.
        schedules: The number of scheduled jobs; if set, SQLite statements are counted.
    """

    def __init__(
        self, peer: Peer, folder: Path, jobs: Path, variables: Mapping[str, str], schedules: int
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.peer = peer
        self.notes, self.counter = folder / "notes", folder / "counter"
        self._log = folder / "log"
        paths = [jobs, PATH, HERE]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONPYCACHEPREFIX": str(jobs / "compiled"),
            peer_notes.NOTES: str(self.notes),
            **variables,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if schedules:
            environment[peer_notes.COUNTER] = str(self.counter)
        words = [peer.module, peer.url, str(schedules), str(HOUR)]
        self.started = time.time()
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "peer_worker.py"), *words],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._measured = psutil.Process(self.process.pid)

    async def until_noted(self, count: int, seconds: float = 60) -> list[tuple[float, float]]:
        """Wait until ``count`` runs have begun; return their due and start times."""
        deadline = time.monotonic() + seconds
        while len(noted := peer_notes.read(self.notes)) < count:
            late, gone = time.monotonic() > deadline, self.process.poll() is not None
            if late or gone:
                pytest.fail(
                    f"{self.peer.name}: {len(noted)} of {count} runs began\n{self.said()[-3000:]}"
                )
            await asyncio.sleep(0.05)
        return noted

    def said(self) -> str:
        """Return the printed and logged text."""
        return self._log.read_text()

    def cpu_seconds(self) -> float:
        """Return the processor time of the worker and its child processes."""
        times = [process.cpu_times() for process in self._family()]
        return sum(cpu_times.user + cpu_times.system for cpu_times in times)

    def memory(self) -> float:
        """Return the memory of the worker and its child processes in MiB; shared memory counts once."""
        return sum(process.memory_full_info().pss for process in self._family()) / 2**20

    def stop(self) -> None:
        """End the worker and its child processes."""
        family = self._family()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._measured, *self._measured.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def working(
    peer: Peer,
    folder: Path,
    jobs: Path,
    variables: Mapping[str, str] | None = None,
    *,
    schedules: int = 0,
) -> Iterator[Worker]:
    """Yield a worker that is stopped at the end; see :class:`Worker`."""
    worker = Worker(peer, folder, jobs, variables or {}, schedules)
    try:
        yield worker
    finally:
        worker.stop()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Start a private Redis without persistence; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_for_redis(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for_redis(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            with redis.Redis.from_url(url) as client:
                client.ping()
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.05)
        else:
            return


def redis_commands(url: str) -> int:
    """Return the total number of commands sent to Redis."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("stats")["total_commands_processed"])
