from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from golden_jobs.jobs.old_rows import OldRowsJob
from golden_jobs.scheduler import job_log_line, metadata, run_job
from golden_jobs.services import Database

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
AGES = [1, 29, 31, 200, 400]  # in days


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    metadata.create_all(database.engine)
    line = {"RunId": 1, "Attempt": 1, "Level": "info", "Message": "a line"}
    lines = [line | {"At": NOW - timedelta(days=age)} for age in AGES]
    with database.engine.begin() as connection:
        connection.execute(sa.insert(job_log_line), lines)
    yield database
    database.close()


def remaining(database: Database) -> list[int]:
    with database.engine.begin() as connection:
        return [(NOW - at).days for at in connection.scalars(sa.select(job_log_line.c.At))]


async def test_deletes_old_rows_chunk_by_chunk(database: Database) -> None:
    outcome = await run_job(OldRowsJob(database), scheduled_for=NOW, older_than_days=30, chunk=2)

    assert outcome.result.metadata["deleted"] == 3
    assert remaining(database) == [1, 29]
    assert outcome.progress == (3, 3)


async def test_a_dry_run_only_counts(database: Database) -> None:
    outcome = await run_job(
        OldRowsJob(database), scheduled_for=NOW, older_than_days=30, dry_run=True
    )

    assert outcome.result.message.startswith("3 rows")
    assert remaining(database) == AGES


async def test_refuses_to_delete_everything(database: Database) -> None:
    outcome = await run_job(OldRowsJob(database), scheduled_for=NOW, older_than_days=0)

    assert not outcome.result.ok
    assert remaining(database) == AGES


async def test_a_second_run_deletes_nothing(database: Database) -> None:
    job = OldRowsJob(database)
    await run_job(job, scheduled_for=NOW, older_than_days=30)

    outcome = await run_job(job, scheduled_for=NOW, older_than_days=30)

    assert outcome.result.metadata["deleted"] == 0


async def test_an_empty_table_is_a_success(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.delete(job_log_line))

    outcome = await run_job(OldRowsJob(database), scheduled_for=NOW)

    assert outcome.result.message == "0 rows deleted"
