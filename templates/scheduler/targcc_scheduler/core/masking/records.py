"""Masking of the scheduler's own log records, jobs' lines among them, before any handler has them: in an app of somebody else too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .known import mask

_OURS = "targcc"
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
            record.msg = mask(record.getMessage())
        except (TypeError, ValueError, KeyError):  # an argument too many, which logging reports
            return record
        record.args = ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = mask(_formatter.formatException(record.exc_info))
            record.exc_info = (MaskedTraceback, MaskedTraceback(record.exc_text), None)
        if record.stack_info:
            record.stack_info = mask(record.stack_info)
        return record


def mask_our_records() -> None:
    """Mask the scheduler's records from now on, whatever makes the process's records already."""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, MaskingFactory):
        logging.setLogRecordFactory(MaskingFactory(factory))
