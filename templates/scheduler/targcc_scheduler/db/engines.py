"""Create engines for the scheduler's database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from .dialects import known


@dataclass(frozen=True)
class SchemaStep:
    """Tables of another package that the scheduler needs, such as those of an engine.

    Args:
        is_current: Return whether the tables are up to date.
        install: Create or update the tables, in the transaction of the connection.
    """

    is_current: Callable[[sa.Connection], bool]
    install: Callable[[sa.Connection], None]


def make_engine(url: str | sa.URL) -> AsyncEngine:
    """Return the async engine for a database URL; the dialect chooses the driver.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://…``.
    """
    return known.for_url(url).make_engine(sa.make_url(url))


@contextlib.contextmanager
def sync_engine(url: str | sa.URL) -> Iterator[sa.Engine]:
    """Provide a sync engine for a few statements; its connections are closed at the end."""
    dialect = known.for_url(url)
    address = dialect.url(sa.make_url(url), is_async=False)
    engine = sa.create_engine(address, poolclass=sa.NullPool, hide_parameters=True)
    dialect.set_up(engine)
    try:
        yield engine
    finally:
        engine.dispose()
