from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.search_language import only
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.db.tables import (
    job_audit,
    job_failure,
    job_log_line,
    job_owner,
    job_queue,
    job_run,
    job_schedule,
    job_server,
    logged_job,
)
from targcc_scheduler.features.audit import queries as audit_queries
from targcc_scheduler.features.triage import inbox
from targcc_scheduler.features.triage.issues import worst_issues
from targcc_scheduler.kernel import statistics as kernel_statistics
from targcc_scheduler.kernel.audit import audit
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.definition import JobDefinition
from targcc_scheduler.kernel.queries import jobs, runs, sharing, statistics, system, upcoming
from targcc_scheduler.kernel.queries.run_search import RunFilter, list_runs
from targcc_scheduler.kernel.runs.values import Ending
from targcc_scheduler.project import current
from targcc_scheduler.schedules.cron import CronSchedule

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)


def work() -> None:
    """Do nothing."""


@pytest.fixture
async def db(migrated_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection to either database."""
    engine = make_engine(migrated_url)
    async with engine.connect() as connection, connection.begin() as transaction:
        yield connection
        await transaction.rollback()
    await engine.dispose()


async def add_run(db: AsyncConnection, job: str = "Report", state: str = "succeeded", **more: Any):
    values = {
        "JobName": job,
        "JobType": "Recurring",
        "State": state,
        "Queue": "default",
        "DueAt": NOW,
        "CreatedAt": NOW,
        "TriggeredBy": "System",
        "LifeLog": "",
        **more,
    }
    return (await db.execute(job_run.insert().values(values))).inserted_primary_key[0]


async def add_attempt(db: AsyncConnection, job: str = "Report", **more: Any) -> None:
    values = {
        "JobName": job,
        "JobType": "Recurring",
        "StartedAt": NOW,
        "Success": True,
        "CreatedAt": NOW,
        **more,
    }
    await db.execute(logged_job.insert().values(values))


async def ids(
    db: AsyncConnection, *, arguments_of: frozenset[str] = frozenset(), **wanted: Any
) -> list[int]:
    query = RunFilter(search=only(**wanted), arguments_of=arguments_of)
    return [run.id for run in (await list_runs(db, query)).runs]


async def test_runs_are_found_by_state_job_and_time(db: AsyncConnection):
    old = await add_run(db, "Report", "failed", CreatedAt=NOW - timedelta(days=2))
    new = await add_run(db, "Report", "failed")
    fine = await add_run(db, "Sync", "succeeded")
    assert await ids(db) == [fine, new, old]
    assert await ids(db, state=RunState.FAILED) == [new, old]
    assert await ids(db, job="Sync") == [fine]
    assert await ids(db, since=NOW - timedelta(days=1)) == [fine, new]
    assert await ids(db, until=NOW) == [old]


async def test_paging_shows_each_run_once_while_new_ones_arrive(db: AsyncConnection):
    expected = [await add_run(db) for _ in range(7)]
    seen: list[int] = []
    before = None
    while True:
        page = await list_runs(db, RunFilter(limit=3, before=before))
        seen += [run.id for run in page.runs]
        await add_run(db)
        if page.next_before is None:
            break
        before = page.next_before
    assert seen == expected[::-1]


@pytest.mark.parametrize("text", ["100%", "a_b", "back\\slash", "[x]", "O'Brien", "ÜBER"])
async def test_text_is_found_as_it_is_written(db: AsyncConnection, text: str):
    wanted = await add_run(db, Message=f"before {text} after")
    await add_run(db, Message="100 a-b backslash x OBrien")
    assert await ids(db, text=text) == [wanted]


async def test_text_is_found_in_any_case_in_name_message_and_who(db: AsyncConnection):
    by_name = await add_run(db, "DailyReport")
    by_message = await add_run(db, Message="no daily bread")
    by_who = await add_run(db, TriggeredBy="Manual (DAILY)")
    await add_run(db)
    assert await ids(db, text="daily") == [by_who, by_message, by_name]


async def test_arguments_are_searched_only_where_no_secret_is(db: AsyncConnection):
    open_run = await add_run(db, "Open", ArgumentsJson='{"key": "sesame"}')
    await add_run(db, "Closed", ArgumentsJson='{"key": "sesame"}')
    assert await ids(db, text="sesame") == []
    assert await ids(db, text="sesame", arguments_of=frozenset({"Open"})) == [open_run]


async def test_the_last_runs_of_very_many_jobs_are_found(db: AsyncConnection):
    names = [f"Job{number}" for number in range(230)]
    for name in (names[0], names[-1]):
        for _ in range(4):
            await add_run(db, name)
    recent_runs = await runs.recent_runs(db, names, 3)
    assert list(recent_runs) == names
    assert len(recent_runs["Job0"]) == len(recent_runs["Job229"]) == 3
    assert [run.id for run in recent_runs["Job0"]] == sorted(
        (r.id for r in recent_runs["Job0"]), reverse=True
    )
    assert recent_runs["Job7"] == ()
    assert await runs.recent_runs(db, [], 3) == {}


async def test_a_row_for_each_job_has_the_states_of_its_newest_runs(db: AsyncConnection):
    states = ("failed", "skipped", "succeeded", "failed")
    later = NOW + timedelta(minutes=5, milliseconds=120)
    run_ids = [await add_run(db, "Report", state, CompletedAt=later) for state in states]
    waiting = await add_run(db, "Import", "scheduled")
    newest = await runs.newest_states(db, ["Report", "Import", "Unknown"], 3)
    assert [(run.id, run.state) for run in newest["Report"]] == [
        (run_ids[3], RunState.FAILED),
        (run_ids[2], RunState.SUCCEEDED),
        (run_ids[1], RunState.SKIPPED),
    ]
    assert newest["Report"][0].happened_at == later
    assert [(run.id, run.happened_at) for run in newest["Import"]] == [(waiting, NOW)]
    assert newest["Unknown"] == ()
    before = {"Report": run_ids[3]}
    decided = await runs.newest_states(db, before, 1, "failed", "succeeded", "missed")
    assert [run.id for run in decided["Report"]] == [run_ids[2], run_ids[0]]
    assert await runs.newest_states(db, [], 3) == {}


async def test_jobs_with_states_and_jobs_with_runs_have_the_same_outcomes(db: AsyncConnection):
    for n in range(40):
        for job, period in (("Report", 3), ("Import", 2), ("Export", 50)):
            state = "skipped" if n % period else "failed" if n % 4 else "succeeded"
            await add_run(db, job, state, CompletedAt=NOW + timedelta(minutes=n))
    await add_run(db, "Import", "running")
    definitions = [define(work, name=name) for name in ("Report", "Import", "Export", "Unknown")]
    entries = (await jobs.job_entries(db, definitions, NOW)).jobs
    with_runs = await jobs.with_runs(db, entries)
    with_states = await jobs.with_states(db, entries)
    for whole, states in zip(with_runs, with_states, strict=True):
        assert [run.id for run in whole.outcomes] == [run.id for run in states.outcomes]
        assert [run.happened_at for run in whole.outcomes] == [
            run.happened_at for run in states.outcomes
        ]
        assert [run.id for run in whole.active] == [run.id for run in states.active]
    outcomes = {job.name: [run.state for run in job.outcomes] for job in with_states}
    assert [len(outcomes[name]) for name in ("Report", "Import", "Export")] == [14, 20, 1]
    assert outcomes["Unknown"] == []


async def test_the_entry_of_a_job_follows_its_pause_its_schedule_and_the_clock(db: AsyncConnection):
    async def entry(job: JobDefinition, minutes: int = 0) -> tuple[JobDefinition, bool, Any]:
        now = NOW + timedelta(minutes=minutes)
        [found] = (await jobs.job_entries(db, [job], now)).jobs
        return found.definition, found.pause is not None, found.next_run

    hourly, daily = (define(work, cron, name="Report") for cron in ("0 * * * *", "0 0 * * *"))
    begins = NOW.replace(minute=0, second=0, microsecond=0)
    first = begins + timedelta(hours=1)
    assert await entry(hourly) == await entry(hourly) == (hourly, False, first)
    assert await entry(hourly, 60) == (hourly, False, first + timedelta(hours=1))
    assert (await entry(daily))[0] is daily
    await db.execute(job_schedule.insert().values(JobName="Report", LastSlot=NOW, PausedAt=NOW))
    assert await entry(hourly) == (hourly, True, None)
    await db.execute(job_schedule.update().values(PausedAt=None))
    assert await entry(hourly) == (hourly, False, first)


async def test_ended_runs_are_counted_by_quarter_and_bad_runs_by_job(db: AsyncConnection):
    outcomes = ("succeeded", "succeeded", "failed", "missed", "retrying")
    endings = [
        Ending(job=job, at=NOW + timedelta(minutes=minutes), outcome=RunState(outcome))
        for job in ("Report", "Import")
        for minutes in (0, 20)
        for outcome in outcomes
    ]
    fails = Ending(job="Fails", at=NOW, outcome=RunState.FAILED)
    await kernel_statistics.add(db, [*endings, fails], shard=0)
    later = NOW + timedelta(hours=1)
    ended = await statistics.ended_runs(db, NOW, later)
    assert ended.total == 17
    assert ended.by_quarter[NOW + timedelta(minutes=15), RunState.SUCCEEDED] == 4
    bad = [(job, state) for job in ("Report", "Import") for state in ("failed", "missed")]
    assert ended.by_job == {("Fails", "failed"): 1} | dict.fromkeys(bad, 2)
    assert {state for _, state in ended.by_quarter} == {"succeeded", "failed", "missed"}
    assert ended.jobs(RunState.MISSED) == {"Report", "Import"}
    assert ended.jobs(RunState.MISSED, RunState.FAILED) == {"Report", "Import", "Fails"}


async def test_a_run_tells_its_life_progress_and_duration(db: AsyncConnection):
    life = "2026-11-25T08:00:00+00:00 enqueued by System\n2026-11-25T08:00:01+00:00 running\nscribble\n"
    run_id = await add_run(
        db,
        state="running",
        LifeLog=life,
        ProgressDone=3,
        ProgressTotal=4,
        StartedAt=NOW,
        ArgumentsJson='{"user_id": 3}',
    )
    run = await runs.get_run(db, run_id)
    assert run is not None
    assert [(entry.state, entry.note) for entry in run.life] == [
        ("enqueued", "by System"),
        ("running", ""),
    ]
    assert run.progress == 0.75
    assert run.duration is None
    assert run.arguments == {"user_id": 3}
    assert run.created_at == NOW


async def test_the_attempts_of_a_run_come_in_order_and_only_its_own(db: AsyncConnection):
    run_id = await add_run(db, state="failed")
    later = NOW + timedelta(minutes=1)
    await add_attempt(db, JobId=str(run_id), Attempt=2, StartedAt=later, Success=False)
    await add_attempt(db, JobId=str(run_id), Attempt=1, Success=False)
    await add_attempt(db, JobId=str(run_id + 1), Attempt=1)
    run = await runs.get_run(db, run_id)
    assert run is not None
    assert [attempt.number for attempt in await runs.attempts_of_run(db, run)] == [1, 2]


async def test_a_pause_holds_until_its_time(db: AsyncConnection):
    for name, until in [("ForEver", None), ("Today", NOW + timedelta(hours=1)), ("Over", NOW)]:
        await db.execute(
            job_schedule.insert().values(
                JobName=name, PausedBy="x", PausedAt=NOW - timedelta(days=1), PausedUntil=until
            )
        )
    await db.execute(job_schedule.insert().values(JobName="Never", LastSlot=NOW))
    assert set(await system.pauses(db, NOW)) == {"ForEver", "Today"}


async def test_queues_count_what_waits_and_since_when(db: AsyncConnection):
    for state, minutes in [("enqueued", 5), ("enqueued", 9), ("running", 1), ("succeeded", 3)]:
        await add_run(db, state=state, DueAt=NOW - timedelta(minutes=minutes))
    await add_run(db, state="retrying", Queue="forgotten")
    await db.execute(job_queue.insert().values(Name="paused", PausedBy="x", PausedAt=NOW))
    default, empty, forgotten, paused = await system.queues(
        db, ["default", "empty"], NOW, lost_after=20
    )
    assert (default.name, default.waiting, default.running) == ("default", 2, 1)
    assert default.oldest_due == NOW - timedelta(minutes=9)
    assert (empty.name, empty.waiting, empty.oldest_due) == ("empty", 0, None)
    assert (forgotten.name, forgotten.retrying) == ("forgotten", 1)
    assert paused.pause is not None


async def add_server(db: AsyncConnection, **more: Any) -> None:
    row = {
        "Id": "web:1",
        "Name": "web",
        "ProcessId": 1,
        "Queues": "default, critical",
        "Workers": 5,
        "Version": "1",
        "StartedAt": NOW,
        "HeartbeatAt": NOW,
    }
    await db.execute(job_server.insert().values(row | more))


async def test_a_server_that_is_silent_has_no_workers_in_a_pool(db: AsyncConnection, monkeypatch):
    pool = {"workers": 6, "order": "weighted", "queues": {"default": 1}}
    pooled = replace(current(), pools={"main": pool})
    monkeypatch.setattr("targcc_scheduler.project._configured", pooled)
    await add_server(db)
    await add_server(db, Id="web:2", HeartbeatAt=NOW - timedelta(seconds=31))

    async def workers(lost_after: float) -> int:
        (queue,) = await system.queues(db, ["default"], NOW, lost_after=lost_after)
        assert queue.pool is not None
        return queue.pool.workers

    assert [await workers(30), await workers(60)] == [6, 12]


async def test_servers_say_how_much_they_have_in_hand(db: AsyncConnection):
    await add_server(db)
    await add_run(db, state="running", ServerId="web:1")
    await add_run(db, state="succeeded", ServerId="web:1")
    (server,) = await system.read_servers(db)
    assert (server.running, server.queues) == (1, ("default", "critical"))


async def test_of_a_long_log_the_end_is_shown(db: AsyncConnection):
    run_id = await add_run(db)
    for number in range(5):
        await db.execute(
            job_log_line.insert().values(
                RunId=run_id, Attempt=1, At=NOW, Level="info", Message=f"line {number}"
            )
        )
    lines = await runs.log_lines(db, run_id, limit=2)
    assert [line.message for line in lines] == ["line 3", "line 4"]


async def test_the_audit_is_filtered_and_paged(db: AsyncConnection):
    for number, action in enumerate(["trigger", "sign in", "pause", "trigger"]):
        await db.execute(
            job_audit.insert().values(
                At=NOW + timedelta(minutes=number),
                Actor="Manual (dana)",
                Action=action,
                JobName="Report" if action == "trigger" else None,
            )
        )
    everything = await audit_queries.audit(db)
    assert [entry.action for entry in everything] == ["trigger", "pause", "sign in", "trigger"]
    assert len(await audit_queries.audit(db, audit_queries.Filter(jobs=["Report"]))) == 2
    assert [e.action for e in await audit_queries.latest(db, without=["trigger"], limit=6)] == [
        "pause",
        "sign in",
    ]
    assert [e.id for e in await audit_queries.audit(db, before=everything[1].id)] == [
        entry.id for entry in everything[2:]
    ]


async def test_durations_are_of_runs_that_succeeded(db: AsyncConnection):
    for outcome, took in [("succeeded", 100), ("succeeded", 300), ("succeeded", 200)]:
        ending = Ending(job="Report", at=NOW, outcome=RunState(outcome), duration_ms=took)
        await kernel_statistics.add(db, [ending], shard=took)
    retried = Ending(job="Report", at=NOW, outcome=RunState.FAILED, retried=True)
    await kernel_statistics.add(db, [retried], shard=0)
    figures = await statistics.job_stats(
        db,
        "Report",
        since=NOW - timedelta(days=1),
        until=NOW + timedelta(hours=1),
        zone=ZoneInfo("UTC"),
    )
    assert (figures.runs, figures.succeeded, figures.failed, figures.retried) == (4, 3, 1, 1)
    assert figures.success_rate == 0.75
    assert (figures.average_ms, figures.longest_ms) == (200, 300)
    assert figures.p50_ms == pytest.approx(200, rel=0.05)
    assert figures.p95_ms == pytest.approx(300, rel=0.05)


async def test_days_are_those_of_the_zone(db: AsyncConnection):
    late = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)  # already the 25th in Jerusalem
    await kernel_statistics.add(
        db, [Ending(job="Report", at=late, outcome=RunState.SUCCEEDED)], shard=0
    )
    figures = await statistics.job_stats(
        db, "Report", since=late - timedelta(days=1), until=NOW, zone=ZoneInfo("Asia/Jerusalem")
    )
    assert [(day.day, day.succeeded) for day in figures.days] == [
        (date(2026, 11, 24), 0),
        (date(2026, 11, 25), 1),
    ]


async def test_a_job_that_never_ran_has_no_figures(db: AsyncConnection):
    figures = await statistics.job_stats(
        db, "Report", since=NOW - timedelta(days=1), until=NOW, zone=ZoneInfo("UTC")
    )
    assert (figures.runs, figures.success_rate, figures.p95_ms) == (0, None, None)


@pytest.mark.parametrize(
    ("share", "value"), [(0, 1), (0.1, 1), (0.5, 5), (0.51, 6), (0.95, 10), (1, 10)]
)
def test_percentiles_are_by_the_nearest_rank(share: float, value: int):
    assert statistics.percentile([(n, 1) for n in range(1, 11)], share) == value
    assert statistics.percentile([], share) is None


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The instants from which cron schedules compute a slot."""
    begun: list[datetime] = []
    compute = CronSchedule.next

    def noted(self: CronSchedule, after: datetime, *rest: Any, **more: Any) -> datetime | None:
        begun.append(after)
        return compute(self, after, *rest, **more)

    monkeypatch.setattr(CronSchedule, "next", noted)
    return begun


@pytest.mark.slow
async def test_the_slots_of_thousands_of_jobs_are_computed_once_an_hour(
    db: AsyncConnection, computed: list[datetime]
):
    every = [define(work, f"{n % 60} * * * *", name=f"Kept{n}") for n in range(4_200)]
    later = NOW + timedelta(seconds=30)
    begun = await jobs.job_entries(db, every, NOW)
    first = begun.slots(NOW, NOW + timedelta(hours=2))
    assert len(first) == 2 * 4_200 - 70  # those of eight o'clock have passed
    computed.clear()

    after = await jobs.job_entries(db, every, later)
    assert after.jobs == begun.jobs
    again = after.slots(later, later + timedelta(hours=2))

    assert computed == []
    assert again == [*first, *(NOW + timedelta(hours=2) for _ in range(70))]


async def test_a_next_slot_is_kept_until_it_passes_or_the_schedule_changes(
    db: AsyncConnection, computed: list[datetime]
):
    job, other = define(work, "0,30 * * * *", name="Half"), define(work, "45 * * * *", name="Other")
    ten, half, nine = (NOW + timedelta(minutes=minutes) for minutes in (10, 30, 60))

    async def starts(now: datetime, *given: JobDefinition) -> list[Any]:
        return list((await jobs.job_entries(db, given, now)).starts)

    at_other = NOW + timedelta(minutes=45), "Other"
    assert await starts(ten, job, other) == [(half, "Half"), at_other]
    assert await starts(half - timedelta(microseconds=1), job, other) == [(half, "Half"), at_other]
    assert computed == [ten, ten]
    assert await starts(half, job, other) == [at_other, (nine, "Half")]
    assert computed == [ten, ten, half]
    assert await starts(ten, job, other) == [(half, "Half"), at_other]  # an earlier instant
    changed = define(work, "15 * * * *", name="Half")
    assert await starts(ten, changed, other) == [(NOW + timedelta(minutes=15), "Half"), at_other]
    assert await starts(ten, other) == [at_other]


async def test_next_starts_follow_pauses_owners_and_ended_runs(db: AsyncConnection):
    """A list of all jobs and a list of each job have the same next starts."""
    every = [define(work, "*/20 * * * *", name=name) for name in ("Till", "Off", "Moved", "Plain")]
    every.append(define(work, every="15m", after="completion", name="Ended"))
    await add_run(db, "Ended", "succeeded", StartedAt=NOW, CompletedAt=NOW)
    at = {"PausedAt": NOW, "LastSlot": NOW}
    until = NOW + timedelta(minutes=50)
    pauses = job_schedule.insert()
    await db.execute(pauses.values(JobName="Till", PausedUntil=until, **at))
    await db.execute(pauses.values(JobName="Off", **at))
    moved = job_owner.insert().values(JobName="Moved", Owner="old", ChangedBy="dana", Since=NOW)
    await db.execute(moved)

    found = await jobs.job_entries(db, every, NOW)
    expected = {
        "Ended": NOW + timedelta(minutes=15),
        "Plain": NOW + timedelta(minutes=20),
        "Till": NOW + timedelta(minutes=60),
    }
    assert {entry.name: entry.next_run for entry in found.jobs if entry.next_run} == expected
    assert found.starts == [(instant, name) for name, instant in expected.items()]
    slots = found.slots(NOW, NOW + timedelta(minutes=70))
    assert sorted(slots) == [NOW + timedelta(minutes=minutes) for minutes in (20, 40, 60, 60)]
    coming = upcoming.upcoming(found.starts, [], NOW)
    assert [(one.at, one.job) for one in coming] == found.starts


async def test_error_groups_are_read_by_page_in_one_order(db: AsyncConnection):
    """By open runs and reruns together; a page after the last one knows the number of groups."""
    for cause, opened, reruns in (("a", 1, 0), ("b", 0, 3), ("c", 2, 0), ("d", 0, 0), ("e", 1, 1)):
        group = {"Cause": cause, "JobName": "Report", "Kind": "Failure", "FirstAt": NOW}
        await db.execute(job_failure.insert().values(group))
        for _ in range(opened):
            await add_run(db, "Report", "failed", Cause=cause, CompletedAt=NOW)
        for _ in range(reruns):
            old = await add_run(db, "Report", "failed", Cause=cause, HandledAt=NOW)
            await add_run(db, "Report", "enqueued", RetryOf=old)
    muted = {"Cause": "f", "JobName": "Report", "Kind": "Failure", "FirstAt": NOW, "MutedAt": NOW}
    await db.execute(job_failure.insert().values(muted))
    await add_run(db, "Report", "failed", Cause="f")

    every = await inbox.groups(db, NOW)
    assert [(group.cause, group.open, group.in_hand) for group in every] == [
        ("b", 0, 3),
        ("c", 2, 0),
        ("e", 1, 1),
        ("a", 1, 0),
    ]
    for skip, expected in ((0, every[:3]), (3, every[3:]), (6, [])):
        assert await inbox.first_groups(db, NOW, 3, skip=skip) == (expected, 4, 4)
    found = await inbox.first_groups(db, NOW, 9, everything=True)
    assert ([group.cause for group in found.first], found.total) == (
        ["b", "c", "e", "a", "f", "d"],
        6,
    )
    problems, number = await worst_issues(db, [], NOW, lost_after=30, most=1)
    assert [one.subject for one in problems if one.kind == "failure"] == ["b", "c"]
    assert number == 4
    await db.execute(sa.delete(job_failure))
    assert await inbox.first_groups(db, NOW, 3) == ([], 0, 0)


async def test_the_counts_of_many_open_runs_are_shared_until_a_person_acts(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sharing, "LARGE", 1)
    group = {"Cause": "a", "JobName": "Report", "Kind": "Failure", "FirstAt": NOW}
    await db.execute(job_failure.insert().values(group))

    async def fail() -> None:
        await add_run(db, "Report", "failed", Cause="a", CompletedAt=NOW)

    async def count(seconds: float = 0) -> int:
        now = NOW + timedelta(seconds=seconds)
        [counts] = (await inbox.first_groups(db, now, 3)).first
        return counts.open

    await fail()
    assert await count() == 1
    await fail()
    assert await count() == 2  # few runs are counted for each request
    await fail()
    assert (await count(), await count(9.9)) == (2, 2)
    await audit(db, SYSTEM, "acknowledge", NOW)
    assert await count(9.9) == 3
    await fail()
    assert (await count(19.8), await count(19.9)) == (3, 4)
