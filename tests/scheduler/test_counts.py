"""Stored counts are compared with their rows: by the daily upkeep, which logs a difference, and by ``targcc doctor``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from guarantee_rig import Ledger, schedulers, until
from targcc_scheduler import Scheduler, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.tables import job_batch, job_limit, job_stat
from targcc_scheduler.kernel import counts


@job()
async def book(number: int) -> None:
    """Member of a batch."""


@job(limit={"key": "number", "running": 2})
async def send(number: int) -> None:  # noqa: ARG001 - the key of the limit
    """Run under a limit."""
    await asyncio.Event().wait()


@pytest.fixture
async def scheduler(migrated_url: str) -> AsyncIterator[Scheduler]:
    async with schedulers(migrated_url, __name__) as make:
        yield make()


@pytest.fixture
def ledger(migrated_url: str) -> Ledger:
    return Ledger(migrated_url)


async def different(scheduler: Scheduler) -> list[str]:
    now = scheduler.clock.now()
    return [str(item) for item in await scheduler.read(lambda db: counts.differences(db, now))]


async def nested(scheduler: Scheduler) -> int:
    """Create a batch with two runs and an inner batch."""
    async with scheduler.batch("outer") as outer:
        outer.enqueue_many(book, [{"number": 1}, {"number": 2}])
        async with outer.batch("inner") as inner:
            inner.enqueue(book, number=3)
    return outer.batch_id


async def test_a_sound_database_has_no_differences(scheduler):
    batch_id = await nested(scheduler)
    assert await different(scheduler) == []
    await scheduler.start(schedule=False)
    run_id = await scheduler.enqueue(book, number=4)
    assert await scheduler.wait(run_id, 30) == "succeeded"
    await scheduler.delete(run_id, by=SYSTEM)
    query = sa.select(job_batch.c.State).where(job_batch.c.Id == batch_id)
    await until(
        lambda: Ledger(scheduler.settings.database_url).rows(query)[0].State != "running", "end"
    )
    assert await different(scheduler) == []


async def test_the_upkeep_logs_a_count_that_differs(scheduler, ledger, caplog):
    batch_id = await nested(scheduler)
    ledger.change(sa.update(job_batch).where(job_batch.c.Id == batch_id).values(Pending=7, Total=2))
    with caplog.at_level(logging.WARNING, "targcc.node.pruner"):
        await scheduler.prune(days=30)
    assert f"batch {batch_id} counts 7 pending members, its rows are 3" in caplog.text
    assert f"batch {batch_id} counts 2 members, its rows are 3" in caplog.text


async def test_statistics_that_lack_a_success_differ(scheduler, ledger):
    await scheduler.start(schedule=False)
    assert await scheduler.wait(await scheduler.enqueue(book, number=1), 30) == "succeeded"
    ledger.change(sa.delete(job_stat))
    [text] = await different(scheduler)
    assert text.startswith("the statistics of Book since ")
    assert text.endswith("counts 0 successes, its rows are 1")


@pytest.mark.usefixtures("no_sweeps")
async def test_a_limit_that_more_runs_take_than_it_has_differs(scheduler, ledger):
    await scheduler.start(schedule=False)
    for run_id in await scheduler.enqueue_many(send, [{"number": 1}] * 2):
        await until(lambda run_id=run_id: ledger.run(run_id).State == "running", "start")
    assert await different(scheduler) == []
    ledger.change(sa.update(job_limit).values(Most=1))
    [text] = await different(scheduler)
    assert text.startswith("limit ")
    assert text.endswith("counts 1 places, its rows are 2")


@pytest.mark.slow
async def test_the_doctor_names_a_wrong_count_and_repairs_it(scheduler, ledger, monkeypatch):
    batch_id = await nested(scheduler)
    is_batch = job_batch.c.Id == batch_id
    ledger.change(sa.update(job_batch).where(is_batch).values(Pending=1))
    monkeypatch.setenv("TARGCC_DATABASE_URL", ledger.url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", __name__)

    async def doctor(*options: str) -> dict[str, list[dict[str, str]]]:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["doctor", "--json", *options])
        findings: dict[str, list[dict[str, str]]] = {}
        for finding in json.loads(result.output):
            findings.setdefault(finding["check"], []).append(finding)
        return findings

    [finding] = (await doctor())["counts"]
    assert finding["what"] == f"batch {batch_id} counts 1 pending members, its rows are 3"
    assert "targcc doctor --repair" in finding["advice"]
    assert ledger.rows(sa.select(job_batch.c.Pending).where(is_batch)) == [(1,)]
    findings = await doctor("--repair")
    assert "counts" not in findings
    assert findings["repair"][0]["what"].startswith("corrected: batch")
    assert ledger.rows(sa.select(job_batch.c.Pending).where(is_batch)) == [(3,)]
