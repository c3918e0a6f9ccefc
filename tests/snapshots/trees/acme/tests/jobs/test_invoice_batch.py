from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from acme_jobs.jobs import invoice_batch as job_module
from acme_jobs.jobs.invoice_batch import INVOICES, InvoiceBatchJob
from acme_jobs.scheduler import run_job
from acme_jobs.services import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    INVOICES.create(database.engine)
    yield database
    database.close()


def add(database: Database, *amounts: int) -> None:
    rows = [
        {"Number": f"A-{number}", "Amount": Decimal(amount)}
        for number, amount in enumerate(amounts, start=1)
    ]
    with database.engine.begin() as connection:
        connection.execute(sa.insert(INVOICES), rows)


def waiting(database: Database) -> list[str]:
    query = sa.select(INVOICES.c.Number).where(INVOICES.c.PostedAt.is_(None))
    with database.engine.begin() as connection:
        return list(connection.scalars(query))


async def test_posts_everything_in_chunks(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "CHUNK", 2)
    add(database, 10, 20, 30)

    outcome = await run_job(InvoiceBatchJob(database))

    assert outcome.result.metadata["posted"] == 3
    assert waiting(database) == []
    assert outcome.progress == (3, 3)


async def test_a_refused_item_does_not_stop_the_batch(database: Database) -> None:
    add(database, 10, -5, 30)

    outcome = await run_job(InvoiceBatchJob(database))

    assert not outcome.result.ok
    assert "A-2" in outcome.result.message
    assert waiting(database) == ["A-2"]


async def test_a_retry_skips_finished_steps(database: Database) -> None:
    add(database, 10, 20)

    steps = {"find": [1, 2], "post 1-2": ["A-1: seen before"]}
    outcome = await run_job(InvoiceBatchJob(database), attempt=2, steps=steps)

    assert "A-1: seen before" in outcome.result.message
    assert waiting(database) == ["A-1", "A-2"]


async def test_succeeds_without_open_items(database: Database) -> None:
    outcome = await run_job(InvoiceBatchJob(database))

    assert outcome.result.ok


async def test_a_second_run_posts_only_new_items(database: Database) -> None:
    add(database, 10, 20)
    await run_job(InvoiceBatchJob(database))
    add(database, 30)

    outcome = await run_job(InvoiceBatchJob(database))

    assert outcome.result.metadata["posted"] == 1
