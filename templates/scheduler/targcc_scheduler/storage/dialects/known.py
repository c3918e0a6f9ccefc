"""The dialects the scheduler knows."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import quoted_name

from .base import Dialect
from .postgresql import PostgreSQLDialect
from .sqlite import SQLiteDialect

_KNOWN: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (SQLiteDialect(), PostgreSQLDialect())
}


def for_url(url: str | sa.URL) -> Dialect:
    """The dialect of a database URL, such as ``sqlite:///file.db`` or ``postgresql://…``.

    Raises:
        ValueError: the scheduler does not know this kind of database.
    """
    return _named(sa.make_url(url).get_backend_name())


def of(connection: AsyncConnection | AsyncEngine | sa.Connection | sa.Engine) -> Dialect:
    """The dialect of a connection or an engine."""
    return _named(connection.dialect.name)


def version_table(name: str) -> quoted_name:
    """The name of ``c_AlembicVersion`` on a database; there are scripts for more of them than the scheduler works on."""
    dialect = _KNOWN.get(name)
    return dialect.version_table if dialect else quoted_name("c_AlembicVersion", quote=False)


def _named(name: str) -> Dialect:
    if name not in _KNOWN:
        raise ValueError(f"the scheduler works on {' and '.join(_KNOWN)}, not on {name}")
    return _KNOWN[name]
