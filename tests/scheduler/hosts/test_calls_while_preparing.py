"""A host serves before its scheduler's tables are ready: calls wait for the tables, pages do not."""

import asyncio
import threading
from pathlib import Path

import pytest
from targcc_scheduler import Client, Scheduler, Settings, hosting, job


@job()
def tidy() -> None: ...


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables."""
    if request.param == "sqlite":
        (tmp_path / "empty.db").touch()
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
def goes_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let the preparation of the tables wait for the returned event."""
    event, prepare = threading.Event(), hosting.prepare

    def waits(settings: Settings) -> str:
        assert event.wait(60)
        return prepare(settings)

    monkeypatch.setattr(hosting, "prepare", waits)
    return event


async def test_a_run_is_enqueued_once_the_tables_are_there(empty_url, goes_on):
    scheduler = Scheduler(Settings(database_url=empty_url), jobs_package=__name__)
    start = asyncio.create_task(scheduler.start(work=False, schedule=False))
    try:
        await asyncio.sleep(0)
        runs = [asyncio.create_task(scheduler.enqueue("tidy")) for _ in range(2)]
        in_thread = asyncio.create_task(asyncio.to_thread(Client(scheduler).enqueue, "tidy"))
        done, _ = await asyncio.wait({start, *runs, in_thread}, timeout=0.1)
        assert done == set()
        goes_on.set()
        await start
        assert len({*await asyncio.gather(*runs, in_thread)}) == 3
    finally:
        goes_on.set()
        await scheduler.stop()


async def test_a_page_does_not_wait_for_the_tables(empty_url, goes_on):
    scheduler = Scheduler(Settings(database_url=empty_url), jobs_package=__name__)
    start = asyncio.create_task(scheduler.start(work=False, schedule=False))
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await scheduler.read(lambda _: asyncio.sleep(0))
        assert not start.done()
    finally:
        goes_on.set()
        await start
        await scheduler.stop()


async def test_a_call_that_waited_long_enough_goes_on_without_tables(
    empty_url, goes_on, monkeypatch
):
    monkeypatch.setattr(hosting, "_PREPARING_SECONDS", 0.01)
    scheduler = Scheduler(Settings(database_url=empty_url), jobs_package=__name__)
    start = asyncio.create_task(scheduler.start(work=False, schedule=False))
    try:
        await asyncio.sleep(0)
        with pytest.raises(Exception, match=r"(?i)no such table|does not exist"):
            await scheduler.enqueue("tidy")
    finally:
        goes_on.set()
        await start
        await scheduler.stop()


async def test_a_run_is_enqueued_while_another_call_opens_the_database(migrated_url, monkeypatch):
    """The first use of an engine imports its libraries, which takes a while; until then the database is not there for other threads."""
    opening, goes_on, make = threading.Event(), threading.Event(), hosting.make_queue_engine

    def slow(*given):
        opening.set()
        assert goes_on.wait(60)
        return make(*given)

    monkeypatch.setattr(hosting, "make_queue_engine", slow)
    scheduler = Scheduler(Settings(database_url=migrated_url), jobs_package=__name__)
    try:
        first = asyncio.create_task(scheduler.enqueue("tidy"))
        await asyncio.to_thread(opening.wait, 60)
        second = asyncio.create_task(scheduler.enqueue("tidy"))
        await asyncio.wait({second}, timeout=0.1)
        goes_on.set()
        assert len({await first, await second}) == 2
    finally:
        goes_on.set()
        await scheduler.stop()
