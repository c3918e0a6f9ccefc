"""Select the dialect of a database. The dialect's module is imported at first use, because it takes some MiB."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import quoted_name

from .base import Dialect

_KNOWN = ("sqlite", "postgresql")
"""The names of the dialects in SQLAlchemy, and of the modules in this folder."""


def for_url(url: str | sa.URL) -> Dialect:
    """Return the dialect of a database URL, such as ``sqlite:///file.db`` or ``postgresql://…``.

    Raises:
        ValueError: The scheduler does not support this kind of database.
    """
    return _named(sa.make_url(url).get_backend_name())


def of(connection: AsyncConnection | AsyncEngine | sa.Connection | sa.Engine) -> Dialect:
    """Return the dialect of a connection or an engine."""
    return _named(connection.dialect.name)


def version_table(name: str) -> quoted_name:
    """Return the name of ``c_AlembicVersion`` on a database; also for databases with SQL scripts on which the scheduler does not run."""
    if name in _KNOWN:
        return _named(name).version_table
    return quoted_name("c_AlembicVersion", quote=False)


@cache
def _named(name: str) -> Dialect:
    if name not in _KNOWN:
        raise ValueError(f"the scheduler works on {' and '.join(_KNOWN)}, not on {name}")
    dialect: Dialect = import_module(f".{name}", __package__).DIALECT
    return dialect
