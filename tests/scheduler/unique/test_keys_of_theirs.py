"""Several keys on the application's connection: the keys exist if and only if its transaction commits."""

import pytest
import sqlalchemy as sa
from targcc_scheduler import job
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_run, job_unique

SEVERAL = [{"number": 1}, {"number": 2}]


@job(unique="number")
async def numbered(number: int) -> None:
    """Unique by its number."""


@pytest.fixture
def theirs(not_started):
    """Return a function that makes SQLAlchemy connections like an application, with these options."""
    url = sa.make_url(not_started.settings.database_url)
    made = []

    def connect(**options):
        engine = sa.create_engine(known.for_url(url).url(url, is_async=False), **options)
        made.append(engine)
        return engine.connect()

    yield connect
    for engine in made:
        engine.dispose()


async def counts(scheduler):
    """Return the number of keys and of runs."""

    async def look(db):
        tables = (job_unique, job_run)
        return [await db.scalar(sa.select(sa.func.count()).select_from(table)) for table in tables]

    return await scheduler.read(look)


async def test_keys_are_undone_with_a_transaction_that_they_begin(not_started, theirs):
    with theirs() as connection:
        await not_started.enqueue_many(numbered, SEVERAL, session=connection)
        connection.rollback()
    assert await counts(not_started) == [0, 0]


async def test_keys_are_taken_where_each_statement_commits_by_itself(not_started, theirs):
    with theirs(isolation_level="AUTOCOMMIT") as connection:
        first = await not_started.enqueue_many(numbered, SEVERAL, session=connection)
        again = await not_started.enqueue_many(numbered, SEVERAL, session=connection)
    assert again == first
    assert await counts(not_started) == [2, 2]
