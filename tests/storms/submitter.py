"""Application of a storm: requests runs and records the acknowledgements."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from storms.contending import Contender
from storms.policies import PARENTS, POLICIES, WEIGHTS
from storms.record import append

_PATIENCE = 30
"""Seconds after which a call is given up."""


def main() -> None:
    """Submit until SIGTERM."""
    importlib.import_module("storm_jobs.scheduler")
    asyncio.run(_submit())


async def _submit() -> None:
    from targcc_scheduler import Scheduler

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    rate, name = float(os.environ["STORM_RATE"]), os.environ["STORM_NODE"]
    scheduler = Scheduler()
    submitter = _Submitter(scheduler)
    await _started(scheduler, stop)
    number = 0
    while not stop.is_set():
        number += 1
        await submitter.ask(f"{name}-{number}")
        await asyncio.sleep(submitter.dice.uniform(0.5, 1.5) / rate)
    await submitter.close()
    await scheduler.stop()


async def _started(scheduler: Any, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await scheduler.start(work=False, schedule=False)
        except Exception:  # noqa: BLE001 - a storm may have the database away just now
            await asyncio.sleep(0.2)
        else:
            return


class _Submitter:
    """Send one request after another."""

    def __init__(self, scheduler: Any) -> None:
        self.dice = random.Random(os.environ["STORM_SEED"])
        self._scheduler = scheduler
        self._release = int(os.environ["STORM_RELEASE"])
        self._weights = WEIGHTS | json.loads(os.environ["STORM_WEIGHTS"])
        self._record = Path(os.environ["STORM_SUBMITTED"])
        self._last_child: int | None = None
        self._first: list[str] | None = None
        self._contender = Contender(scheduler, self.dice, self._write, _PATIENCE)
        self._ways: dict[str, Callable[[str], Awaitable[object]]] = {
            "Follower": self._ask_to_follow,
            "Finished": self._ask_for_batch,
            "Single": partial(self._contender.contend, "Single"),
            "Pending": partial(self._contender.contend, "Pending"),
            "Fan": self._contender.ask_for_flow,
            "Bulk": partial(self._ask_for_many, "Bulk", "Urgent"),
            "Patient": partial(self._ask_for_many, "Patient", "Eager"),
        }

    async def close(self) -> None:
        """Close the submitter's own connections."""
        await self._contender.close()

    async def ask(self, token: str) -> None:
        """Request a run, a dependent with its parents, several runs of one key, a batch, or a flow."""
        job, started = self._choose(), time.monotonic()
        try:
            await self._ways.get(job, partial(self._ask, job))(token)
        except Exception as error:  # noqa: BLE001 - the database may be anywhere
            self._write("refused", job=job, token=token, asked=started, error=repr(error)[:200])
            await asyncio.sleep(0.2)

    def _choose(self) -> str:
        """Return the next kind of request: each kind once, and then by weight."""
        known = [job for job in self._weights if self._release in POLICIES[job].releases]
        if self._first is None:
            self._first = self.dice.sample(known, len(known))
        if self._first:
            return self._first.pop()
        return self.dice.choices(known, [self._weights[job] for job in known])[0]

    async def _ask(self, job: str, token: str, **waits: Any) -> int:
        arguments: dict[str, Any] = {"token": token}
        if job == "Long":
            arguments["seconds"] = self.dice.uniform(1, 4)
        if job == "Token" and self._release > 1:
            arguments["remark"] = "release 2 knows this"
        if job == "Brief":
            waits["expires_in"] = f"{self.dice.randint(1, 6)}s"
        if self.dice.random() < 0.2:
            delay = f"{self.dice.randint(1, 3)}s"
            call = self._scheduler.schedule(job, delay=delay, **waits, **arguments)
        else:
            call = self._scheduler.enqueue(job, **waits, **arguments)
        run: int = await asyncio.wait_for(call, _PATIENCE)
        self._write("acknowledged", run=int(run), job=job, token=token, **waits)
        return run

    async def _ask_to_follow(self, token: str) -> None:
        """Request a run after one or two parents; sometimes a parent may have ended already, or is a dependent itself."""
        jobs = self.dice.choices(PARENTS, k=self.dice.randint(1, 2))
        after = [await self._ask(job, f"{token}-{job}-{i}") for i, job in enumerate(jobs)]
        if self._last_child is not None and self.dice.random() < 0.2:
            after[0] = self._last_child
        if self.dice.random() < 0.3:
            await asyncio.sleep(self.dice.uniform(0, 1))
        on = self.dice.choice(("success", "failure", "finish"))
        quorum = self.dice.choice(("all", "any"))
        self._last_child = await self._ask("Follower", token, after=after, on=on, quorum=quorum)

    async def _ask_for_many(self, job: str, other: str, token: str) -> None:
        """Request more runs than there are workers, and soon afterwards some runs of a job that goes first."""
        tokens = [f"{token}-{number}" for number in range(self.dice.randint(6, 10))]
        call = self._scheduler.enqueue_many(job, [{"token": run_token} for run_token in tokens])
        runs = await asyncio.wait_for(call, _PATIENCE)
        for run, run_token in zip(runs, tokens, strict=True):
            self._write("acknowledged", run=int(run), job=job, token=run_token)
        for number in range(self.dice.randint(1, 3)):
            await self._ask(other, f"{token}-{other}-{number}")

    async def _ask_for_batch(self, token: str) -> None:
        """Request a batch of three to six runs; in every other batch all runs succeed."""
        jobs = PARENTS if self.dice.random() < 0.5 else ["Token", "Flaky", "Plain"]
        members = {f"{token}-{i}": self.dice.choice(jobs) for i in range(self.dice.randint(3, 6))}
        batch = self._scheduler.batch(token, on_success="Gathered", on_finish="Finished")
        await asyncio.wait_for(_fill(batch, members), _PATIENCE)
        self._write("batch", batch=batch.batch_id, tokens=list(members))

    def _write(self, event: str, **values: Any) -> None:
        append(self._record, event, **values)


async def _fill(batch: Any, members: dict[str, str]) -> None:
    async with batch:
        for token, job in members.items():
            batch.enqueue(job, token=token)
