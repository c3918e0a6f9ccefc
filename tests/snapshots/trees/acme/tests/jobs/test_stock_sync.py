from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from acme_jobs.jobs.stock_sync import ITEMS, StockSyncJob
from acme_jobs.scheduler import run_job
from acme_jobs.services import Cursors, Database


class OtherSystem:
    """A server of two items a page, whose list may grow. The cursor is a position in the list."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.cursors: list[str] = []
        self.last_cursor = ""
        self.ends_with_none = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            return httpx.Response(401)
        cursor = request.url.params.get("cursor", "0")
        self.cursors.append(cursor)
        page = self.items[int(cursor) : int(cursor) + 2]
        following: str | None = self.last_cursor or str(int(cursor) + len(page))
        if self.ends_with_none and int(cursor) + len(page) == len(self.items):
            following = None
        return httpx.Response(200, json={"items": page, "cursor": following})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    yield database
    database.close()


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> OtherSystem:
    monkeypatch.setenv("STOCK_SYNC_URL", "http://other.example/items")
    monkeypatch.setenv("STOCK_SYNC_TOKEN", "secret")
    return OtherSystem()


def make_job(database: Database, other: OtherSystem) -> StockSyncJob:
    client = httpx.AsyncClient(transport=httpx.MockTransport(other))
    return StockSyncJob(client, database, Cursors(database))


def stored(database: Database) -> dict[str, Any]:
    with database.engine.begin() as connection:
        return {row.Id: row.Body for row in connection.execute(sa.select(ITEMS))}


async def test_reads_every_page_and_then_only_new_items(
    database: Database, other: OtherSystem
) -> None:
    job = make_job(database, other)
    other.items = [{"id": number, "name": f"item {number}"} for number in range(3)]
    await run_job(job)
    other.items.append({"id": 0, "name": "changed"})
    other.cursors.clear()

    outcome = await run_job(job)

    assert outcome.result.metadata["received"] == 1
    assert other.cursors[0] == "3"
    assert stored(database)["0"]["name"] == "changed"
    assert sorted(stored(database)) == ["0", "1", "2"]


async def test_a_repeated_last_page_ends_the_run(database: Database, other: OtherSystem) -> None:
    other.items = [{"id": 1}]
    other.last_cursor = "0"

    outcome = await run_job(make_job(database, other))

    assert outcome.result.ok
    assert list(stored(database)) == ["1"]


async def test_the_next_run_continues_after_an_empty_cursor(
    database: Database, other: OtherSystem
) -> None:
    other.items = [{"id": number} for number in range(3)]
    other.ends_with_none = True
    job = make_job(database, other)

    first, second = [await run_job(job) for _ in range(2)]

    assert (first.result.metadata["received"], second.result.metadata["received"]) == (3, 1)
    assert other.cursors == ["0", "2", "2"]


async def test_a_refused_token_is_an_error(
    database: Database, other: OtherSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCK_SYNC_TOKEN", "wrong")

    with pytest.raises(httpx.HTTPStatusError, match="401"):
        await run_job(make_job(database, other))


async def test_fails_without_an_address(
    database: Database, other: OtherSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCK_SYNC_URL", "")

    outcome = await run_job(make_job(database, other))

    assert outcome.result.message == "Set STOCK_SYNC_URL to the address to read"


async def test_a_system_without_cursors_is_read_once_a_run(
    database: Database, other: OtherSystem
) -> None:
    other.items = [{"id": 1}]
    other.ends_with_none = True
    job = make_job(database, other)

    outcomes = [await run_job(job) for _ in range(2)]

    assert [outcome.result.metadata["received"] for outcome in outcomes] == [1, 1]
    assert other.cursors == ["0", "0"]


async def test_no_items_is_a_success(database: Database, other: OtherSystem) -> None:
    outcome = await run_job(make_job(database, other))

    assert outcome.result.metadata["received"] == 0
