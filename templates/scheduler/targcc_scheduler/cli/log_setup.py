"""Set up the log of the process."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TextIO

from ..core.masking import mask, masked
from ..settings import Settings

# JSON format for records of standard library loggers: an object per line, as structlog writes objects.

_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""Attributes of every log record; all further attributes come from ``extra``."""


class JsonFormatter(logging.Formatter):
    """Format a record as JSON: ``event``, ``level``, ``logger``, the ``extra`` values, ``timestamp`` in UTC, the traceback as ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with secrets masked in every part."""
        entry: dict[str, Any] = {
            "event": mask(record.getMessage()),
            "level": record.levelname.lower(),
            "logger": record.name,
            **masked({name: value for name, value in vars(record).items() if name not in _USUAL}),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat()[:-6] + "Z",
        }
        if record.stack_info:
            entry["stack_info"] = mask(record.stack_info)
        if record.exc_info:
            entry["exception"] = mask(record.exc_text or self.formatException(record.exc_info))
        return json.dumps(entry, default=str)


# Log of the process: readable lines on a terminal, a JSON object per line elsewhere.

_CHATTY = (
    *("aiosmtplib", "aiosqlite", "alembic", "asyncio", "httpx", "httpcore"),
    *("procrastinate", "psycopg", "sqlalchemy", "uvicorn"),
)
"""Loggers of libraries, limited to WARNING: at DEBUG some log addresses, statement parameters and rows."""


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send every logger of the process, structlog's too, to ``stream`` (default: stderr) in the format of the settings.

    JSON needs no structlog, whose import takes some MiB. If the format is JSON, structlog is set up when a job imports structlog.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not stream.isatty()
    )

    def use_structlog() -> None:
        from .log_structlog import configure_structlog

        handler.setFormatter(configure_structlog(as_json=as_json, colors=stream.isatty()))

    if as_json and "structlog" not in sys.modules:
        handler.setFormatter(JsonFormatter())
        _WhenImported.expect("structlog", use_structlog)
    else:
        use_structlog()
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


class _WhenImported(MetaPathFinder):
    """Import hook that calls ``action`` a single time, right after the first import of a module.

    Args:
        name: Name of the module.
        action: Function to call.
    """

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name = name
        self._action = action

    @classmethod
    def expect(cls, name: str, action: Callable[[], None]) -> None:
        """Register an action for a module and replace an earlier action for the same module."""
        sys.meta_path[:] = [
            finder
            for finder in sys.meta_path
            if not (isinstance(finder, cls) and finder.name == name)
        ]
        sys.meta_path.insert(0, cls(name, action))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec with a loader that also calls the action; ``None`` for any other module."""
        del path, target
        if fullname != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_act(module: ModuleType) -> None:
                load(module)
                self._action()

            spec.loader.exec_module = load_and_act  # type: ignore[method-assign]  # this loader is for this module
        return spec
