"""``uv run python tests/benchmarks/many_jobs.py [ADDRESS…]``: processor time of the addresses of a project with many jobs and millions of runs.

The runs are of 30 days and are inserted by statements. Few jobs have most of the runs: of 5,000 jobs, one has 6 % of the runs and half of the
jobs have a fifth. 3.5 % failed and are open, 1 % were cancelled. Nearly every job has an open error group, and ten chains have ten jobs each. Each
request goes to the application in this process, over ASGI. ``own`` is the processor time of this process, on SQLite with the database's part;
``server`` is the processor time of PostgreSQL for this process. ``loop`` is a fixed piece of Python measured before each request: a busy machine
lengthens processor time, and the ratio of a figure to ``loop`` does not change as much. ``ms`` is own and server at a loop of 16 ms, which an idle
core of AMD EPYC takes.

``--rate 200`` creates and executes so many runs a second in a second process meanwhile; ``--prune DAYS`` lets that process remove what is older.
``--buffers 5GB`` gives PostgreSQL memory, which a database of millions of runs needs. ``--sizes`` prints what tables and indexes take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE.parent),
    str(HERE.parent / "scheduler"),
    str(HERE.parent / "scheduler" / "packages"),
]

# ruff: noqa: E402, T201 - found by the line above; a command prints
import psutil
import psycopg
import sqlalchemy as sa
from bench_processes import start, wait_until_ready
from postgresql import PostgreSQL
from projects import WEB
from targcc_scheduler import Scheduler, Settings, configure, migrate
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.memory import trim_after_start
from targcc_scheduler.core.states import FINAL
from targcc_scheduler.db.dialects.postgresql import numbers
from targcc_scheduler.db.dialects.text_index import document
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_run, job_token
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.jobs.declaration import define

configure(replace(WEB, queues={"default": 20}))

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
IDLE_LOOP = 16.0
APPLICATION = "pages"
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
STATE = "CASE WHEN n * 7919 % 1009 < 35 THEN 'failed' WHEN n * 7919 % 1009 < 45 THEN 'cancelled' ELSE 'succeeded' END"
NODE = "'web-' || (n % 4) || ':14071:bb235bb7bdf4:03d64e0a'"
RUNS = """
    INSERT INTO c_JobRun (JobName, JobType, State, Queue, ScheduledFor, DueAt, CreatedAt, StartedAt, CompletedAt, Attempt, ServerId, TriggeredBy, Message, Cause, LifeLog)
    SELECT job, 'Recurring', state, 'default', at, at, at, at, at, 1, node, 'System', 'Processed ' || (n % 1000) || ' orders of the day',
        CASE state WHEN 'failed' THEN 'pending' END,
        at || ' enqueued by System\n' || at || ' running on ' || node || '\n' || at || ' ' || state || '\n'
    FROM (
        SELECT n, {at} AS at, {state} AS state, {node} AS node,
            'Many' || CAST({jobs} * pow((n * 104729 % 1000003) / 1000003.0, 3) - 0.5 AS integer) AS job
        FROM {series} AS series
    ) AS runs
"""
"""A job's share of the runs falls with its number, as the cube root does."""
ATTEMPTS = """
    INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, DurationMs, Success, ResultMessage, ServerName, TriggeredBy)
    SELECT JobName, CAST(Id AS varchar(20)), 'Recurring', StartedAt, CompletedAt, Id % 5000, State = 'succeeded', Message, 'web-1', 'System'
    FROM c_JobRun ORDER BY Id
"""
QUARTER = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', strftime('%s', StartedAt) / 900 * 900, 'unixepoch')",
    "postgresql": "date_bin('15 minutes', StartedAt, TIMESTAMPTZ '2020-01-01 00:00:00Z')",
}
COUNTS = """
    INSERT INTO c_JobStat (JobName, BeginsAt, Outcome, Bucket, Shard, Count, SumMs, MaxMs)
    SELECT JobName, {quarter} AS BeginsAt, State, CASE State WHEN 'failed' THEN -1 ELSE 40 + Id % 4 END, 0, count(*), sum(Id % 5000), max(Id % 5000)
    FROM c_JobRun GROUP BY 1, 2, 3, 4 ORDER BY BeginsAt, min(Id)
"""
SAMPLE = 4_000
TEXTS = {
    "sqlite": "INSERT INTO c_JobText (rowid, Body) SELECT Id, body FROM c_JobRun JOIN body_of ON n = Id % {sample}",
    "postgresql": "INSERT INTO c_JobText (RunId, Grams) SELECT Id, CAST(body AS smallint[]) FROM c_JobRun JOIN body_of ON n = Id % {sample}",
}
"""The indexed texts of the runs: those of the first runs, again and again."""
INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('c_JobRun', 'c_LoggedJob')",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE indexname ~ '^[iu][xq]_' AND tablename IN ('c_jobrun', 'c_loggedjob', 'c_jobtext')",
}
SIZES = {
    "sqlite": "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC",
    "postgresql": """
        SELECT relname, CASE relkind WHEN 'r' THEN pg_table_size(oid) ELSE pg_relation_size(oid) END FROM pg_class
        WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC""",
}


async def work() -> None:
    """Do nothing: the jobs never start here."""


def names_of(jobs: int) -> list[str]:
    return [f"Many{n}" for n in range(jobs)]


def fill(url: str, jobs: int, rows: int) -> None:
    """Insert runs, attempts, counters and the index of texts; indexes are created after the rows, which is quicker."""
    migrate(url)
    with sync_engine(url) as engine:
        kind = engine.dialect.name
        known = {"jobs": jobs, "rows": rows, "seconds": SECONDS, "sample": SAMPLE}
        parts = {"series": SERIES[kind], "at": AT[kind], "state": STATE, "node": NODE}
        values = {name: part.format(**known) for name, part in parts.items()} | known
        with engine.begin() as connection:

            def execute(sql: str) -> sa.CursorResult[Any]:
                began = time.monotonic()
                result = connection.exec_driver_sql(
                    sql if kind == "sqlite" else sql.replace("%", "%%")
                )
                print(f"{time.monotonic() - began:8.1f} s {' '.join(sql.split())[:90]}", flush=True)
                return result

            if kind == "postgresql":
                execute("SET LOCAL session_replication_role = replica")  # no triggers
                execute("SET LOCAL maintenance_work_mem = '1GB'")
                execute("SET LOCAL work_mem = '1GB'")
            indexes = execute(INDEXES[kind]).all()
            for name, _ in indexes:
                execute(f"DROP INDEX {name}")
            execute(RUNS.format(**values))
            causes = [(name, fingerprint_of(name, TEXT).key) for name in names_of(jobs)]
            rows_of = ", ".join(f"('{name}', '{key}')" for name, key in causes)
            execute("CREATE TEMP TABLE cause_of (name varchar(100) PRIMARY KEY, key varchar(100))")
            execute(f"INSERT INTO cause_of VALUES {rows_of}")
            execute(
                "UPDATE c_JobRun SET Cause = (SELECT key FROM cause_of WHERE name = JobName) WHERE Cause = 'pending'"
            )
            execute(ATTEMPTS)
            execute(COUNTS.format(quarter=QUARTER[kind]))
            texts = map(document, connection.execute(sa.select(job_run).limit(SAMPLE)))
            if kind == "postgresql":
                texts = (f"{{{str(numbers(text))[1:-1]}}}" for text in texts)
            execute("CREATE TEMP TABLE body_of (n integer PRIMARY KEY, body text)")
            body_of = sa.table("body_of", sa.column("n"), sa.column("body"))
            connection.execute(
                body_of.insert(), [{"n": n, "body": body} for n, body in enumerate(texts)]
            )
            execute(TEXTS[kind].format(**known))
            for _, definition in indexes:
                execute(definition)
            execute("DELETE FROM c_JobTextDue")
        if kind == "postgresql":  # nothing runs ANALYZE on SQLite
            with engine.connect() as connection:
                vacuum = connection.execution_options(isolation_level="AUTOCOMMIT")
                vacuum.exec_driver_sql("VACUUM ANALYZE")


def sizes(url: str, rows: int) -> None:
    """Print the MiB of tables and indexes, and the bytes of each run."""
    with sync_engine(url) as engine, engine.connect() as connection:
        found = [
            (name, int(size))
            for name, size in connection.exec_driver_sql(SIZES[engine.dialect.name])
        ]
    for name, size in [*found[:40], ("all", sum(size for _, size in found))]:
        print(f"{size / 2**20:10.1f} MiB {size / rows:8.1f} bytes a run  {name}")


def declare(scheduler: Scheduler, jobs: int) -> None:
    """Add the jobs, ten chains among them."""
    names = names_of(jobs)
    after: dict[str, str] = {}
    for chain in range(CHAINS):
        members = names[chain * LENGTH : (chain + 1) * LENGTH]
        after |= {name: before for before, name in pairwise(members)}
    for n, name in enumerate(names):
        options: dict[str, Any] = {"after": [after[name]]} if name in after else {}
        place = () if options else (f"{n % 60} {n % 24} * * *",)
        scheduler._registry.add(define(work, *place, name=name, **options))


def cancel_waiting(url: str) -> None:
    """Cancel the runs that wait since an earlier measurement of the same database."""
    with sync_engine(url) as engine, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
        waiting = (
            "UPDATE c_JobRun SET State = 'cancelled', CompletedAt = DueAt WHERE State = 'enqueued'"
        )
        print(f"{connection.exec_driver_sql(waiting).rowcount} waiting runs cancelled")


async def note_failures(site: Site, jobs: int) -> None:
    """Add an error group of each job."""
    now = datetime.now(UTC)
    seen = [
        error_groups.Seen(fingerprint_of(name, TEXT), now - timedelta(minutes=2))
        for name in names_of(jobs)
    ]
    await site.change(lambda db: error_groups.note(db, seen))


def loop() -> float:
    """Return the milliseconds of processor time of a fixed piece of Python."""
    began = time.process_time()
    values = [n * n % 97 for n in range(100_000)]
    text = ",".join(map(str, values))
    assert len(text.split(",")) == len(values)
    return (time.process_time() - began) * 1000


class Server:
    """The server's processes that serve this process.

    Args:
        url: The database.
        postmaster: The server's first process; 0 for none.
    """

    def __init__(self, url: str, postmaster: int) -> None:
        self._url = url
        self._postmaster = postmaster
        self._mine: list[psutil.Process] = []

    def look(self) -> None:
        """Find out which processes of the server serve this process."""
        if self._postmaster:
            with psycopg.connect(self._url, autocommit=True) as connection:
                rows = connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [APPLICATION]
                ).fetchall()
            self._mine = []
            for (pid,) in rows:
                with suppress(psutil.NoSuchProcess):  # a session may just have ended
                    self._mine.append(psutil.Process(pid))

    def time(self) -> float:
        """Return the milliseconds of processor time."""
        total = 0.0
        for process in self._mine:
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                schedstat = Path(f"/proc/{process.pid}/schedstat").read_text(encoding="utf-8")
                total += int(schedstat.split()[0]) / 1e6
        return total


@contextmanager
def load(url: str, options: argparse.Namespace) -> Iterator[None]:
    """Create and execute runs in another process, and print what that process reports."""
    if not options.rate:
        yield
        return
    words = ["--load", url, "--rate", str(options.rate), "--jobs", str(options.jobs)]
    words += ["--prune", str(options.prune)] if options.prune else []
    process = start(__file__, *words, PGAPPNAME="load")
    wait_until_ready(process)
    try:
        yield
    finally:
        report, _ = process.communicate()
        print(f"meanwhile: {report}", end="", flush=True)


async def work_until_the_end(url: str, options: argparse.Namespace) -> None:
    """Create runs at a rate and execute them, until the input ends; then print what was done."""
    settings = Settings(_env_file=None, database_url=url, history_days=31)
    scheduler = Scheduler(settings)
    declare(scheduler, options.jobs)
    created, removed = 0, {"runs": 0, "attempts": 0}
    over = asyncio.Event()
    pruned = 0.0

    async def create() -> None:
        nonlocal created
        began = time.monotonic()
        while not over.is_set():
            if created > (time.monotonic() - began) * options.rate:
                await asyncio.sleep(0.002)
                continue
            # none of the jobs of the chains, which would start other jobs
            number = CHAINS * LENGTH + created * 7919 % (options.jobs - CHAINS * LENGTH)
            await scheduler.enqueue(f"Many{number}")
            created += 1

    async def prune() -> None:
        nonlocal pruned
        if options.prune:
            began = time.monotonic()
            await scheduler.prune(days=options.prune, by=SYSTEM, progress=removed.update)
            pruned = time.monotonic() - began

    async def states() -> tuple[int, int]:
        ended = job_run.c.State.in_(sorted(FINAL)), job_run.c.CompletedAt >= since
        waits = job_run.c.State == "enqueued"

        async def counts(db: Any) -> tuple[int, int]:
            statements = (sa.select(sa.func.count()).select_from(job_run).where(*ended),)
            statements += (sa.select(sa.func.count()).select_from(job_run).where(waits),)
            return tuple([await db.scalar(statement) for statement in statements])

        return await scheduler.read(counts)

    async with scheduler:
        since, began = datetime.now(UTC), time.monotonic()
        print("ready", flush=True)
        creating, pruning = asyncio.create_task(create()), asyncio.create_task(prune())
        await asyncio.to_thread(sys.stdin.read)
        over.set()
        await creating
        seconds = time.monotonic() - began
        done, waiting = await states()
        pruned = pruned or seconds
        pruning.cancel()
        report = {"created a second": created / seconds, "ended a second": done / seconds}
        report |= {f"{what} removed a second": count / pruned for what, count in removed.items()}
        report |= {"waiting": waiting, "seconds": seconds, "load": os.getloadavg()[0]}
        print(json.dumps({what: round(value, 1) for what, value in report.items()}), flush=True)


async def measure(url: str, options: argparse.Namespace, postmaster: int) -> None:
    os.environ["TARGCC_KEEPALIVE"] = "false"
    os.environ["TARGCC_MODE"] = "embedded"
    os.environ["PGAPPNAME"] = APPLICATION
    server = Server(url, postmaster)
    settings = Settings(
        database_url=url, heartbeat_seconds=5, query_seconds=300
    )  # on busy machines too
    async with running(settings, work=False) as site:
        declare(site.scheduler, options.jobs)
        trim_after_start()  # as `targcc serve` does
        await note_failures(site, options.jobs)
        await site.change(lambda db: db.execute(job_token.delete()))  # of the last time
        person = f"person-{time.time_ns()}"
        viewer, program = await site.user("operator", person), await site.program("operator")
        for client in (viewer.client, program):
            client.event_hooks = {}
        names = ("own", "server", "clock", "loop", "ms", "ms 95%", "clock 95%", "load")
        print("".join(f"{name:>10}" for name in names) + "  address", flush=True)
        with load(url, options):
            for path in options.addresses or ADDRESSES:
                client = viewer.client if path.startswith("/jobs") else program
                figures = await samples(client, path, server, options.times)
                print("".join(f"{value:10.1f}" for value in figures) + f"  {path}", flush=True)
            if options.seconds:
                await asyncio.sleep(options.seconds)
        if options.profile:
            client = viewer.client if options.profile.startswith("/jobs") else program
            await profile(site, client, options.profile)


async def samples(client: Any, path: str, server: Server, times: int) -> list[float]:
    """Request an address often; return medians and 95th percentiles in milliseconds, and the load of the machine."""
    for _ in range(3):
        answer = await client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
    server.look()
    figures = []
    for _ in range(times):
        fixed = loop()
        began, used, served = time.perf_counter(), time.process_time(), server.time()
        answer = await client.get(path)
        own, clock = time.process_time() - used, time.perf_counter() - began
        assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
        figures.append((own * 1000, server.time() - served, clock * 1000, fixed))
    own, served, clock, fixed = (median(column) for column in zip(*figures, strict=True))
    both = [(one[0] + one[1]) * IDLE_LOOP / fixed for one in figures]
    late = [quantiles(column, n=20)[-1] for column in (both, [one[2] for one in figures])]
    return [own, served, clock, fixed, median(both), *late, os.getloadavg()[0]]


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
        file = folder / f"{options.jobs}-{options.rows}.{options.database}"
        if options.database == "sqlite":
            url = f"sqlite:///{file}"
            if not file.exists():
                fill(url, options.jobs, options.rows)
            yield url, 0
            return
        server = PostgreSQL(folder)
        try:
            if options.buffers:
                server.configure(shared_buffers=options.buffers)
            if not file.exists():
                created = server.create()
                fill(server.url(created), options.jobs, options.rows)
                file.write_text(created, encoding="utf-8")
            yield server.url(file.read_text(encoding="utf-8")), server.postmaster
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
        "--keep", type=Path, help="folder where the database stays for the next time"
    )
    parser.add_argument("--buffers", metavar="SIZE", help="PostgreSQL's shared_buffers, as 5GB")
    parser.add_argument("--rate", type=int, default=0, help="runs a second meanwhile")
    parser.add_argument("--prune", type=int, help="remove what is older, in days, meanwhile")
    parser.add_argument("--seconds", type=float, help="go on for so long after the requests")
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--profile", metavar="ADDRESS")
    parser.add_argument("--load", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.load:
        asyncio.run(work_until_the_end(options.load, options))
        return
    with database(options) as (url, postmaster):
        if options.sizes:
            sizes(url, options.rows)
        cancel_waiting(url)
        asyncio.run(measure(url, options, postmaster))


if __name__ == "__main__":
    main()
