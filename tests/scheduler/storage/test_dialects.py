"""Contract of every dialect (see ``db/dialects/base.py``); both dialects pass these tests."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa
from targcc_scheduler.core.outage import OUTAGES
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.dialects import known, postgresql
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_queue, job_run, job_server, logged_job
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.runs import claim, create, values
from targcc_scheduler.kernel.runs.settle import history_row, settle

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def _claims(store, count):
    """Create runs and claim them as the node ``me``; return the claims."""
    async with store.write() as connection:
        row = {"Id": "me", "Name": "me", "ProcessId": 1, "Queues": "", "Workers": 1}
        row |= {"Version": "", "StartedAt": NOW, "HeartbeatAt": NOW}
        await connection.execute(job_server.insert().values(row))
        run = values.NewRun(
            job_name="Work", job_type="Manual", queue="q", priority=0, due_at=NOW, triggered_by="t"
        )
        for _ in range(count):
            await create.insert_many(connection, [run], NOW)
        terms = values.ClaimTerms(server_id="me", limits={}, poison_here=False, now=NOW)
        return (await claim.claim(connection, values.Offer(wanted={"q": count}), terms)).claims


def test_a_url_and_a_connection_of_it_have_the_same_dialect(migrated_url):
    with sync_engine(migrated_url) as engine, engine.connect() as connection:
        assert known.of(connection) is known.for_url(migrated_url)


def test_a_database_that_the_scheduler_does_not_know_is_refused_by_name():
    with pytest.raises(ValueError, match="not on mysql"):
        known.for_url("mysql://host/jobs")


def test_a_table_is_found_by_the_name_that_the_database_made_of_ours(migrated_url):
    with sync_engine(migrated_url) as engine:
        dialect = known.of(engine)
        inspector = sa.inspect(engine)
        assert inspector.has_table(dialect.folded("c_JobRun"))
        assert inspector.has_table(dialect.version_table)


async def test_an_insert_that_ignores_leaves_the_row_that_is_there(store):
    insert = store.dialect.insert_ignore(job_queue, [job_queue.c.Name])
    async with store.write() as connection:
        for reason in ("first", "second"):
            await connection.execute(insert.values(Name="q", PauseReason=reason))
        rows = (await connection.execute(sa.select(job_queue.c.PauseReason))).scalars().all()
    assert rows == ["first"]


async def test_an_upsert_changes_the_row_that_is_there(store):
    async with store.write() as connection:
        for reason in ("first", "second"):
            row = {"Name": "q", "PauseReason": reason}
            await connection.execute(store.dialect.upsert(job_queue, [job_queue.c.Name], row))
        rows = (await connection.execute(sa.select(job_queue.c.PauseReason))).scalars().all()
    assert rows == ["second"]


@pytest.mark.parametrize("lock", ["lock_job", "lock_alerts"])
async def test_a_second_transaction_waits_for_the_lock_of_the_first(store, migrated_url, lock):
    other, order = Store(migrated_url), []

    async def second():
        async with other.write() as connection:
            await getattr(other.dialect, lock)(connection, "Work")
            order.append("second")

    async with store.write() as connection:
        await getattr(store.dialect, lock)(connection, "Work")
        waiting = asyncio.create_task(second())
        done, _ = await asyncio.wait((waiting,), timeout=0.2)
        assert not done
        order.append("first")
    await waiting
    await other.dispose()
    assert order == ["first", "second"]


async def test_a_transaction_that_writes_waits_for_another_process(store, migrated_url):
    """The wait must not block the event loop, because the other transaction ends on the same loop."""
    other = Store(migrated_url)
    async with store.write() as connection:
        insert = store.dialect.insert_ignore(job_queue, [job_queue.c.Name])
        await connection.execute(insert.values(Name="q"))

        async def second():
            async with other.write() as transaction:
                await transaction.execute(insert.values(Name="q"))

        waiting = asyncio.create_task(second())
        await asyncio.wait((waiting,), timeout=0.1)
    await waiting
    await other.dispose()


async def test_a_batch_settles_what_is_still_owned_with_a_row_of_history_each(store):
    first, lost, last = await _claims(store, 3)
    ended = values.AttemptRecord(ended_at=NOW + timedelta(seconds=2), success=True, server="me")
    batch = [
        values.Settlement(claim=claim, state=RunState.SUCCEEDED, attempt=ended)
        for claim in (first, lost, last)
    ]
    async with store.write() as connection:
        another = sa.update(job_run).where(job_run.c.Id == lost.run_id).values(ServerId="other")
        await connection.execute(another)
        settled = await settle(connection, batch, NOW)
        kept = (await connection.execute(sa.select(logged_job))).mappings().all()
        states = dict((await connection.execute(sa.select(job_run.c.Id, job_run.c.State))).all())
    assert [item.claim.run_id for item in settled] == [first.run_id, last.run_id]
    assert states[lost.run_id] == "running"
    for row, claimed in zip(kept, (first, last), strict=True):
        assert history_row(claimed, ended).items() <= dict(row).items()


async def test_a_settlement_of_a_waiting_run_finds_it_while_it_waits(store):
    (claim,) = await _claims(store, 1)
    back = values.Settlement(claim=claim, state=RunState.RETRYING, due_at=NOW)
    waits = values.Claim(**{**_fields(claim), "server_id": None})
    cancelled = values.Settlement(
        claim=waits, source=RunState.RETRYING, state=RunState.CANCELLED, cancelled_by="dana"
    )
    async with store.write() as connection:
        assert await settle(connection, [cancelled], NOW) == []
        assert await settle(connection, [back], NOW) == [back]
        assert await settle(connection, [cancelled], NOW) == [cancelled]
        row = (await connection.execute(sa.select(job_run))).one()
    assert (row.State, row.CancelRequestedBy, row.ServerId) == ("cancelled", "dana", None)


def _fields(claim):
    return {name: getattr(claim, name) for name in claim.__dataclass_fields__}


async def test_a_transaction_that_stands_still_gives_its_locks_up(
    migrated_postgresql_url, monkeypatch
):
    """For example a transaction of a frozen node whose connection the server considers healthy."""
    monkeypatch.setattr(postgresql, "_LONGEST_SILENCE", "200ms")
    frozen, other = Store(migrated_postgresql_url), Store(migrated_postgresql_url)
    try:
        with pytest.raises(OUTAGES, match="idle-in-transaction"):
            await _stand_still(frozen, other)
        async with frozen.write() as connection:
            assert await connection.scalar(sa.text("SELECT 1")) == 1
    finally:
        await frozen.dispose()
        await other.dispose()


async def test_the_server_plans_for_rows_in_memory_unless_it_does_more_so(migrated_postgresql_url):
    """The random page cost of 1.1 makes the planner prefer indexes; the server's default of 4 scans small tables."""
    shown, name = sa.text("SHOW random_page_cost"), sa.make_url(migrated_postgresql_url).database
    for default, expected in (("4", "1.1"), ("1.05", "1.05")):
        with psycopg.connect(migrated_postgresql_url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET random_page_cost = {default}")
        store = Store(migrated_postgresql_url)
        async with store.read() as reading, store.write() as writing:
            assert {await transaction.scalar(shown) for transaction in (reading, writing)} == {
                expected
            }
        await store.dispose()


async def _stand_still(frozen: Store, other: Store) -> None:
    """Hold a lock and do nothing until another transaction has the lock; then continue."""
    lock = sa.text("LOCK TABLE c_JobSchedule IN EXCLUSIVE MODE")
    async with frozen.write() as connection:
        await connection.execute(lock)
        async with asyncio.timeout(30), other.write() as second:
            await second.execute(lock)
        await connection.execute(sa.text("SELECT 1"))
