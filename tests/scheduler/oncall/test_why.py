"""Explain in a sentence why a run or job does not start, by the reason that decides first."""

import contextlib
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from targcc_scheduler import JobContext, JobResult, Project, Settings, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import Actor, Visibility, visibility
from targcc_scheduler.db import locks
from targcc_scheduler.db.tables import job_limit, job_run, job_schedule, job_server
from targcc_scheduler.features.overrides import actions as override_actions
from targcc_scheduler.features.overrides.actions import Wish
from targcc_scheduler.features.triage.why import barred, why_job, why_run
from targcc_scheduler.kernel.queries.runs import get_run
from targcc_scheduler.kernel.runs.eligibility import Refusal
from targcc_scheduler.kernel.runs.values import Tie

DANA = Actor("CLI", "dana")
NOW = datetime(2026, 11, 25, 22, 30, tzinfo=UTC)
PROJECT = Project(
    name="why-jobs",
    package="why_jobs",
    timezone="UTC",
    queues={"default": 4, "critical": 2, "single": 2},
    queue_limits={"single": 1},
)


@job("30 2 * * *", timezone="Europe/Berlin")
class NightlyJob:
    """Run at night, also on nights of clock changes."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@job("0 0 31 2 *", timezone="UTC")
class DeadJob(NightlyJob):
    """Run on 31 February."""


@job(queue="critical", concurrency=1)
class LimitedJob(NightlyJob):
    """Run one at a time."""


@job(queue="critical")
class CriticalJob(NightlyJob):
    """Run in a narrow queue."""


@job(queue="single")
class SingleJob(NightlyJob):
    """Run in a queue with a limit across all nodes."""


@job(after=[NightlyJob])
class FollowingJob(NightlyJob):
    """Run after the nightly job."""


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, monkeypatch) -> Settings:
    monkeypatch.setattr("targcc_scheduler.project._configured", PROJECT)
    url = request.getfixturevalue(f"migrated_{request.param}_url")
    return Settings(database_url=url, keepalive=False)


@pytest.fixture
async def scheduler(make_scheduler):
    made = make_scheduler()
    await made.start(work=False, schedule=False)
    return made


async def add(scheduler, name, state, **values):
    row = {
        "JobName": name,
        "JobType": "Manual",
        "State": state,
        "Queue": "default",
        "DueAt": NOW - timedelta(seconds=5),
        "CreatedAt": NOW - timedelta(minutes=1),
        "TriggeredBy": "System",
        **values,
    }
    insert = job_run.insert().values(row)
    return await scheduler.change(lambda db: _key(db, insert))


async def _key(db, insert):
    return (await db.execute(insert)).inserted_primary_key[0]


async def up(scheduler, **values):
    row = {
        "Id": "web-1:7",
        "Name": "web-1",
        "ProcessId": 7,
        "Queues": "default, critical, single",
        "Workers": 8,
        "Version": "1",
        "StartedAt": NOW,
        "HeartbeatAt": NOW,
        **values,
    }
    await scheduler.change(lambda db: db.execute(job_server.insert().values(row)))


async def of_run(scheduler, run_id, now=NOW):
    jobs = scheduler.definitions

    async def query(db):
        return await why_run(db, await get_run(db, run_id), jobs, now, lost_after=20)

    return (await scheduler.read(query)).reasons


async def of_job(scheduler, name, now=NOW):
    jobs = scheduler.definitions
    answer = await scheduler.read(lambda db: why_job(db, name, jobs, now, lost_after=20))
    return answer.reasons


POOLED = {"critical": 5, "default": 3, "single": 1}


@pytest.mark.parametrize(("order", "said"), [("weighted", "3 of 9"), ("strict", "critical go")])
async def test_why_says_which_pool_a_run_waits_for_and_what_its_waiting_counts(
    scheduler, monkeypatch, order, said
):
    pools = {"main": {"workers": 2, "order": order, "queues": POOLED}}
    project = replace(
        PROJECT, queues=dict.fromkeys(POOLED, 2), pools=pools, queue_aging={"default": 60}
    )
    monkeypatch.setattr("targcc_scheduler.project._configured", project)
    await up(scheduler)
    runs = [await add(scheduler, "Critical", "running", Queue="critical") for _ in range(2)]
    hour = timedelta(hours=1)
    await add(scheduler, "Nightly", "enqueued", Priority=59)  # 59.1 points
    await add(scheduler, "Nightly", "enqueued", Priority=61)
    waits = await add(scheduler, "Nightly", "enqueued", DueAt=NOW - hour)  # 60 points
    text = await only(scheduler, waits)
    named = " and ".join(f"run {run_id}" for run_id in runs)
    assert f"a worker of pool main (2 of 2 busy: {named})" in text
    assert said in text
    assert "; 1 run is ahead. The queue has aging" in text
    assert "The run has 60.0 points on top of its priority 0." in text


async def only(scheduler, run_id):
    [reason] = await of_run(scheduler, run_id)
    return reason.text


async def test_what_a_run_waits_for(scheduler):
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    assert (await only(scheduler, waiting)).startswith("No server is up")
    await up(scheduler)
    assert (await only(scheduler, waiting)).startswith("Nothing blocks the run")
    first = await add(scheduler, "Critical", "running", Queue="critical", StartedAt=NOW)
    second = await add(scheduler, "Critical", "running", Queue="critical", StartedAt=NOW)
    assert await only(scheduler, waiting) == (
        f"Waiting for a worker of queue critical (2 of 2 busy: run {first} and run {second});"
        " this run is next."
    )
    behind = await add(scheduler, "Critical", "enqueued", Queue="critical")
    assert (await only(scheduler, behind)).endswith("; 1 run is ahead.")
    limited = await add(scheduler, "Limited", "enqueued", Queue="critical")
    running = await add(scheduler, "Limited", "running", Queue="critical", StartedAt=NOW)
    [reason] = await of_run(scheduler, limited)
    assert reason.kind == "job-limit"
    assert reason.text == f"The job has reached concurrency 1: run {running} is running."
    single = await add(scheduler, "Single", "enqueued", Queue="single")
    running_id = await add(scheduler, "Single", "running", Queue="single", StartedAt=NOW)
    assert await only(scheduler, single) == (
        f"The queue single has reached its limit of 1 on all servers: run {running_id}."
    )
    elsewhere = await add(scheduler, "Critical", "enqueued", Queue="mail")
    assert (await only(scheduler, elsewhere)).startswith("No server serves the queue mail")
    later = await add(scheduler, "Critical", "scheduled", DueAt=NOW + timedelta(hours=2))
    assert await only(scheduler, later) == "The run is due at Thu 00:30 (in 2 h)."
    retry = await add(
        scheduler,
        "Critical",
        "retrying",
        DueAt=NOW + timedelta(minutes=3),
        Attempt=1,
        Message="OSError: gone",
    )
    assert await only(scheduler, retry) == (
        "Waiting for the retry at 22:33 (in 3 min); attempt 1 failed: OSError: gone."
    )
    skipped = await add(scheduler, "Nightly", "skipped", BlockedBy=waiting, CompletedAt=NOW)
    assert await only(scheduler, skipped) == (
        f"The run was skipped: run {waiting} was still running (overlap: skip)."
    )


async def test_a_run_in_a_paused_queue_names_who_paused_it_and_why(scheduler):
    await up(scheduler)
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    await scheduler.pause_queue("critical", by=DANA, reason="the disk is full")
    text = await only(scheduler, waiting)
    assert text.startswith("The queue critical is paused by dana by CLI since ")
    assert text.endswith(", reason: the disk is full, no end date.")


async def test_a_job_whose_queue_is_paused_says_that_before_its_next_slot(scheduler):
    await up(scheduler)
    await scheduler.pause_queue("default", by=DANA, reason="the disk is full")
    held, coming = await of_job(scheduler, "Nightly")
    assert (held.kind, coming.kind) == ("queue-paused", "next-slot")
    assert held.text.startswith("The queue default is paused by dana by CLI since ")
    await add(scheduler, "Nightly", "enqueued")  # the same reason is listed once
    assert len(await of_job(scheduler, "Nightly")) == 2


async def test_a_run_that_nobody_knows_names_who_was_asked(scheduler):
    await up(scheduler)
    refused = [Refusal("f", NOW.isoformat(), "web-1", "r7", "no such job")]
    refused_by = json.dumps([vars_of(refusal) for refusal in refused])
    waiting = await add(
        scheduler,
        "Gone",
        "enqueued",
        UnknownSince=NOW - timedelta(minutes=20),
        RefusedBy=refused_by,
    )
    [reason] = await of_run(scheduler, waiting)
    assert reason.kind == "unknown"
    assert reason.text.startswith("No server has been able to run it since 22:10 (20 min ago)")


def vars_of(refusal):
    return {name: getattr(refusal, name) for name in Refusal.__slots__}


async def test_when_a_job_runs_next_or_why_it_does_not(scheduler):
    await up(scheduler)
    [dead] = await of_job(scheduler, "Dead")
    assert (dead.kind, "31 February" in dead.text) == ("dead-schedule", True)
    [manual] = await of_job(scheduler, "Limited")
    assert (manual.kind, "follows" in manual.text) == ("no-schedule", False)
    [following] = await of_job(scheduler, "Following")
    assert following.kind == "no-schedule"
    assert "It runs when the jobs before it have succeeded" in following.text
    [coming] = await of_job(scheduler, "Nightly")
    assert coming.text == "The next slot is Thu 01:30 (in 3 h), Thu 02:30 in Europe/Berlin."
    spring = datetime(2027, 3, 27, 22, tzinfo=UTC)
    await scheduler.change(
        lambda db: db.execute(job_server.update().values(HeartbeatAt=spring, StartedAt=spring))
    )
    _, change = await of_job(scheduler, "Nightly", spring)
    assert change.kind == "clock-change"
    assert "change on Sun 28 Mar: one hour does not exist" in change.text
    await scheduler.pause("Nightly", by=DANA, reason="moving house")
    [paused] = await of_job(scheduler, "Nightly")
    assert paused.text.startswith("The job is paused by dana by CLI since ")
    assert "reason: moving house, no end date. It can still be run by hand." in paused.text


async def test_a_slot_that_nobody_handled_is_said_before_the_next_one(scheduler):
    await up(scheduler)
    handled = {"JobName": "Nightly", "LastSlot": NOW - timedelta(days=2)}
    await scheduler.change(lambda db: db.execute(job_schedule.insert().values(handled)))
    late, coming = await of_job(scheduler, "Nightly")
    assert (late.kind, coming.kind) == ("late", "next-slot")


STUCK = {"StuckSince": NOW - timedelta(minutes=4), "StuckIn": "Nightly (run 7)\n  File x"}


async def test_a_stuck_server_takes_no_run_in_a_moment(scheduler):
    await up(scheduler, **STUCK)
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    [reason] = await of_run(scheduler, waiting)
    assert reason.kind == "stuck-server"
    assert reason.text == (
        "Server web-1 has been stuck in Nightly (run 7) since 22:26 (4 min ago) and starts no runs."
    )
    first, coming = await of_job(scheduler, "Nightly")
    assert (first.kind, coming.kind) == ("stuck-server", "next-slot")
    await up(scheduler, Id="web-2:8", Name="web-2")
    assert (await only(scheduler, waiting)).startswith("Nothing blocks the run")


async def test_a_stuck_server_lends_no_worker(scheduler):
    await up(scheduler, Id="web-2:8", Name="web-2", **STUCK)
    await up(scheduler)
    for _ in range(2):
        await add(scheduler, "Critical", "running", Queue="critical")
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    assert "2 of 2 busy" in await only(scheduler, waiting)


async def test_a_run_of_a_silent_or_stuck_server_says_so_first(scheduler):
    await up(scheduler, HeartbeatAt=NOW - timedelta(minutes=1))
    running = await add(scheduler, "Critical", "running", ServerId="web-1:7", StartedAt=NOW)
    assert [reason.kind for reason in await of_run(scheduler, running)] == [
        "lost-server",
        "running",
    ]
    await scheduler.change(
        lambda db: db.execute(job_server.update().values(HeartbeatAt=NOW, **STUCK))
    )
    assert [reason.kind for reason in await of_run(scheduler, running)] == [
        "stuck-server",
        "running",
    ]


async def test_a_queue_that_no_server_takes_is_said_first(scheduler):
    await up(scheduler, Queues="mail")
    for name, last in (("Nightly", "next-slot"), ("Limited", "no-schedule")):
        reasons = await of_job(scheduler, name)
        assert [reason.kind for reason in reasons] == ["no-worker", last]
    await scheduler.pause_queue("critical", by=DANA, reason="the disk is full")
    waiting = await add(scheduler, "Limited", "enqueued", Queue="critical")
    await add(scheduler, "Limited", "running", Queue="critical")
    kinds = [reason.kind for reason in await of_run(scheduler, waiting)]
    assert kinds == ["no-worker", "queue-paused", "job-limit"]


async def test_a_run_that_waits_is_said_before_a_job_has_no_schedule(scheduler):
    await up(scheduler)
    await add(scheduler, "Limited", "running", Queue="critical", StartedAt=NOW)
    assert [reason.kind for reason in await of_job(scheduler, "Limited")] == [
        "running",
        "no-schedule",
    ]


async def test_a_run_in_the_way_of_slots_is_said_before_the_next_slot(scheduler):
    await up(scheduler)
    blocker = await add(scheduler, "Nightly", "running", StartedAt=NOW)
    await add(
        scheduler,
        "Nightly",
        "skipped",
        ScheduledFor=NOW - timedelta(hours=1),
        BlockedBy=blocker,
        CompletedAt=NOW,
    )
    assert [reason.kind for reason in await of_job(scheduler, "Nightly")][:2] == [
        "overlap",
        "next-slot",
    ]
    over = job_run.update().where(job_run.c.Id == blocker)
    await scheduler.change(lambda db: db.execute(over.values(State="succeeded", CompletedAt=NOW)))
    assert [reason.kind for reason in await of_job(scheduler, "Nightly")] == [
        "next-slot",
        "overlap",
    ]


async def test_the_last_slot_is_told_however_many_runs_came_after_it(scheduler):
    await up(scheduler)
    await add(
        scheduler, "Nightly", "missed", ScheduledFor=NOW - timedelta(hours=1), CompletedAt=NOW
    )
    for _ in range(30):
        await add(scheduler, "Nightly", "succeeded", CompletedAt=NOW)
    assert [reason.kind for reason in await of_job(scheduler, "Nightly")] == ["next-slot", "missed"]


async def test_an_overridden_schedule_is_said_before_its_next_slot(scheduler):
    await up(scheduler)
    wish = Wish({"schedule": "0 5 * * *"}, "the export is late")
    await override_actions.override(scheduler, scheduler.find("Nightly"), wish, DANA)
    assert [reason.kind for reason in await of_job(scheduler, "Nightly")] == [
        "override",
        "next-slot",
    ]
    await scheduler.pause("Nightly", by=DANA, reason="moving house")
    assert [reason.kind for reason in await of_job(scheduler, "Nightly")] == ["paused", "override"]


RATE = {
    "LimitKey": "mails",
    "JobName": "Critical",
    "IntervalMs": 60_000.0,
    "Burst": 1,
    "UpdatedAt": NOW,
}


async def test_a_run_that_waits_for_a_token_says_for_which_and_when_it_comes(scheduler):
    await up(scheduler)
    limited = {"LimitKey": "mails", "Ties": int(Tie.ASKS)}
    due = await add(scheduler, "Critical", "scheduled", DueAt=NOW + timedelta(minutes=1), **limited)
    second, third = [await add(scheduler, "Critical", "awaiting", **limited) for _ in range(2)]
    row = RATE | {"WakeId": due, "NextAt": NOW + timedelta(minutes=1)}
    await scheduler.change(lambda db: db.execute(job_limit.insert().values(row)))
    expected = "Waiting for a token of mails, one every 1 min"
    assert (
        await only(scheduler, due)
        == f"{expected}; the next token for this run comes at 22:31 (in 1 min)."
    )
    assert await only(scheduler, second) == (
        f"{expected}; 1 run is ahead; the next token for this run comes at 22:32 (in 2 min)."
    )
    assert await only(scheduler, third) == (
        f"{expected}; 2 runs are ahead; the next token for this run comes at 22:33 (in 3 min)."
    )


async def test_a_run_that_waits_for_a_token_is_not_said_to_lack_room(scheduler):
    await up(scheduler)
    limited = {"LimitKey": "mails", "Ties": int(Tie.ASKS)}
    await add(scheduler, "Critical", "running", **limited)
    waiting = await add(scheduler, "Critical", "awaiting", **limited)
    row = RATE | {"Most": 5, "NextAt": NOW + timedelta(minutes=1)}
    await scheduler.change(lambda db: db.execute(job_limit.insert().values(row)))
    assert (await only(scheduler, waiting)).startswith("Waiting for a token of mails")


async def test_a_run_scheduled_by_somebody_is_due_then_whatever_its_limit(scheduler):
    await up(scheduler)
    later = await add(
        scheduler, "Critical", "scheduled", DueAt=NOW + timedelta(hours=2), LimitKey="mails"
    )
    row = RATE | {"NextAt": NOW + timedelta(minutes=1)}
    await scheduler.change(lambda db: db.execute(job_limit.insert().values(row)))
    assert (await only(scheduler, later)).startswith("The run is due at")


@contextlib.contextmanager
def writing(url):
    """Hold the write lock of a SQLite file, or a lock of the runs table on PostgreSQL."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            holder = f"process {os.getpid()}"
        else:
            connection.exec_driver_sql("LOCK TABLE c_JobRun IN SHARE MODE")
            holder = f"session {connection.exec_driver_sql('SELECT pg_backend_pid()').scalar()}"
        yield holder
        connection.rollback()
    engine.dispose()


@pytest.mark.sqlite
async def test_a_lock_of_the_database_and_its_holder_are_named(scheduler, settings, monkeypatch):
    monkeypatch.setattr(locks, "SHORT", 0.0)
    await up(scheduler)
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    with writing(settings.database_url) as holder:
        [reason] = await of_run(scheduler, waiting)
    assert reason.kind == "database-lock"
    assert reason.text.startswith(f"The database is locked: {holder}")
    assert ("c_jobrun" in reason.text) or ("jobs.db" in reason.text)
    assert (await only(scheduler, waiting)).startswith("Nothing blocks the run")


@pytest.mark.sqlite
async def test_sessions_and_code_are_not_told_to_who_sees_some_jobs_only(
    scheduler, settings, monkeypatch
):
    monkeypatch.setattr(locks, "SHORT", 0.0)
    await up(scheduler)
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    jobs = frozenset({"Critical"})
    token = visibility.set(Visibility(jobs, jobs, jobs, "dana"))
    try:
        with writing(settings.database_url):
            assert (await only(scheduler, waiting)).startswith("Nothing blocks the run")
            answer = await scheduler.read(lambda db: barred(db, "run 1", NOW, lost_after=20))
            assert answer is None
    finally:
        visibility.reset(token)


async def test_a_table_that_nobody_can_read_is_named_at_once(
    make_scheduler, migrated_postgresql_url, monkeypatch
):
    monkeypatch.setattr(locks, "SHORT", 0.0)
    made = make_scheduler(settings=Settings(database_url=migrated_postgresql_url, keepalive=False))
    await made.start(work=False, schedule=False)
    engine = sa.create_engine(migrated_postgresql_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE c_JobRun IN ACCESS EXCLUSIVE MODE")
        answer = await made.read(lambda db: barred(db, "run 1", NOW, lost_after=20))
        connection.rollback()
    engine.dispose()
    assert answer.reasons[0].kind == "database-lock"
    assert await made.read(lambda db: barred(db, "run 1", NOW, lost_after=20)) is None


def test_the_command_names_a_table_that_nobody_can_read(
    migrated_postgresql_url, request, monkeypatch
):
    monkeypatch.setattr(locks, "SHORT", 0.0)
    monkeypatch.setenv("TARGCC_DATABASE_URL", migrated_postgresql_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", request.module.__name__)
    engine = sa.create_engine(migrated_postgresql_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE c_JobRun IN ACCESS EXCLUSIVE MODE")
        answers = [
            json.loads(CliRunner().invoke(main, ["why", about, "--json"]).output)
            for about in ("7", "Critical")
        ]
        connection.rollback()
    engine.dispose()
    assert [answer["reasons"][0]["kind"] for answer in answers] == ["database-lock"] * 2


BROKEN = "from no_such_module import nothing\n\n@job()\ndef send_invoices(ctx): ...\n"


def test_a_job_whose_file_cannot_be_imported_says_so_with_its_error(
    settings, tmp_path, monkeypatch
):
    package = tmp_path / "broken_jobs_here"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mails.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TARGCC_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", "broken_jobs_here")
    try:
        why = CliRunner().invoke(main, ["why", "SendInvoices", "--json"])
        [reason] = json.loads(why.output)["reasons"]
        assert reason["kind"] == "not-imported"
        assert "mails.py cannot be imported: ModuleNotFoundError" in reason["text"]
        info = CliRunner().invoke(main, ["job", "info", "SendInvoices"])
        assert info.exit_code == 2
        assert "mails.py, cannot be imported: ModuleNotFoundError" in info.output
        assert "there is no job" in CliRunner().invoke(main, ["job", "info", "Other"]).output
    finally:
        for name in [module for module in sys.modules if module.startswith("broken_jobs_here")]:
            del sys.modules[name]


@pytest.mark.slow
def test_the_command_says_the_same(settings, request, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", request.module.__name__)
    result = CliRunner().invoke(main, ["why", "dead"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "31 February" in result.output
    shown = CliRunner().invoke(main, ["why", "Limited", "--json"])
    assert json.loads(shown.output)["reasons"][0]["kind"] == "no-schedule"
    assert CliRunner().invoke(main, ["why", "999"]).exit_code == 2
    assert "did you mean" in CliRunner().invoke(main, ["why", "Limitet"]).output.lower()
