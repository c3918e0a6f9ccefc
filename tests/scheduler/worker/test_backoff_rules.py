"""Back-off rules: ``backoff`` of ``@job`` as a function or an object that computes each delay."""

# ruff: noqa: ARG001, ARG002, ARG005 - a rule takes the run, a job takes its context

import asyncio
import json
import math
import os
import re
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from projects import RIG
from targcc_scheduler import (
    FailedRun,
    JobContext,
    JobError,
    JobResult,
    RunState,
    job,
    job_log_line,
    job_run,
    logged_job,
    next_attempt,
    run_job,
)
from targcc_scheduler.kernel.worker import outcome
from targcc_scheduler.kernel.worker.outcome import (
    AttemptResult,
    Outcome,
    next_state,
    read_wait,
    written_wait,
)
from targcc_scheduler.schedules.errors import CronError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FUTURE = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)


class TooManyRequestsError(Exception):
    """Error of a service that states when to retry."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


@dataclass
class ByService:
    """Wait as long as the service states, otherwise the usual time."""

    usual: float | None = None

    def next_attempt(self, run: FailedRun, error: Exception) -> float | None:
        return error.seconds if isinstance(error, TooManyRequestsError) else self.usual


def told(run: FailedRun, error: Exception) -> timedelta:
    """Return a delay that encodes the values passed to the rule."""
    assert run.scheduled_for.tzinfo is not None
    assert run.job_name in {"Told", "ToldProcess"}
    assert run.triggered_by
    kinds = {ValueError: 1, TimeoutError: 2, RuntimeError: 3, KeyError: 4}
    assert run.failures == run.attempt == 1
    return timedelta(hours=run.arguments["hours"], minutes=kinds[type(error)])


def broken(run: FailedRun, error: Exception) -> float:
    raise ZeroDivisionError("no service level")


@job(retries=1, timeout="2s", backoff=told)
class ToldJob:
    def execute(self, ctx: JobContext, hours: int, how: str) -> JobResult:
        return _fail(ctx, how)


@job(retries=1, timeout="2s", isolation="process", backoff=told)
class ToldProcessJob:
    def execute(self, ctx: JobContext, hours: int, how: str) -> JobResult:
        return _fail(ctx, how)


def _fail(ctx: JobContext, how: str) -> JobResult:
    match how:
        case "raise":
            raise ValueError("no")
        case "exit":
            sys.exit(3)
        case "die":
            os._exit(3)
        case "return":
            return JobResult.failure("the books do not balance")
        case "return an exception":
            return JobResult.failure("the books do not balance", KeyError("account"))
        case _:
            while not ctx.cancelled:
                threading.Event().wait(0.005)
            return JobResult.success("too late")


@job(retries=1, backoff=broken)
class BrokenRuleJob:
    async def execute(self, ctx: JobContext) -> None:
        raise ValueError("no")


@job(retries=1, isolation="process", backoff=broken)
class BrokenRuleProcessJob:
    def execute(self, ctx: JobContext) -> None:
        raise ValueError("no")


asked: list[str] = []


@job(retries=1, backoff=lambda run, error: asked.append(run.job_name))
class LastJob:
    async def execute(self, ctx: JobContext, *, hopeless: bool) -> JobResult:
        return JobResult.failure("no", retry=not hopeless)


@pytest.fixture
async def scheduler(migrated_url):
    async with schedulers(migrated_url, __name__) as make:
        made = make()
        await made.start(schedule=False)
        yield made


async def retrying(scheduler, run_ids):
    """Wait until all runs wait for their second attempt; return each run's row and delay."""
    after = sa.select(job_run, logged_job.c.CompletedAt.label("EndedAt")).join(
        logged_job, logged_job.c.JobId == sa.cast(job_run.c.Id, sa.String)
    )
    query = after.where(job_run.c.Id.in_(run_ids), job_run.c.State == "retrying")

    async def look(connection):
        return {row.Id: row for row in await connection.execute(query)}

    rows = {}
    async with asyncio.timeout(60):
        while len(rows) < len(run_ids):
            await asyncio.sleep(0.02)
            rows = await scheduler.change(look)
    return [(rows[run_id], rows[run_id].DueAt - rows[run_id].EndedAt) for run_id in run_ids]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("target", "hows"),
    [
        (
            ToldJob,
            {"raise": 1, "exit": 3, "return": 3, "return an exception": 4, "hang": 2},
        ),
        (
            ToldProcessJob,
            {"raise": 1, "exit": 3, "return": 3, "return an exception": 4, "die": 3, "hang": 2},
        ),
    ],
)
async def test_a_rule_decides_whatever_way_an_attempt_fails(scheduler, target, hows):
    ids = [
        await scheduler.enqueue(target, hours=number, how=how) for number, how in enumerate(hows, 2)
    ]
    waits = [wait for _, wait in await retrying(scheduler, ids)]
    assert waits == [
        timedelta(hours=number, minutes=minutes) for number, minutes in enumerate(hows.values(), 2)
    ]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("target", [BrokenRuleJob, BrokenRuleProcessJob])
async def test_a_rule_that_fails_leaves_the_default_and_the_run_says_so(scheduler, target):
    run_id = await scheduler.enqueue(target)
    [(row, wait)] = await retrying(scheduler, [run_id])
    usual = scheduler.definitions[row.JobName].backoff
    assert usual * 0.8 <= wait <= usual * 1.2
    assert row.Message == "ValueError: no"

    async def lines(connection):
        query = sa.select(job_log_line.c.Message).where(job_log_line.c.RunId == run_id)
        return list(await connection.scalars(query))

    [line] = await scheduler.change(lines)
    assert line.startswith("the back-off rule failed, so the default back-off holds\nTraceback")
    assert line.endswith("ZeroDivisionError: no service level\n")


@pytest.mark.usefixtures("processes")
async def test_a_rule_is_asked_only_if_there_is_another_attempt(scheduler):
    asked.clear()
    hopeless = await scheduler.enqueue(LastJob, hopeless=True)
    assert await scheduler.wait(hopeless, 40) == RunState.FAILED
    assert asked == []
    last = await scheduler.enqueue(LastJob, hopeless=False)
    assert await scheduler.wait(last, 40) == RunState.FAILED
    assert asked == ["Last"]


def _rule(answer):
    @job(retries=3, timezone="Europe/Berlin", backoff=lambda run, error: answer)
    def work() -> None: ...

    return work


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (90, timedelta(seconds=90)),
        (0.5, timedelta(milliseconds=500)),
        ("1h30m", timedelta(minutes=90)),
        (timedelta(days=1), timedelta(days=1)),
        (timedelta(days=3653), timedelta(days=3653)),  # ten years, the maximum
        (0, timedelta()),
        (-5, timedelta()),  # such as the time until a limit that has just been lifted
        (timedelta(seconds=-5), timedelta()),
        (FUTURE, FUTURE),
        (
            FUTURE.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None),
            FUTURE,
        ),  # a wall-clock time in the job's zone
    ],
)
def test_what_a_rule_may_return(answer, wait):
    assert next_attempt(_rule(answer), ValueError("no")) == wait


@pytest.mark.parametrize(
    "answer",
    [
        True,
        math.nan,
        math.inf,
        10**400,
        1e12,
        timedelta.max,
        timedelta(days=3653, microseconds=1),
        datetime.max.replace(tzinfo=UTC),
        [5],
        "soon",
        _rule,
    ],
)
def test_what_is_no_wait(answer):
    with pytest.raises((JobError, CronError, OverflowError)):
        next_attempt(_rule(answer), ValueError("no"))


def test_a_rule_that_returns_none_leaves_the_default():
    waits = [next_attempt(_rule(None), ValueError("no"), failures=n) for n in (1, 2, 3, 20)]
    usual = _rule(None).__job__.complete(RIG).backoff
    assert waits == [usual, usual * 2, usual * 4, timedelta(hours=1)]


async def test_a_rule_can_be_tested_beside_its_job():
    @job(retries=3, backoff=ByService(usual=7))
    async def call_service(*, customer: int) -> None:
        raise TooManyRequestsError(40 + customer)

    with pytest.raises(TooManyRequestsError) as raised:
        await run_job(call_service, customer=2)
    assert next_attempt(call_service, raised.value) == timedelta(seconds=42)
    assert next_attempt(call_service, ValueError("no")) == timedelta(seconds=7)


def test_what_a_rule_of_a_test_raises_comes_through():
    @job(backoff=broken)
    def work() -> None: ...

    with pytest.raises(ZeroDivisionError, match="no service level"):
        next_attempt(work, ValueError("no"))


def test_a_rule_that_takes_a_moment_is_waited_for():
    @job(backoff=lambda run, error: threading.Event().wait(0.2) or 7)
    def work() -> None: ...

    assert next_attempt(work, ValueError("no")) == timedelta(seconds=7)


def test_a_rule_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(outcome, "_RULE_SECONDS", 0.01)
    leave = threading.Event()

    @job(backoff=lambda run, error: leave.wait())
    def work() -> None: ...

    with pytest.raises(JobError, match=r"it has not answered within 0\.01 s"):
        next_attempt(work, ValueError("no"))
    leave.set()


async def _later(run, error):
    return 5


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (ByService, "Work: backoff is an instance, ByService(), not its class"),
        (_later, "Work: backoff is decided by a plain function, not by an async one"),
        (lambda run: 5, "Work: backoff is called with (run, error): too many positional"),
        (30, "Work: backoff is a duration, a function of (run, error) or an object"),
        (object(), "Work: backoff is a duration, a function of (run, error) or an object"),
    ],
)
def test_a_wrong_rule_is_refused_where_the_job_is_declared(rule, reason):
    with pytest.raises(JobError, match=re.escape(reason)):

        @job(backoff=rule)
        def work() -> None: ...


@pytest.mark.parametrize(
    ("wait", "due_at"),
    [
        (timedelta(0), NOW),
        # without jitter and without the maximum back-off
        (timedelta(hours=30), NOW + timedelta(hours=30)),
        (NOW + timedelta(days=3), NOW + timedelta(days=3)),
        (NOW - timedelta(days=3), NOW),
        (None, NOW + timedelta(seconds=2)),  # a second plus this test's jitter
    ],
)
def test_when_the_next_attempt_is_due(wait, due_at):
    claim = SimpleNamespace(attempt=4, lost_workers=3)
    ended = AttemptResult(ended_at=NOW, outcome=Outcome(ok=False, message="no"), wait=wait)
    definition = _rule(None).__job__.complete(RIG)
    settled = next_state(ended, claim, definition, server="here", jitter=lambda: 2.0)
    assert (settled.state, settled.due_at) == (RunState.RETRYING, due_at)


@pytest.mark.parametrize("wait", [None, timedelta(seconds=1.5), FUTURE])
def test_a_wait_comes_through_the_pipe_of_a_worker_process(wait):
    assert read_wait(json.loads(json.dumps(written_wait(wait)))) == wait


def test_retries_are_spread_by_a_fifth_around_their_back_off(monkeypatch):
    monkeypatch.setattr(outcome.random, "uniform", lambda least, most: (least, most))
    assert outcome._jitter() == (0.8, 1.2)
