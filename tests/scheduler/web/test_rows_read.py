"""Rows that pages read of a long history, counted by PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import Settings
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.features.triage import inbox
from targcc_scheduler.features.triage.issues import Issue, issues, worst_issues
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.queries import jobs, overview, runs, sharing
from web_fixtures import Site, running

JOBS, RUNS = 100, 100
"""Number of jobs, and of runs of each; every tenth run failed, also the newest of every tenth job."""
NAMES = [f"Many{n}" for n in range(JOBS)]
HISTORY = f"""
    INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, StartedAt, CompletedAt, TriggeredBy, Cause, HandledAt)
    SELECT 'Many' || n % {JOBS}, 'Recurring', CASE WHEN failed THEN 'failed' ELSE 'succeeded' END, 'default', at, at, at, at, 'System',
        CASE WHEN failed THEN 'cause' || n % {JOBS} END, CASE WHEN failed AND n <= {JOBS * (RUNS - 20)} THEN at END
    FROM (
        SELECT n, (n + n / {JOBS}) % 10 = 0 AS failed, now() - ({JOBS * RUNS} - n) * interval '1 second' AS at
        FROM generate_series(0, {JOBS * RUNS - 1}) AS n
    ) AS runs
"""
GROUPS = f"""
    INSERT INTO c_JobFailure (Cause, JobName, Kind, FirstAt)
    SELECT 'cause' || n, 'Many' || n, 'ValueError', now() FROM generate_series(0, {JOBS - 1}) AS n
"""
STATISTICS = """
    INSERT INTO c_JobStat (JobName, BeginsAt, Outcome, Bucket, Shard, Count)
    SELECT JobName, date_bin('15 minutes', StartedAt, '2020-01-01Z'), State, 0, 1, count(*) FROM c_JobRun GROUP BY 1, 2, 3
"""


NO_VACUUM = "ALTER TABLE c_JobRun SET (autovacuum_enabled = false)"
"""Vacuum would let some queries read the index alone."""


async def work() -> None:
    """Do nothing: the jobs never start here."""


@pytest.fixture
async def site(migrated_postgresql_url: str) -> AsyncIterator[Site]:
    with sync_engine(migrated_postgresql_url) as engine, engine.begin() as connection:
        for statement in (NO_VACUUM, HISTORY, GROUPS, STATISTICS, "ANALYZE"):
            connection.execute(sa.text(statement))
    settings = Settings(database_url=migrated_postgresql_url, heartbeat_seconds=5)
    async with running(settings, work=False) as site:
        for name in NAMES:
            site.scheduler._registry.add(define(work, name=name))
        yield site


Query = Callable[[AsyncConnection], Awaitable[Any]]


def counting(query: Query) -> Query:
    """Return a query that returns the number of runs that ``query`` reads, by scans and by indexes."""
    statement = sa.text(
        "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'c_jobrun'"
    )

    async def counted(db: AsyncConnection) -> int:
        before = await db.scalar(statement)
        await query(db)
        return int(await db.scalar(statement)) - int(before)

    return counted


async def test_the_filter_for_failing_jobs_reads_one_run_of_each_job(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    now = datetime.now(UTC)

    async def read(seconds: int = 0, names: list[str] = NAMES) -> tuple[set[str], int]:
        async def query(db: AsyncConnection) -> set[str]:
            return await jobs.failing_jobs(db, names, now + timedelta(seconds=seconds))

        return await site.scheduler.read(query), await site.scheduler.read(counting(query))

    failing = {name for n, name in enumerate(NAMES) if (n + RUNS - 1) % 10 == 0}
    assert await read() == (failing, JOBS)
    monkeypatch.setattr(sharing, "LARGE", 1)
    assert await read() == (failing, 0)
    assert await read(names=NAMES[:5]) == (failing & set(NAMES[:5]), 0)
    assert await read(11, NAMES[:5]) == (failing & set(NAMES[:5]), 0)
    [changed] = failing & set(NAMES[:5])
    await site.add_run(changed, "succeeded")
    assert await read(12, NAMES[:5]) == ({changed}, 0)
    assert await read(22, NAMES[:5]) == (set(), 0)


async def test_the_filter_for_running_jobs_reads_the_active_runs(site: Site):
    await site.add_run("Many3", "running")
    await site.add_run("Many4", "retrying")
    assert await site.scheduler.read(runs.active_jobs) == {"Many3", "Many4"}
    assert await site.scheduler.read(counting(runs.active_jobs)) <= 2


async def test_the_overview_reads_few_runs_of_the_jobs_beyond_the_board(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    for limit in ("MOST_ON_BOARD", "SOME_ON_BOARD"):
        monkeypatch.setattr(overview, limit, 0)
    now, definitions = datetime.now(UTC), site.scheduler.definitions.values()

    async def query(db: AsyncConnection) -> Any:
        return await overview.overview(db, definitions, now)

    recovered = {job.name for job in (await site.scheduler.read(query)).recovered}
    assert recovered == {name for n, name in enumerate(NAMES) if (n + RUNS - 1) % 10}
    assert await site.scheduler.read(counting(query)) <= 3 * JOBS


async def test_the_overview_reads_the_texts_of_the_error_groups_that_it_shows(site: Site):
    now, definitions = datetime.now(UTC), list(site.scheduler.definitions.values())

    async def query(db: AsyncConnection, most: int = 5) -> tuple[tuple[Issue, ...], int]:
        return await worst_issues(db, definitions, now, lost_after=20, most=most)

    every = await site.scheduler.read(lambda db: issues(db, definitions, now, lost_after=20))
    groups = [issue for issue in every if issue.kind == "failure"]
    assert len(groups) == JOBS
    first, number = await site.scheduler.read(query)
    assert number == len(every)
    assert [issue for issue in first if issue.kind == "failure"] == groups[:5]
    few = await site.scheduler.read(counting(query))
    all_texts = await site.scheduler.read(counting(lambda db: query(db, JOBS)))
    assert all_texts - few == JOBS - 5


async def test_the_inbox_reads_the_figures_of_the_error_groups_on_its_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    viewer, numbers = await site.user("viewer"), []
    read = site.scheduler.read

    async def counted(query: Query) -> Any:
        answers: list[Any] = []

        async def kept(db: AsyncConnection) -> None:
            answers.append(await query(db))

        numbers.append(await read(counting(kept)))
        return answers[0]

    monkeypatch.setattr(site.scheduler, "read", counted)
    await viewer.page("/jobs/inbox")
    every = max(numbers)
    numbers.clear()
    monkeypatch.setattr(inbox, "MOST_GROUPS", 5)
    page = await viewer.page("/jobs/inbox")
    assert page.count('<tr id="failure-') == 5
    assert f"({JOBS + 1})" in page  # and no server is up
    open_runs = 2 * JOBS
    assert 0 < max(numbers) - open_runs < (every - open_runs) / 5
