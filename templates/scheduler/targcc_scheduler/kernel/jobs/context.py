"""`JobContext`: what a job sees of its run, with its log, steps and progress."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import sys
import time
import typing
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, Protocol, TypeVar, cast, overload

import pydantic
from pydantic_core import from_json, to_json

from ...core.errors import JobCancelled, StepError
from ...core.stored_values import (
    LONGEST_LOG_LINE,
    LONGEST_LOG_VALUE,
    kept_text,
    stack_trace,
    text_of,
    type_name,
)
from ...core.text import clean
from .chains import NO_PARENTS, ParentRun, Parents
from .definition import FailedRun, JobDefinition, shown_arguments
from .files import File

# Results of durable steps, as JSON and back.


def is_async(f: Callable[..., Any]) -> bool:
    """Whether calling ``f`` gives something to await."""
    while isinstance(f, functools.partial):
        f = f.func
    return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(type(f).__call__)


def encode(name: str, f: Callable[..., Any], result: Any) -> tuple[str, Any]:
    """The result as JSON, and as :func:`decode` reads it back."""
    adapter = _adapter(f)
    try:
        encoded = (adapter.dump_json(result) if adapter else to_json(result)).decode()
    except Exception as error:
        why = text_of(error)
        raise StepError(f"the result of step {name!r} cannot be kept as JSON: {why}") from error
    decoded = decode(name, f, encoded)
    if adapter is None and not _same(decoded, result):
        raise StepError(
            f"step {name!r} returned {type_name(result)}, which comes back from JSON as something else: "
            f"give {getattr(f, '__qualname__', f)!s} a return type (a dataclass, a pydantic model, list[…], datetime, …)"
        )
    return encoded, decoded


def _same(decoded: Any, result: Any) -> bool:
    """Whether they are equal; what cannot be compared is of a class that JSON does not have."""
    given = list(result) if isinstance(result, tuple) else result
    try:
        return bool(decoded == given)
    except Exception:  # noqa: BLE001 - the class's own code may raise anything
        return False


def decode(name: str, f: Callable[..., Any], encoded: str) -> Any:
    """A stored result, read as the return type that ``f`` declares."""
    adapter = _adapter(f)
    try:
        return adapter.validate_json(encoded) if adapter else from_json(encoded)
    except pydantic.ValidationError as error:
        raise StepError(f"what step {name!r} kept does not fit its return type: {error}") from error


def _adapter(f: Callable[..., Any]) -> pydantic.TypeAdapter[Any] | None:
    """The adapter for the declared return type of ``f``; ``None`` when there is none that can be stored."""
    while isinstance(f, functools.partial):
        f = f.func
    f = inspect.unwrap(f)
    try:
        kind = typing.get_type_hints(f).get("return", Any)
        return None if kind is Any else pydantic.TypeAdapter(kind)
    except (NameError, TypeError, AttributeError, pydantic.PydanticUserError):
        return None


# The log of one run, and the protocol of what records a run's lines, progress and steps.

_process_log = logging.getLogger("targcc.job")


class Recorder(Protocol):
    """Stores what a run writes. Called from any thread; a future is done when the value is stored."""

    def write(self, level: str, message: str) -> None:
        """Store a log line."""

    def progress(self, done: float, total: float | None) -> None:
        """Store how far the run is."""

    def find_step(self, name: str) -> Future[str | None]:
        """The result of a step that finished in an earlier attempt, as JSON."""

    def keep_step(self, name: str, result_json: str, duration_ms: int) -> Future[None]:
        """Store the result of a step that has just finished."""

    def attach(self, file: File) -> Future[None]:
        """Store a file with the run."""


class RunLog:
    """The log of one run: ``ctx.log.info("loaded", rows=12)``.

    Lines are stored with the run and also go to the log of the process. Nothing that is logged fails the job: what cannot be shown is
    replaced by a text that says so, and what is too long is cut.
    """

    def __init__(self, recorder: Recorder, **fields: Any) -> None:
        self._recorder = recorder
        self._fields = fields

    def debug(self, event: str, /, **values: Any) -> None:
        """Log what only developers want to know."""
        self._write(logging.DEBUG, event, values)

    def info(self, event: str, /, **values: Any) -> None:
        """Log what happened."""
        self._write(logging.INFO, event, values)

    def warning(self, event: str, /, **values: Any) -> None:
        """Log what somebody may have to look at."""
        self._write(logging.WARNING, event, values)

    def error(self, event: str, /, **values: Any) -> None:
        """Log a failure."""
        self._write(logging.ERROR, event, values)

    def exception(self, event: str, /, **values: Any) -> None:
        """Log a failure with the traceback of the exception that is being handled."""
        error = sys.exception()
        self._write(logging.ERROR, event, values, None if error is None else stack_trace(error))

    def _write(
        self, level: int, event: str, values: dict[str, Any], details: str | None = None
    ) -> None:
        shown = (f"{text_of(key, 200)}={_shown(value)}" for key, value in values.items())
        text = " ".join([text_of(event, LONGEST_LOG_LINE), *shown])
        text = kept_text(text if details is None else f"{text}\n{details}", LONGEST_LOG_LINE)
        self._recorder.write(logging.getLevelName(level).lower(), text)
        _process_log.log(level, "%s", text, extra=self._fields)


def _shown(value: object) -> str:
    text = text_of(value, LONGEST_LOG_VALUE)
    return text if text and not any(character.isspace() for character in text) else repr(text)


# What a job sees of its run while it runs.

P = ParamSpec("P")
T = TypeVar("T")

_LONGEST_NAME = 200
"""The width of ``c_JobStep.Name``."""


class StopReason(StrEnum):
    """Why a run was told to stop."""

    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LOST = "lost"  # this node was declared lost, and the run belongs to another one now


class JobContext:
    """One attempt of a run, as the job sees it.

    Args:
        definition: The job.
        run_id: The run; the same for all its attempts.
        attempt: 1 for the first.
        scheduled_for: The slot, in the job's zone; for other runs the instant at which they were created.
        triggered_by: Who started the run, such as ``System`` or ``Manual (dana)``.
        recorder: Stores its log lines, progress and steps.
        trace: The W3C ``traceparent`` of who enqueued the run.
        parents: The runs that it waited for.
    """

    def __init__(
        self,
        definition: JobDefinition,
        *,
        run_id: int,
        attempt: int,
        scheduled_for: datetime,
        triggered_by: str,
        recorder: Recorder,
        trace: str | None = None,
        parents: Parents | None = None,
    ) -> None:
        self.trace = trace
        self._arguments: Mapping[str, Any] = {}
        self.definition = definition
        self.run_id = run_id
        self.attempt = attempt
        self.scheduled_for = scheduled_for
        self.triggered_by = triggered_by
        self.parents = parents or NO_PARENTS
        """The runs that it waited for, by the names of their jobs."""
        self.log = RunLog(recorder, job=definition.name, run_id=run_id, attempt=attempt)
        self._recorder = recorder
        self._steps: set[str] = set()
        self._stop: StopReason | None = None
        self._stop_message = ""
        self._noticed = False
        self._odd_progress = False

    @property
    def job_name(self) -> str:
        """The job's stable key."""
        return self.definition.name

    @property
    def arguments(self) -> dict[str, Any]:
        """What the job gets besides the context, for hooks and logs: secret ones are masked."""
        return shown_arguments(self.definition, self._arguments)

    def failed(self, failures: int) -> FailedRun:
        """The run as its back-off rule sees it, after so many failed attempts."""
        return FailedRun(
            job_name=self.job_name,
            run_id=self.run_id,
            attempt=self.attempt,
            failures=failures,
            scheduled_for=self.scheduled_for,
            triggered_by=self.triggered_by,
            arguments=dict(self._arguments),
        )

    @property
    def parent(self) -> ParentRun | None:
        """The run that it waited for, of several the oldest; ``None``: it waited for none."""
        return self.parents.runs[0] if self.parents.runs else None

    @property
    def aliases(self) -> tuple[str, ...]:
        """The names that the job had before."""
        return self.definition.aliases

    @property
    def cancelled(self) -> bool:
        """Whether the run should stop: it was cancelled, timed out, or the process is shutting down.

        A job that reads ``True`` and returns without an explicit success counts as interrupted, not as succeeded.
        """
        if self._stop is None:
            return False
        self._noticed = True
        return True

    @property
    def cancel_reason(self) -> str | None:
        """Why the run should stop, in words; ``None`` while it should not."""
        return self._stop_message if self._stop is not None else None

    def raise_if_cancelled(self) -> None:
        """Stop here if the run should stop.

        Raises:
            JobCancelled: it should.
        """
        if self.cancelled:
            raise JobCancelled(self._stop_message)

    def progress(self, done: float, total: float | None = None) -> None:
        """Report how far the run is; shown live. Calls are cheap: only the newest is stored, a few times a second.

        What is no finite number is not shown; the run's log says so, once.

        Args:
            done: How much is done, in any unit.
            total: How much there is, if known.
        """
        known = _number(done), None if total is None else _number(total)
        if known[0] is None or (total is not None and known[1] is None):
            if not self._odd_progress:
                self.log.warning("progress that is no number is not shown", done=done, total=total)
            self._odd_progress = True
            return
        self._recorder.progress(known[0], known[1])

    @overload
    async def step(
        self, name: str, f: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def step(
        self, name: str, f: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    async def step(self, name: str, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Do ``f(*args, **kwargs)`` once in a run, however many attempts it has.

        The result is stored as JSON when ``f`` returns; a later attempt gets the stored one and does not call ``f``. Each attempt
        gets what was stored, read as the return type that ``f`` declares. A plain function runs in a thread.

        Args:
            name: Its own name within the job, at most 200 characters.
            f: What to do, plain or async.
            *args: What it gets.
            **kwargs: What it gets by name.

        Raises:
            StepError: the name was used before in this attempt, or the result cannot be stored as JSON or read back.
        """
        self._begin_step(name)
        kept = await asyncio.wrap_future(self._recorder.find_step(name))
        if kept is not None:
            return decode(name, f, kept)
        started = time.monotonic()
        if is_async(f):
            result = await f(*args, **kwargs)
        else:
            result = await asyncio.to_thread(f, *args, **kwargs)
        encoded, decoded = encode(name, f, result)
        taken = round((time.monotonic() - started) * 1000)
        await asyncio.wrap_future(self._recorder.keep_step(name, encoded, taken))
        return decoded

    def step_sync(self, name: str, f: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """:meth:`step` for jobs whose ``execute`` is plain."""
        self._begin_step(name)
        kept = self._recorder.find_step(name).result()
        if kept is not None:
            return cast("T", decode(name, f, kept))
        started = time.monotonic()
        encoded, decoded = encode(name, f, f(*args, **kwargs))
        taken = round((time.monotonic() - started) * 1000)
        self._recorder.keep_step(name, encoded, taken).result()
        return cast("T", decoded)

    async def attach(
        self,
        name: str,
        content: Path | bytes | str | BinaryIO | File,
        content_type: str | None = None,
    ) -> None:
        """Keep a file with the run: people download it from the run's page, programs by the API.

        One of the same name, as of an earlier attempt, is replaced. The file stays when the attempt fails, and goes with the run.

        Args:
            name: What it is called.
            content: The bytes, a text (in UTF-8), a path, or a binary file object.
            content_type: Default: by the name.

        Raises:
            FileError: it is too large, cannot be read, or the run has too many.
            RunTaken: the run belongs to another node now.
        """
        file = _file(name, content, content_type)
        await asyncio.wrap_future(self._recorder.attach(file))

    def attach_sync(
        self,
        name: str,
        content: Path | bytes | str | BinaryIO | File,
        content_type: str | None = None,
    ) -> None:
        """:meth:`attach` for jobs whose ``execute`` is plain."""
        self._recorder.attach(_file(name, content, content_type)).result()

    def take(self, arguments: Mapping[str, Any]) -> None:
        """Know what the job gets besides the context."""
        self._arguments = arguments

    def tell_to_stop(self, reason: StopReason, message: str) -> None:
        """Make :attr:`cancelled` true; when it is called again, the first reason stays."""
        if self._stop is None:
            self._stop_message = message
            self._stop = reason

    def stop_otherwise(self, reason: StopReason, message: str) -> None:
        """Change why the run, which was told to stop, has to."""
        self._stop_message = message
        self._stop = reason

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the run was told to stop, for the executor."""
        return self._stop

    @property
    def noticed(self) -> bool:
        """Whether the job has read :attr:`cancelled` after it was told to stop."""
        return self._noticed

    def _begin_step(self, name: str) -> None:
        if (
            not issubclass(type(name), str)
            or not 0 < len(name) <= _LONGEST_NAME
            or clean(name) != name
        ):
            raise StepError(
                f"a step's name is a text of 1 to {_LONGEST_NAME} characters, without NUL: {text_of(name)}"
            )
        if name in self._steps:
            raise StepError(
                f"step {name!r} was already done in this attempt: each needs its own name"
            )
        self._steps.add(name)


def _file(
    name: str, content: Path | bytes | str | BinaryIO | File, content_type: str | None
) -> File:
    if isinstance(content, File):
        return File(content.source, name=name, content_type=content_type)
    source = content.encode("utf-8", "replace") if isinstance(content, str) else content
    return File(source, name=name, content_type=content_type)


def _number(value: object) -> float | None:
    """A finite number, or ``None``."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 - the value's own code may raise anything
        return None
    return float.__pos__(number) if math.isfinite(number) else None
