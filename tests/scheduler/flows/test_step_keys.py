"""Unique keys and limits of jobs apply to runs in flows, on SQLite and PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import keyed_flows_rig
import pytest
import sqlalchemy as sa
from guarantee_rig import DANA, Ledger, schedulers, until
from keyed_flows_rig import MOST, OPEN, UNDER_WAY
from sqlalchemy.ext.asyncio import create_async_engine
from targcc_scheduler import Scheduler
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.features.flows.queries import get_flow
from targcc_scheduler.features.triage.why import why_run
from targcc_scheduler.kernel.queries import runs
from targcc_scheduler.kernel.runs.values import Tie


@pytest.fixture(autouse=True)
def _flows(_apart, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", keyed_flows_rig.project())
    OPEN.set()
    UNDER_WAY.clear()
    MOST.clear()


@asynccontextmanager
async def working(url: str) -> AsyncIterator[Scheduler]:
    """Yield a working scheduler on a database."""
    async with schedulers(url, "keyed_flows_rig") as make:
        scheduler = make()
        await scheduler.start(schedule=False)
        yield scheduler
        OPEN.set()
    Ledger(url).assert_sound()


@pytest.fixture
async def scheduler(migrated_url: str):
    async with working(migrated_url) as scheduler:
        yield scheduler


@pytest.fixture
def ledger(migrated_url: str) -> Ledger:
    return Ledger(migrated_url)


async def over(scheduler: Scheduler, flow_id: int) -> str:
    """Wait for the end of a flow and return its state."""
    for _ in range(3_000):
        flow = await scheduler.read(lambda db: get_flow(db, flow_id))
        if flow.final:
            return str(flow.state)
        await asyncio.sleep(0.01)
    raise AssertionError(flow)


async def step(ledger: Ledger, flow_id: int, is_so: Callable[[Any], bool]) -> Any:
    """Wait until the flow's only run satisfies a condition; return its row."""
    query = sa.select(job_run).where(job_run.c.BatchId == flow_id)
    await until(lambda: any(is_so(row) for row in ledger.rows(query)), "the step is so")
    [row] = ledger.rows(query)
    return row


async def waiting_step(scheduler: Scheduler, ledger: Ledger, name: str, **arguments: Any) -> Any:
    """Start a flow with one step; return the row of its run once the run waits for its key."""
    flow_id = await scheduler.start_flow(f"{name}Flow", arguments)
    return await step(ledger, flow_id, lambda row: row.State == "awaiting")


async def why(scheduler: Scheduler, run_id: int) -> str:
    async def ask(db):
        run = await runs.get_run(db, run_id)
        return await why_run(db, run, scheduler.definitions, scheduler.clock.now(), lost_after=30)

    return " ".join(reason.text for reason in (await scheduler.read(ask)).reasons)


@pytest.mark.slow
async def test_a_step_waits_for_the_run_that_has_its_key_and_has_it_then(scheduler, ledger):
    OPEN.clear()
    first = await scheduler.enqueue("Alone", key="a", note="another")
    run = await waiting_step(scheduler, ledger, "Alone")
    other = await waiting_step(scheduler, ledger, "Alone")
    free = await scheduler.start_flow("AloneFlow", {"key": "b"})
    await step(ledger, free, lambda row: row.State == "running")
    text = await why(scheduler, run.Id)
    assert f"Waiting for the unique key, held by run {first} (Alone)." in text
    again = await scheduler.enqueue("Alone", key="a")
    assert (again, again.existing) == (first, True)
    OPEN.set()
    for flow_id in (run.BatchId, other.BatchId, free):
        assert await over(scheduler, flow_id) == "succeeded"
    assert MOST["a"] == 1
    held, then, last = (ledger.run(run_id) for run_id in (first, run.Id, other.Id))
    assert held.CompletedAt <= then.StartedAt <= then.CompletedAt <= last.StartedAt
    assert ledger.life(run.Id)[:2] == ["scheduled", "awaiting"]


@pytest.mark.slow
async def test_a_fan_out_over_the_same_key_is_done_one_after_the_other(scheduler, ledger):
    flow_id = await scheduler.start_flow("Many", {"tenants": "abaa"})
    assert await over(scheduler, flow_id) == "succeeded"
    assert dict.fromkeys(["a", "b", "room of a", "room of b", "both"], 1) == MOST
    assert {row.LimitKey for row in ledger.runs("Roomy")} == {
        f"Roomy tenant={tenant}" for tenant in "ab"
    }
    assert {row.LimitKey for row in ledger.runs("Both")} == {"Both"}
    assert [len(ledger.runs(job)) for job in ("Alone", "Roomy", "Both")] == [4, 4, 4]
    assert not any(row.Ties & Tie.LIMITED for row in ledger.runs("Alone"))


async def test_a_step_stands_for_others_and_waits_for_room(scheduler, ledger):
    await scheduler.pause_queue("default", by=DANA)
    flow_id = await scheduler.start_flow("AloneFlow")
    run = await step(ledger, flow_id, lambda row: row.State == "enqueued")
    run_id = await scheduler.enqueue("Alone", key="a")
    assert (run_id, run_id.existing) == (run.Id, True)
    await scheduler.resume_queue("default", by=DANA)
    assert await over(scheduler, flow_id) == "succeeded"


async def test_a_key_that_is_held_until_its_run_begins_is_free_then(scheduler, ledger):
    await scheduler.pause_queue("held", by=DANA)
    first = await scheduler.enqueue("Latest")
    run = await waiting_step(scheduler, ledger, "Latest")
    OPEN.clear()
    await scheduler.resume_queue("held", by=DANA)
    await until(lambda: UNDER_WAY.get("latest") == 2, "both are performed")
    assert ledger.run(first).State == "running"
    OPEN.set()
    assert await over(scheduler, run.BatchId) == "succeeded"


async def test_a_step_waits_for_the_time_after_a_success(scheduler, ledger):
    first = await scheduler.enqueue("Hourly")
    await scheduler.wait(first, 40)
    flow_id = await scheduler.start_flow("HourlyFlow")
    ended = ledger.run(first).CompletedAt
    run = await step(ledger, flow_id, lambda row: row.DueAt == ended + timedelta(hours=1))
    assert f"held by run {first} (Hourly) until" in await why(scheduler, run.Id)
    await scheduler.delete(first, by=DANA)
    assert await scheduler.retry(run.Id, by=DANA) == run.Id
    assert await over(scheduler, flow_id) == "succeeded"


async def test_a_step_begins_when_debounce_and_throttle_say(scheduler, ledger):
    await scheduler.wait(await scheduler.enqueue("Throttled"), 40)
    for name in ("Debounced", "Throttled"):
        flow_id = await scheduler.start_flow(f"{name}Flow")
        run = await step(ledger, flow_id, lambda row: row.UniqueKey is not None)
        assert run.State == "scheduled"
        assert timedelta(minutes=50) < run.DueAt - run.CreatedAt < timedelta(minutes=70)
        run_id = await scheduler.enqueue(name)
        assert (run_id, run_id.existing) == (run.Id, True)


@pytest.mark.parametrize("end", ["cancel", "cancel flow", "delete", "expire", "unheard"])
async def test_who_waits_for_a_key_goes_on_whatever_becomes_of_those_before(scheduler, ledger, end):
    await scheduler.pause_queue("default", by=DANA)
    first = await scheduler.enqueue("Alone", key="a")
    second = await waiting_step(scheduler, ledger, "Alone")
    third = await waiting_step(scheduler, ledger, "Alone")
    assert second.ExpiresAt - second.DueAt == timedelta(hours=1)
    gone = sa.update(job_run).where(job_run.c.Id.in_([first, second.Id]))
    sweep = scheduler.node.maintenance.sweep_once
    if end == "cancel":
        await scheduler.cancel(second.Id, by=DANA)
        await scheduler.cancel(first, by=DANA)
    elif end == "cancel flow":
        await scheduler.cancel_flow(second.BatchId, by=DANA)
        await scheduler.cancel(first, by=DANA)
    elif end == "delete":
        await scheduler.delete(first, by=DANA)
    elif end == "expire":
        ledger.change(gone.values(ExpiresAt=second.CreatedAt))
        await scheduler.call(sweep())
    else:
        now = scheduler.clock.now()
        cancelled = {"State": "cancelled", "CompletedAt": now}
        line = job_run.c.LifeLog + f"{now.isoformat()} cancelled\n"
        ledger.change(gone.values(LifeLog=line, **cancelled))  # changed outside of the scheduler
        await scheduler.call(sweep())
    await scheduler.resume_queue("default", by=DANA)
    assert await over(scheduler, third.BatchId) == "succeeded"
    assert await over(scheduler, second.BatchId) in {"succeeded", "failed", "cancelled"}
    if end == "cancel":
        again = await scheduler.retry(second.Id, by=DANA)  # the retry requests its key anew
        assert str(await scheduler.wait(again, 40)) == "succeeded"
    elif end == "cancel flow":
        await scheduler.rerun_flow(second.BatchId, by=DANA)
        assert await over(scheduler, second.BatchId) == "succeeded"


async def test_a_run_whose_keys_cannot_be_made_says_so(scheduler, ledger):
    flow_id = await scheduler.start_flow("PickyFlow")
    run = await step(ledger, flow_id, lambda row: row.RefusedBy is not None)
    text = await why(scheduler, run.Id)
    assert "its keys cannot be made here: division by zero" in text
    await scheduler.cancel_flow(flow_id, by=DANA)
    assert (
        await over(scheduler, await scheduler.start_flow("PickyFlow", {"number": 5})) == "succeeded"
    )


async def test_a_transaction_that_has_a_key_holds_up_no_other_run(migrated_postgresql_url: str):
    """PostgreSQL only: SQLite has one writer."""
    ledger = Ledger(migrated_postgresql_url)
    engine = create_async_engine(ledger.engine.url)
    async with working(migrated_postgresql_url) as scheduler, engine.connect() as session:
        await scheduler.enqueue("Alone", session=session, key="a")
        flow_id = await scheduler.start_flow("Many", {"tenants": "abc"})
        await until(
            lambda: Counter(row.State for row in ledger.runs("Alone"))["succeeded"] == 2,
            "others go",
        )
        assert [row.State for row in ledger.runs("Alone")].count("scheduled") == 1
        await session.commit()
        assert await over(scheduler, flow_id) == "succeeded"
    await engine.dispose()
