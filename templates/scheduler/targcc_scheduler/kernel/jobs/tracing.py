"""Whether runs have spans. Nothing of OpenTelemetry is imported before that is turned on."""

from __future__ import annotations

import sys

from .hooks import Hooks


class Tracing:
    """Makes the spans of a process, once it is turned on."""

    def __init__(self) -> None:
        self.is_on = False

    def turn_on(self, hooks: Hooks) -> None:
        """Let runs that are created from now on have a span, and each attempt, outside all hooks."""
        from . import spans

        self.is_on = True
        hooks.begin_with(spans.process)

    def created(self, job: str, queue: str) -> str | None:
        """Make the span of a run that is created here and now; its W3C ``traceparent``. ``None`` where there are no spans."""
        if not self.is_on:
            return None
        from . import spans

        return spans.create(job, queue)

    def flush(self) -> None:
        """Let what was recorded go out, as the process is about to end; it takes a second at most."""
        if (spans := sys.modules.get(f"{__package__}.spans")) is not None:
            spans.flush()


TRACING = Tracing()
"""Of this process."""


def trace_id_of(traceparent: str | None) -> str | None:
    """The id of the trace that a ``traceparent`` names."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) > 1 else None
