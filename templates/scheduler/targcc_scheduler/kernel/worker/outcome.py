"""Decide what an attempt's outcome means: next state, retry, failure.

Everything that a job hands over may be of a class of its own, whose methods raise, lie or take for ever. So it is read once, in the job's
thread or on the jobs' loop, where its time counts as the job's. What comes from there holds texts of bounded length, numbers and nothing
else; it can be settled whatever the job did.
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
from ..jobs.context import JobContext, StopReason
from ..jobs.definition import FailedRun, JobDefinition
from ..jobs.result import JobResult
from ..runs.values import AttemptRecord, Claim, Settlement

# The outcome of a job's code as plain data: what it returned or raised, read where the job ran and with its worst in mind.

Wait: TypeAlias = timedelta | datetime
"""The wait before the next attempt, or its instant in UTC."""

LONGEST_WAIT = timedelta(days=3653)
"""A back-off rule that returns more is wrong: such as one that counts in milliseconds."""

_RULE_SECONDS = 5.0
"""How long a back-off rule may take."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job returned or raised.

    Args:
        ok: Whether it worked.
        message: The result or the exception, in one line.
        stack_trace: Of the exception that the job raised, or put into its result.
        metadata_json: What it put into the result's metadata.
        retry: Whether trying again may help.
        explicit: Whether the job said so itself, with a :class:`~..jobs.result.JobResult`.
        own_stack_trace: Of an exception that the job raised by itself, not because it was told to stop.
    """

    ok: bool
    message: str
    stack_trace: str | None = None
    metadata_json: str | None = None
    retry: bool = True
    explicit: bool = False
    own_stack_trace: str | None = None


def returned_outcome(returned: object) -> Outcome:
    """The outcome of a job that returned, whatever the value's own code does."""
    try:
        return _of_result(JobResult.of(returned), explicit=issubclass(type(returned), JobResult))
    except BaseException as error:  # noqa: BLE001 - what is no result is a failure
        _close(returned)
        return Outcome(ok=False, message=text_of(error), retry=False)


def shown_result(outcome: Outcome) -> JobResult:
    """An outcome as hooks see it: plain data, whatever the job returned."""
    metadata = json.loads(outcome.metadata_json or "{}")
    return JobResult(outcome.ok, outcome.message, metadata, retry=outcome.retry)


def raised_outcome(error: BaseException) -> Outcome:
    """The outcome of a job that raised, whatever the exception's own code does."""
    trace = stack_trace(error)
    stopped = issubclass(type(error), JobCancelled)
    return Outcome(
        ok=False,
        message=exception_line(error),
        stack_trace=trace,
        own_stack_trace=None if stopped else trace,
    )


def refused_outcome(message: str) -> Outcome:
    """The outcome of a job that was not begun: trying again cannot help."""
    return Outcome(ok=False, message=kept_text(message), retry=False)


def result_error(returned: object) -> BaseException | None:
    """The exception that a job put into its result."""
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
    """Ask the job's back-off rule for the wait before the next attempt.

    Returns:
        The wait; ``None`` where the rule leaves it to the default, or fails: the run's log then says why.
    """
    try:
        return decided_wait(definition, ctx.failed(failures), error)
    except BaseException:  # whatever a rule raises, its run is retried
        ctx.log.exception("the back-off rule failed, so the default back-off holds")
        return None


def decided_wait(definition: JobDefinition, run: FailedRun, error: BaseException) -> Wait | None:
    """Call the job's back-off rule, in a thread of its own, and read its answer.

    Returns:
        The wait; ``None`` where the rule leaves it to the default.

    Raises:
        JobError: the answer is no wait, or none comes within five seconds.
        BaseException: the rule raised it.
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
    """A wait as JSON holds it; :func:`read_wait` reads it."""
    if isinstance(wait, timedelta):
        return wait.total_seconds()
    return wait.isoformat() if wait is not None else None


def read_wait(written: float | str | None) -> Wait | None:
    """What :func:`written_wait` wrote."""
    if isinstance(written, str):
        return datetime.fromisoformat(written)
    return timedelta(seconds=written) if written is not None else None


def _wait(answer: object, zone: ZoneInfo) -> Wait | None:
    """The answer of a rule, as plain values; an instant that has passed, and a wait below 0, is now."""
    kind = type(answer)
    wait: timedelta | None = None
    if answer is None:
        return None
    if isinstance(answer, datetime):
        aware = answer if answer.tzinfo is not None else answer.replace(tzinfo=zone)
        utc = aware.astimezone(UTC)
        at = datetime.combine(utc.date(), utc.time(), UTC)  # of exactly this class
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
    return Outcome(
        ok=ok,
        message=message,
        stack_trace=None if error is None else stack_trace(error),
        metadata_json=metadata_json(result.metadata),
        retry=result.retry is not False,
        explicit=explicit,
    )


def _close(returned: object) -> None:
    """Close a coroutine that nobody awaits."""
    if issubclass(type(returned), CoroutineType):
        with contextlib.suppress(BaseException):
            returned.close()  # type: ignore[attr-defined]


# What becomes of a run when an attempt ends: the rules of results, retries, timeouts and interruptions, and nothing else.

LONGEST_BACKOFF = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """How an attempt ended.

    Args:
        outcome: What the job returned or raised; ``None`` when it did neither.
        stopped: Why it was told to stop, if it was.
        stop_message: The same in words.
        noticed: Whether it knew: it read ``ctx.cancelled``, or was stopped by force.
        abandoned: Whether it went on all the same, and was abandoned.
        untouched: Whether its code ended before it saw anything of that.
        ended_at: When.
        duration_ms: How long it took.
        cpu_ms: Processor time of its own thread or coroutine, if that was measured.
        memory_mb: By how much the process's resident memory grew meanwhile; 0 when it shrank.
        wait: What the job's back-off rule says of the next attempt; ``None``: the default back-off holds.
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


# What stands for the outcome of a job that went on when its process ended.
_NO_OUTCOME = Outcome(ok=False, message="it did not end")


@dataclass(frozen=True)
class _Attempt:
    """An attempt that ended, and whose it was."""

    ended: AttemptResult
    claim: Claim
    server: str

    def record(self, outcome: Outcome) -> AttemptRecord:
        """What the history keeps of it."""
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
    """What becomes of a run.

    Args:
        ended: How its attempt ended.
        claim: The attempt.
        definition: The job; ``None`` when nobody knows it.
        server: The name of this node, for the history.
        jitter: Spreads the waits of runs that failed together.
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
    """The wait before the next attempt: the job's back-off, doubled for each failure before this one, at most an hour.

    Args:
        definition: The job.
        failures: How many attempts have failed.
        factor: Spreads the waits; 1 is exact.
    """
    doubled: timedelta = definition.backoff * 2.0 ** min(failures - 1, 30)
    return min(doubled, max(LONGEST_BACKOFF, definition.backoff)) * factor


def failures_of(claim: Claim) -> int:
    """How many attempts of a run have failed once this one has; an attempt whose node was lost is not a failure."""
    return max(claim.attempt - claim.lost_workers, 1)


def _due_at(
    ended: AttemptResult,
    definition: JobDefinition,
    failures: int,
    jitter: Callable[[], float],
) -> datetime:
    """When the next attempt begins: as the job's rule says, exactly; else after the back-off."""
    wait = ended.wait
    if wait is None:
        wait = backoff(definition, failures, jitter())
    if isinstance(wait, datetime):
        return max(wait, ended.ended_at)
    return ended.ended_at + wait


def _was_interrupted(outcome: Outcome, ended: AttemptResult) -> bool:
    """Whether a job that was told of a shutdown did not finish its work."""
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
    told = _stopped(attempt.ended, outcome)
    message = f"{told.message}: {outcome.message}" if outcome.ok else told.message
    return Settlement(
        claim=attempt.claim,
        state=RunState.CANCELLED,
        note=told.message,
        message=message,
        attempt=attempt.record(told),
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
    """The outcome of a job that was stopped; what it raised by itself is kept with it."""
    message = ended.stop_message
    if ended.abandoned:
        message += "; it did not stop and was abandoned when its process ended"
    return Outcome(ok=False, message=message, stack_trace=outcome.own_stack_trace)
