"""Why something does not run, in a sentence, the reason that decides first."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from targcc_scheduler import JobContext, JobResult, Project, Settings, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.queries.needs.why import why_job, why_run
from targcc_scheduler.queries.runs import get_run
from targcc_scheduler.storage.runs.refuse import Refusal
from targcc_scheduler.storage.tables import job_run, job_schedule, job_server

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
    """Runs at night, also on those on which the clocks change."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@job("0 0 31 2 *", timezone="UTC")
class DeadJob(NightlyJob):
    """Runs on 31 February."""


@job(queue="critical", concurrency=1)
class LimitedJob(NightlyJob):
    """Runs one at a time."""


@job(queue="critical")
class CriticalJob(NightlyJob):
    """Runs from a narrow queue."""


@job(queue="single")
class SingleJob(NightlyJob):
    """Runs from a queue that is limited everywhere."""


@job(after=[NightlyJob])
class FollowingJob(NightlyJob):
    """Runs after the one at night."""


@pytest.fixture
def settings(database, monkeypatch) -> Settings:
    monkeypatch.setattr("targcc_scheduler.project._configured", PROJECT)
    return Settings(database_url=database.url, keepalive=False)


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
    named = " and ".join(f"run {one}" for one in runs)
    assert f"a worker of pool main (2 of 2 busy: {named})" in text
    assert said in text
    assert "; 1 run goes before it. Waiting counts" in text
    assert "it has 60.0 beside its priority 0." in text


async def only(scheduler, run_id):
    [reason] = await of_run(scheduler, run_id)
    return reason.text


async def test_what_a_run_waits_for(scheduler):
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    assert (await only(scheduler, waiting)).startswith("No server is up")
    await up(scheduler)
    assert (await only(scheduler, waiting)).startswith("Nothing is in its way")
    first = await add(scheduler, "Critical", "running", Queue="critical", StartedAt=NOW)
    second = await add(scheduler, "Critical", "running", Queue="critical", StartedAt=NOW)
    assert await only(scheduler, waiting) == (
        f"It waits for a worker of queue critical (2 of 2 busy: run {first} and run {second});"
        " it is the next."
    )
    behind = await add(scheduler, "Critical", "enqueued", Queue="critical")
    assert (await only(scheduler, behind)).endswith("; 1 run goes before it.")
    limited = await add(scheduler, "Limited", "enqueued", Queue="critical")
    running = await add(scheduler, "Limited", "running", Queue="critical", StartedAt=NOW)
    [reason] = await of_run(scheduler, limited)
    assert reason.kind == "job-limit"
    assert reason.text == f"It is limited by concurrency 1 of its job: run {running} runs already."
    single = await add(scheduler, "Single", "enqueued", Queue="single")
    there = await add(scheduler, "Single", "running", Queue="single", StartedAt=NOW)
    assert await only(scheduler, single) == (
        f"The queue single is limited to 1 at once on all servers: run {there}."
    )
    elsewhere = await add(scheduler, "Critical", "enqueued", Queue="mail")
    assert (await only(scheduler, elsewhere)).startswith("No server takes runs of the queue mail")
    later = await add(scheduler, "Critical", "scheduled", DueAt=NOW + timedelta(hours=2))
    assert await only(scheduler, later) == "It is due at Thu 00:30 (in 2 h)."
    retry = await add(
        scheduler,
        "Critical",
        "retrying",
        DueAt=NOW + timedelta(minutes=3),
        Attempt=1,
        Message="OSError: gone",
    )
    assert await only(scheduler, retry) == (
        "It waits for its retry at 22:33 (in 3 min); attempt 1 failed: OSError: gone."
    )
    skipped = await add(scheduler, "Nightly", "skipped", BlockedBy=waiting, CompletedAt=NOW)
    assert await only(scheduler, skipped) == (
        f"It was skipped, since run {waiting} was still going on and overlap is skip."
    )


async def test_a_run_in_a_paused_queue_names_who_paused_it_and_why(scheduler):
    await up(scheduler)
    waiting = await add(scheduler, "Critical", "enqueued", Queue="critical")
    await scheduler.pause_queue("critical", by=DANA, reason="the disk is full")
    text = await only(scheduler, waiting)
    assert text.startswith("Its queue critical is paused by dana by CLI since ")
    assert text.endswith(" because: the disk is full, with no end.")


async def test_a_job_whose_queue_is_paused_says_that_before_its_next_slot(scheduler):
    await up(scheduler)
    await scheduler.pause_queue("default", by=DANA, reason="the disk is full")
    held, coming = await of_job(scheduler, "Nightly")
    assert (held.kind, coming.kind) == ("queue-paused", "next-slot")
    assert held.text.startswith("Its queue default is paused by dana by CLI since ")
    await add(scheduler, "Nightly", "enqueued")  # its reason is the same: once is enough
    assert len(await of_job(scheduler, "Nightly")) == 2


async def test_a_run_that_nobody_knows_names_who_was_asked(scheduler):
    await up(scheduler)
    refused = [Refusal("f", NOW.isoformat(), "web-1", "r7", "no such job")]
    asked = json.dumps([vars_of(one) for one in refused])
    waiting = await add(
        scheduler, "Gone", "enqueued", UnknownSince=NOW - timedelta(minutes=20), RefusedBy=asked
    )
    [reason] = await of_run(scheduler, waiting)
    assert reason.kind == "unknown"
    assert reason.text.startswith("No server has known it since 22:10 (20 min ago)")


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
    assert "it runs when the jobs that it follows have succeeded" in following.text
    [coming] = await of_job(scheduler, "Nightly")
    assert coming.text == "Its next slot is Thu 01:30 (in 3 h), Thu 02:30 in Europe/Berlin."
    spring = datetime(2027, 3, 27, 22, tzinfo=UTC)
    await scheduler.change(
        lambda db: db.execute(job_server.update().values(HeartbeatAt=spring, StartedAt=spring))
    )
    _, change = await of_job(scheduler, "Nightly", spring)
    assert change.kind == "clock-change"
    assert "change on Sun 28 Mar; an hour is left out" in change.text
    await scheduler.pause("Nightly", by=DANA, reason="moving house")
    [paused] = await of_job(scheduler, "Nightly")
    assert paused.text.startswith("It is paused by dana by CLI since ")
    assert "because: moving house, with no end. It can be run by hand." in paused.text


async def test_a_slot_that_nobody_handled_is_said_before_the_next_one(scheduler):
    await up(scheduler)
    handled = {"JobName": "Nightly", "LastSlot": NOW - timedelta(days=2)}
    await scheduler.change(lambda db: db.execute(job_schedule.insert().values(handled)))
    late, coming = await of_job(scheduler, "Nightly")
    assert (late.kind, coming.kind) == ("late", "next-slot")


def test_the_command_says_the_same(settings, request, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", request.module.__name__)
    said = CliRunner().invoke(main, ["why", "dead"], catch_exceptions=False)
    assert said.exit_code == 0
    assert "31 February" in said.output
    shown = CliRunner().invoke(main, ["why", "Limited", "--json"])
    assert json.loads(shown.output)["reasons"][0]["kind"] == "no-schedule"
    assert CliRunner().invoke(main, ["why", "999"]).exit_code == 2
    assert "did you mean" in CliRunner().invoke(main, ["why", "Limitet"]).output.lower()
