"""Every address with a million runs behind it, and a worker busy beside it; run with ``-m soak -s`` for the table."""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import Settings
from targcc_scheduler.storage.engines import sync_engine
from targcc_scheduler.storage.texts import document, keeping
from targcc_scheduler.storage.texts.postgresql import numbers
from web_fixtures import Site, running

pytestmark = pytest.mark.soak

RUNS = int(os.environ.get("TARGCC_TEST_RUNS", "1000000"))
ATTEMPTS = RUNS // 5
DISTINCT = 1_000
TIMES = 7
NEEDLE, LONG_AGO = "porcupine 4711", RUNS // 10
SEARCHES = (
    "",
    "state:failed",
    "job:Old7",
    "job:Old1* state:failed",
    "job:Nothing*",
    "since:2d until:1d",
    "orders",
    "porcupine",
    "no such text",
    "orders porcupine",
    "state:cancelled orders",
    "state:failed pineapple",
    "arg.customer:4711",
    "node:web-9",
    "took:>5h",
    "queue:nowhere",
    "by:nobody",
)
ADDRESSES = (
    "/jobs",
    "/jobs/jobs",
    "/jobs/jobs/DailyReport",
    "/jobs/jobs/Old7",
    *(f"/jobs/runs?q={quote(search)}" for search in SEARCHES),
    f"/jobs/runs?before={RUNS // 2}",
    f"/jobs/runs?q=no+such+text&before={RUNS // 2}",
    f"/jobs/runs/{RUNS // 2}",
    "/jobs/bulk",
    "/jobs/inbox",
    "/jobs/inbox?show=all",
    "/jobs/inbox?q=no+such+text",
    "/jobs/audit",
    "/jobs/system",
    "/jobs/calendar",
    "/jobs/calendar?view=day",
    "/jobs/timeline",
    "/jobs/timeline?hours=48",
    "/jobs/heatmap?weeks=8",
    "/api/jobs",
    "/api/jobs/DailyReport",
    "/api/jobs/DailyReport/history",
    "/api/jobs/DailyReport/stats?days=366",
    "/api/jobs/DailyReport/why",
    "/api/jobs/DailyReport/trend?days=90",
    "/api/timeline",
    "/api/heatmap?job=DailyReport",
    "/api/runs?q=porcupine",
    "/api/runs?q=no+such+text",
    f"/api/runs/{RUNS // 2}",
    f"/api/runs/{RUNS // 2}/why",
    f"/api/runs/{RUNS // 2}/log",
    "/api/inbox",
    "/api/queues",
    "/api/servers",
    "/api/audit",
    "/metrics",
)
PLAIN = "/api/audit"
"""Its rows come by one index: what an address takes at least, however busy the machine is."""

SERIES = {
    "sqlite": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s)",
    "postgresql": "(SELECT generate_series(1, {rows}) AS n)",
}
AT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '-' || (({rows} - n) * 30 + 60) || ' seconds')",
    "postgresql": "date_trunc('second', now()) - ({rows} - n) * INTERVAL '30 seconds' - INTERVAL '60 seconds'",
}
FILL_RUNS = """
    INSERT INTO c_JobRun (JobName, JobType, State, Queue, ArgumentsJson, DueAt, CreatedAt, StartedAt, CompletedAt, Attempt,
        ServerId, TriggeredBy, Message)
    SELECT CASE n % 50 WHEN 0 THEN 'DailyReport' ELSE 'Old' || (n % 50) END, 'Recurring', CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'succeeded' END, 'default',
        CASE WHEN n % 2 = 0 THEN '{{"customer": ' || (n % {distinct}) || '}}' END, {at}, {at}, {at}, {at}, 1,
        'web-' || (n % 4) || ':1:machine:random', 'System', 'Processed ' || (n % {distinct}) || ' orders of the day'
    FROM {series} AS series
"""
FILL_ATTEMPTS = """
    INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, DurationMs, Success, ResultMessage, ServerName, TriggeredBy)
    SELECT CASE n % 50 WHEN 0 THEN 'DailyReport' ELSE 'Old' || (n % 50) END, CAST(n AS varchar(20)), 'Recurring', {at}, {at}, n % 5000, {success}, 'Processed', 'web-1', 'System'
    FROM {series} AS series
"""


def fill(url: str) -> None:
    """A million runs, their index as nodes would have made it, and the needle."""
    with sync_engine(url) as engine, engine.begin() as connection:
        kind = connection.dialect.name
        known = {"distinct": DISTINCT, "success": "n % 20 <> 0"}
        for statement, rows in ((FILL_RUNS, RUNS), (FILL_ATTEMPTS, ATTEMPTS)):
            series, at = SERIES[kind].format(rows=rows), AT[kind].format(rows=rows)
            said = statement.format(series=series, at=at, **known)
            connection.exec_driver_sql(said.replace("%", "%%") if kind != "sqlite" else said)
        index(connection, kind)
        emptied = "DELETE FROM" if kind == "sqlite" else "TRUNCATE"
        connection.exec_driver_sql(f"{emptied} c_JobTextDue")
        connection.exec_driver_sql(
            f"UPDATE c_JobRun SET Message = 'A {NEEDLE}' WHERE Id = {LONG_AGO}"
        )
        if kind == "postgresql":
            connection.exec_driver_sql("ANALYZE")


def index(connection: sa.Connection, kind: str) -> None:
    some = connection.execute(sa.text(f"SELECT * FROM c_JobRun WHERE Id <= {DISTINCT}")).mappings()
    names = ("JobName", "TriggeredBy", "Message", "ArgumentsJson", "State", "Queue", "ServerId", "StartedAt", "CompletedAt")  # fmt: skip
    texts = {}
    for row in some:
        folded = {name.lower(): value for name, value in row.items()}
        values = {name: folded[name.lower()] for name in names}
        values["StartedAt"] = values["CompletedAt"] = datetime.now(UTC)
        texts[folded["id"]] = document.document(type("Row", (), values))
    if kind == "sqlite":
        connection.exec_driver_sql("PRAGMA cache_size = -400000")
        connection.exec_driver_sql(
            "INSERT INTO c_JobText (c_JobText, rank) VALUES ('hashsize', 200000000)"
        )
        connection.exec_driver_sql("CREATE TEMP TABLE texts (k INTEGER PRIMARY KEY, body TEXT)")
        connection.execute(
            sa.text("INSERT INTO texts VALUES (:k, :body)"),
            [{"k": k % DISTINCT, "body": body} for k, body in texts.items()],
        )
        connection.exec_driver_sql(
            f"INSERT INTO c_JobText (rowid, Body) SELECT Id, body FROM c_JobRun JOIN texts ON k = Id % {DISTINCT} ORDER BY Id"
        )
        connection.exec_driver_sql("DROP TABLE texts")
        return
    connection.exec_driver_sql("DROP INDEX IX_c_JobText_Grams")
    connection.exec_driver_sql("CREATE TEMP TABLE texts (k integer PRIMARY KEY, grams smallint[])")
    connection.execute(
        sa.text("INSERT INTO texts VALUES (:k, :grams)"),
        [{"k": k % DISTINCT, "grams": numbers(body)} for k, body in texts.items()],
    )
    connection.exec_driver_sql(
        f"INSERT INTO c_JobText SELECT Id, grams FROM c_JobRun JOIN texts ON k = Id %% {DISTINCT} ORDER BY Id"
    )
    connection.exec_driver_sql("CREATE INDEX IX_c_JobText_Grams ON c_JobText USING gin (Grams)")


@pytest.fixture
async def site(migrated_url: str) -> AsyncIterator[Site]:
    began = time.monotonic()
    await asyncio.to_thread(fill, migrated_url)
    took = time.monotonic() - began
    print(f"\n{RUNS:,} runs in {took:.0f} s")  # noqa: T201 - the figures are what it is run for
    settings = Settings(database_url=migrated_url, heartbeat_seconds=1, lost_after_seconds=60)
    async with running(settings, work=True) as site:
        yield site


async def keep_busy(site: Site) -> None:
    while True:
        await site.scheduler.enqueue("SyncStock")
        await asyncio.sleep(0.02)


async def timed(client: Any, path: str) -> float:
    began = time.perf_counter()
    answer = await client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
    return (time.perf_counter() - began) * 1000


async def waits(db: AsyncConnection) -> int:
    return (await keeping.look(db, datetime.now(UTC))).waits


async def test_every_address_answers_soon(site: Site):
    viewer, program = await site.user("viewer"), await site.program("viewer")
    assert f'/jobs/runs/{LONG_AGO}"' in await viewer.page(f"/jobs/runs?q={quote(NEEDLE)}")
    while await site.scheduler.read(waits):  # noqa: ASYNC110 - the database says it
        await asyncio.sleep(0.05)
    assert f'/jobs/runs/{LONG_AGO}"' in await viewer.page(f"/jobs/runs?q={quote(NEEDLE)}")
    busy = asyncio.create_task(keep_busy(site))
    found: dict[str, list[float]] = {}
    for _ in range(TIMES):
        for path in ADDRESSES:
            client = viewer.client if path.startswith("/jobs") else program
            found.setdefault(path, []).append(await timed(client, path))
    busy.cancel()
    base = statistics.median(found[PLAIN])
    for path, times in sorted(found.items(), key=lambda one: statistics.median(one[1])):
        print(f"{statistics.median(times):8.1f} {max(times):8.1f} ms  {path}")  # noqa: T201
    slow = {path: times for path, times in found.items() if statistics.median(times) > max(100, 20 * base)}  # fmt: skip
    assert not slow
