"""Next state of a run after an attempt, by tables, without a database."""

from datetime import UTC, datetime, timedelta

import pytest
from targcc_scheduler import JobContext, RunState
from targcc_scheduler.kernel.jobs.context import StopReason
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.runs.values import Claim
from targcc_scheduler.kernel.worker.outcome import AttemptResult, Outcome, backoff, next_state

ENDED = datetime(2026, 6, 10, 12, tzinfo=UTC)
DUE = ENDED - timedelta(minutes=5)
WELL = Outcome(ok=True, message="done")
WELL_SAID = Outcome(ok=True, message="done", explicit=True)
BADLY = Outcome(ok=False, message="no")
FINALLY = Outcome(ok=False, message="no", retry=False)
SUCCEEDED, FAILED, RETRYING = RunState.SUCCEEDED, RunState.FAILED, RunState.RETRYING
CANCELLED, ENQUEUED = RunState.CANCELLED, RunState.ENQUEUED


async def work(ctx: JobContext) -> None:
    """Job function for the definitions."""


def _job(**options):
    return define(work, **{"name": "Work", "retries": 3, "backoff": "10s", **options})


def _claim(attempt=1, lost_workers=0, due_at=DUE):
    return Claim(
        run_id=7,
        job_name="Work",
        job_type="Recurring",
        queue="default",
        priority=0,
        attempt=attempt,
        lost_workers=lost_workers,
        arguments_json=None,
        scheduled_for=None,
        created_at=DUE,
        due_at=due_at,
        triggered_by="System",
        server_id="node:1:a",
        started_at=DUE,
    )


def _next(outcome, claim=None, job=None, *, known=True, **how):
    ended = AttemptResult(ended_at=ENDED, outcome=outcome, **how)
    definition = (job or _job()) if known else None
    return next_state(ended, claim or _claim(), definition, server="node", jitter=lambda: 1.0)


@pytest.mark.parametrize(
    ("first", "failures", "wait"),
    [
        ("10s", 1, "0:00:10"),
        ("10s", 2, "0:00:20"),
        ("10s", 3, "0:00:40"),
        ("10s", 9, "0:42:40"),
        ("10s", 10, "1:00:00"),  # 1:25:20 without the maximum
        ("10s", 1000, "1:00:00"),
        ("45m", 1, "0:45:00"),
        ("45m", 2, "1:00:00"),
        ("1h", 2, "1:00:00"),
        ("2h", 1, "2:00:00"),  # a job may set a longer back-off than the maximum
        ("2h", 2, "2:00:00"),
        ("1ms", 40, "1:00:00"),
    ],
)
def test_the_wait_doubles_up_to_an_hour(first, failures, wait):
    assert str(backoff(_job(backoff=first), failures, 1.0)) == wait


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2])
def test_runs_that_failed_together_are_spread_also_at_the_cap(factor):
    assert backoff(_job(), 20, factor) == timedelta(hours=1) * factor


@pytest.mark.parametrize(
    ("retries", "attempt", "lost", "state", "wait"),
    [
        (0, 1, 0, FAILED, None),
        (1, 1, 0, RETRYING, 10),
        (1, 2, 0, FAILED, None),
        (3, 3, 0, RETRYING, 40),
        (3, 4, 0, FAILED, None),
        # A lost worker counts as an attempt but uses up no retry and does not lengthen the delay.
        (0, 2, 1, FAILED, None),
        (1, 2, 1, RETRYING, 10),
        (1, 3, 2, RETRYING, 10),
        (1, 3, 1, FAILED, None),
        (3, 5, 2, RETRYING, 40),
        (3, 6, 2, FAILED, None),
        # More lost workers than attempts: attempts that were handed back do not count.
        (1, 1, 1, RETRYING, 10),
        (1, 1, 2, RETRYING, 10),
    ],
)
def test_a_failure_is_retried_as_often_as_its_job_says_lost_workers_apart(
    retries, attempt, lost, state, wait
):
    settled = _next(BADLY, _claim(attempt, lost), _job(retries=retries))
    assert settled.state == state
    assert settled.due_at == (ENDED + timedelta(seconds=wait) if wait else None)


@pytest.mark.parametrize(
    ("attempt", "lost", "note"),
    [
        (4, 0, "no; no attempt left after 4"),
        (6, 2, "no; no attempt left after 4"),
    ],
)
def test_the_note_counts_the_attempts_that_failed(attempt, lost, note):
    assert _next(BADLY, _claim(attempt, lost)).note == note


@pytest.mark.parametrize(
    ("outcome", "how"),
    [
        (FINALLY, {}),
        (FINALLY, {"known": False}),
        (BADLY, {"known": False}),  # whether the job has run is unknown
        (BADLY, {"job": _job(retries=0)}),
    ],
)
def test_what_cannot_be_retried_has_failed_without_a_word_of_attempts(outcome, how):
    settled = _next(outcome, **how)
    assert (settled.state, settled.note, settled.due_at) == (FAILED, "no", None)


SHUTDOWN, TIMEOUT = StopReason.SHUTDOWN, StopReason.TIMEOUT
CANCEL = StopReason.CANCELLED


@pytest.mark.parametrize(
    ("stopped", "outcome", "how", "state"),
    [
        (None, WELL, {}, SUCCEEDED),
        (None, BADLY, {}, RETRYING),
        (None, BADLY, {"noticed": True}, RETRYING),
        # Success after the time limit is too late, however it is reported.
        (TIMEOUT, WELL, {}, RETRYING),
        (TIMEOUT, WELL_SAID, {}, RETRYING),
        (TIMEOUT, BADLY, {}, RETRYING),
        (TIMEOUT, None, {"abandoned": True}, RETRYING),
        # A job that finished its work without noticing the cancellation has succeeded.
        (CANCEL, WELL, {}, SUCCEEDED),
        (CANCEL, WELL, {"noticed": True}, CANCELLED),
        (CANCEL, WELL_SAID, {"noticed": True}, CANCELLED),
        (CANCEL, BADLY, {}, CANCELLED),
        (CANCEL, None, {"abandoned": True}, CANCELLED),
        # At a shutdown a finished run has succeeded, an interrupted run is handed back, and a run that failed by itself has failed.
        (SHUTDOWN, WELL, {}, SUCCEEDED),
        (SHUTDOWN, WELL, {"noticed": True}, ENQUEUED),
        (SHUTDOWN, WELL, {"noticed": True, "untouched": True}, SUCCEEDED),
        (SHUTDOWN, WELL_SAID, {"noticed": True}, SUCCEEDED),
        (SHUTDOWN, BADLY, {}, RETRYING),
        (SHUTDOWN, BADLY, {"noticed": True}, ENQUEUED),
        (SHUTDOWN, FINALLY, {"noticed": True}, ENQUEUED),
        (SHUTDOWN, FINALLY, {}, FAILED),
        (SHUTDOWN, None, {"abandoned": True}, ENQUEUED),
        (SHUTDOWN, None, {"noticed": True}, ENQUEUED),
    ],
)
def test_what_a_job_makes_of_being_told_to_stop(stopped, outcome, how, state):
    assert _next(outcome, stopped=stopped, stop_message="told", **how).state == state


@pytest.mark.parametrize(
    ("due_at", "again"),
    [(DUE, DUE), (ENDED + timedelta(minutes=1), ENDED)],
)
def test_what_is_handed_back_is_due_as_it_was_and_costs_no_attempt(due_at, again):
    settled = _next(
        None,
        _claim(due_at=due_at),
        _job(retries=0),
        stopped=SHUTDOWN,
        stop_message="the process is shutting down",
        noticed=True,
    )
    assert (settled.state, settled.due_at, settled.counts) == (ENQUEUED, again, False)
    assert settled.attempt is None
    assert settled.note == "released: the process is shutting down"


@pytest.mark.parametrize("retries", [0, 3])
def test_a_timeout_is_retried_as_any_failure(retries):
    settled = _next(WELL, None, _job(retries=retries), stopped=TIMEOUT, stop_message="timed out")
    assert settled.state == (RETRYING if retries else FAILED)
    assert settled.message == "timed out"


def test_a_job_that_was_abandoned_is_said_to_be():
    settled = _next(None, stopped=TIMEOUT, stop_message="timed out", abandoned=True)
    assert settled.message == (
        "timed out; it did not stop and was abandoned when its process ended"
    )


@pytest.mark.parametrize(
    ("outcome", "message"),
    [(WELL, "cancelled by dana: done"), (BADLY, "cancelled by dana")],
)
def test_a_cancelled_run_says_by_whom_and_what_it_did_all_the_same(outcome, message):
    settled = _next(outcome, stopped=CANCEL, stop_message="cancelled by dana", noticed=True)
    assert (settled.message, settled.note) == (message, "cancelled by dana")


@pytest.mark.parametrize(
    ("outcome", "stopped", "kept"),
    [
        (Outcome(ok=False, message="no", stack_trace="T", own_stack_trace="T"), None, "T"),
        (Outcome(ok=False, message="no", stack_trace="T", own_stack_trace="T"), TIMEOUT, "T"),
        (Outcome(ok=False, message="no", stack_trace="T"), None, "T"),
        (Outcome(ok=False, message="no", stack_trace="T"), TIMEOUT, None),
    ],
)
def test_the_traceback_of_being_told_to_stop_is_nobodys_fault(outcome, stopped, kept):
    assert _next(outcome, stopped=stopped, stop_message="told").attempt.stack_trace == kept


def test_the_history_gets_what_was_measured():
    outcome = Outcome(ok=True, message="done", metadata_json='{"rows": 1}')
    record = _next(outcome, duration_ms=12, memory_mb=3, cpu_ms=4).attempt
    assert (record.ended_at, record.success, record.server) == (ENDED, True, "node")
    assert (record.duration_ms, record.memory_mb, record.cpu_ms) == (12, 3, 4)
    assert (record.message, record.metadata_json) == ("done", '{"rows": 1}')
