"""People and programs that change runs, batches and flows of a storm while it rages, by the REST API and by the application's calls."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx

from storms.record import ACTED, ACTING, append

_PATIENCE = 10.0
"""Seconds in which a request is repeated with the same key."""
_REMEMBERED = 12
"""The latest runs, batches and flows, to which most acts apply."""
_AT_ONCE = 3
"""Acts at the same time, also on the same run, batch or flow."""
_BURST = 7
"""Runs of the job ``Prompt`` at once: more than start in time with one worker a node."""
_REST = "/jobs/api"


def main() -> None:
    """Act until SIGTERM."""
    importlib.import_module("storm_jobs.scheduler")
    asyncio.run(_act())


async def _act() -> None:
    from targcc_scheduler import Scheduler

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    scheduler = Scheduler()
    while not stop.is_set():
        try:
            await scheduler.start(work=False, schedule=False)
            break
        except Exception:  # noqa: BLE001 - a storm may have the database away just now
            await asyncio.sleep(0.2)
    headers = {"Authorization": f"Bearer {os.environ['STORM_TOKEN']}"}
    base = f"http://127.0.0.1:{os.environ['STORM_PORT']}{_REST}"
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=10) as http:
        person = Person(scheduler, http, Random(os.environ["STORM_SEED"]))
        while not stop.is_set():
            await asyncio.gather(*(person.act() for _ in range(_AT_ONCE)))
            await asyncio.sleep(person.dice.uniform(0.5, 1.5) / float(os.environ["STORM_RATE"]))
    await scheduler.stop()


class Person:
    """Do one act after another. The record names each act before it begins and with its outcome.

    Args:
        scheduler: The application's scheduler.
        http: Client of the REST API.
        dice: Source of randomness.
    """

    def __init__(self, scheduler: Any, http: httpx.AsyncClient, dice: Random) -> None:
        self.dice = dice
        self._scheduler = scheduler
        self._http = http
        self._name = os.environ["STORM_NODE"]
        self._record = Path(os.environ["STORM_SUBMITTED"])
        self._number = 0
        self._runs: list[int] = []
        self._batches: list[int] = []
        self._flows: list[int] = []
        self._batch_of: dict[int, int] = {}
        self._ways: dict[Callable[[], Awaitable[None]], int] = {
            self._start: 4,
            self._start_twice: 2,
            self._burst: 1,
            lambda: self._change("cancel", self._runs, "POST", "runs/{}/cancel"): 4,
            lambda: self._change("retry", self._runs, "POST", "runs/{}/retry"): 4,
            lambda: self._change("delete", self._runs, "DELETE", "runs/{}"): 4,
            self._open_batch: 4,
            self._nest: 2,
            self._add: 3,
            lambda: self._change("cancel batch", self._batches, "POST", "batches/{}/cancel"): 1,
            lambda: self._change("retry batch", self._batches, "POST", "batches/{}/retry"): 2,
            self._start_flow: 3,
            lambda: self._change("cancel flow", self._flows, "POST", "flows/{}/cancel"): 1,
            lambda: self._change("rerun flow", self._flows, "POST", "flows/{}/rerun"): 2,
        }

    async def act(self) -> None:
        """Do one act, chosen by weight; first look for the runs of a batch or flow, so that acts apply to those too."""
        if self._batches and self.dice.random() < 0.3:
            await self._meet(self.dice.choice((self._batches + self._flows)[-_REMEMBERED:]))
        ways = list(self._ways)
        await self.dice.choices(ways, list(self._ways.values()))[0]()

    async def _meet(self, batch: int) -> None:
        try:
            answer = await self._http.get("runs", params={"q": f"batch:{batch} job:Handled"})
            members = [run["id"] for run in answer.raise_for_status().json()["runs"]]
        except httpx.HTTPError:
            return
        self._runs += members
        self._batch_of |= dict.fromkeys(members, batch)

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of a run that succeeds, fails once, or fails for good."""
        self._number += 1
        return {
            "token": f"{self._name}-{self._number}",
            "seconds": self.dice.uniform(0.05, 1.5),
            "fails": self.dice.choice((0, 0, 0, 1, 9)),
        }

    async def _start(self) -> None:
        arguments = self._arguments()
        token, body = arguments["token"], {"arguments": arguments}
        await self._request("start", None, "POST", "jobs/Handled/trigger", body, token=token)

    async def _start_twice(self) -> None:
        """Send one request twice at the same time, with one key."""
        arguments, key = self._arguments(), f"{self._name}-key-{self._number}"
        token, body, path = arguments["token"], {"arguments": arguments}, "jobs/Handled/trigger"
        calls = (
            self._request("start", None, "POST", path, body, key=key, token=token) for _ in range(2)
        )
        await asyncio.gather(*calls)

    async def _burst(self) -> None:
        """Start more runs than may start in time: the job's expectation is broken."""
        token = self._arguments()["token"]
        many = [{"token": f"{token}-{number}"} for number in range(_BURST)]
        await self._call("burst", None, self._scheduler.enqueue_many("Prompt", many))

    async def _change(self, kind: str, targets: list[int], method: str, path: str) -> None:
        if targets:
            target = self.dice.choice(targets[-_REMEMBERED:])
            await self._request(kind, target, method, path.format(target))

    async def _open_batch(self, parent: int | None = None) -> None:
        """Create a batch with a callback; one in three has an inner batch."""
        await self._call("batch", parent, self._create_batch(parent))

    async def _create_batch(self, parent: int | None) -> int:
        batch = self._scheduler.batch(f"people {self._name}", on_finish="Settled", parent=parent)
        async with batch:
            for _ in range(self.dice.randint(1, 4)):
                batch.enqueue("Handled", **self._arguments())
            if self.dice.random() < 0.3:
                async with batch.batch(f"people {self._name} inner") as inner:
                    inner.enqueue("Handled", **self._arguments())
        return int(batch.batch_id)

    async def _nest(self) -> None:
        """Create a batch as a member of another."""
        if self._batches:
            await self._open_batch(self.dice.choice(self._batches[-_REMEMBERED:]))

    async def _add(self) -> None:
        """Add runs to a batch."""
        if self._batches:
            batch = self.dice.choice(self._batches[-_REMEMBERED:])
            many = [self._arguments() for _ in range(self.dice.randint(1, 2))]
            await self._call("add", batch, self._scheduler.batches.add(batch, "Handled", many))

    async def _start_flow(self) -> None:
        body = {"name": "Chain", "arguments": self._arguments()}
        await self._request("flow", None, "POST", "flows", body)

    async def _call(self, kind: str, target: int | None, call: Awaitable[Any]) -> None:
        """Await a call of the application and record its outcome."""
        act = self._begin(kind, target)
        try:
            made = await asyncio.wait_for(call, _PATIENCE)
        except Exception as error:  # noqa: BLE001 - refused, or the database is away
            self._end(act, kind, error=repr(error)[:200], known=_is_refusal(error))
            return
        ids = [int(run) for run in made] if isinstance(made, list | tuple) else [int(made)]
        self._end(act, kind, made=ids)

    async def _request(
        self,
        kind: str,
        target: int | None,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        token: str = "",
    ) -> None:
        """Send a request, and again with the same key while its answer is lost; record the outcome."""
        act = self._begin(kind, target, token)
        headers = {"Idempotency-Key": key or act}
        end = time.monotonic() + _PATIENCE
        while True:
            error, known = "", False
            try:
                answer = await self._http.request(method, path, json=body, headers=headers)
            except httpx.HTTPError as failure:
                error = repr(failure)
            else:
                if answer.is_success:
                    break
                error = f"{answer.status_code} {answer.text}"
                unanswered = "Not answered yet" in answer.text
                known = 400 <= answer.status_code < 500 and not unanswered
                if known or not unanswered:
                    end = 0
            if time.monotonic() > end:
                self._end(act, kind, error=error[:200], known=known)
                return
            await asyncio.sleep(0.2)
        values = answer.json()
        made = values.get("run_id") or (values.get("id") if kind == "flow" else None)
        self._end(act, kind, made=[made] if made else [], state=values.get("state"))

    def _begin(self, kind: str, target: int | None, token: str = "") -> str:
        self._number += 1
        act = f"{self._name}-act-{self._number}"
        batch = self._batch_of.get(target or 0)
        same = {"target": target, "token": token, "batch": batch}
        append(self._record, ACTING, act=act, kind=kind, **same)
        return act

    def _end(self, act: str, kind: str, made: list[int] | None = None, **values: Any) -> None:
        append(self._record, ACTED, act=act, made=made or [], **values)
        known = {"batch": self._batches, "flow": self._flows, "burst": []}.get(kind, self._runs)
        known += made or []
        if kind == "start":
            self._batch_of |= dict.fromkeys(made or [], 0)


def _is_refusal(error: Exception) -> bool:
    """Return whether the scheduler refused the call, so that nothing has changed."""
    from targcc_scheduler.core.errors import BatchError, UnknownBatch

    return isinstance(error, BatchError | UnknownBatch)
