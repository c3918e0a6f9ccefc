"""What becomes of a run when an attempt ends: the rules of results, retries, timeouts and interruptions, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic_core import to_json

from ..core.errors import JobCancelled
from ..core.secrets import mask
from ..core.states import RunState
from ..core.text import clean, exception_line
from ..jobs.context import StopReason
from ..jobs.definition import JobDefinition
from ..jobs.result import JobResult
from ..storage.runs.values import AttemptRecord, Claim, Settlement
from .tracebacks import stack_trace

LONGEST_BACKOFF = timedelta(hours=1)
_LONGEST_MESSAGE = 4_000


class Refused(Exception):  # noqa: N818 - what was done, as the history shows it
    """The run could not be begun at all."""


@dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """How an attempt ended.

    Args:
        returned: What the job returned.
        error: What it raised instead.
        stopped: Why it was told to stop, if it was.
        stop_message: The same in words.
        noticed: Whether it knew: it read ``ctx.cancelled``, or was stopped by force.
        abandoned: Whether it went on all the same, and was abandoned.
        final: Whether trying again cannot help: the job is unknown, or its arguments do not fit.
        ended_at: When.
        duration_ms: How long it took.
        cpu_ms: Processor time of its own thread or coroutine.
        memory_mb: By how much the process's resident memory grew meanwhile; never less than 0.
    """

    ended_at: datetime
    returned: object = None
    error: BaseException | None = None
    stopped: StopReason | None = None
    stop_message: str = ""
    noticed: bool = False
    abandoned: bool = False
    final: bool = False
    duration_ms: int = 0
    cpu_ms: int = 0
    memory_mb: int = 0


@dataclass(frozen=True)
class _Attempt:
    """An attempt that ended, and whose it was."""

    ended: AttemptResult
    claim: Claim
    server: str

    def record(self, result: JobResult) -> AttemptRecord:
        """What the history keeps of it."""
        return AttemptRecord(
            ended_at=self.ended.ended_at,
            success=result.ok,
            server=self.server,
            message=_short(result.message),
            stack_trace=stack_trace(result.exception) if result.exception else None,
            duration_ms=self.ended.duration_ms,
            memory_mb=self.ended.memory_mb,
            cpu_ms=self.ended.cpu_ms,
            metadata_json=_metadata(result),
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
    result = _result(ended)
    attempt = _Attempt(ended, claim, server)
    if ended.stopped is StopReason.TIMEOUT:
        late = JobResult.failure(_timeout_message(ended), _own_error(ended))
        return _failure(late, attempt, definition, jitter)
    if ended.stopped is StopReason.CANCELLED and (ended.noticed or not result.ok):
        return _cancelled(result, attempt)
    if ended.stopped is StopReason.SHUTDOWN and _was_interrupted(result, ended):
        return _released(ended, claim)
    if not result.ok:
        return _failure(result, attempt, definition, jitter)
    return Settlement(
        claim=claim,
        state=RunState.SUCCEEDED,
        message=_short(result.message),
        attempt=attempt.record(result),
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


def _result(ended: AttemptResult) -> JobResult:
    if ended.error is not None:
        return JobResult.failure(_message(ended.error), ended.error, retry=not ended.final)
    try:
        return JobResult.of(ended.returned)
    except TypeError as error:
        return JobResult.failure(str(error), retry=False)


def _was_interrupted(result: JobResult, ended: AttemptResult) -> bool:
    """Whether a job that was told of a shutdown did not finish its work."""
    if result.ok:
        return ended.noticed and not isinstance(ended.returned, JobResult)
    return ended.noticed or ended.abandoned


def _failure(
    result: JobResult,
    attempt: _Attempt,
    definition: JobDefinition | None,
    jitter: Callable[[], float],
) -> Settlement:
    claim, record = attempt.claim, attempt.record(result)
    failures = max(claim.attempt - claim.lost_workers, 1)
    if definition is None or not result.retry or failures > definition.retries:
        return Settlement(
            claim=claim,
            state=RunState.FAILED,
            note=_note(result, definition, failures),
            message=_short(result.message),
            attempt=record,
        )
    due_at = attempt.ended.ended_at + backoff(definition, failures, jitter())
    return Settlement(
        claim=claim,
        state=RunState.RETRYING,
        note=f"{_short(result.message, 200)}; attempt {claim.attempt + 1} at {due_at.isoformat(timespec='seconds')}",
        message=_short(result.message),
        due_at=due_at,
        attempt=record,
    )


def _note(result: JobResult, definition: JobDefinition | None, failures: int) -> str:
    note = _short(result.message, 200)
    if definition is not None and result.retry and definition.retries:
        return f"{note}; no attempt left after {failures}"
    return note


def _cancelled(result: JobResult, attempt: _Attempt) -> Settlement:
    ended = attempt.ended
    message = ended.stop_message
    if ended.abandoned:
        message += "; it did not stop and was abandoned"
    told = JobResult.failure(message, _own_error(ended))
    return Settlement(
        claim=attempt.claim,
        state=RunState.CANCELLED,
        note=message,
        message=message if not result.ok else f"{message}: {_short(result.message)}",
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


def _timeout_message(ended: AttemptResult) -> str:
    if ended.abandoned:
        return f"{ended.stop_message}; it did not stop and was abandoned"
    return ended.stop_message


def _own_error(ended: AttemptResult) -> BaseException | None:
    """What the job raised by itself; how it was stopped says nothing new."""
    return None if isinstance(ended.error, JobCancelled) else ended.error


def _metadata(result: JobResult) -> str | None:
    if not result.metadata:
        return None
    return to_json(dict(result.metadata), fallback=str, inf_nan_mode="strings").decode()


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, Refused) else exception_line(error)


def _short(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    return clean(mask(text), longest)
