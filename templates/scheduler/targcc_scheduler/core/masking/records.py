"""Masking of the scheduler's own log records, jobs' lines among them, before any handler has them: in an app of somebody else too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .known import mask

_OURS = "targcc"
LONGEST = 40_000
"""Characters of the message, and of the traceback, of a record."""
_formatter = logging.Formatter()


class MaskedTraceback(Exception):  # noqa: N818 - a text in the place of an exception
    """What a log record had as an exception, as a text without secrets."""


class MaskingFactory:
    """Makes log records as ``before`` does; the texts in those of the scheduler are masked.

    A filter would not do: those of a logger are not asked about records of its children, and those of a handler belong to whoever made it.
    """

    def __init__(self, before: Callable[..., logging.LogRecord]) -> None:
        self._before = before

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """The record; the exception in it is a text, since the frames of its own hold values that nobody has masked."""
        record = self._before(*args, **kwargs)
        if str(record.name).partition(".")[0] != _OURS:  # ``makeLogRecord`` has no name yet
            return record
        try:
            record.msg = _shortened(mask(record.getMessage()))
        except (TypeError, ValueError, KeyError):  # an argument too many, which logging reports
            return record
        record.args = ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = _shortened(mask(_formatter.formatException(record.exc_info)))
            record.exc_info = (MaskedTraceback, MaskedTraceback(record.exc_text), None)
        if record.stack_info:
            record.stack_info = mask(record.stack_info)
        return record


def _shortened(text: str) -> str:
    """Return the beginning and the end of a long text: the error of a database holds its whole statement."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}… ({len(text) - LONGEST} more characters) …{text[-half:]}"


def mask_our_records() -> None:
    """Mask the scheduler's records from now on, whatever makes the process's records already."""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, MaskingFactory):
        logging.setLogRecordFactory(MaskingFactory(factory))
