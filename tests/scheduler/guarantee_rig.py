"""Shared helpers of the guarantee tests: reading either database, schedulers, a settable clock, nodes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from projects import PATH
from targcc_scheduler import Actor, ActorKind, RunState, Scheduler, Settings
from targcc_scheduler.core.clock import SystemClock
from targcc_scheduler.core.states import FINAL, TRANSITIONS
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_run, logged_job
from targcc_scheduler.kernel.jobs.options import Unique
from targcc_scheduler.kernel.queries.models import run_of
from targcc_scheduler.kernel.runs.values import NewRun, UniqueKey

DANA = Actor(ActorKind.MANUAL, "dana")
QUICK = {
    "migrate_on_start": False,
    "heartbeat_seconds": 0.2,
    "lost_after_seconds": 3.0,
    "shutdown_grace": 0.5,
    "cancel_grace": 0.2,
    "poll_seconds": 0.2,
    "keepalive": False,
}
"""Settings of nodes in the test process; nodes in their own processes have a keepalive process."""


class Ledger:
    """Read a database of any kind; rows have the column names of the tables."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = sa.make_url(url)
        dialect = known.for_url(address)
        self.engine = sa.create_engine(dialect.url(address, is_async=False), poolclass=sa.NullPool)
        dialect.set_up(self.engine)

    def rows(self, statement: sa.Executable) -> list[Any]:
        """Return the rows of a query."""
        with self.engine.connect() as connection:
            return list(connection.execute(statement).all())

    def change(self, statement: sa.Executable) -> None:
        """Execute a change that the scheduler does not know of."""
        with self.engine.begin() as connection:
            connection.execute(statement)

    def run(self, run_id: int) -> Any:
        """Return a row of c_JobRun."""
        (row,) = self.rows(sa.select(job_run).where(job_run.c.Id == run_id))
        return row

    def runs(self, job: str) -> list[Any]:
        """Return the runs of a job, oldest first."""
        query = sa.select(job_run).where(job_run.c.JobName == job)
        return self.rows(query.order_by(job_run.c.Id))

    def attempts(self, run_id: int) -> list[Any]:
        """Return the attempts of a run, oldest first."""
        query = sa.select(logged_job).where(logged_job.c.JobId == str(run_id))
        return self.rows(query.order_by(logged_job.c.ID))

    def states(self) -> Counter[str]:
        """Return the number of runs in each state."""
        counted = sa.select(job_run.c.State, sa.func.count()).group_by(job_run.c.State)
        return Counter({state: count for state, count in self.rows(counted)})

    def life(self, run_id: int) -> list[str]:
        """Return the states that a run went through."""
        return [entry.state for entry in run_of(self.run(run_id)).life]

    def assert_sound(self) -> None:
        """Check all runs: only allowed transitions, each recorded, and at most one success per run."""
        done = Counter(row.JobId for row in self.rows(sa.select(logged_job)) if row.Success)
        for row in self.rows(sa.select(job_run)):
            states = [RunState(entry.state) for entry in run_of(row).life]
            assert states[-1] == row.State
            assert all(after in TRANSITIONS[before] for before, after in pairwise(states)), states
            assert (row.CompletedAt is not None) == (row.State in FINAL)
            assert done[str(row.Id)] == (row.State == RunState.SUCCEEDED)
        if self.engine.dialect.name == "sqlite":
            assert self.rows(sa.text("PRAGMA integrity_check")) == [("ok",)]


class SettableClock(SystemClock):
    """Clock that the test shifts."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        """Return the shifted time."""
        return super().now() + self.shift


MakeScheduler = Callable[..., Scheduler]


@asynccontextmanager
async def schedulers(url: str, jobs_package: str) -> AsyncIterator[MakeScheduler]:
    """Yield a function that makes schedulers on a database, without alerts; stop the schedulers at the end."""
    made: list[Scheduler] = []

    async def nobody(_: object) -> None:
        """Send no alerts."""

    def make(**options: Any) -> Scheduler:
        settings = Settings(_env_file=None, database_url=url, **QUICK)
        defaults = {"settings": settings, "jobs_package": jobs_package, "notify": nobody}
        made.append(Scheduler(**{**defaults, **options}))
        return made[-1]

    try:
        yield make
    finally:
        for scheduler in made:
            await scheduler.stop()


class Node:
    """Process that runs ``rig_jobs.node``; its jobs write to the file ``evidence``."""

    def __init__(self, url: str, folder: Path, *words: str, **settings: object) -> None:
        self.folder = folder
        self.evidence = folder / "evidence"
        self._log = folder / f"node-{time.monotonic_ns()}.log"
        variables = {
            f"TARGCC_{name.upper()}": str(value)
            for name, value in {**QUICK, "keepalive": True, **settings}.items()
        }
        environment = {
            **os.environ,
            **variables,
            "TARGCC_DATABASE_URL": url,
            "RIG_EVIDENCE": str(self.evidence),
            "PYTHONPATH": PATH,
        }
        with self._log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rig_jobs.node", *(words or ("worker",))],
                env=environment,
                cwd=folder,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """Return the node's log."""
        return self._log.read_text()

    def noted(self, *words: object) -> list[str]:
        """Return the evidence lines that start with these words, without the process id."""
        start = " ".join(map(str, words))
        lines = self.evidence.read_text().splitlines() if self.evidence.exists() else []
        noted = [line.partition(" ")[2] for line in lines]
        return [line for line in noted if line.startswith(start)]

    def is_ready(self) -> bool:
        """Return whether the node accepts runs."""
        lines = self.evidence.read_text().splitlines() if self.evidence.exists() else []
        return f"{self.process.pid} node ready" in lines

    def open(self, gate: str = "gate") -> None:
        """Open the gate that jobs wait for."""
        (self.folder / gate).touch()

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()


async def until(condition: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.02)
    return value


def unique_run(job: str, key: str, rule: Unique, due_at: datetime) -> NewRun:
    """Return a new run of a job with a unique key, as an enqueue call builds it."""
    return NewRun(
        job_name=job,
        job_type="FireAndForget",
        queue="default",
        priority=0,
        due_at=due_at,
        triggered_by="System",
        state=RunState.ENQUEUED,
        unique=UniqueKey(key, rule),
    )
