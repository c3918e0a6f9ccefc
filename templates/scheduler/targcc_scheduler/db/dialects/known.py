"""The dialects the scheduler knows; that of a database is imported when there is one, as it takes some MiB."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import quoted_name

from .base import Dialect

_KNOWN = ("sqlite", "postgresql")
"""SQLAlchemy's names, and those of the modules here."""


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
    if name in _KNOWN:
        return _named(name).version_table
    return quoted_name("c_AlembicVersion", quote=False)


@cache
def _named(name: str) -> Dialect:
    if name not in _KNOWN:
        raise ValueError(f"the scheduler works on {' and '.join(_KNOWN)}, not on {name}")
    dialect: Dialect = import_module(f".{name}", __package__).DIALECT
    return dialect
