"""What both tests of hybrid mode have in common: an old database, and a scheduler beside it."""

import pytest
import sqlalchemy as sa
from rt_tools import QUICK
from targcc_scheduler import Scheduler, Settings


class OldDatabase:
    """An old server's database, in SQLite or PostgreSQL, with its tables."""

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


def broken_jobs(found):
    """Why jobs of a reading, or of a scheduler, cannot run, by where they stand."""
    return {one.module: one.error for one in found.broken}


@pytest.fixture
def old_options():
    """What the settings say of the old server, besides its URL."""
    return {}


@pytest.fixture
def settings_of(database, old_options):
    """Settings for an old database."""

    def make(old, **more):
        options = {"legacy_url": old.url, "legacy_poll_seconds": 0.05, **old_options, **QUICK}
        return Settings(_env_file=None, database_url=database.url, **(options | more))

    return make


@pytest.fixture
async def start(settings_of):
    """Starts a scheduler beside an old database."""
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
    """Nobody is told."""
