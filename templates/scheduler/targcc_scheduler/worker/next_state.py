"""What becomes of a run when an attempt ends: the rules of results, retries, timeouts and interruptions, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_json

from ..core.errors import JobCancelled
from ..core.secrets import mask
from ..core.states import RunState
from ..core.text import clean, clean_row, exception_line
from ..jobs.context import StopReason
from ..jobs.definition import JobDefinition
from ..jobs.result import JobResult
from ..storage.runs.values import Claim, Settlement
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
        abandoned: Whether it went on all the same, and was left behind.
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
class _Record:
    """What an attempt leaves behind."""

    ending: AttemptResult
    claim: Claim
    server: str

    def history(self, result: JobResult) -> dict[str, Any]:
        """Its row of ``c_LoggedJob``."""
        ending, claim = self.ending, self.claim
        return clean_row(
            {
                "JobName": claim.job_name,
                "JobId": str(claim.run_id),
                "JobType": claim.job_type,
                "StartedAt": claim.started_at,
                "CompletedAt": max(ending.ended_at, claim.started_at),
                "DurationMs": ending.duration_ms,
                "Success": result.ok,
                "ResultMessage": _short(result.message),
                "ErrorMessage": None if result.ok else _short(result.message),
                "StackTrace": stack_trace(result.exception) if result.exception else None,
                "ServerName": self.server,
                "TriggeredBy": claim.triggered_by,
                "MemoryUsedMB": ending.memory_mb,
                "CpuTimeMs": ending.cpu_ms,
                "CreatedAt": ending.ended_at,
                "Attempt": claim.attempt,
                "ScheduledFor": claim.scheduled_for,
                "MetadataJson": _metadata(result),
            }
        )


def _jitter() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, keeps no secret


def next_state(
    ending: AttemptResult,
    claim: Claim,
    definition: JobDefinition | None,
    *,
    server: str,
    jitter: Callable[[], float] = _jitter,
) -> Settlement:
    """What becomes of a run.

    Args:
        ending: How its attempt ended.
        claim: The attempt.
        definition: The job; ``None`` when nobody knows it.
        server: The name of this node, for the history.
        jitter: Spreads the waits of runs that failed together.
    """
    result = _result(ending)
    record = _Record(ending, claim, server)
    if ending.stopped is StopReason.TIMEOUT:
        late = JobResult.failure(_timeout_message(ending), _own_error(ending))
        return _failure(late, record, definition, jitter)
    if ending.stopped is StopReason.CANCELLED and (ending.noticed or not result.ok):
        return _cancelled(result, record)
    if ending.stopped is StopReason.SHUTDOWN and _was_interrupted(result, ending):
        return _handed_back(ending, claim)
    if not result.ok:
        return _failure(result, record, definition, jitter)
    return Settlement(
        claim=claim,
        state=RunState.SUCCEEDED,
        message=_short(result.message),
        history=record.history(result),
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


def _result(ending: AttemptResult) -> JobResult:
    if ending.error is not None:
        return JobResult.failure(_message(ending.error), ending.error, retry=not ending.final)
    try:
        return JobResult.of(ending.returned)
    except TypeError as error:
        return JobResult.failure(str(error), retry=False)


def _was_interrupted(result: JobResult, ending: AttemptResult) -> bool:
    """Whether a job that was told of a shutdown did not finish its work."""
    if result.ok:
        return ending.noticed and not isinstance(ending.returned, JobResult)
    return ending.noticed or ending.abandoned


def _failure(
    result: JobResult,
    record: _Record,
    definition: JobDefinition | None,
    jitter: Callable[[], float],
) -> Settlement:
    claim, history = record.claim, record.history(result)
    failures = max(claim.attempt - claim.lost_workers, 1)
    if definition is None or not result.retry or failures > definition.retries:
        return Settlement(
            claim=claim,
            state=RunState.FAILED,
            note=_note(result, definition, failures),
            message=_short(result.message),
            history=history,
        )
    due_at = record.ending.ended_at + backoff(definition, failures, jitter())
    return Settlement(
        claim=claim,
        state=RunState.RETRYING,
        note=f"{_short(result.message, 200)}; attempt {claim.attempt + 1} at {due_at.isoformat(timespec='seconds')}",
        message=_short(result.message),
        due_at=due_at,
        history=history,
    )


def _note(result: JobResult, definition: JobDefinition | None, failures: int) -> str:
    note = _short(result.message, 200)
    if definition is not None and result.retry and definition.retries:
        return f"{note}; no attempt left after {failures}"
    return note


def _cancelled(result: JobResult, record: _Record) -> Settlement:
    ending = record.ending
    message = ending.stop_message
    if ending.abandoned:
        message += "; it did not stop and was left behind"
    told = JobResult.failure(message, _own_error(ending))
    return Settlement(
        claim=record.claim,
        state=RunState.CANCELLED,
        note=message,
        message=message if not result.ok else f"{message}: {_short(result.message)}",
        history=record.history(told),
    )


def _handed_back(ending: AttemptResult, claim: Claim) -> Settlement:
    return Settlement(
        claim=claim,
        state=RunState.ENQUEUED,
        note=f"handed back: {ending.stop_message}",
        message=f"handed back: {ending.stop_message}",
        due_at=min(claim.due_at, ending.ended_at),
        counts=False,
    )


def _timeout_message(ending: AttemptResult) -> str:
    if ending.abandoned:
        return f"{ending.stop_message}; it did not stop and was left behind"
    return ending.stop_message


def _own_error(ending: AttemptResult) -> BaseException | None:
    """What the job raised by itself; how it was stopped says nothing new."""
    return None if isinstance(ending.error, JobCancelled) else ending.error


def _metadata(result: JobResult) -> str | None:
    if not result.metadata:
        return None
    return to_json(dict(result.metadata), fallback=str, inf_nan_mode="strings").decode()


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, Refused) else exception_line(error)


def _short(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    return clean(mask(text), longest)
