"""Pages and API of a project with many jobs."""

import html
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from targcc_scheduler import Settings
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.features.timeline import gantt
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.queries import overview
from targcc_scheduler.web.dashboard import jobs as job_pages
from web_fixtures import Site, running

PAGE, FEW, MANY = 8, 20, 60
"""Number of jobs on a page of this test, and two numbers of jobs that fill a page."""
RUNS = 30 * MANY
PAGES = (
    "/jobs",
    "/jobs/jobs",
    "/jobs/jobs?show=failing",
    "/jobs/jobs?q=many",
    "/jobs/jobs/Many1",
    "/jobs/runs",
    "/jobs/runs?q=nothing",
    "/jobs/runs?q=job:Many*",
    "/jobs/runs?q=job:Many*+state:failed,succeeded",
    "/jobs/runs?q=job:Many*+queue:d*",
    "/jobs/inbox",
    "/jobs/timeline",
    "/jobs/timeline?hours=48",
    "/jobs/heatmap",
    "/jobs/calendar",
    "/jobs/system",
    "/jobs/limits",
    "/jobs/batches",
    "/jobs/flows",
    "/jobs/audit",
)
ENDPOINTS = (
    "/api/jobs",
    "/api/jobs/Many1",
    "/api/jobs/Many1/stats",
    "/api/jobs/Many1/why",
    "/api/jobs/Many1/trend",
    "/api/chains",
    "/api/runs",
    "/api/history",
    "/api/inbox",
    "/api/timeline",
    "/api/heatmap",
    "/api/calendar",
    "/api/queues",
    "/api/servers",
    "/api/overrides",
    "/api/owners",
    "/metrics",
)


async def work() -> None:
    """Do nothing: the jobs never start here."""


def declare(site: Site, number: int) -> list[str]:
    """Add jobs: a chain of four, jobs with a schedule, jobs without, and jobs whose schedule counts from the last run."""
    names = [f"Many{n}" for n in range(number)]
    kinds: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("0 2 * * *",), {}),
        ((), {}),
        ((), {"every": "6h"}),
        ((), {"every": "6h", "after": "completion"}),
    ]
    for before, name in pairwise(["DailyReport", *names[:4]]):
        site.scheduler._registry.add(define(work, name=name, after=[before]))
    for n, name in enumerate(names[4:]):
        place, options = kinds[n % len(kinds)]
        site.scheduler._registry.add(define(work, *place, name=name, **options))
    return names


async def fill(site: Site, names: list[str]) -> None:
    """Insert the same number of runs for any number of jobs; of each job some failed, and some wait."""
    now = datetime.now(UTC)
    rows = []
    failures = {name: fingerprint_of(name, "no answer") for name in names}
    last = RUNS - len(names)
    for n in range(RUNS):
        at = now - timedelta(minutes=RUNS - n)
        name = names[n % len(names)]
        failed = n // len(names) % 5 == 0
        state = "scheduled" if n >= last else "failed" if failed else "succeeded"
        ended = None if state == "scheduled" else at
        row = {"JobName": name, "JobType": "Recurring", "State": state}
        row["Cause"] = failures[name].key if failed else None
        row |= {"Queue": "default", "DueAt": at, "CreatedAt": at, "StartedAt": ended}
        rows.append({**row, "CompletedAt": ended, "TriggeredBy": "System", "LifeLog": ""})
    await site.change(lambda db: db.execute(job_run.insert(), rows))
    seen = [error_groups.Seen(failure, now) for failure in failures.values()]
    await site.change(lambda db: error_groups.note(db, seen))


@asynccontextmanager
async def site_of(url: str, number: int) -> AsyncIterator[Site]:
    async with running(Settings(database_url=url, heartbeat_seconds=5), work=False) as site:
        await fill(site, declare(site, number))
        yield site


class Statements:
    """Count the queries of a request: a statement with a part for each job counts as many."""

    def __init__(self) -> None:
        self.number = 0

    def note(self, _: Any, _cursor: Any, statement: str, *__: Any) -> None:
        self.number += statement.count("SELECT")


@pytest.fixture
def statements() -> Iterator[Statements]:
    counted = Statements()
    event.listen(sa.Engine, "before_cursor_execute", counted.note)
    yield counted
    event.remove(sa.Engine, "before_cursor_execute", counted.note)


async def counts(site: Site, statements: Statements) -> dict[str, int]:
    """Return the number of queries of each address, when asked for the second time."""
    viewer, program = await site.user("operator"), await site.program("operator")
    numbers = {}
    for client, paths in ((viewer.client, PAGES), (program, ENDPOINTS)):
        client.event_hooks = {}
        for path in paths:
            for _ in range(2):
                statements.number = 0
                answer = await client.get(path)
            assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
            numbers[path] = statements.number
    return numbers


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> Iterator[Callable[[], str]]:
    """Return the URLs of two databases with the scheduler's tables."""
    if request.param == "sqlite":
        files = iter((tmp_path / "few.db", tmp_path / "many.db"))

        def copy() -> str:
            file = next(files)
            file.write_bytes(empty_database.read_bytes())
            return f"sqlite:///{file}"

        yield copy
        return
    server = request.getfixturevalue("postgresql_server")
    template = request.getfixturevalue("_postgresql_template")
    names: list[str] = []

    def create() -> str:
        names.append(server.create(template))
        return str(server.url(names[-1]))

    yield create
    for name in names:
        server.drop(name)


@pytest.mark.slow
async def test_no_address_queries_more_for_more_jobs(
    new_url: Callable[[], str], statements: Statements, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(job_pages, "MOST_JOBS", PAGE)
    for limit in ("MOST_ON_BOARD", "SOME_ON_BOARD"):
        monkeypatch.setattr(overview, limit, PAGE)
    monkeypatch.setattr(gantt, "MOST_ROWS", 2)  # also few jobs fill it, at any time of day
    for limit in ("MOST_DRAWN", "MOST_BARS"):  # bars of each row, at any time of day
        monkeypatch.setattr(gantt, limit, RUNS)
    async with site_of(new_url(), FEW) as site:
        few = await counts(site, statements)
    async with site_of(new_url(), MANY) as site:
        many = await counts(site, statements)
    assert {path: (few[path], number) for path, number in many.items() if number > few[path]} == {}


def jobs_of(page: str) -> list[str]:
    """Return the jobs of the table, in order."""
    return re.findall(r'<tr id="job-(Page\w+)"', page)


async def test_the_list_of_jobs_has_pages(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(job_pages, "MOST_JOBS", PAGE)
    names = [f"Page{n:02}" for n in range(20)]
    for name in names:
        site.scheduler._registry.add(define(work, name=name))
    viewer = await site.user("viewer")
    first = await viewer.page("/jobs/jobs?q=page")
    assert jobs_of(first) == names[:8]
    assert "20 jobs" in first
    assert "1 to 8" in first
    assert "Previous page" not in first
    [following] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = await viewer.page(html.unescape(following))
    assert jobs_of(second) == names[8:16]
    last = await viewer.page("/jobs/jobs?q=page&page=99")
    assert jobs_of(last) == names[16:]
    assert "Next page" not in last
    assert jobs_of(await viewer.page("/jobs/jobs?q=page&page=-1")) == names[:8]


async def test_filters_by_outcome_look_at_the_jobs_of_every_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(job_pages, "MOST_JOBS", PAGE)
    for n in range(20):
        site.scheduler._registry.add(define(work, name=f"Page{n:02}"))
    await site.add_run("Page03", "succeeded")
    await site.add_run("Page19", "failed")
    await site.add_run("Page18", "running")
    viewer = await site.user("viewer")
    assert jobs_of(await viewer.page("/jobs/jobs?show=failing")) == ["Page19"]
    assert jobs_of(await viewer.page("/jobs/jobs?show=running")) == ["Page18"]


async def test_the_overview_shows_some_of_many_jobs_and_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    viewer = await site.user("viewer")
    for n in range(20 - len(site.scheduler.definitions)):
        site.scheduler._registry.add(define(work, name=f"Page{n:02}"))
    every = await viewer.page("/jobs")
    assert "All 20 jobs" not in every
    chained = every.count('<span class="beside"')
    drawn = every.count('<svg class="spark"')
    assert drawn + chained == 20
    monkeypatch.setattr(overview, "SOME_ON_BOARD", 3)
    monkeypatch.setattr(overview, "MOST_ON_BOARD", drawn)
    assert (await viewer.page("/jobs")).count('<svg class="spark"') == drawn
    monkeypatch.setattr(overview, "MOST_ON_BOARD", drawn - 1)
    some = await viewer.page("/jobs")
    assert "All 20 jobs" in some
    assert some.count('<svg class="spark"') == 3
