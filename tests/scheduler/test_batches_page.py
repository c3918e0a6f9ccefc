"""Run the examples of docs/batches.md."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from targcc_scheduler import Scheduler, Settings, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.tables import job_run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "batches.md"


@job()
class InvoiceJob:
    async def execute(self, number: int) -> None: ...


@job()
class ReportJob:
    async def execute(self) -> None: ...


@job()
class CleanUpJob:
    async def execute(self) -> None: ...


@pytest.fixture
async def scheduler(migrated_sqlite_url):
    settings = Settings(database_url=migrated_sqlite_url, migrate_on_start=False)
    made = Scheduler(settings, jobs_package=__name__)
    yield made
    await made.stop()


async def test_the_examples_of_the_page_run(scheduler):
    names = {"InvoiceJob": InvoiceJob, "ReportJob": ReportJob, "CleanUpJob": CleanUpJob}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(example, str(PAGE), "exec"), names)
    batch_id = await names["close_month"](scheduler, range(3))
    assert await names["look_after"](scheduler, batch_id, SYSTEM) == (5, 5)
    async with scheduler.batch("years") as years:
        years.enqueue(InvoiceJob, number=1)
    async with scheduler.batch("month") as month:
        month.enqueue(InvoiceJob, number=2)
    await names["close_year"](scheduler, month, years.batch_id)
    query = sa.select(job_run.c.State).where(job_run.c.State == "awaiting")
    assert await scheduler.read(lambda db: db.scalar(query)) == "awaiting"
