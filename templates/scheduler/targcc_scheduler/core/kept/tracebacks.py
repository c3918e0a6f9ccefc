"""Tracebacks of failed attempts, as they are kept."""

from __future__ import annotations

import itertools
import traceback
from pathlib import Path

from .limits import LONGEST_STACK_TRACE
from .texts import exception_line, kept_ends, type_name

_HERE = str(Path(__file__).resolve().parents[2])  # the scheduler as a whole


def stack_trace(error: object) -> str:
    """The traceback, from the job's own code on; of one that would fill pages, both ends. Whatever the exception's own code raises."""
    if not issubclass(type(error), BaseException):
        return f"<the exception of the result is of type {type_name(error)}>"
    try:
        return kept_ends(_formatted(error))  # type: ignore[arg-type]
    except BaseException as problem:  # noqa: BLE001 - the exception's own code may raise anything
        line = exception_line(error)  # type: ignore[arg-type]
        return f"<its traceback cannot be shown ({type_name(problem)})>\n{line}"


def _formatted(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    exceptions = traceback.TracebackException(
        type(error), error, frame or error.__traceback__, compact=True
    )
    return "".join(itertools.islice(exceptions.format(), LONGEST_STACK_TRACE))
