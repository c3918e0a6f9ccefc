"""Read the outcome of an attempt as plain data, and decide the run's next state: success, retry, failure, cancellation, release.

Results and exceptions of a job may have classes whose methods raise, return wrong values or do not return. So each value is read once, in
the job's thread or on the jobs' loop, where the time counts as the job's. The resulting :class:`Outcome` holds only texts of bounded
length and flags, so that every run can be settled.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import CoroutineType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from ...core.errors import JobCancelled, JobError
from ...core.states import RunState
from ...core.stored_values import (
    LONGEST_NOTE,
    exception_line,
    kept_text,
    metadata_json,
    stack_trace,
    text_of,
    type_name,
)
from ...schedules.words import parse_duration
from ..jobs.context import JobContext, JobResult, StopReason
from ..jobs.definition import FailedRun, JobDefinition
from ..runs.values import AttemptRecord, Claim, Settlement

# Outcome: a job's result or exception as plain data, read defensively where the job ran.

Wait: TypeAlias = timedelta | datetime
"""The wait before the next attempt, or the instant of the next attempt in UTC."""

LONGEST_WAIT = timedelta(days=3653)
"""Maximum wait, ten years. A back-off rule that returns more is wrong: for example, the rule counts in milliseconds."""

_RULE_SECONDS = 5.0
"""Seconds that a back-off rule may take."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A job's result or exception, as plain data.

    Args:
        ok: Whether the job succeeded.
        message: The result or the exception, in one line.
        stack_trace: The stack trace of the exception that the job raised or put into its result.
        metadata_json: The metadata of the result, as JSON.
        retry: Whether a retry may help.
        explicit: Whether the job returned a :class:`~..jobs.context.JobResult`.
        own_stack_trace: The stack trace of an exception that the job raised, other than ``JobCancelled``.
    """

    ok: bool
    message: str
    stack_trace: str | None = None
    metadata_json: str | None = None
    retry: bool = True
    explicit: bool = False
    own_stack_trace: str | None = None


def returned_outcome(returned: object) -> Outcome:
    """Return the outcome of a job that returned a value. Does not raise, even if the value's own methods do."""
    try:
        return _of_result(JobResult.of(returned), explicit=issubclass(type(returned), JobResult))
    except BaseException as error:  # noqa: BLE001 - what is no result is a failure
        _close(returned)
        return Outcome(ok=False, message=text_of(error), retry=False)


def shown_result(outcome: Outcome) -> JobResult:
    """Return an outcome as the ``JobResult`` that hooks see. It holds plain data only."""
    metadata = json.loads(outcome.metadata_json or "{}")
    return JobResult(outcome.ok, outcome.message, metadata, retry=outcome.retry)


def raised_outcome(error: BaseException) -> Outcome:
    """Return the outcome of a job that raised an exception. Does not raise, even if the exception's own methods do."""
    trace = stack_trace(error)
    stopped = issubclass(type(error), JobCancelled)
    return Outcome(
        ok=False,
        message=exception_line(error),
        stack_trace=trace,
        own_stack_trace=None if stopped else trace,
    )


def refused_outcome(message: str) -> Outcome:
    """Return the outcome of a job that was not begun and is not retried, as a retry cannot help."""
    return Outcome(ok=False, message=kept_text(message), retry=False)


def result_error(returned: object) -> BaseException | None:
    """Return the exception that a job put into its result; ``None`` if there is none or reading fails."""
    if not issubclass(type(returned), JobResult):
        return None
    try:
        error: Any = returned.exception  # type: ignore[attr-defined]  # checked above
    except BaseException:  # noqa: BLE001 - a result's own code may raise anything
        return None
    return error if issubclass(type(error), BaseException) else None


def rule_wait(
    definition: JobDefinition, ctx: JobContext, failures: int, error: BaseException
) -> Wait | None:
    """Call the job's back-off rule to get the wait before the next attempt.

    Args:
        definition: The job.
        ctx: The attempt.
        failures: Number of failed attempts, including this attempt.
        error: The exception of this attempt.

    Returns:
        The wait; ``None`` if the rule returns ``None`` or fails: then the default back-off holds. A failure is written to the run's log.
    """
    try:
        return decided_wait(definition, ctx.failed(failures), error)
    except BaseException:  # the run is retried even if the rule fails
        ctx.log.exception("the back-off rule failed, so the default back-off holds")
        return None


def decided_wait(definition: JobDefinition, run: FailedRun, error: BaseException) -> Wait | None:
    """Call the job's back-off rule in a new thread, and convert the answer to a wait.

    Returns:
        The wait; ``None`` if the job has no rule or the rule returns ``None``: then the default back-off holds.

    Raises:
        JobError: The answer is not a wait, or there is no answer within five seconds.
        BaseException: The rule raised it.
    """
    rule, zone = definition.backoff_rule, ZoneInfo(definition.timezone)
    if rule is None:
        return None
    if not issubclass(type(error), Exception):  # such as SystemExit
        error = RuntimeError(exception_line(error))
    answers: list[Wait | None] = []
    faults: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(_wait(rule(run, error), zone))  # type: ignore[arg-type]  # an Exception by now
        except BaseException as fault:  # noqa: BLE001 - raised in the thread that asks
            faults.append(fault)

    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(ask,), name=f"targcc-backoff {run.job_name}", daemon=True
    )
    thread.start()
    thread.join(_RULE_SECONDS)
    if faults:
        raise faults[0]
    if not answers:
        raise JobError(f"it has not answered within {_RULE_SECONDS:g} s")
    return answers[0]


def written_wait(wait: Wait | None) -> float | str | None:
    """Convert a wait for JSON: seconds, an ISO 8601 instant or ``None``. The inverse is :func:`read_wait`."""
    if isinstance(wait, timedelta):
        return wait.total_seconds()
    return wait.isoformat() if wait is not None else None


def read_wait(written: float | str | None) -> Wait | None:
    """Convert the result of :func:`written_wait` back to a wait."""
    if isinstance(written, str):
        return datetime.fromisoformat(written)
    return timedelta(seconds=written) if written is not None else None


def _wait(answer: object, zone: ZoneInfo) -> Wait | None:
    """Convert the answer of a back-off rule to a wait. A naive instant is in ``zone``.

    A negative wait becomes 0. An instant in the past means now.

    Raises:
        JobError: The answer is not a wait, or is more than ten years away.
    """
    kind = type(answer)
    wait: timedelta | None = None
    if answer is None:
        return None
    if isinstance(answer, datetime):
        aware = answer if answer.tzinfo is not None else answer.replace(tzinfo=zone)
        utc = aware.astimezone(UTC)
        at = datetime.combine(utc.date(), utc.time(), UTC)  # a plain datetime, not a subclass
        if at - datetime.now(UTC) <= LONGEST_WAIT:
            return at
    elif isinstance(answer, timedelta):
        wait = timedelta(seconds=answer.total_seconds())
    elif isinstance(answer, str):
        wait = parse_duration(answer)
    elif isinstance(answer, int | float) and kind is not bool and math.isfinite(answer):
        wait = timedelta(seconds=float(answer))
    if wait is None or wait > LONGEST_WAIT:
        _close(answer)
        raise JobError(
            f"it returned {text_of(answer, 200)} of type {type_name(answer)}; a wait is seconds, a timedelta, a datetime or a text such as 90s, of ten years at most"
        )
    return max(wait, timedelta())


def _of_result(result: JobResult, *, explicit: bool) -> Outcome:
    ok, message = result.ok, text_of(result.message)
    if type(ok) is not bool:
        message = f"JobResult.ok is of type {type_name(ok)}, so nothing is known of it: {message}"
        return Outcome(ok=False, message=message, retry=False, explicit=explicit)
    error: Any = result.exception
    has_metadata = type(result.metadata) is not dict or result.metadata
    return Outcome(
        ok=ok,
        message=message,
        stack_trace=None if error is None else stack_trace(error),
        metadata_json=metadata_json(result.metadata) if has_metadata else None,
        retry=result.retry is not False,
        explicit=explicit,
    )


def _close(returned: object) -> None:
    """Close a returned coroutine, so that Python does not warn that it was not awaited; do nothing with any other value."""
    if issubclass(type(returned), CoroutineType):
        with contextlib.suppress(BaseException):
            returned.close()  # type: ignore[attr-defined]


# Next state: the rules for a run whose attempt has ended (results, retries, timeouts, interruptions).

LONGEST_BACKOFF = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """The end of an attempt.

    Args:
        ended_at: The end.
        outcome: The outcome of the job's code; ``None`` if the code was not begun or has not ended.
        stopped: The reason why the job was told to stop; ``None`` if it was not.
        stop_message: The same reason in words.
        noticed: Whether the job noticed the stop: it read ``ctx.cancelled``, was stopped by force or was not begun.
        abandoned: Whether the job did not stop and was abandoned.
        untouched: Whether the job's code ended before it noticed the stop.
        duration_ms: Duration in milliseconds.
        cpu_ms: Processor time of the job in milliseconds; ``None`` if not measured.
        memory_mb: Growth of the process's resident memory during the attempt, in MiB; 0 if the memory shrank.
        wait: The answer of the job's back-off rule; ``None``: the default back-off holds.
    """

    ended_at: datetime
    outcome: Outcome | None = None
    stopped: StopReason | None = None
    stop_message: str = ""
    noticed: bool = False
    abandoned: bool = False
    untouched: bool = False
    duration_ms: int = 0
    cpu_ms: int | None = 0
    memory_mb: int = 0
    wait: Wait | None = None


# The outcome of an abandoned job: the job still ran when its process ended.
_NO_OUTCOME = Outcome(ok=False, message="it did not end")


@dataclass(frozen=True)
class _Attempt:
    """An ended attempt, with its claim and the name of its node."""

    ended: AttemptResult
    claim: Claim
    server: str

    def record(self, outcome: Outcome) -> AttemptRecord:
        """Return the attempt's record for the history."""
        return AttemptRecord(
            ended_at=self.ended.ended_at,
            success=outcome.ok,
            server=self.server,
            message=outcome.message,
            stack_trace=outcome.stack_trace,
            duration_ms=self.ended.duration_ms,
            memory_mb=self.ended.memory_mb,
            cpu_ms=self.ended.cpu_ms,
            metadata_json=outcome.metadata_json,
        )


def _jitter() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, keeps no secret


def next_state(
    ended: AttemptResult,
    claim: Claim,
    definition: JobDefinition | None,
    *,
    server: str,
    jitter: Callable[[], float] = _jitter,
) -> Settlement:
    """Return the settlement of a run whose attempt has ended: next state, message, due time, history record.

    Args:
        ended: The end of the attempt.
        claim: The attempt.
        definition: The job; ``None`` if this node does not know the job.
        server: The name of this node, for the history.
        jitter: Returns a factor for the wait, so that runs that failed together are not retried together.
    """
    outcome = ended.outcome or _NO_OUTCOME
    attempt = _Attempt(ended, claim, server)
    if ended.stopped is StopReason.TIMEOUT:
        return _failure(_stopped(ended, outcome), attempt, definition, jitter)
    if ended.stopped is StopReason.CANCELLED and (ended.noticed or not outcome.ok):
        return _cancelled(outcome, attempt)
    if ended.stopped is StopReason.SHUTDOWN and _was_interrupted(outcome, ended):
        return _released(ended, claim)
    if not outcome.ok:
        return _failure(outcome, attempt, definition, jitter)
    return Settlement(
        claim=claim,
        state=RunState.SUCCEEDED,
        message=outcome.message,
        attempt=attempt.record(outcome),
    )


def backoff(definition: JobDefinition, failures: int, factor: float) -> timedelta:
    """Return the default wait before the next attempt: the job's back-off, doubled for each earlier failure, at most one hour.

    A job whose own back-off is longer than one hour waits for that back-off.

    Args:
        definition: The job.
        failures: Number of failed attempts, including this attempt.
        factor: The wait is multiplied by this factor; 1 gives the exact wait.
    """
    doubled: timedelta = definition.backoff * 2.0 ** min(failures - 1, 30)
    return min(doubled, max(LONGEST_BACKOFF, definition.backoff)) * factor


def failures_of(claim: Claim) -> int:
    """Return the number of failed attempts of a run if this attempt fails too. Attempts on lost nodes do not count."""
    return max(claim.attempt - claim.lost_workers, 1)


def _due_at(
    ended: AttemptResult,
    definition: JobDefinition,
    failures: int,
    jitter: Callable[[], float],
) -> datetime:
    """Return the start of the next attempt: exactly as the back-off rule has chosen, else after the default back-off with jitter."""
    wait = ended.wait
    if wait is None:
        wait = backoff(definition, failures, jitter())
    if isinstance(wait, datetime):
        return max(wait, ended.ended_at)
    return ended.ended_at + wait


def _was_interrupted(outcome: Outcome, ended: AttemptResult) -> bool:
    """Return whether a job that was told to stop at a shutdown did not finish its work."""
    if outcome.ok:
        return ended.noticed and not (outcome.explicit or ended.untouched)
    return ended.noticed or ended.abandoned


def _failure(
    outcome: Outcome,
    attempt: _Attempt,
    definition: JobDefinition | None,
    jitter: Callable[[], float],
) -> Settlement:
    claim, record = attempt.claim, attempt.record(outcome)
    failures = failures_of(claim)
    if definition is None or not outcome.retry or failures > definition.retries:
        return Settlement(
            claim=claim,
            state=RunState.FAILED,
            note=_note(outcome, definition, failures),
            message=outcome.message,
            attempt=record,
        )
    due_at = _due_at(attempt.ended, definition, failures, jitter)
    return Settlement(
        claim=claim,
        state=RunState.RETRYING,
        note=f"{kept_text(outcome.message, LONGEST_NOTE)}; attempt {claim.attempt + 1} at {due_at.isoformat(timespec='seconds')}",
        message=outcome.message,
        due_at=due_at,
        attempt=record,
    )


def _note(outcome: Outcome, definition: JobDefinition | None, failures: int) -> str:
    note = kept_text(outcome.message, LONGEST_NOTE)
    if definition is not None and outcome.retry and definition.retries:
        return f"{note}; no attempt left after {failures}"
    return note


def _cancelled(outcome: Outcome, attempt: _Attempt) -> Settlement:
    cancellation = _stopped(attempt.ended, outcome)
    message = f"{cancellation.message}: {outcome.message}" if outcome.ok else cancellation.message
    return Settlement(
        claim=attempt.claim,
        state=RunState.CANCELLED,
        note=cancellation.message,
        message=message,
        attempt=attempt.record(cancellation),
    )


def _released(ended: AttemptResult, claim: Claim) -> Settlement:
    return Settlement(
        claim=claim,
        state=RunState.ENQUEUED,
        note=f"released: {ended.stop_message}",
        message=f"released: {ended.stop_message}",
        due_at=min(claim.due_at, ended.ended_at),
        counts=False,
    )


def _stopped(ended: AttemptResult, outcome: Outcome) -> Outcome:
    """Return the outcome of a job that was stopped, with the stack trace of an exception that the job raised by itself."""
    message = ended.stop_message
    if ended.abandoned:
        message += "; it did not stop and was abandoned when its process ended"
    return Outcome(ok=False, message=message, stack_trace=outcome.own_stack_trace)
