"""Shared helpers of both hybrid mode tests: an old database and a scheduler beside it."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from rt_tools import QUICK
from targcc_scheduler import Scheduler, Settings


class OldDatabase:
    """Database of an old server, in SQLite or PostgreSQL, with its tables."""

    def __init__(self, url, tables, kinds):
        self.url = url
        self.kind = sa.make_url(url).get_backend_name()
        self.engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        for statement in tables.format(**kinds[self.kind]).split(";\n"):
            if statement.strip():
                self.execute(statement)

    def execute(self, sql):
        with self.engine.begin() as connection:
            connection.exec_driver_sql(sql)


def ago(minutes):
    """Return an instant as the scheduler's tables have it."""
    return f"{datetime.now(UTC) - timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S.%f}"


def broken_jobs(found):
    """Map the place of each broken job to its error."""
    return {broken.module: broken.error for broken in found.broken}


@pytest.fixture
def old_options():
    """Return the settings for the old server besides its URL."""
    return {}


@pytest.fixture
def settings_of(database, old_options):
    """Return a function that makes settings for an old database."""

    def make(old, **more):
        options = {"legacy_url": old.url, "legacy_poll_seconds": 0.05, **old_options, **QUICK}
        return Settings(_env_file=None, database_url=database.url, **(options | more))

    return make


@pytest.fixture
async def start(settings_of):
    """Return a function that starts a scheduler beside an old database."""
    made = []

    async def started(old, *, options=None, **settings):
        scheduler = Scheduler(
            settings_of(old, **settings), jobs_package="hybrid_jobs.jobs", notify=_nobody
        )
        made.append(scheduler)
        await scheduler.start(**(options or {}))
        return scheduler

    yield started
    for scheduler in made:
        await scheduler.stop()


async def _nobody(event):
    """Send no alerts."""
