"""The log of one run, and the protocol of what records a run's lines, progress and steps."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import Future
from typing import Any, Protocol

from ..core.kept.limits import LONGEST_LOG_LINE, LONGEST_LOG_VALUE
from ..core.kept.texts import kept_text, text_of
from ..core.kept.tracebacks import stack_trace
from .files.file import File

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
