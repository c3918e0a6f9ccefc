"""Response times of every address with a million runs and a busy worker; run with ``-m soak -s`` for the table."""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import sqlalchemy as sa
from run_queue import Measured, measured
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import Settings
from targcc_scheduler.db.dialects import text_index as search_index
from targcc_scheduler.db.dialects.postgresql import numbers
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel import text_index as index_keeper
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.jobs.declaration import define
from web_fixtures import Site, running

pytestmark = pytest.mark.soak

RUNS = int(os.environ.get("TARGCC_TEST_RUNS", "1000000"))
ATTEMPTS = RUNS // 5
DISTINCT = 1_000
TIMES = 11
NEEDLE, LONG_AGO = "porcupine 4711", RUNS // 10
CHAIN = ("DailyReport", *(f"Old{n}" for n in range(1, 10)))
"""Jobs in a chain, each following the job before."""
CAUSE = fingerprint_of("DailyReport", "ValueError: 7")
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
    "batch:1",
    "batch:1 state:failed",
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
    "/jobs/timeline?job=DailyReport",
    "/jobs/heatmap?weeks=8",
    "/jobs/heatmap?job=DailyReport",
    "/jobs/calendars",
    "/jobs/webhooks",
    "/jobs/batches",
    "/jobs/batches/1",
    "/jobs/batches/1/live",
    f"/jobs/runs/{RUNS // 2 + 9}",
    "/jobs/limits",
    "/jobs/jobs/SyncStock",
    "/jobs/jobs/SyncStock/backfill",
    "/jobs/jobs/SyncStock/override",
    f"/jobs/runs/{RUNS // 2}/lines",
    f"/jobs/runs/{RUNS // 2}/live",
    f"/jobs/inbox/{CAUSE.key}",
    "/jobs/account",
    "/api/jobs",
    "/api/jobs/DailyReport",
    "/api/jobs/DailyReport/history",
    "/api/jobs/DailyReport/stats?days=366",
    "/api/jobs/DailyReport/why",
    "/api/jobs/DailyReport/trend?days=90",
    "/api/jobs/SyncStock/trend?days=90",
    "/api/timeline",
    "/api/calendar",
    "/api/heatmap",
    "/api/heatmap?job=DailyReport",
    "/api/calendars",
    "/api/maintenance",
    "/api/webhooks",
    "/api/chains",
    "/api/jobs/Old9",
    "/api/batches",
    "/api/batches/1",
    "/api/batches/1/events",
    "/api/limits",
    f"/api/runs/{RUNS // 2}/log.txt",
    f"/api/runs/{RUNS // 2}/events",
    "/api/runs?q=porcupine",
    "/api/runs?q=no+such+text",
    f"/api/runs/{RUNS // 2}",
    f"/api/runs/{RUNS // 2}/why",
    f"/api/runs/{RUNS // 2}/log",
    "/api/inbox",
    f"/api/inbox/{CAUSE.key}",
    "/api/bulk",
    "/api/overrides",
    "/api/owners",
    "/api/releases",
    "/api/system",
    "/api/queues",
    "/api/servers",
    "/api/audit",
    "/metrics",
)
PLAIN = "/api/audit"
"""Address with a single index read: the least response time on a busy machine."""

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
        ServerId, TriggeredBy, Message, Cause, HandledAt, HandledBy, Handling, BatchId)
    SELECT CASE n % 50 WHEN 0 THEN 'DailyReport' ELSE 'Old' || (n % 50) END, 'Recurring', CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'succeeded' END, 'default',
        CASE WHEN n % 2 = 0 THEN '{{"customer": ' || (n % {distinct}) || '}}' END, {at}, {at}, {at}, {at}, 1,
        'web-' || (n % 4) || ':1:machine:random', 'System', 'Processed ' || (n % {distinct}) || ' orders of the day',
        CASE WHEN n % 20 = 0 THEN {cause} END,
        CASE WHEN n % 20 = 0 AND n < {open_since} THEN {at} END, 'Dana', 'discarded',
        CASE WHEN n BETWEEN {batch} AND {batch} + 99999 THEN 1 END
    FROM {series} AS series
"""
"""Some of the runs belong to one old batch of maximum size."""
FILL_BATCH = """
    INSERT INTO c_JobBatch (Id, Name, Kind, State, CreatedBy, CreatedAt, CompletedAt, Total, Pending, Failed)
    VALUES (1, 'all that was', 'batch', 'failed', 'System', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 100000, 0, 5)
"""
FILL_LINKS = """
    INSERT INTO c_JobLink (ChildId, ParentKind, ParentId, Condition, Quorum, Otherwise, Outcome)
    SELECT Id, 'run', Id - 1, 'success', 'all', 'discard', 'succeeded' FROM c_JobRun WHERE Id % 50 BETWEEN 1 AND 9
"""
"""Runs of the report, and of nine jobs in a chain."""
QUARTER = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', strftime('%s', StartedAt) / 900 * 900, 'unixepoch')",
    "postgresql": "date_bin('15 minutes', StartedAt, TIMESTAMPTZ '2020-01-01 00:00:00Z')",
}
FILL_COUNTS = """
    INSERT INTO c_JobStat (JobName, BeginsAt, Outcome, Bucket, Shard, Count, SumMs, MaxMs)
    SELECT JobName, {quarter}, State, {bucket}, Id % 2, count(*), sum(Id % 5000), max(Id % 5000)
    FROM c_JobRun GROUP BY 1, 2, 3, 4, 5
"""
"""Counters as of two nodes: sixty classes of durations, and failures without duration."""
FILL_ATTEMPTS = """
    INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, DurationMs, Success, ResultMessage, ServerName, TriggeredBy)
    SELECT CASE n % 50 WHEN 0 THEN 'DailyReport' ELSE 'Old' || (n % 50) END, CAST(n AS varchar(20)), 'Recurring', {at}, {at}, n % 5000, {success}, 'Processed', 'web-1', 'System'
    FROM {series} AS series
"""


def fill(url: str) -> None:
    """Insert a million runs, their text index, and the run to search for."""
    with sync_engine(url) as engine, engine.begin() as connection:
        kind = connection.dialect.name
        known = {
            "distinct": DISTINCT,
            "success": "n % 20 <> 0",
            "cause": f"'{CAUSE.key}'",
            "open_since": RUNS // 10 * 9,
            "batch": RUNS // 10 * 3,
        }
        connection.exec_driver_sql(FILL_BATCH)
        for statement, rows in ((FILL_RUNS, RUNS), (FILL_ATTEMPTS, ATTEMPTS)):
            series, at = SERIES[kind].format(rows=rows), AT[kind].format(rows=rows)
            sql = statement.format(series=series, at=at, **known)
            connection.exec_driver_sql(sql.replace("%", "%%") if kind != "sqlite" else sql)
        connection.exec_driver_sql(
            FILL_LINKS.replace("%", "%%") if kind != "sqlite" else FILL_LINKS
        )
        bucket = "CASE State WHEN 'failed' THEN -1 ELSE 20 + Id % 60 END"
        counts = FILL_COUNTS.format(quarter=QUARTER[kind], bucket=bucket)
        connection.exec_driver_sql(counts if kind == "sqlite" else counts.replace("%", "%%"))
        index(connection, kind)
        emptied = "DELETE FROM" if kind == "sqlite" else "TRUNCATE"
        connection.exec_driver_sql(f"{emptied} c_JobTextDue")
        connection.exec_driver_sql(
            f"UPDATE c_JobRun SET Message = 'A {NEEDLE}' WHERE Id = {LONG_AGO}"
        )
    if kind == "postgresql":  # as the server does in the background
        with sync_engine(url) as engine, engine.connect() as connection:
            in_no_transaction = connection.execution_options(isolation_level="AUTOCOMMIT")
            in_no_transaction.exec_driver_sql("VACUUM ANALYZE")


def index(connection: sa.Connection, kind: str) -> None:
    some = connection.execute(sa.text(f"SELECT * FROM c_JobRun WHERE Id <= {DISTINCT}")).mappings()
    names = ("JobName", "TriggeredBy", "Message", "ArgumentsJson", "State", "Queue", "ServerId", "StartedAt", "CompletedAt")  # fmt: skip
    texts = {}
    for row in some:
        folded = {name.lower(): value for name, value in row.items()}
        values = {name: folded[name.lower()] for name in names}
        values["StartedAt"] = values["CompletedAt"] = datetime.now(UTC)
        texts[folded["id"]] = search_index.document(type("Row", (), values))
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


async def follow() -> None:
    """Do nothing: the jobs of the chain never start here."""


@pytest.fixture
async def site(migrated_url: str) -> AsyncIterator[Site]:
    began = time.monotonic()
    await asyncio.to_thread(fill, migrated_url)
    took = time.monotonic() - began
    print(f"\n{RUNS:,} runs in {took:.0f} s")  # noqa: T201 - the figures are what it is run for
    settings = Settings(database_url=migrated_url, heartbeat_seconds=1, lost_after_seconds=60)
    async with running(settings, work=True) as site:
        for before, name in pairwise(CHAIN):
            site.scheduler._registry.add(define(follow, name=name, after=[before]))
        await site.change(
            lambda db: error_groups.note(db, [error_groups.Seen(CAUSE, datetime.now(UTC))])
        )
        yield site


async def keep_busy(site: Site) -> None:
    while True:
        await site.scheduler.enqueue("SyncStock")
        await asyncio.sleep(0.02)


async def timed(client: Any, path: str, servers: Collection[int]) -> Measured:
    """Return the milliseconds of a response."""
    with measured(servers) as result:
        answer = await client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
    return result


def servers_of(site: Site, request: pytest.FixtureRequest) -> list[int]:
    """Return the ids of the processes of PostgreSQL that serve the connections."""
    if site.scheduler.settings.database_url.startswith("sqlite"):
        return []
    server = request.getfixturevalue("postgresql_server")
    return [child.pid for child in psutil.Process(server.postmaster).children()]


async def waits(db: AsyncConnection) -> int:
    return (await index_keeper.look(db, datetime.now(UTC))).waits


async def test_every_address_answers_soon(site: Site, request: pytest.FixtureRequest):
    viewer, program = await site.user("operator"), await site.program("operator")
    for client in (viewer.client, program):
        # comparing with the OpenAPI description takes longer than the response
        client.event_hooks = {}
    assert f'/jobs/runs/{LONG_AGO}"' in await viewer.page(f"/jobs/runs?q={quote(NEEDLE)}")
    while await site.scheduler.read(waits):  # noqa: ASYNC110 - the database says it
        await asyncio.sleep(0.05)
    assert f'/jobs/runs/{LONG_AGO}"' in await viewer.page(f"/jobs/runs?q={quote(NEEDLE)}")
    busy = asyncio.create_task(keep_busy(site))
    timings: dict[str, list[Measured]] = {}
    for _ in range(TIMES):
        servers = servers_of(site, request)
        for path in ADDRESSES:
            client = viewer.client if path.startswith("/jobs") else program
            timings.setdefault(path, []).append(await timed(client, path, servers))
    busy.cancel()
    medians = {}
    print("     own   median     95 %    first  processor")  # noqa: T201
    for path, times in sorted(timings.items(), key=lambda item: _median(item[1], "own")):
        medians[path] = _median(times, "own")
        elapsed = [timing.elapsed for timing in times]
        figures = (
            medians[path],
            statistics.median(elapsed),
            sorted(elapsed)[-1 - len(times) // 20],
            elapsed[0],
            _median(times, "processor"),
        )
        print(" ".join(f"{figure:8.1f}" for figure in figures), f"ms  {path}")  # noqa: T201
    most = max(100, 20 * medians[PLAIN])
    assert not {path: took for path, took in medians.items() if took > most}


def _median(times: Sequence[Measured], name: str) -> float:
    return statistics.median(getattr(timing, name) for timing in times)
