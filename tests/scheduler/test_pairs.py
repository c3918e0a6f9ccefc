"""Test each kind of run with each act on runs, on SQLite and PostgreSQL. A table states the expectation; one checker compares all rows."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pair_jobs
import pytest
import sqlalchemy as sa
from guarantee_rig import DANA
from pairs_rig import KINDS, Subject, World, made, world_on
from projects import PAIRS
from rt_tools import NodeProcess
from targcc_scheduler import operations
from targcc_scheduler.core.actor import Visibility, visibility
from targcc_scheduler.core.errors import BulkError
from targcc_scheduler.core.search_language import only
from targcc_scheduler.db.tables import job_blob, job_run
from targcc_scheduler.features.triage import bulk_actions
from targcc_scheduler.kernel.queries.run_search import RunFilter
from targcc_scheduler.kernel.queries.runs import get_run

pytestmark = pytest.mark.usefixtures("processes")  # isolation: process, and a node that is killed


@dataclass(frozen=True)
class Cell:
    """What must hold when a run of a kind meets an act.

    Args:
        holds: The expectation in words; ``no: `` before the reason why the pair makes no sense.
        ends: Final state of the run; ``gone`` for a deleted row.
        why: Kind of the first reason that ``targcc why`` gives while the act holds the run up, or after the act.
        rerun: Final state of the run that takes the place of the run.
        group: Final state of the batch or flow.
    """

    holds: str
    ends: str = "succeeded"
    why: str | None = None
    rerun: str | None = None
    group: str | None = "succeeded"

    @property
    def makes_sense(self) -> bool:
        return not self.holds.startswith("no: ")


ACTS = {
    "retry": Cell("the failed run runs again once, as a new run", "failed", "failed", "succeeded"),
    "cancel": Cell("the run never begins", "cancelled", "cancelled", group="failed"),
    "delete": Cell("the run never begins and leaves no row", "gone"),
    "retention": Cell("the old run leaves no row, and all counts stay", "gone"),
    "rename": Cell("the run runs once, under the new name of its job"),
    "pause of its queue": Cell("the run waits, then runs once", why="queue-paused"),
    "drain": Cell("the run waits for another node, then runs once", why="draining"),
    "kill of its worker": Cell("another node runs the run, and no retry is used up"),
    "role that may not see it": Cell("reads find nothing, a bulk operation of the role refuses"),
    "backfill": Cell("each slot of the range gets one run, and a second call adds none"),
    "bulk": Cell("the cancelled run is done again by the undo", "cancelled", None, "succeeded"),
}
"""What must hold for each act, unless ``OTHERWISE`` says more of a kind."""
OTHERWISE: dict[tuple[str, str], dict[str, Any]] = {
    ("continuation", "pause of its queue"): {"why": "awaits"},
    ("continuation", "drain"): {"why": "awaits"},
    ("flow step", "retry"): {
        "holds": "the run runs again apart from the flow, which failed",
        "group": "failed",
    },
    ("flow step", "bulk"): {
        "holds": "the run runs again apart from the flow, which failed",
        "group": "failed",
    },
    ("flow step", "delete"): {"holds": "the step is cancelled, and the flow", "group": "failed"},
    ("batch member", "retry"): {"holds": "the batch reopens, and ends with the rerun"},
    ("batch member", "delete"): {"holds": "the batch has a member less"},
    ("batch member", "backfill"): {"holds": "no: a slot joins no batch"},
    ("flow step", "backfill"): {"holds": "no: a slot joins no flow"},
    ("file argument", "backfill"): {"holds": "no: a slot has no file, which the job requires"},
}
CELLS = {
    (kind, act): replace(cell, **OTHERWISE.get((kind, act), {}))
    for kind in KINDS
    for act, cell in ACTS.items()
}
PAIRED = [(kind, act) for (kind, act), cell in CELLS.items() if cell.makes_sense]
TOGETHER = {"rename", "kill of its worker"}
"""Acts that one release or one lost process does to runs of all kinds at once."""


# Worlds: each database has one scheduler for all cells.


@pytest.fixture(scope="module", autouse=True)
def _project() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("targcc_scheduler.project._configured", PAIRS)
        patch.setenv("PAIRS", "")
        yield


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_url(request, tmp_path_factory) -> Iterator[Callable[[], str]]:
    """Return a function that makes a database with the scheduler's tables."""
    if request.param == "sqlite":
        template = request.getfixturevalue("_sqlite_template")

        def copy() -> str:
            file = tmp_path_factory.mktemp("pairs") / "jobs.db"
            file.write_bytes(template.read_bytes())
            return f"sqlite:///{file}"

        yield copy
        return
    server = request.getfixturevalue("postgresql_server")
    template = request.getfixturevalue("_postgresql_template")
    names: list[str] = []

    def create() -> str:
        names.append(server.create(template))
        return server.url(names[-1])

    yield create
    for name in names:
        server.drop(name)


@pytest.fixture(scope="module")
def shared(module_url, tmp_path_factory) -> Iterator[World]:
    with world_on(module_url(), tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared, monkeypatch) -> Iterator[World]:
    """The shared world; a cell that fails leaves the next cell nothing that is held."""
    # ``killed`` and ``renamed`` have set it to their own folders
    monkeypatch.setenv("PAIRS", str(shared.folder))
    yield shared
    asyncio.run(shared.release())


# Acts: each is done to a run and returns once nothing moves.

Act = Callable[[World, str, Cell], Awaitable[Subject]]


async def waiting(world: World, kind: str) -> Subject:
    """Create a run that waits: for capacity of its limit, or in a paused queue."""
    if kind != "limited":
        await world.pause()
        return await made(world, kind)
    tag = world.tag(kind)
    world.mark("hold", tag)
    await world.scheduler.enqueue("PairLimited", tag=tag)
    run_id = await world.scheduler.enqueue("PairLimited", tag=tag)
    await world.becomes(run_id, "awaiting")
    assert await world.why(run_id) == ["limit"]
    return Subject(kind, tag, run_id)


async def goes_on(world: World, subject: Subject) -> None:
    """Let waiting runs go, and wait until nothing moves."""
    world.clear("hold", subject.tag)
    await world.resume()
    await world.rest()


async def retry(world: World, kind: str, _cell: Cell) -> Subject:
    tag = world.tag(kind.replace(":", ""))
    world.mark("break", tag)
    subject = Subject(kind, tag, *await KINDS[kind](world, tag))
    await world.rest()
    assert world.state(subject.run_id) == "failed"
    assert subject.group is None or world.group_state(subject.group) == "failed"
    world.clear("break", tag)
    await world.scheduler.retry(subject.run_id, by=DANA)
    await world.rest()
    return subject


async def cancel(world: World, kind: str, _cell: Cell) -> Subject:
    subject = await waiting(world, kind)
    await world.scheduler.cancel(subject.run_id, by=DANA)
    await goes_on(world, subject)
    return subject


async def delete(world: World, kind: str, _cell: Cell) -> Subject:
    subject = await waiting(world, kind)
    await world.scheduler.delete(subject.run_id, by=DANA)
    await goes_on(world, subject)
    assert subject.run_id not in {run_id for run_id, _ in world.begun()}
    files = world.ledger.rows(sa.select(job_blob.c.Id).where(job_blob.c.RunId == subject.run_id))
    assert files == []
    return subject


async def retention(world: World, kind: str, _cell: Cell) -> Subject:
    subject = await made(world, kind)
    await world.rest()
    old = world.scheduler.clock.now() - timedelta(days=400)
    ended = sa.update(job_run).where(job_run.c.Id == subject.run_id)
    world.ledger.change(ended.values(CompletedAt=old))
    await world.scheduler.prune(days=300, keep_last=0)
    return subject


async def pause(world: World, kind: str, cell: Cell) -> Subject:
    await world.pause()
    subject = await made(world, kind)
    assert cell.why in await world.why(subject.run_id)
    await goes_on(world, subject)
    return subject


async def drain(world: World, kind: str, cell: Cell) -> Subject:
    node = world.scheduler.node
    await world.scheduler.operate(operations.drain, None, node.id, DANA)
    subject = await made(world, kind)
    assert cell.why in await world.why(subject.run_id)
    await world.scheduler.operate(operations.resume_server, None, node.id, DANA)
    await world.rest()
    return subject


async def hide(world: World, kind: str, _cell: Cell) -> Subject:
    subject = await waiting(world, kind)
    before = world.row(subject.run_id)
    nothing = frozenset[str]()
    token = visibility.set(Visibility(nothing, nothing, nothing, "dana"))
    try:
        assert await world.scheduler.read(lambda db: get_run(db, subject.run_id)) is None
        with pytest.raises(BulkError):
            await bulk_cancel(world, subject.run_id)
    finally:
        visibility.reset(token)
    assert world.row(subject.run_id) == before
    await goes_on(world, subject)
    return subject


async def bulk_cancel(world: World, run_id: int) -> int:
    """Cancel a run by a bulk operation, and return the operation."""
    wish = bulk_actions.Wish(action="cancel", wanted=RunFilter(search=only(run=[run_id])))
    wish = bulk_actions.check(world.scheduler, wish)
    bulk_id = await world.scheduler.operate(bulk_actions.begin, None, wish, DANA)
    await bulk_actions.work_off(world.scheduler, bulk_id)
    return bulk_id


async def bulk(world: World, kind: str, _cell: Cell) -> Subject:
    subject = await waiting(world, kind)
    bulk_id = await bulk_cancel(world, subject.run_id)
    assert world.state(subject.run_id) == "cancelled"
    back = await world.scheduler.operate(bulk_actions.undo, None, bulk_id, DANA)
    assert (await bulk_actions.work_off(world.scheduler, back)).done == 1
    await goes_on(world, subject)
    return subject


JOBS = {
    "plain": "PairPlain",
    "unique": "PairUnique",
    "limited": "PairLimited",
    "continuation": "PairParent",
    "isolation: process": "PairProcess",
    "calendar": "PairCalendar",
    "override": "PairOverride",
}
FRIDAY = datetime(2026, 1, 2, tzinfo=UTC)


async def backfill(world: World, kind: str, _cell: Cell) -> Subject:
    """Fill four days from a Friday on; a calendar leaves out the weekend, and slots of a unique job share a key."""
    scheduler, job = world.scheduler, world.scheduler.find(JOBS[kind])
    until_ = FRIDAY + timedelta(days=4)
    expected = {"calendar": 2, "unique": 1}.get(kind, 4)
    await world.pause()
    for number in (expected, 0):
        call = scheduler.operate(bulk_actions.backfill, None, job, FRIDAY, until_, DANA)
        assert await call == number
    await world.resume()
    await world.rest()
    query = sa.select(job_run).where(job_run.c.JobName == job.name)
    rows = world.ledger.rows(query.where(job_run.c.ScheduledFor.is_not(None)))
    assert [row.State for row in rows] == ["succeeded"] * expected
    assert {row.Queue for row in rows} == {"critical" if kind == "override" else "default"}
    if kind == "continuation":
        rows = world.ledger.rows(sa.select(job_run).where(job_run.c.JobName == "PairNext"))
        assert [row.State for row in rows] == ["succeeded"] * expected
    return Subject(kind, "", rows[0].Id)


DOES: dict[str, Act] = {
    "retry": retry,
    "cancel": cancel,
    "delete": delete,
    "retention": retention,
    "pause of its queue": pause,
    "drain": drain,
    "role that may not see it": hide,
    "backfill": backfill,
    "bulk": bulk,
}


# Cells.


def judge(world: World, subject: Subject, cell: Cell) -> None:
    """Check the final states, then all rows."""
    rerun = world.rerun_of(subject.run_id)
    assert world.state(subject.run_id) == cell.ends, cell.holds
    assert (rerun and str(rerun.State)) == cell.rerun, cell.holds
    if subject.group is not None:
        assert world.group_state(subject.group) == cell.group, cell.holds
    assert world.complaints() == [], cell.holds


def cells(*, together: bool) -> Any:
    """Parametrise a test over the pairs that make sense."""
    pairs = [pair for pair in PAIRED if (pair[1] in TOGETHER) == together]
    return pytest.mark.parametrize(("kind", "act"), pairs, ids=[" x ".join(pair) for pair in pairs])


@cells(together=False)
async def test_pair(world, kind, act):
    cell = CELLS[kind, act]
    subject = await DOES[act](world, kind, cell)
    judge(world, subject, cell)
    if act in {"retry", "cancel"}:
        assert cell.why in await world.why(subject.run_id)


# Acts that meet runs of all kinds at once: the start of a release, the loss of a process.


async def held_of_each_kind(world: World) -> dict[str, Subject]:
    """Create a held run of each kind."""
    return {kind: await made(world, kind, held=True) for kind in KINDS}


def let_go(world: World, subjects: dict[str, Subject]) -> None:
    """Let the held runs go."""
    for subject in subjects.values():
        world.clear("hold", subject.tag)


@pytest.fixture(scope="module")
def killed(module_url, tmp_path_factory) -> Iterator[tuple[World, dict[str, Subject]]]:
    """A world in which a node process was killed while a run of each kind ran; another node took over."""
    folder = tmp_path_factory.mktemp("killed")
    with world_on(module_url(), folder, work=False) as world:
        notes = folder / "notes"
        options = {"JOBS_PACKAGE": "pair_jobs", "PROJECT": "PAIRS", "PAIRS": folder}
        node = NodeProcess(world.url, notes, **options)
        heir = world.make()

        async def take_over() -> dict[str, Subject]:
            subjects = await held_of_each_kind(world)
            for subject in subjects.values():
                await world.becomes(subject.run_id, "running")
            node.kill()
            let_go(world, subjects)
            await heir.start(schedule=False)
            await world.rest()
            return subjects

        try:
            yield world, asyncio.run(take_over())
        finally:
            node.kill()
            asyncio.run(heir.stop())


@pytest.fixture(scope="module")
def renamed(module_url, tmp_path_factory) -> Iterator[tuple[World, dict[str, Subject]]]:
    """A world whose waiting runs of each kind were created by a release in which the jobs had other names."""
    folder = tmp_path_factory.mktemp("renamed")
    source = Path(pair_jobs.__file__).read_text(encoding="utf-8")
    new = re.sub(r'name="Pair(\w+)"', r'name="New\1", aliases=("Pair\1",)', source)
    (folder / "renamed_pair_jobs.py").write_text(new, encoding="utf-8")
    with world_on(module_url(), folder, work=False) as world, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        heir = world.make("renamed_pair_jobs", release="2")

        async def take_over() -> dict[str, Subject]:
            subjects = {kind: await made(world, kind) for kind in KINDS}
            await world.scheduler.stop()
            await heir.start(schedule=False)
            await world.rest()
            return subjects

        try:
            yield world, asyncio.run(take_over())
        finally:
            asyncio.run(heir.stop())
            sys.modules.pop("renamed_pair_jobs", None)


@cells(together=True)
@pytest.mark.usefixtures("module_url")
def test_pair_of_all_kinds(request, kind, act):
    fixture = {"rename": "renamed", "kill of its worker": "killed"}[act]
    world, subjects = request.getfixturevalue(fixture)
    judge(world, subjects[kind], CELLS[kind, act])
    row = world.row(subjects[kind].run_id)
    if act == "rename":
        assert row.JobName.startswith("New")
    else:
        assert (row.LostWorkers, row.Attempt) == (1, 2)


def test_each_pair_is_run_or_says_why_it_makes_no_sense():
    assert set(CELLS) == {(kind, act) for kind in KINDS for act in ACTS}
    assert set(ACTS) == TOGETHER | set(DOES)
    senseless = [cell.holds for cell in CELLS.values() if not cell.makes_sense]
    assert len(PAIRED) + len(senseless) == len(KINDS) * len(ACTS)
    assert len(senseless) == 3
