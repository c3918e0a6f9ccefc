"""The tables of the scheduler and of its engine, brought up to date before anything starts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .core.database_url import url_of
from .db.migrations.upgrade import require_current, upgrade
from .kernel.engine.factory import schema_steps
from .settings import Settings


def migrate(url: Any = None) -> str:
    """Bring the scheduler's tables up to date, and return the revision they have then.

    Args:
        url: The database: a URL, an engine of SQLAlchemy's, or a connection of Django. Default: what the settings say.

    Raises:
        SchemaError: a newer release has changed the tables.
    """
    if url is None:
        url = Settings().database_url
    address = url if isinstance(url, str | sa.URL) else url_of(url)
    return upgrade(address, also=schema_steps(address))


def prepare(settings: Settings) -> str:
    """Bring the tables up to date, or only look whether they are, as ``migrate_on_start`` says; returns their revision.

    Raises:
        SchemaError: they are not those that this release works with.
    """
    if not settings.migrate_on_start:
        return require_current(settings.database_url)
    return migrate(settings.database_url)
