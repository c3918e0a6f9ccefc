"""The checks of a PostgreSQL server, in the order of the report."""

from __future__ import annotations

from . import databases
from .findings import Check

SERVER_CHECKS: dict[str, Check] = {
    "server": databases.check_postgresql,
    "pooler": lambda connection: databases.pooler(connection.engine),
}
"""Checks that need no table of the scheduler."""
TABLE_CHECKS: dict[str, Check] = {
    "size": databases.tables,
    "write": databases.write_postgresql,
    "sequences": databases.sequences,
}
"""Checks of the scheduler's tables."""
