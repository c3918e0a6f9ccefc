"""Lock order: a transaction that waits for a row holds no row later in the order, so no two transactions deadlock.

In each case another transaction holds the row that is first in the order; the last row must be free while the tested work waits.
With ``-m soak`` many processes change the same few rows at once.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
import sqlalchemy as sa
from guarantee_rig import unique_run
from processes import environment
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import (
    job_batch,
    job_delivery,
    job_failure,
    job_idempotency,
    job_limit,
    job_link,
    job_override,
    job_run,
    job_schedule,
    job_unique,
    job_webhook,
)
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.batches import actions as batch_actions
from targcc_scheduler.features.events import model as event_model
from targcc_scheduler.features.overrides import rows as override_rows
from targcc_scheduler.kernel import (
    dependencies,
    error_groups,
    limit_renames,
    limits,
    releases,
    unique,
)
from targcc_scheduler.kernel import dependencies as kernel_dependencies
from targcc_scheduler.kernel.jobs.options import LimitPolicy, Unique
from targcc_scheduler.kernel.node import nodes, slots
from targcc_scheduler.kernel.runs import claim, create, operate
from targcc_scheduler.kernel.runs.settle import settle
from targcc_scheduler.kernel.runs.values import NewRun, Settlement
from targcc_scheduler.operations import Call

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DANA = Actor(ActorKind.MANUAL, "dana")
WAITING = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
Rows: TypeAlias = Callable[[Any], Awaitable[None]]
Work: TypeAlias = Callable[[Any], Awaitable[object]]


@pytest.fixture
async def store(migrated_postgresql_url: str) -> AsyncIterator[Store]:
    """A store on PostgreSQL; SQLite has one writer."""
    store = Store(migrated_postgresql_url)
    yield store
    await store.dispose()


@dataclass(frozen=True)
class Case:
    """Two rows that a scan returns in the reverse order.

    Args:
        rows: Create the two rows and their related rows.
        work: Lock both rows.
        first: The row that is first in the lock order.
        last: The row that is last in the lock order.
    """

    rows: Rows
    work: Work
    first: sa.Select[Any]
    last: sa.Select[Any]


def row(column: Any, value: Any) -> sa.Select[Any]:
    return sa.select(column).where(column == value)


def runs_in_order(rows: Rows, work: Work) -> Case:
    return Case(rows, work, row(job_run.c.Id, 1), row(job_run.c.Id, 2))


def keys_in_order(rows: Rows, work: Work, column: Any) -> Case:
    return Case(rows, work, row(column, "a"), row(column, "b"))


def runs(**values: Any) -> Rows:
    """Insert the runs 1 and 2, with run 2 first in the table."""

    async def make(connection: Any) -> None:
        for run_id in (2, 1):
            await connection.execute(sa.insert(job_run).values(_run(run_id, **values)))

    return make


def _run(run_id: int, **values: Any) -> dict[str, Any]:
    row = {
        "Id": run_id,
        "JobName": "Old",
        "JobType": "Manual",
        "State": "running",
        "Queue": "default",
        "Priority": 0,
        "DueAt": NOW,
        "CreatedAt": NOW,
        "StartedAt": NOW,
        "Attempt": 1,
        "ServerId": "web-1",
        "TriggeredBy": "System",
    }
    return row | values


def keys(table: sa.Table, name: str, **values: Any) -> Rows:
    """Insert two rows with the keys ``a`` and ``b`` for existing runs."""

    async def make(connection: Any) -> None:
        await runs(State="scheduled", Attempt=0)(connection)
        for run_id, key in ((1, "b"), (2, "a")):
            row = {name: key, "JobName": "Old"} | values
            row |= {"RunId": run_id} if "RunId" in table.c else {}
            await connection.execute(sa.insert(table).values(row))

    return make


def named(table: sa.Table, **values: Any) -> Rows:
    """Insert rows of the jobs ``a`` and ``b``, with ``b`` first in the table."""

    async def make(connection: Any) -> None:
        for name in ("b", "a"):
            await connection.execute(sa.insert(table).values({"JobName": name} | values))

    return make


async def webhook(connection: Any) -> None:
    """Insert a webhook and a waiting delivery."""
    here = {"Id": 1, "Shown": "https://example.org", "SealedJson": "", "Events": "", "Jobs": ""}
    here |= {"CreatedBy": "dana", "CreatedAt": NOW}
    await connection.execute(sa.insert(job_webhook).values(here))
    message = {"Id": 1, "WebhookId": 1, "MessageId": "1", "Event": "run.failed", "Body": "{}"}
    message |= {"Status": "waiting", "DueAt": NOW, "CreatedAt": NOW}
    await connection.execute(sa.insert(job_delivery).values(message))


async def caused(connection: Any) -> None:
    values = {"Cause": "why", "JobName": "Old", "Kind": "ValueError", "FirstAt": NOW}
    await connection.execute(sa.insert(job_failure).values(values))
    await runs(State="failed", CompletedAt=NOW, Cause="why")(connection)


async def batches(connection: Any) -> None:
    """Insert batch 1, and batch 2 inside it."""
    for batch_id, parent_id in ((1, None), (2, 1)):
        row = {"Id": batch_id, "Name": "some", "Kind": "batch", "State": "running", "Total": 1}
        row |= {"CreatedBy": "dana", "CreatedAt": NOW, "Pending": 1, "ParentId": parent_id}
        await connection.execute(sa.insert(job_batch).values(row))


async def chained(connection: Any) -> None:
    """Insert the running runs 2 and 3, and run 1, which waits for run 3."""
    for run_id, state in ((3, "running"), (1, "awaiting"), (2, "running")):
        await connection.execute(sa.insert(job_run).values(_run(run_id, State=state)))
    link = {"ChildId": 1, "ParentKind": "run", "ParentId": 3, "Condition": "success"}
    link |= {"Quorum": "all", "Otherwise": "discard"}
    await connection.execute(sa.insert(job_link).values(link))


async def replace_two(connection: Any) -> None:
    """Request runs with two keys whose existing runs get the new arguments."""
    rule, wanted = Unique(duplicate="replace"), {}
    for key in ("a", "b"):
        wanted["Old", key] = replace(unique_run("Old", key, rule, NOW), arguments_json="{}")
    taken_keys = await unique.take(connection, wanted, NOW)
    assert all(isinstance(standing, unique.Standing) for standing in taken_keys.values())


async def raise_limit(connection: Any) -> None:
    await limits.renew(connection, {"Old": LimitPolicy(most=2)}, NOW)


def cancel_batch(connection: Any) -> Awaitable[object]:
    return batch_actions.begin_cancel(Call(connection, None, NOW), 1, DANA)  # type: ignore[arg-type]


async def settle_runs(connection: Any) -> None:
    rows = (await connection.execute(sa.select(job_run).order_by(job_run.c.Id.desc()))).all()
    ended = [
        Settlement(claim=claim.claim_of(run_row, {}), state=RunState.SUCCEEDED, note="")
        for run_row in rows
    ]
    assert len(await settle(connection, ended, NOW)) == 2


async def return_runs(connection: Any) -> None:
    running = await claim.running_on(connection, "web-1")
    await claim.give_back(connection, "web-1", running, {}, NOW, note="released")


UNIQUE = keys(job_unique, "UniqueKey", Scope="running")
CALLS = keys(job_idempotency, "IdempotencyKey", Digest="1", CreatedAt=NOW)
SCHEDULES = named(job_schedule, ScheduleText="* * * * *")
OVERRIDES = named(
    job_override, Field="queue", ValueJson="1", SetBy="dana", SetAt=NOW, Reason="", EndsAt=NOW
)
LIMITS = keys(job_limit, "LimitKey", Most=1, UpdatedAt=NOW)


async def keys_of_two_names(connection: Any) -> None:
    """Insert a limit key of a job under its old name, and the same key under its new name."""
    for name in ("Old", "New"):
        values = {"LimitKey": f"{name} k=a", "JobName": name, "UpdatedAt": NOW}
        await connection.execute(sa.insert(job_limit).values(values))


LATER = row(job_batch.c.Id, 2), row(job_batch.c.Id, 1)
"""The inner batch, and its parent."""
CASES = {
    "a batch is cancelled": Case(batches, cancel_batch, *LATER),
    "a run waits for batches": Case(
        batches, lambda db: dependencies.outcomes_of(db, dependencies.BATCH, [1, 2]), *LATER
    ),
    "failures are acknowledged": runs_in_order(
        caused, lambda db: error_groups.handle(db, "why", "dana", "seen", now=NOW)
    ),
    "failures are opened again": runs_in_order(caused, lambda db: error_groups.reopen(db, [2, 1])),
    "runs are rescued": runs_in_order(runs(), lambda db: nodes.rescue(db, NOW, limits={})),
    "runs are settled": runs_in_order(runs(), settle_runs),
    "runs are given back": runs_in_order(runs(), return_runs),
    "runs get another job": runs_in_order(
        runs(State="scheduled"), lambda db: releases.take_over(db, "New", "Old", "1")
    ),
    "unique runs get another job": Case(
        UNIQUE,
        lambda db: releases.take_over(db, "New", "Old", "1"),
        row(job_run.c.Id, 1),
        row(job_unique.c.UniqueKey, "a"),
    ),
    "runs end for which others wait": runs_in_order(
        chained, lambda db: kernel_dependencies.lock_rows(db, [2, 3])
    ),
    "runs get other arguments": runs_in_order(UNIQUE, replace_two),
    "unique runs are deleted": keys_in_order(
        UNIQUE, lambda db: operate.delete_rows(db, [1, 2]), job_unique.c.UniqueKey
    ),
    "runs of calls are deleted": keys_in_order(
        CALLS, lambda db: operate.delete_rows(db, [1, 2]), job_idempotency.c.IdempotencyKey
    ),
    "a limit is raised": keys_in_order(LIMITS, raise_limit, job_limit.c.LimitKey),
    "keys get another job": Case(
        keys_of_two_names,
        lambda db: limit_renames.lead_on(db, "New", "Old", NOW),
        row(job_limit.c.LimitKey, "New k=a"),
        row(job_limit.c.LimitKey, "Old k=a"),
    ),
    "jobs become inactive": keys_in_order(
        SCHEDULES, lambda db: slots.forget(db, ["b", "a"]), job_schedule.c.JobName
    ),
    "overrides end": keys_in_order(
        OVERRIDES, lambda db: override_rows.remove_ended(db, NOW), job_override.c.JobName
    ),
    "a webhook is turned off": Case(
        webhook,
        lambda db: event_model.disable(db, 1, "dana", NOW),
        row(job_delivery.c.Id, 1),
        row(job_webhook.c.Id, 1),
    ),
}


async def waits(store: Store) -> bool:
    async with store.read() as connection:
        return bool(await connection.scalar(WAITING))


async def until_it_waits_for(store: Store, table: str) -> None:
    """Wait until a statement on a table waits for a lock."""
    statement = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE :table"
    )
    while True:
        async with store.read() as connection:
            if await connection.scalar(statement, {"table": f"%{table}%"}):
                return
        await asyncio.sleep(0)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
async def test_who_waits_for_a_row_holds_none_that_comes_after_it(store, case):
    async with store.write() as connection:
        await case.rows(connection)
    async with store.engine.begin() as other:
        await other.execute(case.first.with_for_update())
        task = asyncio.create_task(store.change(case.work))
        async with asyncio.timeout(30):
            while not task.done() and not await waits(store):
                # so that the idle transaction is not ended
                await other.execute(sa.text("SELECT 1"))
        assert not task.done()
        last = case.last.with_for_update(skip_locked=True)
        assert (await other.execute(last)).first() is not None
    await task


async def test_to_stage_runs_waits_for_nobody(store):
    later = NOW + timedelta(minutes=1)
    async with store.write() as connection:
        await runs(State="scheduled", Attempt=0)(connection)
    async with store.engine.begin() as other:
        await other.execute(sa.select(job_run.c.Id).where(job_run.c.Id == 1).with_for_update())
        assert await asyncio.wait_for(store.change(lambda db: create.stage_due(db, later)), 30) == 1
    assert await store.change(lambda db: create.stage_due(db, later)) == 1


CROWD = "import crowd_rig, sys; crowd_rig.main(*sys.argv[1:])"
PATH = Path(__file__).parents[1]
QUICKLY = ("deadlock_timeout = '50ms'", "enable_seqscan = off", "enable_bitmapscan = off")
"""Detect deadlocks soon, and plan statements as for many rows."""
SECONDS, SEED = 15, 15


async def one_key(connection: Any) -> None:
    """Insert the waiting run 1 with the key ``a``, and the waiting run 2."""
    for run_id in (1, 2):
        await connection.execute(
            sa.insert(job_run).values(_run(run_id, State="enqueued", Attempt=0))
        )
    await connection.execute(
        sa.insert(job_unique).values(JobName="Old", UniqueKey="a", RunId=1, Scope="queued")
    )


async def _take(store: Store) -> dict[unique.Pair, unique.Outcome]:
    wanted = unique_run("Old", "a", Unique(scope="queued", duplicate="replace"), NOW)
    async with store.write() as transaction:
        return await unique.take(transaction, {("Old", "a"): wanted}, NOW)


async def test_who_waited_for_a_run_that_began_waits_for_its_key_without_the_run(store):
    """PostgreSQL keeps the lock of a row that changed while a statement waited for it, although the statement leaves the row out."""
    async with store.write() as transaction:
        await one_key(transaction)
    async with store.write() as key, store.engine.connect() as claim:
        await key.execute(row(job_unique.c.UniqueKey, "a").with_for_update())
        await claim.execute(sa.update(job_run).where(job_run.c.Id == 1).values(State="running"))
        taking = asyncio.create_task(_take(store))
        await until_it_waits_for(store, "c_jobrun")
        await claim.commit()
        await until_it_waits_for(store, "c_jobunique")
        async with store.write() as other:
            await other.execute(row(job_run.c.Id, 1).with_for_update(nowait=True))
    assert isinstance((await taking)["Old", "a"], NewRun)


async def test_who_waited_for_a_key_that_was_taken_waits_for_its_run_without_the_key(store):
    async with store.write() as transaction:
        await one_key(transaction)
        await transaction.execute(
            sa.update(job_run).where(job_run.c.Id == 1).values(State="running")
        )
    async with store.engine.connect() as claim:
        await claim.execute(row(job_run.c.Id, 2).with_for_update())
        async with store.write() as key:
            await key.execute(row(job_unique.c.UniqueKey, "a").with_for_update())
            taking = asyncio.create_task(_take(store))
            await until_it_waits_for(store, "c_jobunique")
            await key.execute(sa.update(job_unique).values(RunId=2))
        await until_it_waits_for(store, "c_jobrun")
        async with store.write() as other:
            await other.execute(row(job_unique.c.UniqueKey, "a").with_for_update(nowait=True))
    assert await taking == {("Old", "a"): unique.Standing(2)}


@pytest.mark.soak
def test_whatever_is_done_at_once_fails_for_nobody(migrated_postgresql_url):
    """Six nodes in three processes, and 18 callers. The database breaks any deadlock that no lock order rules out; the work is repeated."""
    url = sa.make_url(migrated_postgresql_url)
    with psycopg.connect(migrated_postgresql_url, autocommit=True) as connection:
        for setting in QUICKLY:
            connection.execute(f"ALTER DATABASE {url.database} SET {setting}")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CROWD, migrated_postgresql_url, str(seed), str(SECONDS)],
                env=environment(PYTHONPATH=str(PATH)),
                stdout=subprocess.PIPE,
                text=True,
            )
            for seed in range(SEED, SEED + 3)
        ]
        results = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
        of_database = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        [count] = connection.execute(of_database).fetchone()
    did = sum((Counter(item["did"]) for item in results), Counter())
    assert len(did) >= 20, did
    assert [item for result in results for item in result["failed"] + result["errors"]] == []
    assert sum(len(item["again"]) for item in results) >= count
