"""The log of the process: readable lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ..core.secrets import mask
from ..settings import Settings

_CHATTY = ("alembic", "asyncio", "httpx", "httpcore", "procrastinate", "uvicorn")


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send every logger of the process, structlog's too, to ``stream`` (default: stderr) in the format the settings say."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not stream.isatty()
    )
    last: list[Processor] = (
        [structlog.processors.JSONRenderer(default=str)]
        if as_json
        # Plain: a pretty traceback shows local variables, and with them secrets.
        else [_console(colors=stream.isatty())]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_secrets,
                *last,
            ],
        )
    )
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )


def _without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask what looks like a password or a token, from any logger."""
    for key in ("event", "exception"):
        if isinstance(event.get(key), str):
            event[key] = mask(event[key])
    return event
