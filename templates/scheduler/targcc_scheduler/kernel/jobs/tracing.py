"""Turn tracing on for runs. OpenTelemetry is not imported before tracing is on."""

from __future__ import annotations

import sys

from .hooks import Hooks


class Tracing:
    """Create a process's spans, while tracing is on."""

    def __init__(self) -> None:
        self.is_on = False

    def turn_on(self, hooks: Hooks) -> None:
        """Create a span for each new run and for each attempt from now on; an attempt's span encloses all hooks."""
        from . import spans

        self.is_on = True
        hooks.begin_with(spans.process)

    def created(self, job: str, queue: str) -> str | None:
        """Create the span for a new run; return its W3C ``traceparent``, or ``None`` while tracing is off."""
        if not self.is_on:
            return None
        from . import spans

        return spans.create(job, queue)

    def flush(self) -> None:
        """Export recorded spans before the process ends; takes at most one second."""
        if (spans := sys.modules.get(f"{__package__}.spans")) is not None:
            spans.flush()


TRACING = Tracing()
"""This process's tracing."""


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace id in a ``traceparent``; ``None`` without a ``traceparent``."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) > 1 else None
