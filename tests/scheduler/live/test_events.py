"""Event handlers in code: one call per state change, and another call only if the handler has not confirmed."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hooked_jobs import hooks
from isolated_jobs import plain
from live_rig import eventually
from rt_tools import NodeProcess
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import (
    Actor,
    RunCancelled,
    RunFailed,
    RunMissed,
    RunRetrying,
    RunSkipped,
    RunState,
    Scheduler,
    Settings,
)
from targcc_scheduler.core.errors import WebhookError
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_delivery, job_run, job_text_due
from targcc_scheduler.features.events import actions as event_actions
from targcc_scheduler.features.events import loops as event_loops
from targcc_scheduler.features.events import model as event_model
from targcc_scheduler.features.events.schemas import WebhookOut
from targcc_scheduler.kernel.node import maintenance, recurring
from targcc_scheduler.kernel.node.recurring import DueSlots
from targcc_scheduler.kernel.runs import create
from targcc_scheduler.kernel.runs.values import NewRun

pytestmark = pytest.mark.usefixtures("processes")  # some of its jobs run in a process of their own

DANA = Actor("dana")
NAME = "hooked_jobs.hooks.whatever_ended"
NEW_SLOT = NewRun(
    job_name="Report",
    job_type="Recurring",
    queue="default",
    priority=0,
    due_at=datetime(2026, 1, 1, tzinfo=UTC),
    triggered_by="System",
    state=RunState.SKIPPED,
    note="run 7 was still busy",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Poll constantly and retry at once."""
    monkeypatch.setattr(maintenance, "_TEXT_SECONDS", 0.05)
    monkeypatch.setattr(event_loops, "WAITS", (timedelta(),) * 3)
    hooks.heard.clear()
    yield
    hooks.heard.clear()


@contextlib.asynccontextmanager
async def working(settings: Settings, *, work: bool = True) -> AsyncIterator[Scheduler]:
    """Yield a started node; with ``work=False`` the node does everything except running jobs."""

    async def notify(_event: object) -> None:
        """Send no alerts."""

    scheduler = Scheduler(settings, jobs_package="hooked_jobs", notify=notify)
    await scheduler.start(work=work, schedule=not work)
    yield scheduler
    await scheduler.stop()


async def all_told(scheduler: Scheduler) -> list[event_model.Delivery]:
    """Return the deliveries to handlers, once no event is pending."""
    waits = sa.select(
        sa.exists().select_from(job_text_due).label("a"),
        sa.exists().where(job_delivery.c.DueAt.is_not(None)).label("b"),
    )

    async def quiet() -> bool:
        return not any(await scheduler.read(lambda db: _row(db, waits)))

    await eventually(quiet)
    known = await scheduler.read(event_model.webhooks)
    deliveries = [
        one
        for hook in known
        for one in await scheduler.read(lambda db, key=hook.id: event_model.deliveries(db, key, 99))
    ]
    return sorted(deliveries, key=lambda one: one.id)


async def _row(db: Any, statement: Any) -> Any:
    return (await db.execute(statement)).one()


async def told_of_runs(settings: Settings) -> None:
    async with working(settings) as scheduler:
        ok = await scheduler.enqueue("Report", tenant="a")
        bad = await scheduler.enqueue("Fails")
        gone = await scheduler.schedule("Report", delay="1h", tenant="a")
        for run_id in (ok, bad):
            await scheduler.wait(run_id, 60)
        await scheduler.cancel(gone, by=DANA)
        await all_told(scheduler)
        # The handler of the job Fails raises an error at first: it is called again, with the same id.
        heard = sorted(
            (type(item).__name__, item.run_id, item.attempt, item.delivery) for item in hooks.heard
        )
        assert heard == [
            ("RunCancelled", gone, 0, 1),
            ("RunFailed", bad, 2, 1),
            ("RunFailed", bad, 2, 2),
            ("RunRetrying", bad, 1, 1),
            ("RunSucceeded", ok, 1, 1),
        ]
        failed = [item for item in hooks.heard if isinstance(item, RunFailed)]
        assert failed[0].id == failed[1].id
        assert failed[0].message == "RuntimeError: the warehouse is closed"
        assert failed[0].url.endswith(f"/jobs/runs/{bad}")
        [again] = [item for item in hooks.heard if isinstance(item, RunRetrying)]
        assert again.retry_at > again.at > again.created_at
        [cancelled] = [item for item in hooks.heard if isinstance(item, RunCancelled)]
        assert "dana" in (cancelled.message or "") or cancelled.started_at is None

        # A run that is noted again is reported once.
        note = job_text_due.insert().values(RunId=ok)
        await scheduler.change(lambda db: db.execute(note))
        assert len(await all_told(scheduler)) == 4
        assert len(hooks.heard) == 5

        # The webhook pages list the handlers and their deliveries, and can turn handlers off.
        known = {item.shown: item for item in await scheduler.read(event_model.webhooks)}
        assert known[NAME].events == ("failed", "succeeded")
        shown = {item.address: item for item in map(WebhookOut.model_validate, known.values())}
        assert shown["hooked_jobs.hooks.tries_again"].events == ("retrying",)
        assert shown[NAME].in_code
        with pytest.raises(WebhookError, match="handler in the code"):
            await event_actions.test(scheduler, known[NAME].id, DANA)
        await event_actions.disable(scheduler, known[NAME].id, DANA)
        await scheduler.wait(await scheduler.enqueue("Report", tenant="b"), 60)
        assert len(await all_told(scheduler)) == 4


async def told_of_slots(settings: Settings) -> None:
    async with working(settings, work=False) as scheduler:
        known = scheduler.find("Report")
        slot = scheduler.clock.now()
        due = DueSlots((), (slot - timedelta(hours=2), slot - timedelta(hours=1)), slot)
        skipped = replace(NEW_SLOT, due_at=slot, scheduled_for=slot)

        async def pass_by(connection: AsyncConnection) -> None:
            await recurring.create_runs(connection, [(known, due)], slot)
            await create.insert_slots(connection, [skipped, skipped], slot)

        await scheduler.change(pass_by)
        await all_told(scheduler)
        heard = [(type(one), one.attempt, one.scheduled_for) for one in hooks.heard]
        assert sorted(heard, key=lambda one: one[2] or slot) == [
            (RunMissed, 0, due.missed[0]),
            (RunMissed, 0, due.missed[1]),
            (RunSkipped, 0, slot),
        ]
        [skip_event] = [one for one in hooks.heard if isinstance(one, RunSkipped)]
        assert (skip_event.message, skip_event.started_at) == ("run 7 was still busy", None)


async def test_handlers_hear_of_each_change_once(settings: Settings):
    await told_of_runs(settings)


async def test_handlers_hear_of_slots_that_passed(settings: Settings):
    await told_of_slots(settings)


@pytest.mark.sqlite  # as on SQL Server, whose tables have no triggers
async def test_handlers_hear_of_changes_that_no_trigger_notes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    with sync_engine(settings.database_url) as engine, engine.begin() as connection:
        for name in ("Ended", "Born", "Gone"):
            connection.exec_driver_sql(f"DROP TRIGGER TR_c_JobRun_{name}")
        dialect = known.of(connection)
    monkeypatch.setattr(type(dialect), "notes_ended_runs", False)
    await told_of_runs(settings)
    hooks.heard.clear()
    await told_of_slots(settings)


async def test_handlers_hear_of_each_change_once_over_postgresql(migrated_postgresql_url: str):
    settings = Settings(database_url=migrated_postgresql_url, heartbeat_seconds=0.2)
    await told_of_runs(settings)
    hooks.heard.clear()
    await told_of_slots(settings)


async def test_what_ended_while_no_node_had_the_handler_is_told_when_one_has(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """Cover runs that a node without the handler settled: one run noted before the node ends, another run not noted."""
    async with working(settings, work=False):
        """The handlers are registered from here on."""

    async def notify(_event: object) -> None:
        """Send no alerts."""

    async def no_time(_texts: maintenance.TextKeeper) -> None:
        """Skip the maintenance between the end of a run and the poll for ended runs."""

    other = Scheduler(settings, jobs_package="isolated_jobs", notify=notify)
    await other.start(schedule=False)
    first = await other.enqueue(plain)
    await other.wait(first, 60)
    noted = (
        sa.select(sa.func.count()).where(job_delivery.c.RunId == first).select_from(job_delivery)
    )
    await eventually(lambda: other.read(lambda db: db.scalar(noted)))
    with monkeypatch.context() as patched:
        patched.setattr(maintenance.TextKeeper, "once", no_time)
        second = await other.enqueue(plain)
        await other.wait(second, 60)
        await other.stop()
    assert hooks.heard == []
    async with working(settings, work=False) as scheduler:
        await all_told(scheduler)
        assert sorted(event.run_id for event in hooks.heard) == [first, second]


async def test_a_handler_that_no_node_has_any_more_is_turned_off(settings: Settings):
    async with working(settings, work=False) as scheduler:
        now = scheduler.clock.now()
        await scheduler.change(
            lambda db: event_model.make_known(db, {"gone.handler": ["failed"]}, now)
        )
        [hook] = [
            candidate
            for candidate in await scheduler.read(event_model.webhooks)
            if candidate.shown == "gone.handler"
        ]
        message = event_model.message(hook, "failed", now, {}, run_id=1)
        await scheduler.change(lambda db: event_model.put(db, message))
        later = now + event_model.UNHEARD_FOR
        await scheduler.change(lambda db: event_model.give_up_unheard(db, later))
        stored_hook = await scheduler.read(lambda db: event_model.find(db, hook.id))
        assert stored_hook is not None
        assert stored_hook.disabled_at is None
        later += timedelta(minutes=1)
        await scheduler.change(lambda db: event_model.give_up_unheard(db, later))
        stored_hook = await scheduler.read(lambda db: event_model.find(db, hook.id))
        assert stored_hook is not None
        assert stored_hook.disabled_by == event_model.NOBODY
        # The handler returns and receives events from then on.
        await scheduler.change(
            lambda db: event_model.make_known(db, {"gone.handler": ["failed"]}, later)
        )
        stored_hook = await scheduler.read(lambda db: event_model.find(db, hook.id))
        assert stored_hook is not None
        assert (stored_hook.disabled_at, stored_hook.created_at) == (None, later)


async def test_a_node_that_is_killed_before_it_has_said_that_it_told_tells_again(
    settings: Settings, tmp_path: Path
):
    """The process dies after the handler ran: the state change is delivered once more, under the same id, and not a third time."""
    notes = tmp_path / "notes"
    notes.touch()
    node = NodeProcess(settings.database_url, notes, JOBS_PACKAGE="hooked_jobs")
    try:
        await node.started()
        idle = Scheduler(settings, jobs_package="hooked_jobs")
        run_id = await idle.enqueue("Deadly")
        await eventually(lambda: node.process.poll() is not None)
    finally:
        node.kill()
    assert await idle.read(lambda db: db.scalar(sa.select(job_run.c.State))) == "succeeded"
    # The minute for which the message was claimed has passed.
    now = idle.clock.now()
    await idle.change(
        lambda db: db.execute(
            sa.update(job_delivery).where(job_delivery.c.DueAt.is_not(None)).values(DueAt=now)
        )
    )
    await idle.stop()
    first = notes.read_text().split()
    async with working(settings, work=False) as scheduler:
        [sent] = await all_told(scheduler)
    assert (sent.status, sent.attempts, sent.message_id) == ("delivered", 2, first[4])
    assert first[:4] == ["RunSucceeded", str(run_id), "1", "1"]
    assert [(event.run_id, event.delivery, event.id) for event in hooks.heard] == [
        (run_id, 2, first[4])
    ]
