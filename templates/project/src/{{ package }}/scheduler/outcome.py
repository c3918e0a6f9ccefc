# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What becomes of a run when an attempt ends: the rules of results, retries, timeouts and interruptions, and nothing else."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from .context import JobCancelled, StopReason
from .job import JobDefinition
from .journal import clean, clean_row
from .masking import masked
from .result import JobResult
from .states import RunState
from .store.runs import Claim, Settlement

LONGEST_BACKOFF = timedelta(hours=1)
_HERE = str(Path(__file__).resolve().parent)
_LONGEST_MESSAGE = 4_000
_LONGEST_TRACEBACK = 50_000


class Refused(Exception):  # noqa: N818 - what was done, as the history shows it
    """The run could not be begun at all."""


@dataclass(frozen=True, kw_only=True)
class Ending:
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

    ending: Ending
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


def settle_as(
    ending: Ending,
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


def _result(ending: Ending) -> JobResult:
    if ending.error is not None:
        return JobResult.failure(_message(ending.error), ending.error, retry=not ending.final)
    try:
        return JobResult.of(ending.returned)
    except TypeError as error:
        return JobResult.failure(str(error), retry=False)


def _was_interrupted(result: JobResult, ending: Ending) -> bool:
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


def _handed_back(ending: Ending, claim: Claim) -> Settlement:
    return Settlement(
        claim=claim,
        state=RunState.ENQUEUED,
        note=f"handed back: {ending.stop_message}",
        message=f"handed back: {ending.stop_message}",
        due_at=min(claim.due_at, ending.ended_at),
        counts=False,
    )


def _timeout_message(ending: Ending) -> str:
    if ending.abandoned:
        return f"{ending.stop_message}; it did not stop and was left behind"
    return ending.stop_message


def _own_error(ending: Ending) -> BaseException | None:
    """What the job raised by itself; how it was stopped says nothing new."""
    return None if isinstance(ending.error, JobCancelled) else ending.error


def _metadata(result: JobResult) -> str | None:
    if not result.metadata:
        return None
    return to_json(dict(result.metadata), fallback=str, inf_nan_mode="strings").decode()


def stack_trace(error: BaseException) -> str:
    """The traceback, from the job's own code on; of one that would fill pages by the megabyte, both ends."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    lines = traceback.format_exception(type(error), error, frame or error.__traceback__)
    return _both_ends(masked("".join(lines)))


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, Refused) else in_one_line(error)


def in_one_line(error: BaseException) -> str:
    """An exception as the last line of its traceback shows it; of a message of several lines the first."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ in {"builtins", "__main__"}
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    text = next(iter(_words(error).strip().splitlines()), "")
    return f"{name}: {text}" if text else name


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception class of the job may be broken itself
        return "<its message cannot be shown>"


def _short(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    return clean(masked(text), longest)


def _both_ends(text: str, longest: int = _LONGEST_TRACEBACK) -> str:
    left_out = len(text) - longest
    if left_out <= 0:
        return text
    half = longest // 2
    return f"{text[:half]}\n… ({left_out} more characters) …\n{text[-half:]}"
