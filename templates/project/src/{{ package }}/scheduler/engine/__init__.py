# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Engines make runs claimable, wake workers and call the executor. ``port.py`` says what an engine has to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from ..clock import Clock
from ..settings import Settings
from .embedded import EmbeddedEngine
from .port import Engine


def make_queue_engine(settings: Settings, clock: Clock, database: AsyncEngine) -> Engine:
    """The engine that goes with the database URL.

    Args:
        settings: Names the database.
        clock: Tells when a run is due.
        database: The scheduler's database, for what an engine does outside anybody's transaction.
    """
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        return EmbeddedEngine(Path(url.database or ""), clock, poll_seconds=settings.poll_seconds)
    from .procrastinate import ProcrastinateEngine  # there only with the extra

    poll = timedelta(seconds=settings.poll_seconds)
    return ProcrastinateEngine(database, clock, poll=poll)
