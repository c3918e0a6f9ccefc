"""One JSON object a line, as structlog writes it, for records of the standard library's loggers."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from ..core.masking.structures import masked
from ..core.secrets import mask

_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record has; all else was given with ``extra``."""


class JsonFormatter(logging.Formatter):
    """``event``, ``level``, ``logger``, what was given with ``extra``, ``timestamp`` in UTC, and the traceback as ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; secrets in any part of it are masked."""
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
