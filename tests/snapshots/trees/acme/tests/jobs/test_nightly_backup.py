import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from acme_jobs.jobs.nightly_backup import NightlyBackupJob
from acme_jobs.scheduler import run_job
from acme_jobs.services import Database

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///shop.db")
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE Orders (Total INTEGER)"))
        connection.execute(sa.text("INSERT INTO Orders VALUES (42)"))
    yield database
    database.close()


def backups() -> list[str]:
    return sorted(path.name for path in Path("backups").iterdir())


async def test_the_backup_holds_the_data(database: Database) -> None:
    outcome = await run_job(NightlyBackupJob(database), scheduled_for=NOW)

    assert outcome.result.ok
    assert backups() == ["shop-20260302-060000.db"]
    with closing(sqlite3.connect("backups/shop-20260302-060000.db")) as copy:
        assert copy.execute("SELECT Total FROM Orders").fetchall() == [(42,)]


async def test_only_the_newest_are_kept(database: Database) -> None:
    Path("backups").mkdir()
    Path("backups/other-20200101-000000.db").touch()

    for day in range(4):
        at = NOW + timedelta(days=day)
        await run_job(NightlyBackupJob(database), scheduled_for=at, keep=2)

    assert backups() == [
        "other-20200101-000000.db",
        "shop-20260304-060000.db",
        "shop-20260305-060000.db",
    ]


async def test_a_missing_database_is_an_error(database: Database) -> None:
    job = NightlyBackupJob(database)
    job.url = sa.make_url("sqlite:///nowhere.db")

    with pytest.raises(sqlite3.OperationalError):
        await run_job(job, scheduled_for=NOW)

    assert not any(name.endswith(".db") for name in backups())


async def test_fails_for_a_database_that_has_its_own_tools(database: Database) -> None:
    job = NightlyBackupJob(database)
    job.url = sa.make_url("mssql+mssqlpython://server/shop")

    outcome = await run_job(job, scheduled_for=NOW)

    assert outcome.result.message == "Back up mssql with its own tools"


async def test_a_retry_replaces_its_backup(database: Database) -> None:
    for attempt in (1, 2):
        await run_job(NightlyBackupJob(database), scheduled_for=NOW, attempt=attempt)

    assert backups() == ["shop-20260302-060000.db"]


async def test_an_empty_database_is_backed_up_too(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE Orders"))

    outcome = await run_job(NightlyBackupJob(database), scheduled_for=NOW)

    assert outcome.result.ok


async def test_refuses_to_keep_no_backup(database: Database) -> None:
    outcome = await run_job(NightlyBackupJob(database), scheduled_for=NOW, keep=0)

    assert not outcome.result.ok
    assert not Path("backups").exists()
