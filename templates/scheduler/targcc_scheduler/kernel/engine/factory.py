"""Choose the engine for a database URL. ``port.py`` defines the interface of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from ...core.clock import Clock
from ...db.dialects import known
from ...db.engines import SchemaStep
from ...settings import Settings
from .port import Engine
from .sqlite import EmbeddedEngine


def make_queue_engine(
    settings: Settings,
    clock: Clock,
    database: AsyncEngine,
    aging: Mapping[str, int] | None = None,
) -> Engine:
    """Build the engine for the database URL.

    Args:
        settings: Contains the database URL and the poll interval.
        clock: Tells when a run is due.
        database: The scheduler's database, for the engine's own transactions.
        aging: For queues with ageing, the waiting seconds that count as one priority point.
    """
    url = make_url(settings.database_url)
    dialect = known.for_url(url)
    if dialect.has_lease:
        from .leased import LeasedEngine

        return LeasedEngine(database, clock, poll_seconds=settings.poll_seconds, aging=aging)
    if not dialect.has_queue:
        file = dialect.file(url)
        return EmbeddedEngine(file, clock, poll_seconds=settings.poll_seconds, aging=aging)
    from .procrastinate import ProcrastinateEngine  # installed only with the extra

    poll = timedelta(seconds=settings.poll_seconds)
    return ProcrastinateEngine(database, clock, poll=poll, aging=aging)


def schema_steps(url: str | URL) -> tuple[SchemaStep, ...]:
    """Return the schema steps that create the engine's tables for a database URL."""
    if not known.for_url(url).has_queue:
        return ()
    from . import procrastinate_schema  # installed only with the extra

    return (SchemaStep(procrastinate_schema.is_current, procrastinate_schema.install),)
