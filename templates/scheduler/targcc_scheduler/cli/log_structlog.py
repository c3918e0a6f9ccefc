"""Log format of structlog: readable lines, and JSON in processes whose jobs import structlog."""

from __future__ import annotations

import logging

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ..core.masking import MaskedTraceback, masked


def configure_structlog(*, as_json: bool, colors: bool) -> logging.Formatter:
    """Route structlog's loggers to the standard library's and return the formatter for both."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _with_masked_traceback,
            structlog.processors.format_exc_info,
            _without_secrets,
            # Plain tracebacks: a pretty traceback shows local variables, which may hold secrets.
            structlog.processors.JSONRenderer(default=str) if as_json else _console(colors=colors),
        ],
    )


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )


def _with_masked_traceback(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace ``exc_info`` by ``exception`` if the scheduler has stored a masked traceback as text."""
    exc_info = event.get("exc_info")
    if isinstance(exc_info, tuple) and isinstance(exc_info[1], MaskedTraceback):
        del event["exc_info"]
        event["exception"] = str(exc_info[1])
    return event


def _without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask secrets in every part of a log line, from any logger."""
    return {
        key: value if key == "_record" else masked({key: value})[key]
        for key, value in event.items()
    }
