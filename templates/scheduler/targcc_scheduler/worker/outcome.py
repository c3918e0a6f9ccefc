"""The outcome of a job's code as plain data: what it returned or raised, read where the job ran and with its worst in mind.

Everything that a job hands over may be of a class of its own, whose methods raise, lie or take for ever. So it is read once, in the job's
thread or on the jobs' loop, where its time counts as the job's. What comes from there holds texts of bounded length, numbers and nothing
else; it can be settled whatever the job did.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

from ..core.errors import JobCancelled
from ..core.kept.metadata import metadata_json
from ..core.kept.texts import exception_line, kept_text, text_of, type_name
from ..core.kept.tracebacks import stack_trace
from ..jobs.result import JobResult


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
