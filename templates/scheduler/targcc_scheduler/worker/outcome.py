"""The outcome of a job's code as plain data: what it returned or raised, read where the job ran and with its worst in mind.

Everything that a job hands over may be of a class of its own, whose methods raise, lie or take for ever. So it is read once, in the job's
thread or on the jobs' loop, where its time counts as the job's. What comes from there holds texts of bounded length, numbers and nothing
else; it can be settled whatever the job did.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import CoroutineType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from ..core.errors import JobCancelled, JobError
from ..core.kept.metadata import metadata_json
from ..core.kept.texts import exception_line, kept_text, text_of, type_name
from ..core.kept.tracebacks import stack_trace
from ..jobs.context import JobContext
from ..jobs.definition import FailedRun, JobDefinition
from ..jobs.result import JobResult
from ..schedules import parse_duration

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
