"""Nodes in separate processes on one database of a server."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from projects import PATH
from targcc_scheduler.db.dialects import known

QUICK = {
    "HEARTBEAT_SECONDS": 0.3,
    "LOST_AFTER_SECONDS": 3,
    "SHUTDOWN_GRACE": 0.5,
    "CANCEL_GRACE": 0.5,
    "POLL_SECONDS": 0.5,
    "KEEPALIVE": "true",
}


class Node:
    """A process that runs ``rig_jobs.node``."""

    def __init__(self, words: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rig_jobs.node", *words],
                env=environment,
                cwd=log.parent,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    def said(self) -> str:
        """Return the node's log."""
        return self._log.read_text()

    def kill(self) -> None:
        """Kill the process, like a power cut."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        self.process.send_signal(signal.SIGTERM)


class Cluster:
    """One database, its nodes, and the evidence file that their jobs write."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.nodes: list[Node] = []
        self._folder = folder
        self._evidence = folder / "evidence"
        address = sa.make_url(url)
        self._engine = sa.create_engine(
            known.for_url(address).url(address, is_async=False), poolclass=sa.NullPool
        )

    def start(self, *words: str, **settings: object) -> Node:
        """Start a node; ``rig_jobs.node`` describes the words."""
        variables = {f"TARGCC_{name}": str(value) for name, value in {**QUICK, **settings}.items()}
        environment = {
            **os.environ,
            **variables,
            "TARGCC_DATABASE_URL": self.url,
            "RIG_EVIDENCE": str(self._evidence),
            "PYTHONPATH": PATH,
        }
        log = self._folder / f"node{len(self.nodes)}.log"
        node = Node(words or ("worker",), environment, log)
        self.nodes.append(node)
        return node

    async def ready(self, *nodes: Node) -> None:
        """Wait until the nodes accept runs."""
        for node in nodes or self.nodes:
            await self.until(lambda node=node: self.noted("node", "ready", by=node), "it is ready")

    def noted(self, *words: object, by: Node | None = None) -> list[list[str]]:
        """Return the words that follow ``words`` in each evidence line that starts with them."""
        if not self._evidence.exists():
            return []
        lines = [line.split() for line in self._evidence.read_text().splitlines()]
        start = [str(word) for word in words]
        return [
            line[1 + len(start) :]
            for line in lines
            if line[1 : 1 + len(start)] == start and (by is None or line[0] == str(by.pid))
        ]

    def open(self, gate: str = "gate") -> None:
        """Open the gate that jobs wait for."""
        (self._folder / gate).touch()

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        """Return the rows of a query."""
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(statement), parameters).all())

    def one(self, statement: str, **parameters: Any) -> Any:
        """Return the single value of a query."""
        ((value,),) = self.rows(statement, **parameters)
        return value

    def states(self) -> dict[str, int]:
        """Return the number of runs in each state."""
        counted = self.rows("SELECT State, count(*) FROM c_JobRun GROUP BY State")
        return dict(map(tuple, counted))

    def holder(self, run_id: int) -> Node:
        """Return the node that holds a run."""
        server = self.one("SELECT ServerId FROM c_JobRun WHERE Id = :id", id=run_id)
        (node,) = [node for node in self.nodes if f":{node.pid}:" in server]
        return node

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 40) -> None:
        """Wait for a condition; on timeout, fail with the nodes' logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {node.pid}\n{node.said()[-3000:]}" for node in self.nodes)
                pytest.fail(f"{what}: not within {seconds:g} s\n{logs}")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Ask all nodes to stop and wait for their end."""
        alive = [node for node in self.nodes if node.process.poll() is None]
        for node in alive:
            node.terminate()
        for node in alive:
            await self.until(lambda node=node: node.process.poll() is not None, "it stops")

    def close(self) -> None:
        """Kill the remaining nodes."""
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
                node.kill()
        self._engine.dispose()
