"""Rig of the pairs: a scheduler on a database that many cells share, and a run of each kind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from guarantee_rig import DANA, QUICK, Ledger, until
from soundness import complaints
from targcc_scheduler import File, Scheduler, Settings
from targcc_scheduler.db.tables import job_batch, job_run
from targcc_scheduler.features.overrides import actions as override_actions
from targcc_scheduler.features.overrides.actions import Wish
from targcc_scheduler.features.triage.why import why_run
from targcc_scheduler.kernel.alert_events import AlertEvent
from targcc_scheduler.kernel.queries.runs import get_run

QUEUES = ("default", "critical")
_MOVES = ("enqueued", "running", "retrying", "scheduled")


@dataclass
class Subject:
    """The run that an act is done to.

    Args:
        kind: The kind of the run.
        tag: The tag in the run's arguments.
        run_id: The run.
        group: The batch or flow of the run.
    """

    kind: str
    tag: str
    run_id: int
    group: int | None = None


@dataclass
class World:
    """A database with a scheduler, and the records of its jobs.

    Args:
        url: The database.
        folder: Folder of the jobs' records; see ``pair_jobs.py``.
    """

    url: str
    folder: Path
    scheduler: Scheduler = field(init=False)
    ledger: Ledger = field(init=False)
    told: list[tuple[str, int]] = field(default_factory=list)
    _numbers: int = 0
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.url)
        self.folder.mkdir(exist_ok=True)
        self.scheduler = self.make()
        os.environ["PAIRS"] = str(self.folder)

    def make(self, jobs_package: str = "pair_jobs", **options: Any) -> Scheduler:
        """Return a scheduler on the database that has not started."""
        settings = Settings(_env_file=None, database_url=self.url, **{**QUICK, **options})
        return Scheduler(settings, jobs_package=jobs_package, notify=self._note)

    async def _note(self, event: AlertEvent) -> None:
        if event.run_id is not None:
            self.told.append((event.kind, event.run_id))

    def tag(self, kind: str) -> str:
        """Return a tag that no other run has."""
        self._numbers += 1
        return f"{kind} {self._numbers}"

    def mark(self, what: str, tag: str) -> None:
        """Let runs with a tag be held, or be broken."""
        (self.folder / f"{what} {tag}").touch()

    def is_marked(self, what: str, tag: str) -> bool:
        """Return whether runs with a tag are held, or broken."""
        return (self.folder / f"{what} {tag}").exists()

    def clear(self, what: str, tag: str) -> None:
        """Undo :meth:`mark`."""
        (self.folder / f"{what} {tag}").unlink(missing_ok=True)

    def begun(self) -> list[tuple[int, int]]:
        """Return run and attempt of each start."""
        path = self.folder / "begun"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(int(line.split()[-2]), int(line.split()[-1])) for line in lines]

    def row(self, run_id: int) -> Any | None:
        """Return the row of a run, or ``None`` once it is gone."""
        rows = self.ledger.rows(sa.select(job_run).where(job_run.c.Id == run_id))
        return rows[0] if rows else None

    def state(self, run_id: int) -> str:
        """Return the state of a run, or ``gone``."""
        row = self.row(run_id)
        return "gone" if row is None else str(row.State)

    def rerun_of(self, run_id: int) -> Any | None:
        """Return the newest rerun of a run."""
        query = sa.select(job_run).where(job_run.c.RetryOf == run_id)
        rows = self.ledger.rows(query.order_by(job_run.c.Id.desc()))
        return rows[0] if rows else None

    def group_state(self, group: int | None) -> str | None:
        """Return the state of a batch or flow."""
        query = sa.select(job_batch.c.State).where(job_batch.c.Id == group)
        rows = self.ledger.rows(query)
        return str(rows[0].State) if rows else None

    async def becomes(self, run_id: int, *states: str) -> None:
        """Wait until a run is in one of some states."""
        await until(lambda: self.state(run_id) in states, f"run {run_id} becomes {states}")

    async def rest(self) -> None:
        """Wait until no run moves."""
        moving = sa.select(job_run.c.Id, job_run.c.State).where(job_run.c.State.in_(_MOVES))
        await until(lambda: not self.ledger.rows(moving), "rest")

    async def pause(self) -> None:
        """Pause all queues."""
        for queue in QUEUES:
            await self.scheduler.pause_queue(queue, by=DANA)

    async def resume(self) -> None:
        """Resume all queues."""
        for queue in QUEUES:
            await self.scheduler.resume_queue(queue, by=DANA)

    async def release(self) -> None:
        """Undo what holds runs up, and accept the complaints so far."""
        for file in [*self.folder.glob("hold *"), *self.folder.glob("break *")]:
            file.unlink()
        await self.resume()
        self._known = set(complaints(self.ledger))

    async def why(self, run_id: int) -> list[str]:
        """Return the kinds of the reasons for a run's state."""
        scheduler = self.scheduler

        async def explain(connection: Any) -> Any:
            run = await get_run(connection, run_id)
            assert run is not None
            now, jobs = scheduler.clock.now(), scheduler.definitions
            return await why_run(connection, run, jobs, now, lost_after=20)

        return [reason.kind for reason in (await scheduler.read(explain)).reasons]

    def complaints(self) -> list[str]:
        """Return the broken rules of the database at rest."""
        ended = [(kind, run) for kind, run in self.told if kind in {"failure", "success"}]
        every = complaints(self.ledger, begun=self.begun(), told=ended)
        return [complaint for complaint in every if complaint not in self._known]


@contextmanager
def world_on(url: str, folder: Path, *, work: bool = True) -> Iterator[World]:
    """Yield a world whose scheduler is started."""
    world = World(url, folder)
    asyncio.run(world.scheduler.start(work=work, schedule=False))
    wish = Wish({"queue": "critical"}, "month end")
    scheduler = world.scheduler
    asyncio.run(override_actions.override(scheduler, scheduler.find("PairOverride"), wish, DANA))
    try:
        yield world
    finally:
        asyncio.run(world.scheduler.stop())


# Kinds: each function creates a run of the kind.


async def plain(world: World, tag: str) -> tuple[int, int | None]:
    return await world.scheduler.enqueue("PairPlain", tag=tag), None


async def unique(world: World, tag: str) -> tuple[int, int | None]:
    was_held = world.is_marked("hold", tag)
    world.mark("hold", tag)
    run_id = await world.scheduler.enqueue("PairUnique", tag=tag)
    assert (await world.scheduler.enqueue("PairUnique", tag=tag)).existing
    if not was_held:
        world.clear("hold", tag)
    return run_id, None


async def limited(world: World, tag: str) -> tuple[int, int | None]:
    return await world.scheduler.enqueue("PairLimited", tag=tag), None


async def member(world: World, tag: str) -> tuple[int, int | None]:
    async with world.scheduler.batch(tag, on_finish="PairPlain") as batch:
        batch.enqueue("PairMember", tag=tag)
        batch.enqueue("PairMember", tag=f"{tag} beside")
    query = sa.select(job_run.c.Id).where(job_run.c.BatchId == batch.batch_id)
    return world.ledger.rows(query.order_by(job_run.c.Id))[0].Id, batch.batch_id


async def step(world: World, tag: str) -> tuple[int, int | None]:
    flow_id = await world.scheduler.start_flow("Pair", {"tag": tag})
    query = sa.select(job_run.c.Id).where(job_run.c.BatchId == flow_id)
    return world.ledger.rows(query)[0].Id, flow_id


async def continuation(world: World, tag: str) -> tuple[int, int | None]:
    parent = await world.scheduler.enqueue("PairMember", tag=f"{tag} parent")
    return await world.scheduler.enqueue("PairPlain", after=parent, tag=tag), None


async def filed(world: World, tag: str) -> tuple[int, int | None]:
    report = File(b"a report", name="report.txt")
    return await world.scheduler.enqueue("PairFile", tag=tag, report=report), None


async def isolated(world: World, tag: str) -> tuple[int, int | None]:
    return await world.scheduler.enqueue("PairProcess", tag=tag), None


async def of_calendar(world: World, tag: str) -> tuple[int, int | None]:
    return await world.scheduler.enqueue("PairCalendar", tag=tag), None


async def overridden(world: World, tag: str) -> tuple[int, int | None]:
    run_id = await world.scheduler.enqueue("PairOverride", tag=tag)
    assert world.ledger.run(run_id).Queue == "critical"
    return run_id, None


KINDS: dict[str, Callable[[World, str], Awaitable[tuple[int, int | None]]]] = {
    "plain": plain,
    "unique": unique,
    "limited": limited,
    "batch member": member,
    "flow step": step,
    "continuation": continuation,
    "file argument": filed,
    "isolation: process": isolated,
    "calendar": of_calendar,
    "override": overridden,
}


async def made(world: World, kind: str, *, held: bool = False) -> Subject:
    """Create a run of a kind."""
    tag = world.tag(kind.replace(":", ""))
    if held:
        world.mark("hold", tag)
    run_id, group = await KINDS[kind](world, tag)
    return Subject(kind, tag, run_id, group)
