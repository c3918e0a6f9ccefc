"""``uv run python tests/benchmarks/many_jobs.py [ADDRESS…]``: processor time of the addresses of a project with many jobs and a million runs.

The runs are of 30 days; 3.5 % failed. Nearly every job has an open error group, and ten chains have ten jobs each. Each request goes to the
application in this process, over ASGI. ``own`` is the processor time of this process, on SQLite with the database's part; ``server`` is the
processor time of PostgreSQL. Each figure is a median. ``loop`` is a fixed piece of Python measured before each request: a busy machine lengthens
processor time, and the ratio of a figure to ``loop`` does not change as much.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE.parent),
    str(HERE.parent / "scheduler"),
    str(HERE.parent / "scheduler" / "packages"),
]

# ruff: noqa: E402, T201 - found by the line above; a command prints
import psutil
from postgresql import PostgreSQL
from projects import WEB
from targcc_scheduler import Settings, configure, migrate
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_token
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.jobs.declaration import define

configure(WEB)

from web_fixtures import Site, running  # needs a project

ADDRESSES = (
    "/jobs",
    "/jobs/jobs",
    "/jobs/jobs?show=failing",
    "/jobs/inbox",
    "/jobs/timeline",
    "/jobs/timeline?hours=48",
    "/jobs/runs",
    "/api/jobs",
)
CHAINS, LENGTH = 10, 10
TIMES_PROFILED = 10
TEXT = "no answer"
SECONDS = 30 * 24 * 3600
AT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '-' || (60 + ({rows} - n) * {seconds} / {rows}) || ' seconds')",
    "postgresql": "date_trunc('second', now()) - make_interval(secs => 60 + ({rows} - n)::bigint * {seconds} / {rows})",
}
SERIES = {
    "sqlite": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s)",
    "postgresql": "(SELECT generate_series(1::bigint, {rows}) AS n)",
}
RUNS = """
    INSERT INTO c_JobRun (JobName, JobType, State, Queue, ScheduledFor, DueAt, CreatedAt, StartedAt, CompletedAt, Attempt, ServerId, TriggeredBy, Message, Cause)
    SELECT 'Many' || (n % {jobs}), 'Recurring', CASE WHEN n * 7919 % 1009 < 35 THEN 'failed' ELSE 'succeeded' END, 'default',
        {at}, {at}, {at}, {at}, {at}, 1, 'web-' || (n % 4) || ':1:machine:random', 'System', 'Processed ' || (n % 1000) || ' orders of the day',
        CASE WHEN n * 7919 % 1009 < 35 THEN 'pending' END
    FROM {series} AS series
"""
ATTEMPTS = """
    INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, DurationMs, Success, ResultMessage, ServerName, TriggeredBy)
    SELECT JobName, CAST(Id AS varchar(20)), 'Recurring', StartedAt, CompletedAt, Id % 5000, State = 'succeeded', Message, 'web-1', 'System'
    FROM c_JobRun WHERE Id % 5 = 0
"""
QUARTER = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', strftime('%s', StartedAt) / 900 * 900, 'unixepoch')",
    "postgresql": "date_bin('15 minutes', StartedAt, TIMESTAMPTZ '2020-01-01 00:00:00Z')",
}
COUNTS = """
    INSERT INTO c_JobStat (JobName, BeginsAt, Outcome, Bucket, Shard, Count, SumMs, MaxMs)
    SELECT JobName, {quarter} AS BeginsAt, State, CASE State WHEN 'failed' THEN -1 ELSE 20 + Id * 37 % 60 END, Id % 2, count(*), sum(Id % 5000), max(Id % 5000)
    FROM c_JobRun GROUP BY 1, 2, 3, 4, 5 ORDER BY BeginsAt, min(Id)
"""


async def work() -> None:
    """Do nothing: the jobs never start here."""


def names_of(jobs: int) -> list[str]:
    return [f"Many{n}" for n in range(jobs)]


def fill(url: str, jobs: int, rows: int) -> None:
    """Insert runs, attempts and counters."""
    migrate(url)
    with sync_engine(url) as engine:
        kind = engine.dialect.name
        known = {"jobs": jobs, "rows": rows, "seconds": SECONDS}
        series, at = SERIES[kind].format(rows=rows), AT[kind].format(**known)
        causes = [(name, fingerprint_of(name, TEXT).key) for name in names_of(jobs)]
        with engine.begin() as connection:

            def execute(sql: str) -> None:
                connection.exec_driver_sql(sql if kind == "sqlite" else sql.replace("%", "%%"))

            execute(RUNS.format(series=series, at=at, **known))
            values = ", ".join(f"('{name}', '{key}')" for name, key in causes)
            execute("CREATE TEMP TABLE cause_of (name varchar(100) PRIMARY KEY, key varchar(100))")
            execute(f"INSERT INTO cause_of VALUES {values}")
            execute(
                "UPDATE c_JobRun SET Cause = (SELECT key FROM cause_of WHERE name = JobName) WHERE Cause = 'pending'"
            )
            execute(ATTEMPTS)
            execute(COUNTS.format(quarter=QUARTER[kind]))
            execute("DELETE FROM c_JobTextDue")
        with engine.connect() as connection:
            vacuum = connection.execution_options(isolation_level="AUTOCOMMIT")
            vacuum.exec_driver_sql("ANALYZE" if kind == "sqlite" else "VACUUM ANALYZE")


async def declare(site: Site, jobs: int) -> None:
    """Add the jobs, ten chains among them, and an error group of each job."""
    names = names_of(jobs)
    after: dict[str, str] = {}
    for chain in range(CHAINS):
        members = names[chain * LENGTH : (chain + 1) * LENGTH]
        after |= {name: before for before, name in pairwise(members)}
    for n, name in enumerate(names):
        options: dict[str, Any] = {"after": [after[name]]} if name in after else {}
        place = () if options else (f"{n % 60} {n % 24} * * *",)
        site.scheduler._registry.add(define(work, *place, name=name, **options))
    now = datetime.now(UTC)
    seen = [
        error_groups.Seen(fingerprint_of(name, TEXT), now - timedelta(minutes=2)) for name in names
    ]
    await site.change(lambda db: error_groups.note(db, seen))


def loop() -> float:
    """Return the milliseconds of processor time of a fixed piece of Python."""
    began = time.process_time()
    values = [n * n % 97 for n in range(100_000)]
    text = ",".join(map(str, values))
    assert len(text.split(",")) == len(values)
    return (time.process_time() - began) * 1000


def server_time(postmaster: int) -> float:
    """Return the milliseconds of processor time of all processes of the server."""
    total = 0.0
    for child in psutil.Process(postmaster).children() if postmaster else ():
        times = child.cpu_times()
        total += times.user + times.system
    return total * 1000


async def measure(url: str, options: argparse.Namespace, postmaster: int) -> None:
    os.environ["TARGCC_KEEPALIVE"] = "false"
    os.environ["TARGCC_MODE"] = "embedded"
    async with running(Settings(database_url=url, heartbeat_seconds=5), work=False) as site:
        await declare(site, options.jobs)
        await site.change(lambda db: db.execute(job_token.delete()))  # of the last time
        person = f"person-{time.time_ns()}"
        viewer, program = await site.user("operator", person), await site.program("operator")
        for client in (viewer.client, program):
            client.event_hooks = {}
        print(f"{'own':>8}{'server':>8}{'clock':>8}{'loop':>8}{'own/loop':>9}  address, ms")
        for path in options.addresses or ADDRESSES:
            client = viewer.client if path.startswith("/jobs") else program
            for _ in range(3):
                answer = await client.get(path)
                assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
            figures = []
            for _ in range(options.times):
                fixed = loop()
                began, used, served = (
                    time.perf_counter(),
                    time.process_time(),
                    server_time(postmaster),
                )
                await client.get(path)
                own, clock = time.process_time() - used, time.perf_counter() - began
                figures.append((own * 1000, server_time(postmaster) - served, clock * 1000, fixed))
            own, server, clock, fixed = (median(column) for column in zip(*figures, strict=True))
            print(
                f"{own:8.1f}{server:8.1f}{clock:8.1f}{fixed:8.1f}{own / fixed:9.2f}  {path}",
                flush=True,
            )
        if options.profile:
            client = viewer.client if options.profile.startswith("/jobs") else program
            await profile(site, client, options.profile)


async def profile(site: Site, client: Any, path: str) -> None:
    """Print where the threads of pages and of queries use processor time."""
    import cProfile
    import pstats

    pages, queries = (cProfile.Profile(time.thread_time) for _ in range(2))

    async def start(_: object) -> None:
        queries.enable()

    async def stop(_: object) -> None:
        queries.disable()

    pages.enable()
    await site.scheduler.read(start)
    for _ in range(TIMES_PROFILED):
        await client.get(path)
    await site.scheduler.read(stop)
    pages.disable()
    for profiler in (pages, queries):
        for order in ("cumulative", "tottime"):
            pstats.Stats(profiler).sort_stats(order).print_stats(60)


@contextmanager
def database(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield the URL of a filled database and the id of PostgreSQL's first process, or 0."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = options.keep or Path(name)
        folder.mkdir(exist_ok=True, parents=True)
        folder.chmod(0o755)  # the server may run as another user
        if options.database == "sqlite":
            file = folder / f"{options.jobs}-{options.rows}.db"
            url = f"sqlite:///{file}"
            if not file.exists():
                fill(url, options.jobs, options.rows)
            yield url, 0
            return
        server = PostgreSQL(folder)
        try:
            url = server.url(server.create())
            fill(url, options.jobs, options.rows)
            yield url, server.postmaster
        finally:
            server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill a database and measure."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/many_jobs.py", description=__doc__)
    parser.add_argument(
        "addresses", nargs="*", help="default: the addresses of docs/performance.md"
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument(
        "--keep", type=Path, help="folder where the file of SQLite stays for the next time"
    )
    parser.add_argument("--profile", metavar="ADDRESS")
    options = parser.parse_args(arguments)
    with database(options) as (url, postmaster):
        asyncio.run(measure(url, options, postmaster))


if __name__ == "__main__":
    main()
