"""Callers that request several keys: a caller that waits for a key holds no later key, and deadlocked work is repeated."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa
from guarantee_rig import unique_run
from targcc_scheduler.db.tables import job_unique
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import unique
from targcc_scheduler.kernel.jobs.options import Unique
from targcc_scheduler.kernel.runs.values import NewRun

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
WAITING = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


@pytest.fixture
async def store(migrated_postgresql_url: str) -> AsyncIterator[Store]:
    """A store on PostgreSQL; SQLite has one writer."""
    store = Store(migrated_postgresql_url)
    yield store
    await store.dispose()


Halt: TypeAlias = Callable[[], Awaitable[object]]


class Halting:
    """Connection that pauses before statements: ``{"insert 2": …}`` pauses before the second INSERT."""

    def __init__(self, connection: Any, halts: dict[str, Halt]) -> None:
        self._connection = connection
        self._halts = halts
        self._counts = Counter[str]()

    async def execute(self, statement: Any, *values: Any) -> Any:
        kind = "lock" if statement is unique._LOCK else statement.__visit_name__
        self._counts[kind] += 1
        if halt := self._halts.get(f"{kind} {self._counts[kind]}"):
            await halt()
        return await self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def wanted(*keys: str) -> dict[unique.Pair, NewRun]:
    return {("alone", key): unique_run("alone", key, Unique(), NOW) for key in keys}


async def let_go(connection: Any, keys: dict[str, int]) -> None:
    """Assign keys to runs that no longer exist."""
    for key, run_id in keys.items():
        is_it = sa.and_(job_unique.c.JobName == "alone", job_unique.c.UniqueKey == key)
        await connection.execute(sa.update(job_unique).where(is_it).values(RunId=run_id))


async def test_who_waits_for_a_key_holds_none_that_comes_after_it(store):
    """The first caller misses ``a`` and gets ``b``. Before its next try a third caller has ``a`` and requests ``b``."""
    third: list[asyncio.Task[None]] = []

    async def take(
        *keys: str, then: dict[str, int] | None = None, halts: dict[str, Halt] | None = None
    ) -> None:
        async with store.write() as connection:
            taken_keys = await unique.take(Halting(connection, halts or {}), wanted(*keys), NOW)
            assert not any(
                isinstance(standing, unique.Standing) for standing in taken_keys.values()
            )
            await let_go(connection, then or {})

    async def third_is_done_or_waits() -> None:
        third.append(asyncio.create_task(take("a", "b")))
        async with asyncio.timeout(30):
            while not third[0].done():
                async with store.read() as connection:
                    if await connection.scalar(WAITING):
                        return
                await asyncio.sleep(0.01)

    await take("a", "b", then={"a": 7, "b": 7})
    await take(
        "a",
        "b",
        halts={"lock 1": lambda: take("a", then={"a": 8}), "insert 2": third_is_done_or_waits},
    )
    await third[0]


async def test_what_the_database_undoes_for_another_is_done_again(store):
    """Two transactions change the same two rows in opposite order."""
    both = asyncio.Barrier(2)
    tries = Counter[str]()

    async def swap(name: str, *keys: str) -> None:
        async def work(connection: Any) -> None:
            tries[name] += 1
            await let_go(connection, {keys[0]: len(name)})
            if tries[name] == 1:
                await both.wait()
            await let_go(connection, {keys[1]: len(name)})

        await store.change(work)

    async with store.write() as connection:
        await unique.take(connection, wanted("a", "b"), NOW)
    await asyncio.gather(swap("one", "a", "b"), swap("other", "b", "a"))
    assert sorted(tries.values()) == [1, 2]


async def test_a_transaction_that_is_undone_each_time_is_given_up(store):
    tries = Counter[str]()

    async def work(connection: Any) -> None:
        tries["all"] += 1
        await connection.execute(
            sa.text("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$")
        )

    with pytest.raises(sa.exc.DBAPIError, match="again"):
        await store.change(work)
    assert tries["all"] == 5
