from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_run, job_server
from targcc_scheduler.features.triage import inbox
from targcc_scheduler.features.triage.issues import Issue, issues
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.discovery import BrokenModule
from targcc_scheduler.kernel.queries import sharing
from targcc_scheduler.kernel.queries.jobs import JobOverview, next_run, schedule_words
from targcc_scheduler.kernel.queries.models import Pause, Run
from targcc_scheduler.kernel.queries.overview import Overview, overview
from targcc_scheduler.kernel.queries.upcoming import next_runs
from targcc_scheduler.web.dashboard.overview import StatusBanner, status_banner
from web_fixtures import Site

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)


def work() -> None:
    """Do nothing."""


DAILY = define(work, "0 2 * * *", name="Daily", timezone="UTC")
_numbers: Iterator[int] = iter(range(1000, 0, -1))


def run(state: RunState, **values: Any) -> Run:
    """Return a run older than the run returned before."""
    return Run(
        id=next(_numbers),
        job="Daily",
        type="Recurring",
        state=state,
        queue="default",
        priority=0,
        arguments_json=None,
        scheduled_for=None,
        due_at=NOW,
        created_at=NOW,
        started_at=None,
        completed_at=values.pop("completed_at", NOW if state.value != "running" else None),
        attempt=1,
        lost_workers=0,
        server=None,
        triggered_by="System",
        message=None,
        blocked_by=None,
        progress_done=None,
        progress_total=None,
        cancel_requested_by=None,
        stop_note=None,
        life_log="",
        **values,
    )


def job(*newest_first: RunState) -> JobOverview:
    recent = tuple(run(state) for state in newest_first)
    return JobOverview(definition=DAILY, pause=None, next_run=None, recent=recent)


S, F, M = RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED
SKIPPED, CANCELLED, RUNNING = RunState.SKIPPED, RunState.CANCELLED, RunState.RUNNING


@pytest.mark.parametrize(
    ("runs", "in_a_row"),
    [
        ((), 0),
        ((S,), 0),
        ((F,), 1),
        ((M, F, S, F), 2),
        ((S, F, F), 0),
        ((SKIPPED, F), 1),
        ((RUNNING, F), 1),
        ((CANCELLED, F), 0),
        ((F, CANCELLED, F), 1),
    ],
)
def test_failures_in_a_row_count_from_the_last_outcome(runs: tuple[RunState, ...], in_a_row: int):
    assert job(*runs).failing_runs == in_a_row


def test_the_success_rate_leaves_out_what_was_neither():
    assert job(S, SKIPPED, CANCELLED, F, S, S).success_rate == 0.75
    assert job(SKIPPED).success_rate is None


def test_the_next_run_follows_the_schedule_and_the_pause():
    assert next_run(DAILY, now=NOW, pause=None) == NOW.replace(day=26, hour=2)
    for_ever = Pause("x", NOW, None, None)
    assert next_run(DAILY, now=NOW, pause=for_ever) is None
    for_two_days = replace(for_ever, until=NOW + timedelta(days=2))
    assert next_run(DAILY, now=NOW, pause=for_two_days) == NOW.replace(day=28, hour=2)


def test_a_schedule_after_completion_counts_from_the_end_of_the_last_run():
    definition = define(work, every="15m", after="completion", name="After", timezone="UTC")
    ended = run(S, completed_at=NOW - timedelta(minutes=5))
    assert next_run(definition, now=NOW, pause=None, recent=[ended]) == NOW + timedelta(minutes=10)
    assert next_run(definition, now=NOW, pause=None, recent=[run(RUNNING), ended]) is None
    assert next_run(definition, now=NOW, pause=None, recent=[ended], busy=True) is None


def test_a_schedule_after_start_counts_from_the_start_of_the_last_run():
    definition = define(work, every="15m", after="start", name="After", timezone="UTC")
    started = NOW - timedelta(minutes=5)
    ended = run(S, completed_at=NOW - timedelta(minutes=1))
    quick = replace(ended, started_at=started)
    assert next_run(definition, now=NOW, pause=None, recent=[quick]) == NOW + timedelta(minutes=10)
    long = replace(ended, started_at=NOW - timedelta(hours=1), completed_at=NOW)
    assert next_run(definition, now=NOW, pause=None, recent=[long]) == NOW
    assert next_run(definition, now=NOW, pause=None) == NOW


def test_next_runs_end_where_the_schedule_ends():
    at = NOW + timedelta(hours=1)
    once = define(work, at=at, name="Once", timezone="UTC")
    shown = JobOverview(definition=once, pause=None, next_run=at, recent=())
    assert next_runs(shown, 5) == [at]


def test_a_job_without_a_schedule_says_so():
    assert schedule_words(define(work, name="Manual")) == "on request"


@pytest.fixture
def database_url(migrated_url: str) -> str:
    """Return the URL of either database."""
    return migrated_url


async def view_of(site: Site) -> Overview:
    definitions = site.scheduler.definitions.values()
    return await site.scheduler.read(lambda db: overview(db, definitions, datetime.now(UTC)))


async def issues_of(site: Site) -> tuple[Issue, ...]:
    definitions, now = site.scheduler.definitions.values(), datetime.now(UTC)
    return await site.scheduler.read(lambda db: issues(db, definitions, now, lost_after=20))


async def banner_of(site: Site, broken: Sequence[BrokenModule] = ()) -> StatusBanner:
    return status_banner(await view_of(site), await issues_of(site), broken)


async def test_the_overview_finds_failures_recovery_and_what_comes(site: Site):
    await site.add_run("SyncStock", "failed")
    await site.add_run("DailyReport", "failed")
    await site.add_run("DailyReport", "succeeded")
    retrying = await site.add_run(
        "MailUser", "retrying", DueAt=datetime.now(UTC) + timedelta(seconds=30)
    )
    view = await view_of(site)
    assert [item.title for item in await issues_of(site)] == [
        "No server is up",
        "Daily Report failed",
        "Sync Stock failed",
    ]
    assert [item.name for item in view.recovered] == ["DailyReport"]
    assert view.count(RunState.FAILED) == 2
    assert [item.run.id for item in view.upcoming if item.run is not None] == [retrying]
    assert {item.job for item in view.upcoming if item.run is None} == {"SyncStock", "DailyReport"}
    assert (
        20 < len(view.slots) < 30
    )  # every quarter of an hour for six hours, and possibly the daily run


async def wait_for_retry(site: Site, job: str, failed: int, number: int = 1) -> None:
    """Add reruns of a failed run that wait in a queue."""
    for _ in range(number):
        await site.add_run(job, "enqueued", RetryOf=failed, Queue="paused")


async def test_a_job_whose_reruns_wait_is_not_among_the_recovered(site: Site):
    await site.add_run("DailyReport", "succeeded")
    failed = await site.add_run(
        "DailyReport", "failed", HandledBy="dana", HandledAt=datetime.now(UTC)
    )
    await wait_for_retry(site, "DailyReport", failed, 30)
    assert [entry.name for entry in (await view_of(site)).recovered] == []
    await site.add_run("DailyReport", "succeeded")
    assert [entry.name for entry in (await view_of(site)).recovered] == []
    in_hand = job_run.c.State == "enqueued"
    await site.change(lambda db: db.execute(job_run.delete().where(in_hand)))
    assert [entry.name for entry in (await view_of(site)).recovered] == ["DailyReport"]


async def test_requests_share_the_past_of_a_large_project_for_some_seconds(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    now, definitions = datetime.now(UTC), site.scheduler.definitions.values()

    async def at(seconds: int) -> tuple[int, list[str]]:
        later = now + timedelta(seconds=seconds)
        view = await site.scheduler.read(lambda db: overview(db, definitions, later))
        return view.window.total, [entry.name for entry in view.recovered]

    await site.add_run("DailyReport", "failed")
    assert await at(0) == (1, [])
    await site.add_run("DailyReport", "succeeded")
    assert await at(1) == (2, ["DailyReport"])
    monkeypatch.setattr(sharing, "LARGE", 1)
    assert await at(2) == (2, ["DailyReport"])
    await site.add_run("DailyReport", "failed")
    assert await at(11) == (2, ["DailyReport"])
    assert await at(12) == (3, [])


async def test_a_job_that_failed_after_a_shorter_run_succeeded_is_not_among_the_recovered(
    site: Site,
):
    now = datetime.now(UTC)
    await site.add_run("DailyReport", "failed", CompletedAt=now - timedelta(minutes=1))
    await site.add_run("DailyReport", "succeeded", CompletedAt=now - timedelta(minutes=5))
    assert [entry.name for entry in (await view_of(site)).recovered] == []


async def test_a_job_whose_failed_runs_were_deleted_is_not_recovered_without_a_success(site: Site):
    failed = await site.add_run("DailyReport", "failed")
    await site.change(lambda db: db.execute(job_run.delete().where(job_run.c.Id == failed)))
    assert [entry.name for entry in (await view_of(site)).recovered] == []


async def test_runs_that_wait_do_not_hide_the_outcomes_before_them(site: Site):
    for state in ("succeeded", "succeeded", "succeeded", "failed"):
        failed = await site.add_run("DailyReport", state)
    await wait_for_retry(site, "DailyReport", failed, 24)
    daily = next(entry for entry in (await view_of(site)).board if entry.name == "DailyReport")
    assert daily.last is not None
    assert daily.last.id == failed
    assert (daily.success_rate, daily.failing_runs) == (0.75, 1)
    assert daily.usual_duration == timedelta(minutes=1)


async def test_the_banner_says_everything_runs_again_after_a_success_alone(site: Site):
    await up(site)
    await site.add_run(
        "DailyReport", "failed", HandledBy="dana", HandledAt=datetime.now(UTC), Cause=None
    )
    banner = await banner_of(site)
    assert (banner.kind, banner.title) == ("good", "Nothing needs attention")
    await site.add_run("DailyReport", "succeeded")
    assert (await banner_of(site)).title == "All failed jobs have recovered"


async def up(site: Site) -> None:
    """Register a node."""
    row = {
        "Id": "a:1",
        "Name": "a",
        "ProcessId": 1,
        "Queues": "default",
        "Workers": 1,
        "Version": "1",
    }
    now = datetime.now(UTC)
    insert = job_server.insert().values(row | {"StartedAt": now, "HeartbeatAt": now})
    await site.change(lambda db: db.execute(insert))


async def test_the_banner_names_who_needs_a_person(busy_site: Site):
    scheduler = busy_site.scheduler
    nothing = await banner_of(busy_site)
    assert nothing.title == "Nothing has run yet"
    assert "4 jobs found. The first run starts in" in nothing.detail
    await busy_site.add_run("DailyReport", "succeeded")
    assert (await banner_of(busy_site)).title == "Everything ran"
    broken = await banner_of(busy_site, scheduler.broken)
    assert (broken.kind, broken.title) == ("bad", "1 job file failed to load")
    row = BrokenModule('c_Job row 2 "Bad one"', None, "4 fields", "4 fields")
    rows = await banner_of(busy_site, [*scheduler.broken, row])
    assert rows.title == "2 jobs failed to load"
    await busy_site.add_run("SyncStock", "missed")
    await busy_site.add_run("MailUser", "failed")
    banner = await banner_of(busy_site, scheduler.broken)
    first, _, others = banner.title.partition(", and ")
    assert first in {"Mail User failed", "Sync Stock was missed"}
    assert others == "2 more items need attention"  # the other job, and the broken file
    assert banner.detail == "3 runs in the last 24 hours, 1 failed, 1 missed."


async def test_the_banner_does_not_call_a_night_with_failures_one_without(busy_site: Site):
    await busy_site.add_run("DailyReport", "failed")
    await busy_site.add_run("DailyReport", "succeeded")
    banner = await banner_of(busy_site)
    assert (banner.kind, banner.title) == ("bad", "Daily Report failed")
    [failure] = await issues_of(busy_site)
    await busy_site.scheduler.operate(inbox.discard, None, failure.subject, SYSTEM)
    banner = await banner_of(busy_site)
    assert (banner.kind, banner.title) == ("good", "All failed jobs have recovered")


async def test_the_banner_tells_of_failed_runs_whose_job_was_renamed(busy_site: Site):
    await busy_site.add_run("DailyReport", "succeeded")
    await busy_site.add_run("OldName", "failed")
    banner = await banner_of(busy_site)
    assert (banner.kind, banner.title) == ("bad", "OldName failed")


async def test_without_a_server_the_banner_says_that_first(site: Site):
    await site.add_run("SyncStock", "failed")
    title = (await banner_of(site)).title
    assert title == "No server is up, and 1 more item needs attention"


async def test_without_a_feature_that_looks_for_issues_a_failure_still_shows(busy_site: Site):
    await busy_site.add_run("DailyReport", "failed")
    banner = status_banner(await view_of(busy_site), None, [])
    assert (banner.kind, banner.title) == (
        "warn",
        "Some jobs have not succeeded since their failure",
    )
    await busy_site.add_run("DailyReport", "succeeded")
    assert status_banner(await view_of(busy_site), None, []).kind == "good"
