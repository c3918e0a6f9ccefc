"""Derive the database URL from an application's open engine or connection."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import URL

STORES = {
    "sqlite": None,
    "postgresql": ("postgresql", "PostgreSQL"),
    "mssql": ("mssql", "SQL Server"),
}
"""The databases that can hold the scheduler's tables, by SQLAlchemy's name: the extra with the driver, and the name of the system for messages.

Everything else that depends on the database is in ``db/dialects/``.
"""
STORE_NAMES = "{}, {} or {}".format(*STORES)
"""The names of :data:`STORES`, for messages."""
_OF_DJANGO = {"assume_role", "isolation_level", "pool", "server_side_binding"}
"""Options that Django reads itself; the driver does not accept them."""


def url_of(database: Any) -> URL:
    """Return the URL for the scheduler's own drivers.

    Args:
        database: An engine of SQLAlchemy, async or sync, or a connection of Django.

    Raises:
        ValueError: The database is in memory, or neither SQLite nor PostgreSQL.
    """
    if hasattr(database, "settings_dict"):
        return _of_django(database)
    url: URL = database.url
    url = url.set(drivername=url.get_backend_name())
    ssl = url.query.get("ssl")  # asyncpg's name for the option
    if ssl is None:
        return url
    return url.difference_update_query(["ssl"]).update_query_dict({"sslmode": ssl})


def _of_django(connection: Any) -> URL:
    settings, vendor = connection.settings_dict, connection.vendor
    if vendor == "sqlite":
        if connection.is_in_memory_db():
            raise ValueError(
                "the scheduler cannot share a database in memory: give that of the tests a file,"
                " such as DATABASES['default']['TEST'] = {'NAME': 'test.db'}"
            )
        return URL.create("sqlite", database=str(settings["NAME"]))
    if vendor != "postgresql":
        raise ValueError(
            f"the scheduler shares a database of Django in sqlite or postgresql, not {vendor}"
        )
    host, options = str(settings["HOST"]), settings.get("OPTIONS") or {}
    query = {name: str(value) for name, value in options.items() if name not in _OF_DJANGO}
    if host.startswith("/"):  # the folder of a Unix socket
        host, query["host"] = "", host
    return URL.create(
        "postgresql",
        username=settings["USER"] or None,
        password=settings["PASSWORD"] or None,
        host=host or None,
        port=int(settings["PORT"]) if settings["PORT"] else None,
        database=settings["NAME"],
        query=query,
    )
