"""The owner of a job decides which side may run the job; the claim itself checks the owner, on both databases."""

import asyncio
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa
from rt_tools import QUICK, until
from targcc_scheduler import Actor, ActorKind, JobContext, RunState, Scheduler, Settings, job
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.core.errors import CutoverError, RunStateError
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.features.legacy import owning
from targcc_scheduler.features.legacy.owning import Moving
from targcc_scheduler.kernel import job_owner as owners
from targcc_scheduler.kernel.job_owner import Owner
from targcc_scheduler.kernel.node import recurring, slots
from test_slots_of_owners import NOON

DANA = Actor(ActorKind.MANUAL, "dana")
ran: list[str] = []


@job(name="Moved")
def moved(ctx: JobContext) -> None:
    """Record the run."""
    ran.append(f"{ctx.run_id}")


@job("0 * * * *", name="Hourly", timezone="UTC", paused=True)
def hourly() -> None:
    """Job with an hourly schedule."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def make(request):
    """Return a function that starts schedulers on one database."""
    url = request.getfixturevalue(f"migrated_{request.param}_url")
    made = []

    async def start(clock=None, **options):
        scheduler = Scheduler(
            Settings(_env_file=None, database_url=url, **QUICK),
            jobs_package=__name__,
            clock=clock,
            notify=_nobody,
        )
        made.append(scheduler)
        await scheduler.start(**options)
        return scheduler

    ran.clear()
    yield start
    for scheduler in made:
        await scheduler.stop()


async def _nobody(event):
    """Send no alerts."""


async def own(scheduler, name, owner, **options):
    return await scheduler.operate(owning.set_owner, None, name, owner, DANA, **options)


async def state_of(scheduler, run_id):
    query = sa.text(f"SELECT State FROM c_JobRun WHERE Id = {run_id}")
    return await scheduler.read(lambda db: db.scalar(query))


@pytest.mark.parametrize("owner", [Owner.OLD, Owner.SHADOW])
async def test_a_run_of_a_job_that_is_not_ours_waits_until_it_is(make, owner):
    scheduler = await make(schedule=False)
    other = await make(work=False, schedule=False)
    await own(other, "Moved", owner)
    waiting = await scheduler.enqueue("Moved")
    run_id = await scheduler.enqueue("Ours")
    await scheduler.wait(run_id, 40)
    assert await state_of(scheduler, waiting) == RunState.ENQUEUED
    [entry] = (await scheduler.read(owners.load)).values()
    assert (entry.owner, entry.waiting, entry.by) == (owner, 1, "Manual (dana)")

    await own(other, "Moved", Owner.NEW, old_is_off=True)
    assert await scheduler.wait(waiting, 40) == RunState.SUCCEEDED
    assert ran == [str(waiting)]


@job(name="Ours")
def ours() -> None:
    """Job that the old server does not have."""


async def test_nobody_polls_hotly_for_a_run_that_waits_for_its_owner(make):
    scheduler = await make(schedule=False)
    await own(scheduler, "Moved", Owner.OLD)
    await scheduler.enqueue("Moved")
    claims = 0
    claim = scheduler.node.executor.claim

    async def counted(offer):
        nonlocal claims
        claims += 1
        return await claim(offer)

    scheduler.node.executor.claim = counted
    began = time.monotonic()
    run_id = await scheduler.enqueue("Ours")
    await scheduler.wait(run_id, 40)
    looks = (time.monotonic() - began) / QUICK["poll_seconds"]
    assert claims < 10 + 2 * looks  # a poll is a claim that may find nothing


async def test_a_person_who_runs_it_is_told_who_has_it(make):
    scheduler = await make(work=False, schedule=False)
    await own(scheduler, "Moved", Owner.OLD)
    with pytest.raises(RunStateError, match="still run by the old server"):
        await scheduler.trigger("Moved", by=DANA)
    over = await scheduler.enqueue("Moved")
    await scheduler.cancel(over, by=DANA)
    with pytest.raises(RunStateError, match="still run by the old server"):
        await scheduler.retry(over, by=DANA)


async def test_it_comes_here_only_when_somebody_says_that_the_old_row_is_off(make):
    scheduler = await make(work=False, schedule=False)
    await own(scheduler, "Moved", Owner.SHADOW)
    with pytest.raises(RunStateError, match="would run on both sides"):
        await own(scheduler, "Moved", Owner.NEW)
    assert (await own(scheduler, "Moved", Owner.NEW, old_is_off=True)).owner is Owner.NEW
    audit = sa.text("SELECT Detail FROM c_JobAudit WHERE Action = 'owner' ORDER BY Id")
    details = await scheduler.read(lambda db: db.scalars(audit))
    assert list(details) == ["new -> shadow", "shadow -> new"]


async def test_a_claim_that_is_under_way_is_waited_for(make):
    """On PostgreSQL a claim may have read the owner just before the change; the way back then sees the claimed run."""
    scheduler = await make(work=False, schedule=False)
    run_id = await scheduler.enqueue("Moved")
    await own(scheduler, "Moved", Owner.OLD)
    seen = await scheduler.change(lambda db: owners.running(db, "Moved"))
    assert seen == []
    with sync_engine(scheduler.settings.database_url) as engine, engine.connect() as claim:
        if engine.dialect.name == "sqlite":
            return  # SQLite has one writer at a time
        claim.execute(sa.text(f"UPDATE c_JobRun SET State = 'running' WHERE Id = {run_id}"))
        task = asyncio.create_task(scheduler.change(lambda db: owners.running(db, "Moved")))
        await until(lambda: _waits_for_a_lock(engine))
        assert not task.done()
        claim.commit()
        assert await task == [run_id]


def _waits_for_a_lock(engine):
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return connection.scalar(sa.text(query))


async def test_imported_jobs_are_handed_to_the_old_server_and_their_first_pause_ends(make):
    clock = ManualClock(NOON)
    scheduler = await make(clock)
    paused = "SELECT count(*) FROM c_JobSchedule WHERE PausedAt IS NOT NULL"
    count = lambda: scheduler.read(lambda db: db.scalar(sa.text(paused)))  # noqa: E731 - short
    while await count() != 1:  # noqa: ASYNC110 - the node writes it
        await asyncio.sleep(0.01)
    moving = [Moving("Hourly", "7", "night")]
    assert await scheduler.operate(owning.register, None, moving, Owner.OLD, DANA) == ["Hourly"]
    assert await count() == 0
    assert await scheduler.operate(owning.register, None, moving, Owner.OLD, DANA) == []
    [entry] = (await scheduler.read(owners.load)).values()
    assert (entry.owner, entry.old_key, entry.runner) == (Owner.OLD, "7", "night")


async def test_a_job_gets_its_first_owner_while_a_node_creates_its_schedule(make, monkeypatch):
    """The schedule was created paused, so no node would run the job after its switch."""
    other = await make(work=False, schedule=False)
    add_new, imports = slots.add_new, []
    imported = [Moving("Hourly", "7", "night")]

    async def add_meanwhile(connection, new):
        if new and not imports:
            work = other.operate(owning.register, None, imported, Owner.OLD, DANA)
            imports.append(asyncio.create_task(work))
            with sync_engine(other.settings.database_url) as engine:
                if engine.dialect.name != "sqlite":  # SQLite has one writer at a time
                    await until(lambda: imports[0].done() or _waits_for_a_lock(engine))
        await add_new(connection, new)

    monkeypatch.setattr(slots, "add_new", add_meanwhile)
    await make()
    await until(lambda: imports and imports[0].done())
    known = await other.read(slots.load)
    while "Hourly" not in known:
        known = await other.read(slots.load)
    assert known["Hourly"].paused_at is None


def test_a_file_that_is_no_list_of_jobs_is_said(tmp_path):
    with pytest.raises(CutoverError, match="cannot be read"):
        owning.read_file(tmp_path / "cutover.json")
    (tmp_path / "cutover.json").write_text('{"jobs": 7}', encoding="utf-8")
    with pytest.raises(CutoverError, match="is not what"):
        owning.read_file(tmp_path / "cutover.json")


async def test_a_change_on_another_node_is_seen_within_two_seconds(make):
    """The slot from which the job runs here has already come; the node had planned only the slot after that."""
    scheduler = await make()
    other = await make(work=False, schedule=False)
    while not await scheduler.read(slots.load):  # noqa: ASYNC110 - the node writes it
        await asyncio.sleep(0.01)
    moving = [Moving("Hourly", "7", "night")]
    await other.operate(owning.register, None, moving, Owner.OLD, DANA)
    await asyncio.to_thread(_let_it_look, scheduler)

    async def come(call):
        await slots.go_on_from(call.connection, "Hourly", call.now - timedelta(minutes=61))
        await owners.put(call.connection, "Hourly", Owner.NEW, DANA, call.now)

    await other.operate(come, None)
    began = time.monotonic()
    count = sa.text("SELECT count(*) FROM c_JobRun WHERE JobName = 'Hourly'")
    while not await other.read(lambda db: db.scalar(count)):
        # not because of the regular refresh
        assert time.monotonic() - began < recurring._REFRESH_SECONDS - 10
        await asyncio.sleep(0.01)


def _let_it_look(scheduler):
    """Wait until the node has seen the owner and planned the job's next slot."""
    node = scheduler.node.slots
    deadline = time.monotonic() + 30
    while not node._owners or node._owners[0] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
