"""What becomes of a run when an attempt ends: the rules of results, retries, timeouts and interruptions, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..core.kept.limits import LONGEST_NOTE
from ..core.kept.texts import kept_text
from ..core.states import RunState
from ..jobs.context import StopReason
from ..jobs.definition import JobDefinition
from ..storage.runs.values import AttemptRecord, Claim, Settlement
from .outcome import Outcome, Wait

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
