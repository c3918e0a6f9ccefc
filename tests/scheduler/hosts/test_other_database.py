"""A session on a database without the scheduler's tables is refused in words, and its transaction goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rt_tools import QUICK
from sessions_rig import POSTGRESQL, SQLITE, address, django_connection, ended, execute
from targcc_scheduler import Client, Scheduler, Settings, job
from targcc_scheduler.core.errors import OtherDatabase
from targcc_scheduler.db.caller_database import Home


@job()
async def greet(name: str) -> str:
    """Return without a write."""
    return name


MAKE = "CREATE TABLE visits (patient text)"
WRITE = "INSERT INTO visits VALUES ('Dana')"


def visits(url: str) -> int:
    engine = sa.create_engine(address(url, "+psycopg" if "postgresql" in url else ""))
    with engine.connect() as connection:
        number = connection.scalar(sa.text("SELECT count(*) FROM visits"))
    engine.dispose()
    return number or 0


async def refused(own: str, other: str, open_session: Callable[[str], Any]) -> str:
    """Enqueue with a session on another database, write with the session, commit, and return the message of the refusal."""
    scheduler = Scheduler(Settings(database_url=own, **QUICK), jobs_package=__name__)
    try:
        async with open_session(other) as session:
            await execute(session, MAKE)
            await execute(session, WRITE)
            with pytest.raises(OtherDatabase) as caught:
                await scheduler.enqueue("greet", session=session, name="Dana")
            await execute(session, WRITE)
            await ended(session, "commit")
    finally:
        await scheduler.stop()
    assert visits(other) == 2
    return str(caught.value)


@pytest.mark.parametrize("kind", POSTGRESQL)
async def test_a_database_of_postgresql_without_our_tables(
    kind, migrated_postgresql_url, postgresql_url
):
    message = await refused(migrated_postgresql_url, postgresql_url, POSTGRESQL[kind])

    names = [sa.make_url(url).database for url in (postgresql_url, migrated_postgresql_url)]
    assert message.index(f"/{names[0]}, which has no") < message.index(f"/{names[1]}: set")
    assert "set TARGCC_DATABASE_URL to the session's database" in message


@pytest.mark.parametrize("kind", ["async session of asyncpg", "session", "psycopg"])
async def test_a_scheduler_on_sqlite_and_a_session_on_postgresql(
    kind, migrated_sqlite_url, postgresql_url
):
    """As in an application on PostgreSQL whose scheduler kept its default database."""
    message = await refused(migrated_sqlite_url, postgresql_url, POSTGRESQL[kind])

    assert "session= is on postgresql://" in message
    assert f"the scheduler is on {migrated_sqlite_url}: set TARGCC_DATABASE_URL" in message


@pytest.mark.sqlite  # a file of SQLite
@pytest.mark.parametrize("kind", SQLITE)
async def test_a_file_of_sqlite_without_our_tables(kind, migrated_sqlite_url, tmp_path: Path):
    other = f"sqlite:///{(tmp_path / 'visits.db').as_posix()}"

    message = await refused(migrated_sqlite_url, other, SQLITE[kind])

    assert message.startswith(f"session= is on {other}, which has no tables of the scheduler; ")


def test_a_view_of_django_on_another_database(migrated_sqlite_url, postgresql_url):
    connection = django_connection(postgresql_url)
    connection.set_autocommit(False)
    settings = Settings(database_url=migrated_sqlite_url, **QUICK)
    with Client(Scheduler(settings, jobs_package=__name__)) as client:
        with pytest.raises(OtherDatabase, match=r"set TARGCC_DATABASE_URL"):
            client.enqueue("greet", session=connection, name="Dana")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    connection.close()


async def test_the_scheduler_s_own_database_before_its_tables(postgresql_url):
    """Without a migration at the start: the way out is another."""
    home = Home(postgresql_url)
    async with POSTGRESQL["async connection"](postgresql_url) as connection:
        with pytest.raises(OtherDatabase, match=r"no tables of the scheduler yet: targcc migrate"):
            await home.enter(connection)


async def test_the_tables_are_looked_up_once_for_a_database(migrated_postgresql_url):
    """Each call costs no statement more after the first."""
    home, statements = Home(migrated_postgresql_url), []
    async with POSTGRESQL["async session"](migrated_postgresql_url) as session:
        connection = await session.connection()
        sa.event.listen(
            connection.sync_connection,
            "before_cursor_execute",
            lambda *args: statements.append(args[2]),
        )
        for _ in range(3):
            await home.enter(connection)
    assert len([text for text in statements if "to_regclass" in text]) == 1
