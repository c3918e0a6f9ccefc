# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What a job sees of its run while it runs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
import traceback
import typing
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import datetime
from enum import StrEnum
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

import pydantic
from pydantic_core import from_json, to_json

from .job import JobDefinition

P = ParamSpec("P")
T = TypeVar("T")

_process_log = logging.getLogger(__name__.rpartition(".")[0] + ".job")


class StopReason(StrEnum):
    """Why a run was told to stop."""

    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LOST = "lost"  # this node was taken for dead, and the run belongs to another one now


class JobCancelled(Exception):  # noqa: N818 - it is how a job obeys, not an error
    """A job raises this (by ``ctx.raise_if_cancelled()``) when it stops because it was told to."""


class StepError(Exception):
    """A durable step cannot be kept or read back."""


class Journal(Protocol):
    """Where a run's notes go. Called from any thread; a future is done when the note is kept."""

    def write(self, level: str, message: str) -> None:
        """Keep a log line."""

    def progress(self, done: float, total: float | None) -> None:
        """Keep how far the run is."""

    def find_step(self, name: str) -> Future[str | None]:
        """The result of a step that finished in an earlier attempt, as JSON."""

    def keep_step(self, name: str, result_json: str, duration_ms: int) -> Future[None]:
        """Keep the result of a step that has just finished."""


class RunLog:
    """The log of one run: ``ctx.log.info("loaded", rows=12)``.

    Lines are kept with the run and also go to the process's own log.
    """

    def __init__(self, journal: Journal, **fields: Any) -> None:
        self._journal = journal
        self._fields = fields

    def debug(self, event: str, /, **values: Any) -> None:
        """Of interest to developers."""
        self._write(logging.DEBUG, event, values)

    def info(self, event: str, /, **values: Any) -> None:
        """What happened."""
        self._write(logging.INFO, event, values)

    def warning(self, event: str, /, **values: Any) -> None:
        """Somebody may have to look at this."""
        self._write(logging.WARNING, event, values)

    def error(self, event: str, /, **values: Any) -> None:
        """Something failed."""
        self._write(logging.ERROR, event, values)

    def exception(self, event: str, /, **values: Any) -> None:
        """Something failed; the traceback of the exception being handled is kept too."""
        self._write(logging.ERROR, event, values, traceback.format_exc())

    def _write(
        self, level: int, event: str, values: dict[str, Any], details: str | None = None
    ) -> None:
        text = " ".join([event, *(f"{key}={_shown(value)}" for key, value in values.items())])
        text = text if details is None else f"{text}\n{details.rstrip()}"
        self._journal.write(logging.getLevelName(level).lower(), text)
        _process_log.log(level, "%s", text, extra=self._fields)


def _shown(value: object) -> str:
    text = str(value)
    return text if text and not any(character.isspace() for character in text) else repr(text)


class JobContext:
    """One attempt of a run, as the job sees it.

    Args:
        definition: The job.
        run_id: The run; the same for all its attempts.
        attempt: 1 for the first.
        scheduled_for: The slot, in the job's zone; for other runs the instant at which they were created.
        triggered_by: Who wanted the run, such as ``System`` or ``Manual (dana)``.
        journal: Where its notes go.
    """

    def __init__(
        self,
        definition: JobDefinition,
        *,
        run_id: int,
        attempt: int,
        scheduled_for: datetime,
        triggered_by: str,
        journal: Journal,
    ) -> None:
        self.definition = definition
        self.run_id = run_id
        self.attempt = attempt
        self.scheduled_for = scheduled_for
        self.triggered_by = triggered_by
        self.log = RunLog(journal, job=definition.name, run_id=run_id, attempt=attempt)
        self._journal = journal
        self._steps: set[str] = set()
        self._stop: StopReason | None = None
        self._stop_message = ""
        self._noticed = False

    @property
    def job_name(self) -> str:
        """The job's stable key."""
        return self.definition.name

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
        """Say how far the run is; shown live. As cheap as it looks: only the newest is kept, a few times a second.

        Args:
            done: How much is done, in any unit.
            total: How much there is, if known.
        """
        self._journal.progress(done, total)

    @overload
    async def step(
        self, name: str, f: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def step(
        self, name: str, f: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    async def step(self, name: str, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Do ``f(*args, **kwargs)`` once in the life of the run, whatever happens to the process.

        The result is kept when ``f`` returns; a later attempt gets it from there and does not call ``f``. What comes back is
        always what was kept, read as the return type ``f`` declares. A plain function runs in a thread.

        Args:
            name: Its own name within the job, at most 200 characters.
            f: What to do, plain or async.
            *args: What it gets.
            **kwargs: What it gets by name.

        Raises:
            StepError: the name was used before, or the result cannot be kept as JSON or read back.
        """
        self._begin_step(name)
        kept = await asyncio.wrap_future(self._journal.find_step(name))
        if kept is not None:
            return _decode(name, f, kept)
        started = time.monotonic()
        if _is_async(f):
            result = await f(*args, **kwargs)
        else:
            result = await asyncio.to_thread(f, *args, **kwargs)
        encoded, decoded = _encode(name, f, result)
        taken = round((time.monotonic() - started) * 1000)
        await asyncio.wrap_future(self._journal.keep_step(name, encoded, taken))
        return decoded

    def step_sync(self, name: str, f: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """:meth:`step` for jobs whose ``execute`` is plain."""
        self._begin_step(name)
        kept = self._journal.find_step(name).result()
        if kept is not None:
            return cast("T", _decode(name, f, kept))
        started = time.monotonic()
        encoded, decoded = _encode(name, f, f(*args, **kwargs))
        taken = round((time.monotonic() - started) * 1000)
        self._journal.keep_step(name, encoded, taken).result()
        return cast("T", decoded)

    def tell_to_stop(self, reason: StopReason, message: str) -> None:
        """Make :attr:`cancelled` true. The first reason stays."""
        if self._stop is None:
            self._stop_message = message
            self._stop = reason

    @property
    def cancel_message(self) -> str:
        """:attr:`cancel_reason` for the executor; empty while the run should not stop."""
        return self._stop_message

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the run was told to stop, for the executor."""
        return self._stop

    @property
    def noticed(self) -> bool:
        """Whether the job has read that it should stop."""
        return self._noticed

    def _begin_step(self, name: str) -> None:
        if not 0 < len(name) <= 200:  # noqa: PLR2004 - the width of c_JobStep.Name
            raise StepError(f"a step's name has 1 to 200 characters: {name!r}")
        if name in self._steps:
            raise StepError(
                f"step {name!r} was already done in this attempt: each needs its own name"
            )
        self._steps.add(name)


def _is_async(f: Callable[..., Any]) -> bool:
    while isinstance(f, functools.partial):
        f = f.func
    return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(type(f).__call__)


def _encode(name: str, f: Callable[..., Any], result: Any) -> tuple[str, Any]:
    """The result as JSON, and as it comes back from there."""
    adapter = _adapter(f)
    try:
        encoded = (adapter.dump_json(result) if adapter else to_json(result)).decode()
    except (ValueError, TypeError) as error:
        raise StepError(f"the result of step {name!r} cannot be kept as JSON: {error}") from error
    decoded = _decode(name, f, encoded)
    if adapter is None and decoded != (list(result) if isinstance(result, tuple) else result):
        raise StepError(
            f"step {name!r} returned {type(result).__name__}, which comes back from JSON as something else: "
            f"give {getattr(f, '__qualname__', f)!s} a return type (a dataclass, a pydantic model, list[…], datetime, …)"
        )
    return encoded, decoded


def _decode(name: str, f: Callable[..., Any], encoded: str) -> Any:
    adapter = _adapter(f)
    try:
        return adapter.validate_json(encoded) if adapter else from_json(encoded)
    except pydantic.ValidationError as error:
        raise StepError(f"what step {name!r} kept does not fit its return type: {error}") from error


def _adapter(f: Callable[..., Any]) -> pydantic.TypeAdapter[Any] | None:
    """What writes and reads the declared return type of ``f``; ``None`` when it declares none that can be kept."""
    while isinstance(f, functools.partial):
        f = f.func
    f = inspect.unwrap(f)
    try:
        kind = typing.get_type_hints(f).get("return", Any)
        return None if kind is Any else pydantic.TypeAdapter(kind)
    except (NameError, TypeError, AttributeError, pydantic.PydanticUserError):
        return None
