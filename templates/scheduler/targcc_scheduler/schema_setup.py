"""Upgrade the tables of the scheduler and its engine before anything starts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .core.database_url import url_of
from .db.migrations.upgrade import require_current, upgrade
from .kernel.engine.factory import schema_steps
from .settings import Settings


def migrate(url: Any = None) -> str:
    """Upgrade the scheduler's tables and return their new revision.

    Args:
        url: The database: a URL, an SQLAlchemy engine, or a Django connection. Default: the database of the settings.

    Raises:
        SchemaError: a newer release has changed the tables.
    """
    if url is None:
        url = Settings().database_url
    address = url if isinstance(url, str | sa.URL) else url_of(url)
    return upgrade(address, also=schema_steps(address))


def prepare(settings: Settings) -> str:
    """Upgrade the tables, or only check the revision if ``migrate_on_start`` is off; return the revision.

    Raises:
        SchemaError: the tables do not fit this release.
    """
    if not settings.migrate_on_start:
        return require_current(settings.database_url)
    return migrate(settings.database_url)
