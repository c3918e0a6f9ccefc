"""Run lifecycles in a real scheduler in this process, on a SQLite file."""

# ruff: noqa: ARG001, ARG002 - a fixture may be there for its effect, a job takes its context

import asyncio
import contextlib
import json
import logging
import re
import threading
import time
from datetime import timedelta

import pytest
from pydantic import BaseModel, SecretStr
from rt_tools import until
from sqlalchemy.ext.asyncio import AsyncSession
from targcc_scheduler import (
    Actor,
    ActorKind,
    ArgumentsError,
    JobContext,
    JobResult,
    JobType,
    RunState,
    RunStateError,
    UnknownJob,
    UnknownRun,
    job,
)
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.kernel.jobs.definition import shown_arguments

DANA = Actor(ActorKind.MANUAL, "dana", remote="10.0.0.7")


class Gate:
    """Signals between tests and jobs."""

    def __init__(self):
        self.open = threading.Event()
        self.seen = []

    async def passed(self):
        while not self.open.is_set():  # noqa: ASYNC110 - it is a threading event
            await asyncio.sleep(0.005)


gate = Gate()


@pytest.fixture(autouse=True)
def _new_gate():
    gate.open.clear()
    gate.seen.clear()
    yield
    gate.open.set()


@job()
class AddJob:
    async def execute(self, ctx: JobContext, a: int, b: int = 2) -> JobResult:
        return JobResult.success(f"{a + b}").with_metadata(sum=a + b)


@job()
class PlainJob:
    def execute(self, ctx: JobContext) -> str:
        ctx.log.info("in a thread", thread=threading.current_thread().name)
        return "plain"


@job()
async def say_hello(name: str) -> str:
    return f"hello {name}"


@job(retries=2, backoff="20ms")
class FlakyJob:
    async def execute(self, ctx: JobContext) -> None:
        if ctx.attempt < 3:
            raise ConnectionError(f"attempt {ctx.attempt}\nwith a second line")


@job(retries=1, backoff="20ms")
class BrokenJob:
    async def execute(self, ctx: JobContext) -> JobResult:
        return JobResult.failure("the books do not balance")


@job(retries=5)
class HopelessJob:
    async def execute(self, ctx: JobContext) -> JobResult:
        try:
            {}["gone"]
        except KeyError as error:
            return JobResult.failure("no such account", error, retry=False)


@job(retries=0, timeout="100ms")
class SlowJob:
    async def execute(self, ctx: JobContext) -> None:
        await asyncio.sleep(60)


@job(retries=0, timeout="100ms")
class ObedientJob:
    def execute(self, ctx: JobContext) -> str:
        while not ctx.cancelled:
            time.sleep(0.005)
        gate.seen.append(ctx.cancel_reason)
        return "stopped early"


@job()
class WaitingJob:
    async def execute(self, ctx: JobContext, mark: str = "") -> None:
        gate.seen.append(mark)
        await gate.passed()


@job(retries=3)
class FailsWhenToldJob:
    async def execute(self, ctx: JobContext) -> None:
        gate.seen.append("in")
        await gate.passed()
        raise ValueError("told")


@job(concurrency=2)
class TwoAtATimeJob:
    async def execute(self, ctx: JobContext) -> None:
        gate.seen.append("in")
        await gate.passed()


@job(JobType.MANUAL, overlap="queue")
class OneAtATimeJob:
    async def execute(self, ctx: JobContext, mark: str) -> None:
        gate.seen.append(f"in {mark}")
        await asyncio.sleep(0.02)
        gate.seen.append(f"out {mark}")


@job(queue="critical")
class CriticalJob:
    async def execute(self, ctx: JobContext) -> None: ...


@job()
class TalkativeJob:
    async def execute(self, ctx: JobContext) -> None:
        for done in range(1, 11):
            ctx.progress(done, 10)
        ctx.log.warning("half", way="there now", count=3)
        gate.seen.append(ctx.run_id)
        await gate.passed()


class Account(BaseModel):
    name: str
    balance: float


@job(retries=1, backoff="10ms")
class StepsJob:
    async def execute(self, ctx: JobContext) -> str:
        accounts = await ctx.step("load", self.load, "a")
        total = await ctx.step("total", self.total, accounts)
        if ctx.attempt == 1:
            raise RuntimeError("between the steps")
        return f"{total} of {accounts[0].name}"

    async def load(self, name: str) -> list[Account]:
        gate.seen.append("load")
        return [Account(name=name, balance=12.5)]

    def total(self, accounts: list[Account]) -> float:
        gate.seen.append("total")
        return sum(account.balance for account in accounts)


@job(retries=0)
class BadStepsJob:
    async def execute(self, ctx: JobContext, kind: str) -> None:
        if kind == "twice":
            await ctx.step("one", lambda: 1)
            await ctx.step("one", lambda: 1)
        await ctx.step("object", lambda: Account(name="a", balance=1))


@job(retries=0)
class SecretJob:
    async def execute(self, ctx: JobContext, password: SecretStr) -> str:
        gate.seen.append(password.get_secret_value())
        return f"got {password}"


@job(retries=0)
class IndiscreetJob:
    async def execute(self, ctx: JobContext) -> None:
        ctx.log.info("calling https://x:hunter2@example.com/?token=hunter2")
        raise ConnectionError("cannot reach postgresql://jobs:hunter2@db/jobs")


@job(retries=0)
class EndlessTextJob:
    async def execute(self, ctx: JobContext, *, fail: bool) -> str:
        if fail:
            raise RuntimeError("x" * 3_000_000)
        return "x" * 3_000_000


class _SpeechlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@job(retries=0)
class SpeechlessJob:
    async def execute(self, ctx: JobContext) -> None:
        raise _SpeechlessError


@job(retries=0)
class NeedyJob:
    def __init__(self, account: Account) -> None:
        self.account = account

    async def execute(self, ctx: JobContext) -> None: ...


@job(retries=0)
class QuitterJob:
    async def execute(self, ctx: JobContext) -> None:
        raise SystemExit(3)


@job(retries=0)
class BusyJob:
    async def execute(self, ctx: JobContext) -> None:
        for _ in range(5):
            end = time.thread_time() + 0.01
            while time.thread_time() < end:
                pass
            await asyncio.sleep(0)


async def test_an_async_job_gets_typed_arguments_and_leaves_a_row_of_history(scheduler, database):
    run_id = await scheduler.enqueue(AddJob, a="40")
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    [row] = database.history(run_id)
    assert (row["JobName"], row["JobType"], row["Success"]) == ("Add", "FireAndForget", 1)
    assert (row["ResultMessage"], row["ErrorMessage"]) == ("42", None)
    assert json.loads(row["MetadataJson"]) == {"sum": 42}
    assert (row["TriggeredBy"], row["Attempt"]) == ("System", 1)
    assert row["StartedAt"] <= row["CompletedAt"]
    assert database.life(run_id) == ["enqueued", "running", "succeeded"]


async def test_a_plain_job_runs_in_a_thread_of_its_own(scheduler, database):
    run_id = await scheduler.enqueue("plain")
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    [line] = database.rows("SELECT * FROM c_JobLogLine WHERE RunId = ?", run_id)
    assert line["Message"] == f"in a thread thread='targcc-job Plain {run_id}'"


async def test_a_function_is_a_job_too(scheduler, database):
    run_id = await scheduler.enqueue(say_hello, name="dana")
    await scheduler.wait(run_id, 40)
    assert (database.run(run_id)["JobName"], database.run(run_id)["Message"]) == (
        "SayHello",
        "hello dana",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "a: field required"),
        ({"a": "x"}, "a: input should be a valid integer"),
        ({"a": 1, "c": 2}, "c: extra inputs are not permitted"),
    ],
)
async def test_wrong_arguments_are_refused_before_there_is_a_run(
    scheduler, database, arguments, said
):
    with pytest.raises(ArgumentsError, match=said):
        await scheduler.enqueue(AddJob, **arguments)
    assert database.states() == {}


async def test_a_failure_is_retried_with_growing_waits_and_each_attempt_is_a_row(
    scheduler, database
):
    run_id = await scheduler.enqueue(FlakyJob)
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    first, second, third = database.history(run_id)
    assert [row["Success"] for row in (first, second, third)] == [0, 0, 1]
    assert [row["Attempt"] for row in (first, second, third)] == [1, 2, 3]
    assert first["StackTrace"].startswith("Traceback")
    assert "in execute" in first["StackTrace"]
    assert "running.py" not in first["StackTrace"]
    assert first["ErrorMessage"] == "ConnectionError: attempt 1"
    states = ["enqueued", *["running", "retrying", "enqueued"] * 2, "running", "succeeded"]
    assert database.life(run_id) == states


async def test_a_returned_failure_is_a_failure_everywhere(scheduler, database):
    run_id = await scheduler.enqueue(BrokenJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    rows = database.history(run_id)
    assert [(row["Success"], row["ErrorMessage"]) for row in rows] == [
        (0, "the books do not balance")
    ] * 2
    assert database.run(run_id)["Message"] == "the books do not balance"


async def test_a_failure_that_says_so_is_not_retried_and_keeps_its_traceback(scheduler, database):
    run_id = await scheduler.enqueue(HopelessJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    [row] = database.history(run_id)
    assert row["ErrorMessage"] == "no such account"
    assert "KeyError: 'gone'" in row["StackTrace"]


async def test_an_async_job_that_takes_too_long_is_stopped_and_failed(scheduler, database):
    run_id = await scheduler.enqueue(SlowJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    assert database.run(run_id)["Message"].startswith("timed out after ")


async def test_a_job_that_is_told_of_its_timeout_may_stop_by_itself_and_still_has_failed(
    scheduler, database
):
    run_id = await scheduler.enqueue(ObedientJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    assert gate.seen[0].startswith("timed out after ")
    assert "left behind" not in database.run(run_id)["Message"]


async def test_a_waiting_run_is_cancelled_at_once(scheduler, database):
    run_id = await scheduler.schedule(AddJob, delay="1h", a=1)
    assert database.run(run_id)["State"] == "scheduled"
    assert await scheduler.cancel(run_id, by=DANA) == RunState.CANCELLED
    assert database.life(run_id) == ["scheduled", "cancelled"]
    with pytest.raises(RunStateError, match="nothing to cancel"):
        await scheduler.cancel(run_id, by=DANA)


async def test_a_running_run_is_cancelled_and_that_is_no_failure(scheduler, database):
    run_id = await scheduler.enqueue(WaitingJob)
    await until(lambda: gate.seen)
    assert await scheduler.cancel(run_id, by=DANA) == RunState.RUNNING
    assert await scheduler.wait(run_id, 40) == RunState.CANCELLED
    assert database.run(run_id)["Message"] == "cancelled by Manual (dana)"
    assert database.life(run_id) == ["enqueued", "running", "cancelled"]


async def test_another_process_cancels_within_a_heartbeat(scheduler, make_scheduler, database):
    run_id = await scheduler.enqueue(WaitingJob)
    await until(lambda: gate.seen)
    other = make_scheduler()
    await other.cancel(run_id, by=DANA)
    assert await other.wait(run_id, 5) == RunState.CANCELLED


async def test_a_run_that_fails_before_its_node_sees_the_cancel_request_is_not_retried(
    scheduler, make_scheduler, database, monkeypatch
):
    monkeypatch.setattr(scheduler.node.executor, "cancel", lambda *_: None)
    run_id = await scheduler.enqueue(FailsWhenToldJob)
    child = await scheduler.enqueue(AddJob, a=1, after=run_id)
    await until(lambda: gate.seen)
    assert await make_scheduler().cancel(run_id, by=DANA) == RunState.RUNNING
    gate.open.set()
    assert await scheduler.wait(run_id, 40) == RunState.CANCELLED
    assert database.life(run_id) == ["enqueued", "running", "cancelled"]
    assert database.run(run_id)["Message"] == "cancelled by Manual (dana); ValueError: told"
    assert await scheduler.wait(child, 40) == RunState.CANCELLED


async def test_no_more_runs_of_a_job_than_its_limit_are_running(scheduler, database):
    ids = [await scheduler.enqueue(TwoAtATimeJob) for _ in range(5)]
    await until(lambda: len(gate.seen) == 2)
    quick = await scheduler.enqueue(AddJob, a=1)  # the queue continues with other jobs
    await scheduler.wait(quick, 40)
    assert database.states() == {"running": 2, "enqueued": 3, "succeeded": 1}
    gate.open.set()
    for run_id in ids:
        assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED


async def test_overlap_queue_runs_one_at_a_time_in_order(scheduler):
    ids = [await scheduler.enqueue(OneAtATimeJob, mark=mark) for mark in "abc"]
    for run_id in ids:
        await scheduler.wait(run_id, 40)
    assert gate.seen == [f"{way} {mark}" for mark in "abc" for way in ("in", "out")]


async def test_a_higher_priority_goes_first(make_scheduler):
    scheduler = make_scheduler()
    for mark, priority in (("low", -1), ("normal", 0), ("high", 9)):
        await scheduler.enqueue(OneAtATimeJob, mark=mark, priority=priority)
    last = await scheduler.enqueue(OneAtATimeJob, mark="last", priority=-9)
    await scheduler.start(schedule=False)
    await scheduler.wait(last, 40)
    assert gate.seen[::2] == ["in high", "in normal", "in low", "in last"]


async def test_a_paused_queue_stands_still_until_it_is_resumed(scheduler, database):
    await scheduler.pause_queue("critical", by=DANA, reason="the printer is out of paper")
    held = await scheduler.enqueue(CriticalJob)
    other = await scheduler.enqueue(AddJob, a=1)
    await scheduler.wait(other, 40)
    assert database.run(held)["State"] == "enqueued"
    await scheduler.resume_queue("critical", by=DANA)
    assert await scheduler.wait(held, 40) == RunState.SUCCEEDED


async def test_a_worker_takes_only_its_queues(make_scheduler, database):
    scheduler = make_scheduler()
    await scheduler.start(schedule=False, queues=["critical"])
    other = await scheduler.enqueue(AddJob, a=1)
    run_id = await scheduler.enqueue(CriticalJob)
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    assert database.run(other)["State"] == "enqueued"


async def test_a_delayed_run_waits_for_its_time(scheduler, database):
    run_id = await scheduler.schedule(AddJob, delay=timedelta(milliseconds=300), a=1)
    assert database.run(run_id)["JobType"] == "Delayed"
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    row = database.run(run_id)
    assert row["StartedAt"] >= row["DueAt"]
    assert database.life(run_id) == ["scheduled", "enqueued", "running", "succeeded"]


async def test_progress_and_log_are_kept_with_the_run_while_it_runs(scheduler, database):
    run_id = await scheduler.enqueue(TalkativeJob)
    await until(lambda: database.run(run_id)["ProgressDone"] == 10.0)
    [line] = database.rows("SELECT * FROM c_JobLogLine WHERE RunId = ?", run_id)
    assert (line["Level"], line["Message"]) == ("warning", "half way='there now' count=3")
    gate.open.set()
    await scheduler.wait(run_id, 40)
    assert database.run(run_id)["ProgressTotal"] == 10.0


async def test_finished_steps_are_not_done_again_and_come_back_as_what_they_were(
    scheduler, database
):
    run_id = await scheduler.enqueue(StepsJob)
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    assert database.run(run_id)["Message"] == "12.5 of a"
    assert gate.seen == ["load", "total"]
    steps = database.rows("SELECT * FROM c_JobStep WHERE RunId = ? ORDER BY Name", run_id)
    assert [(step["Name"], step["Attempt"]) for step in steps] == [("load", 1), ("total", 1)]


@pytest.mark.parametrize(
    ("kind", "said"), [("twice", "was already done"), ("object", "give .* a return type")]
)
async def test_a_step_that_could_not_be_restored_is_refused_at_once(
    scheduler, database, kind, said
):
    run_id = await scheduler.enqueue(BadStepsJob, kind=kind)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    assert re.search(said, database.run(run_id)["Message"])


async def test_a_secret_argument_reaches_the_job_and_is_masked_for_people(scheduler, database):
    run_id = await scheduler.enqueue(SecretJob, password="hunter2")
    await scheduler.wait(run_id, 40)
    assert gate.seen == ["hunter2"]
    stored = json.loads(database.run(run_id)["ArgumentsJson"])
    assert shown_arguments(scheduler.find("Secret"), stored) == {"password": "••••••"}
    assert "hunter2" not in database.run(run_id)["Message"]


async def test_what_a_job_says_of_urls_is_kept_without_their_passwords(scheduler, database):
    run_id = await scheduler.enqueue(IndiscreetJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    [row] = database.history(run_id)
    [line] = database.rows("SELECT * FROM c_JobLogLine WHERE RunId = ?", run_id)
    kept = (row["StackTrace"], row["ErrorMessage"], database.run(run_id)["Message"])
    assert all("postgresql://jobs:••••••@db/jobs" in text for text in kept)
    assert line["Message"] == "calling https://x:••••••@example.com/?token=••••••"


@pytest.mark.parametrize("fail", [True, False])
async def test_a_text_of_megabytes_is_cut_so_that_pages_stay_small(scheduler, database, fail):
    run_id = await scheduler.enqueue(EndlessTextJob, fail=fail)
    await scheduler.wait(run_id, 40)
    [row] = database.history(run_id)
    texts = [text for text in tuple(row) if isinstance(text, str)]
    assert sum(map(len, texts)) < 70_000
    assert not fail or row["StackTrace"].startswith("Traceback (most recent call last)")


async def test_an_exception_that_cannot_be_shown_is_still_the_jobs_failure(scheduler, database):
    run_id = await scheduler.enqueue(SpeechlessJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    [row] = database.history(run_id)
    assert row["ErrorMessage"].endswith("_SpeechlessError: <its text cannot be shown: ValueError>")
    assert "raise _SpeechlessError" in row["StackTrace"]


async def test_a_job_that_cannot_be_made_has_failed_and_says_what_it_lacks(scheduler, database):
    run_id = await scheduler.enqueue(NeedyJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    message = "NeedyJob asks for account: Account, which nobody offers: add it to services.py"
    assert message in database.run(run_id)["Message"]


async def test_a_job_that_calls_exit_ends_itself_and_not_the_scheduler(scheduler):
    run_id = await scheduler.enqueue(QuitterJob)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    again = await scheduler.enqueue(AddJob, a=1)
    assert await scheduler.wait(again, 40) == RunState.SUCCEEDED


async def test_processor_time_is_that_of_the_job(scheduler, database):
    busy = await scheduler.enqueue(BusyJob)
    idle = await scheduler.enqueue(WaitingJob)
    await scheduler.wait(busy, 40)
    gate.open.set()
    await scheduler.wait(idle, 40)
    used = database.history(busy)[0]["CpuTimeMs"]
    assert used >= 40
    assert database.history(idle)[0]["CpuTimeMs"] < used


async def test_without_the_meter_async_jobs_run_unmeasured_and_plain_ones_are_measured_on(
    make_scheduler, settings, database
):
    scheduler = make_scheduler(settings=settings.model_copy(update={"cpu_meter": False}))
    await scheduler.start(schedule=False)
    busy, plain = await scheduler.enqueue(BusyJob), await scheduler.enqueue(PlainJob)
    for run_id in (busy, plain):
        assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    assert database.history(busy)[0]["CpuTimeMs"] is None
    assert database.history(plain)[0]["CpuTimeMs"] is not None


async def test_whoever_triggers_a_run_is_named_in_it_and_in_the_audit(scheduler, database):
    run_id = await scheduler.trigger("add", {"a": 1}, by=DANA)
    await scheduler.wait(run_id, 40)
    assert database.history(run_id)[0]["TriggeredBy"] == "Manual (dana)"
    assert database.history(run_id)[0]["JobType"] == "Manual"
    [audit] = database.rows("SELECT * FROM c_JobAudit")
    assert (audit["Action"], audit["JobName"], audit["RunId"]) == ("trigger", "Add", run_id)
    assert audit["RemoteAddress"] == "10.0.0.7"


async def test_every_action_leaves_an_audit_row(scheduler, database):
    run_id = await scheduler.trigger("Add", {"a": 1}, by=DANA)
    await scheduler.wait(run_id, 40)
    again = await scheduler.retry(run_id, by=DANA)
    await scheduler.wait(again, 40)
    await scheduler.delete(run_id, by=DANA)
    later = await scheduler.schedule(AddJob, delay="1h", a=1)
    await scheduler.cancel(later, by=DANA)
    await scheduler.pause("Add", by=DANA, reason="holidays")
    await scheduler.resume("Add", by=DANA)
    await scheduler.pause_queue("default", by=DANA)
    await scheduler.resume_queue("default", by=DANA)
    await scheduler.prune(by=DANA)
    done = [row["Action"] for row in database.rows("SELECT Action FROM c_JobAudit ORDER BY Id")]
    assert done == [
        *("trigger", "retry", "delete", "cancel", "pause", "resume"),
        *("pause queue", "resume queue", "prune"),
    ]


async def test_doing_a_run_again_is_a_new_run_with_the_same_arguments(scheduler, database):
    first = await scheduler.enqueue(AddJob, a=5)
    await scheduler.wait(first, 40)
    again = await scheduler.retry(first, by=DANA)
    assert await scheduler.wait(again, 40) == RunState.SUCCEEDED
    assert again != first
    assert database.run(again)["Message"] == "7"
    assert database.run(again)["TriggeredBy"] == "Manual (dana)"


async def test_a_deleted_run_leaves_its_history(scheduler, database):
    run_id = await scheduler.enqueue(PlainJob)
    await scheduler.wait(run_id, 40)
    await scheduler.delete(run_id, by=DANA)
    assert database.rows("SELECT * FROM c_JobLogLine") == []
    assert len(database.history(run_id)) == 1
    with pytest.raises(UnknownRun):
        await scheduler.wait(run_id, 1)


async def test_a_run_exists_when_the_caller_commits_and_not_when_it_rolls_back(scheduler, database):
    engine = make_engine(database.url)
    with contextlib.suppress(ZeroDivisionError):
        async with AsyncSession(engine) as session, session.begin():
            await scheduler.enqueue(AddJob, connection=session, a=1)
            raise ZeroDivisionError
    assert database.states() == {}
    async with engine.begin() as connection:
        run_id = await scheduler.enqueue(AddJob, connection=connection, a=1)
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    await engine.dispose()


async def test_jobs_are_found_by_any_reasonable_name(scheduler):
    names = ["Add", "AddJob", "add", "addjob", AddJob]
    assert {scheduler.find(name).name for name in names} == {"Add"}
    assert scheduler.find("One At A Time").name == "OneAtATime"
    with pytest.raises(UnknownJob, match="did you mean 'Talkative'"):
        scheduler.find("Talktive")


async def test_stopping_waits_for_a_job_that_ends_in_time(make_scheduler, database):
    scheduler = make_scheduler()
    await scheduler.start(schedule=False)
    run_id = await scheduler.enqueue(WaitingJob)
    await until(lambda: gate.seen)
    threading.Timer(0.1, gate.open.set).start()
    await scheduler.stop()
    assert database.run(run_id)["State"] == "succeeded"
    assert database.rows("SELECT * FROM c_JobServer") == []


async def test_a_job_that_saw_the_shutdown_and_returned_is_handed_back(make_scheduler, database):
    scheduler = make_scheduler()
    await scheduler.start(schedule=False)
    run_id = await scheduler.enqueue(ObedientJob)
    await until(lambda: database.run(run_id)["State"] == "running")
    await scheduler.stop()
    assert database.life(run_id) == ["enqueued", "running", "enqueued"]
    assert database.run(run_id)["Attempt"] == 0


async def test_secrets_stay_out_of_the_log(scheduler, database, caplog):
    caplog.set_level(logging.DEBUG)
    run_id = await scheduler.enqueue(SecretJob, password="hunter2")
    await scheduler.wait(run_id, 40)
    ours = [record for record in caplog.records if record.name.startswith("targcc")]
    assert not any("hunter2" in record.getMessage() for record in ours)


@pytest.mark.slow
async def test_ten_thousand_waiting_runs_do_not_storm(make_scheduler, database):
    ten = f"({' UNION ALL '.join(['SELECT 1 AS i'] * 10)})"
    database.change(
        "INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, TriggeredBy)"
        " SELECT 'Waiting', 'FireAndForget', 'enqueued', 'default', '2026-01-01 00:00:00.000000',"
        f" '2026-01-01 00:00:00.000000', 'System' FROM {ten} AS a, {ten} AS b, {ten} AS c, {ten} AS d"
    )
    scheduler = make_scheduler()
    await scheduler.start(schedule=False)
    await until(lambda: len(gate.seen) == 5, 5)
    assert database.states() == {"running": 5, "enqueued": 9995}
