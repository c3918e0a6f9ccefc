"""`JobContext`: a job's run, with log, steps, progress, attachments and cancellation."""

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

# Encode and decode durable steps' results.


def is_async(f: Callable[..., Any]) -> bool:
    """Return whether calling ``f`` returns an awaitable."""
    while isinstance(f, functools.partial):
        f = f.func
    return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(type(f).__call__)


def encode(name: str, f: Callable[..., Any], result: Any) -> tuple[str, Any]:
    """Encode a step's result as JSON.

    Returns:
        The JSON text, and the value that :func:`decode` reads from the text.

    Raises:
        StepError: The result cannot be stored as JSON, or ``f`` has no return type and JSON changes the result.
    """
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
    """Return whether both values are equal; values that cannot be compared are of a class that JSON does not have."""
    given = list(result) if isinstance(result, tuple) else result
    try:
        return bool(decoded == given)
    except Exception:  # noqa: BLE001 - the class's own code may raise anything
        return False


def decode(name: str, f: Callable[..., Any], encoded: str) -> Any:
    """Decode a stored result as ``f``'s declared return type.

    Raises:
        StepError: The stored JSON does not fit the return type.
    """
    adapter = _adapter(f)
    try:
        return adapter.validate_json(encoded) if adapter else from_json(encoded)
    except pydantic.ValidationError as error:
        raise StepError(f"what step {name!r} kept does not fit its return type: {error}") from error


def _adapter(f: Callable[..., Any]) -> pydantic.TypeAdapter[Any] | None:
    """Return the adapter for ``f``'s declared return type; ``None`` without a return type that pydantic can store."""
    while isinstance(f, functools.partial):
        f = f.func
    f = inspect.unwrap(f)
    try:
        kind = typing.get_type_hints(f).get("return", Any)
        return None if kind is Any else pydantic.TypeAdapter(kind)
    except (NameError, TypeError, AttributeError, pydantic.PydanticUserError):
        return None


# A run's log, and the protocol for recorders.

_process_log = logging.getLogger("targcc.job")


class Recorder(Protocol):
    """Store a run's log lines, progress, steps and files. Methods may be called from any thread; a future is done once the value is stored."""

    def write(self, level: str, message: str) -> None:
        """Store a log line."""

    def progress(self, done: float, total: float | None) -> None:
        """Store the run's progress."""

    def find_step(self, name: str) -> Future[str | None]:
        """Find the JSON result that a step stored in an earlier attempt; ``None`` without a stored result."""

    def keep_step(self, name: str, result_json: str, duration_ms: int) -> Future[None]:
        """Store a finished step's result."""

    def attach(self, file: File) -> Future[None]:
        """Store a file with the run."""


class RunLog:
    """A run's log: ``ctx.log.info("loaded", rows=12)``.

    Each line is stored with the run and also written to the process's logger ``targcc.job``. Logging does not fail the job: a value that
    cannot be converted to text is replaced by a text that says so, and a long line is cut.
    """

    def __init__(self, recorder: Recorder, **fields: Any) -> None:
        self._recorder = recorder
        self._fields = fields

    def debug(self, event: str, /, **values: Any) -> None:
        """Log a detail for developers."""
        self._write(logging.DEBUG, event, values)

    def info(self, event: str, /, **values: Any) -> None:
        """Log an event, such as ``info("loaded", rows=12)``."""
        self._write(logging.INFO, event, values)

    def warning(self, event: str, /, **values: Any) -> None:
        """Log a problem that does not fail the job."""
        self._write(logging.WARNING, event, values)

    def error(self, event: str, /, **values: Any) -> None:
        """Log a failure."""
        self._write(logging.ERROR, event, values)

    def exception(self, event: str, /, **values: Any) -> None:
        """Log a failure with the current exception's traceback; call in an ``except`` block."""
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


# A running job's context.

P = ParamSpec("P")
T = TypeVar("T")

_LONGEST_NAME = 200
"""The width of ``c_JobStep.Name``."""


class StopReason(StrEnum):
    """The reason for which a run must stop."""

    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LOST = "lost"  # this node was declared lost, and another node owns the run now


class JobContext:
    """A run's current attempt, passed to ``execute`` as the parameter annotated ``JobContext``.

    The context holds the run's identity, its log (``ctx.log``), its progress, durable steps, attachments and cancellation::

        async def execute(self, ctx: JobContext) -> JobResult:
            rows = await ctx.step("load", load_rows, ctx.scheduled_for)
            for number, row in enumerate(rows):
                ctx.raise_if_cancelled()
                ctx.progress(number, len(rows))
                await self.send(row)
            return JobResult.success(f"{len(rows)} rows sent")

    Args:
        definition: The job.
        run_id: The run's id, the same in all attempts.
        attempt: Attempt number, from 1.
        scheduled_for: The run's slot, in the job's zone. For a run without a slot: the instant at which the run was created.
        triggered_by: The actor that started the run, such as ``System`` or ``Manual (dana)``.
        recorder: Stores the run's log lines, progress, steps and files.
        trace: The W3C ``traceparent`` from the code that enqueued the run; ``None`` without tracing.
        parents: The runs that this run waited for, by job name.
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
        self.parents = NO_PARENTS if parents is None else parents
        """The runs that this run waited for, by job name: ``ctx.parents["ImportOrders"]``."""
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
        """The job's arguments, for hooks and logs; secret arguments are masked."""
        return shown_arguments(self.definition, self._arguments)

    def failed(self, failures: int) -> FailedRun:
        """Return the argument for a back-off rule, after ``failures`` failed attempts."""
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
        """The run that this run waited for, the oldest of several; ``None`` for a run without dependencies."""
        return self.parents.runs[0] if self.parents.runs else None

    @property
    def aliases(self) -> tuple[str, ...]:
        """The job's earlier names."""
        return self.definition.aliases

    @property
    def cancelled(self) -> bool:
        """Whether the run must stop: the run was cancelled, timed out or lost, or the process is shutting down.

        A job that reads ``True`` and returns without an explicit success counts as interrupted, not as succeeded.
        """
        if self._stop is None:
            return False
        self._noticed = True
        return True

    @property
    def cancel_reason(self) -> str | None:
        """The reason for which the run must stop, in words; ``None`` while the run may continue."""
        return self._stop_message if self._stop is not None else None

    def raise_if_cancelled(self) -> None:
        """Raise :class:`JobCancelled` if the run must stop; call at points where the job can stop safely.

        Raises:
            JobCancelled: The run must stop; see :attr:`cancelled`.
        """
        if self.cancelled:
            raise JobCancelled(self._stop_message)

    def progress(self, done: float, total: float | None = None) -> None:
        """Report the run's progress, which pages show live.

        Calls are cheap: only the newest value is stored, a few times a second. A value that is not a finite number is ignored; the run's log
        gets one warning.

        Args:
            done: The completed amount, in any unit.
            total: The whole amount in the same unit, if known.
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
        """Call ``f(*args, **kwargs)`` as a durable step: once in a run, however many attempts there are.

        When ``f`` returns, its result is stored as JSON with the run. A later attempt returns the stored result and does not call ``f``. Every
        attempt, also the first, returns the stored JSON decoded as ``f``'s declared return type. A step that raised or was interrupted
        has no stored result, so a later attempt calls ``f`` again. A plain function runs in a thread::

            order = await ctx.step("charge", charge_card, order_id)

        Args:
            name: A name that is unique within the job, at most 200 characters.
            f: The function to call, plain or async.
            *args: Positional arguments for ``f``.
            **kwargs: Keyword arguments for ``f``.

        Returns:
            The stored result.

        Raises:
            StepError: The attempt has already used the name, or the result cannot be stored as JSON or decoded.
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
        """Call ``f`` as a durable step in a plain ``execute``; otherwise like :meth:`step`. ``f`` is plain and runs in the same thread."""
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
        """Attach a file to the run: people download the file from the run's page, programs through the API.

        An attachment with the same name, such as from an earlier attempt, is replaced. The file is kept even if the attempt fails, and is
        deleted together with the run.

        Args:
            name: The file name.
            content: The content: bytes, a text (stored as UTF-8), a path, a binary file object or a :class:`~.files.File`.
            content_type: The content type. Default: guessed from the name.

        Raises:
            FileError: The file is too large or cannot be read, or the run has too many files.
            RunTaken: Another node owns the run now.
        """
        file = _file(name, content, content_type)
        await asyncio.wrap_future(self._recorder.attach(file))

    def attach_sync(
        self,
        name: str,
        content: Path | bytes | str | BinaryIO | File,
        content_type: str | None = None,
    ) -> None:
        """Attach a file to the run in a plain ``execute``; otherwise like :meth:`attach`."""
        self._recorder.attach(_file(name, content, content_type)).result()

    def take(self, arguments: Mapping[str, Any]) -> None:
        """Set the job's arguments."""
        self._arguments = arguments

    def tell_to_stop(self, reason: StopReason, message: str) -> None:
        """Set :attr:`cancelled`; a later call keeps the first reason."""
        if self._stop is None:
            self._stop_message = message
            self._stop = reason

    def stop_otherwise(self, reason: StopReason, message: str) -> None:
        """Replace the reason for which a run must stop."""
        self._stop_message = message
        self._stop = reason

    @property
    def stop_reason(self) -> StopReason | None:
        """The reason for which the run must stop, for the executor; ``None`` while the run may continue."""
        return self._stop

    @property
    def noticed(self) -> bool:
        """Whether the job has read :attr:`cancelled` since the run was told to stop."""
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
    """Return the value as a finite float, or ``None``."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 - the value's own code may raise anything
        return None
    return float.__pos__(number) if math.isfinite(number) else None
