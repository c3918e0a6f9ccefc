from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from acme_jobs.jobs.daily_sales_report import RECIPIENTS, DailySalesReportJob
from acme_jobs.scheduler import Settings, logged_job, metadata, run_job
from acme_jobs.services import Database, Mailer

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def mailer(tmp_path: Path) -> Mailer:
    return Mailer(Settings(smtp_host=""), tmp_path / "outbox")


class BrokenMailer(Mailer):
    """A mailer whose server cannot be reached."""

    async def send(self, *_arguments: Any, **_options: Any) -> None:
        raise ConnectionError("no mail server")


def add_run(database: Database, started: datetime, *, success: bool) -> None:
    row = {"JobName": "Other", "JobType": "Manual", "StartedAt": started, "Success": success}
    with database.engine.begin() as connection:
        connection.execute(sa.insert(logged_job), row)


async def test_mails_the_runs_of_yesterday(
    database: Database, mailer: Mailer, tmp_path: Path
) -> None:
    add_run(database, NOW - timedelta(days=1), success=True)
    add_run(database, NOW - timedelta(days=1), success=False)
    add_run(database, NOW - timedelta(days=3), success=False)

    outcome = await run_job(DailySalesReportJob(database, mailer), scheduled_for=NOW)

    assert outcome.result.ok
    (file,) = (tmp_path / "outbox").glob("*.eml")
    message = message_from_bytes(file.read_bytes(), policy=default)
    assert message["To"] == ", ".join(RECIPIENTS)
    (table,) = message.iter_attachments()
    assert (table.get_filename() or "").endswith(".csv")
    assert b"Other,2,1" in table.get_payload(decode=True)


async def test_sends_no_mail_after_a_day_without_runs(
    database: Database, mailer: Mailer, tmp_path: Path
) -> None:
    outcome = await run_job(DailySalesReportJob(database, mailer), scheduled_for=NOW)

    assert outcome.result.ok
    assert not (tmp_path / "outbox").exists()


async def test_a_retry_sends_no_second_mail(
    database: Database, mailer: Mailer, tmp_path: Path
) -> None:
    add_run(database, NOW - timedelta(days=1), success=True)
    job = DailySalesReportJob(database, mailer)
    first = await run_job(job, scheduled_for=NOW)

    await run_job(job, scheduled_for=NOW, attempt=2, steps=first.steps)

    assert len(list((tmp_path / "outbox").glob("*.eml"))) == 1


async def test_a_mail_error_fails_and_a_retry_sends_the_mail(
    database: Database, mailer: Mailer, tmp_path: Path
) -> None:
    add_run(database, NOW - timedelta(days=1), success=True)
    broken = BrokenMailer(Settings(smtp_host=""), tmp_path / "outbox")

    with pytest.raises(ConnectionError):
        await run_job(DailySalesReportJob(database, broken), scheduled_for=NOW)
    await run_job(DailySalesReportJob(database, mailer), scheduled_for=NOW, attempt=2)

    assert len(list((tmp_path / "outbox").glob("*.eml"))) == 1
