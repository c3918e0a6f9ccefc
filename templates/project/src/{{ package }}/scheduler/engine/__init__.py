# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Engines make runs claimable, wake workers and call the executor. ``port.py`` says what an engine has to do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url

from ..clock import Clock
from ..settings import Settings
from .embedded import EmbeddedEngine
from .port import Engine


def make_queue_engine(settings: Settings, clock: Clock) -> Engine:
    """The engine that goes with the database URL.

    Args:
        settings: Names the database.
        clock: Tells when a run is due.
    """
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        return EmbeddedEngine(Path(url.database or ""), clock, poll_seconds=settings.poll_seconds)
    raise NotImplementedError(f"there is no engine for {url.get_backend_name()}")
