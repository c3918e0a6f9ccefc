"""Maintenance windows: delayed runs, continued runs, and notices to people."""

from datetime import UTC, datetime, timedelta

import pytest
from targcc_scheduler import JobContext, JobResult, Project, job
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.core.errors import MaintenanceError
from targcc_scheduler.core.states import RunState
from targcc_scheduler.features.calendars import actions as calendar_actions
from targcc_scheduler.features.triage.sla import late_runs
from targcc_scheduler.features.triage.why import why_job, why_run
from targcc_scheduler.kernel import pauses as calendar_model
from targcc_scheduler.kernel.pauses import Window
from targcc_scheduler.kernel.queries.runs import get_run

DANA = Actor("CLI", "dana")
PROJECT = Project(
    name="quiet-jobs",
    package="quiet_jobs",
    queues={"default": 2, "critical": 2},
    calendars={"holidays": {"off": ("2026-12-25 (Christmas)", "saturday", "sunday")}},
)


@job(queue="critical")
class LedgerJob:
    """Job that waits during a window."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@job()
class OtherJob(LedgerJob):
    """Job in another queue."""


@job("0 2 * * *", timezone="UTC", calendar="holidays")
class SkipsJob(LedgerJob):
    """Job skipped on holidays."""


@job("0 2 25 * *", timezone="UTC", calendar="holidays", on_holiday="next")
class MovesJob(LedgerJob):
    """Job moved on holidays."""


@job("0 2 * * sat", timezone="UTC", calendar="holidays")
class ClosedJob(LedgerJob):
    """Job whose slots are all closed."""


@pytest.fixture(autouse=True)
def _project(monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", PROJECT)


async def test_no_run_of_its_queues_starts_in_a_window_and_what_waits_starts_at_its_end(
    make_scheduler,
):
    scheduler = make_scheduler()
    await scheduler.start(schedule=False)
    ends = scheduler.clock.now() + timedelta(hours=2)
    with pytest.raises(MaintenanceError, match="has a reason"):
        await scheduler.operate(
            calendar_actions.plan, None, DANA, starts_at=None, ends_at=ends, reason=" "
        )
    window = await scheduler.operate(
        calendar_actions.plan,
        None,
        DANA,
        starts_at=None,
        ends_at=ends,
        reason="new disk",
        queues=["critical"],
    )
    held = [await scheduler.enqueue(LedgerJob) for _ in range(3)]
    passed = [await scheduler.enqueue(OtherJob) for _ in range(3)]
    for run in passed:
        assert await scheduler.wait(run, timeout=60) is RunState.SUCCEEDED

    now = scheduler.clock.now()

    async def look(db):
        states = [(await get_run(db, run)).state for run in held]
        why = await why_run(
            db, await get_run(db, held[0]), scheduler.definitions, now, lost_after=60
        )
        return states, why, await late_runs(db, now + timedelta(hours=1))

    states, why, late = await scheduler.read(look)
    assert states == [RunState.ENQUEUED] * 3
    assert why.reasons[0].kind == "maintenance"
    assert why.short.endswith("planned by dana by CLI: new disk. Waiting runs start then.")
    assert late == []
    await scheduler.operate(calendar_actions.end, None, window.id, DANA)
    for run in held:
        assert await scheduler.wait(run, timeout=60) is RunState.SUCCEEDED


async def test_a_window_for_all_ends_by_itself(make_scheduler):
    scheduler = make_scheduler()
    await scheduler.start(schedule=False)
    now = scheduler.clock.now()
    window = Window(0, now, now + timedelta(seconds=2), (), "restart", "dana", now)
    await scheduler.change(lambda db: calendar_model.add(db, window))
    run = await scheduler.enqueue(OtherJob)
    assert await scheduler.wait(run, timeout=60) is RunState.SUCCEEDED
    ended_run = await scheduler.read(lambda db: get_run(db, run))
    assert ended_run.started_at >= window.ends_at - timedelta(seconds=1)


async def test_a_window_begins_at_once_although_the_planner_s_clock_is_ahead(make_scheduler):
    scheduler, ahead = make_scheduler(), datetime.now(UTC) + timedelta(minutes=5)
    planner = make_scheduler(clock=ManualClock(ahead))
    await scheduler.start(schedule=False)
    await planner.operate(
        calendar_actions.plan,
        None,
        DANA,
        starts_at=None,
        ends_at=ahead + timedelta(hours=1),
        reason="new disk",
        queues=["critical"],
    )
    held = await scheduler.enqueue(LedgerJob)
    assert await scheduler.wait(await scheduler.enqueue(OtherJob), timeout=60) is RunState.SUCCEEDED

    async def look(db):
        run = await get_run(db, held)
        now = scheduler.clock.now()
        return run.state, await why_run(db, run, scheduler.definitions, now, lost_after=60)

    state, why = await scheduler.read(look)
    assert state is RunState.ENQUEUED
    assert "new disk" in why.reasons[0].text


async def test_why_says_what_a_calendar_does_to_slots(make_scheduler):
    christmas = datetime(2026, 12, 24, 12, tzinfo=UTC)
    scheduler = make_scheduler(clock=ManualClock(christmas))
    await scheduler.start(work=False, schedule=False)

    async def reasons(name):
        def ask(db):
            return why_job(db, name, scheduler.definitions, christmas, lost_after=60)

        every = (await scheduler.read(ask)).reasons
        return {
            reason.kind: reason.text for reason in reversed(every)
        }  # the first text of each kind

    assert (await reasons("Skips"))["calendar-skipped"] == (
        "The slot of 2026-12-25 02:00 is skipped: Christmas (calendar holidays)."
    )
    assert (await reasons("Moves"))["calendar-moved"] == (
        "The slot of 2026-12-25 02:00 is moved to 2026-12-28 02:00: Christmas (calendar holidays)."
    )
    assert (await reasons("Closed"))["calendar-closed"] == (
        "The schedule 0 2 * * sat has no time at which holidays is open."
    )
