"""Select the dialect of a database. The dialect's module is imported at first use, because it takes some MiB."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import quoted_name

from ...core.database_url import STORES
from .base import Dialect

SCRIPTS = tuple(STORES)
"""The databases for which the migrations can be printed as SQL."""
WITH_ROLES = ("mssql",)
"""The databases whose administrators get a script of roles."""


def for_url(url: str | sa.URL) -> Dialect:
    """Return the dialect of a database URL, such as ``sqlite:///file.db`` or ``postgresql://…``.

    Raises:
        ValueError: The scheduler does not support this kind of database.
    """
    return named(sa.make_url(url).get_backend_name())


def of(connection: AsyncConnection | AsyncEngine | sa.Connection | sa.Engine) -> Dialect:
    """Return the dialect of a connection or an engine."""
    return named(connection.dialect.name)


def version_table(name: str) -> quoted_name:
    """Return the name of ``c_AlembicVersion`` on a database; also for databases with SQL scripts on which the scheduler does not run."""
    if name in STORES:
        return named(name).version_table
    return quoted_name("c_AlembicVersion", quote=False)


def as_script(name: str, text: str) -> str:
    """Return migrations that Alembic has printed for a database as a script for its tools; SQL Server's tools need more than the statements."""
    if name not in WITH_ROLES:
        return text
    from .mssql_script import as_script as tsql_script

    return tsql_script(text)


@cache
def named(name: str) -> Dialect:
    """Return the dialect with SQLAlchemy's name of a database.

    Raises:
        ValueError: The scheduler does not support this kind of database.
    """
    if name not in STORES:
        raise ValueError(f"the scheduler works on {' and '.join(STORES)}, not on {name}")
    dialect: Dialect = import_module(f".{name}", __package__).DIALECT
    return dialect
