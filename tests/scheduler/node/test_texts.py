"""Nodes index the texts of runs that ended, whatever else they do."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import JobContext, Scheduler, job
from targcc_scheduler.queries.finding import page
from targcc_scheduler.queries.finding.filters import RunFilter
from targcc_scheduler.search.terms import only
from targcc_scheduler.storage.texts import keeping


@job()
async def speak(ctx: JobContext, n: int) -> str:  # noqa: ARG001 - a job takes its context
    return f"a porcupine, number {n}"


async def waits(db: AsyncConnection) -> int:
    return (await keeping.look(db, datetime.now(UTC))).waits


async def test_a_node_indexes_what_ended(scheduler: Scheduler, monkeypatch):
    ids = [await scheduler.enqueue(speak, n=n) for n in range(3)]
    for one in ids:
        await scheduler.wait(one, 30)
    async with asyncio.timeout(30):
        while await scheduler.read(waits):  # noqa: ASYNC110 - the database says it
            await asyncio.sleep(0.02)
    monkeypatch.setattr(page, "_LOOKED_AT", 1)
    wanted = RunFilter(search=only(text="porcupine"))
    found = await scheduler.read(lambda db: page.list_runs(db, wanted))
    assert [run.id for run in found.runs] == ids[::-1]
