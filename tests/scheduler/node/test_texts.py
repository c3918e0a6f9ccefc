"""Nodes index the texts of finished runs beside all other work."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import JobContext, Scheduler, job
from targcc_scheduler.core.search_language import only
from targcc_scheduler.kernel import text_index as index_keeper
from targcc_scheduler.kernel.queries import run_search
from targcc_scheduler.kernel.queries.run_search import RunFilter


@job()
async def speak(ctx: JobContext, n: int) -> str:  # noqa: ARG001 - a job takes its context
    return f"a porcupine, number {n}"


async def waits(db: AsyncConnection) -> int:
    return (await index_keeper.look(db, datetime.now(UTC))).waits


async def test_a_node_indexes_what_ended(scheduler: Scheduler, monkeypatch):
    ids = [await scheduler.enqueue(speak, n=n) for n in range(3)]
    for run_id in ids:
        await scheduler.wait(run_id, 30)
    async with asyncio.timeout(30):
        while await scheduler.read(waits):  # noqa: ASYNC110 - the database says it
            await asyncio.sleep(0.02)
    monkeypatch.setattr(run_search, "_LOOKED_AT", 1)
    wanted = RunFilter(search=only(text="porcupine"))
    page = await scheduler.read(lambda db: run_search.list_runs(db, wanted))
    assert [run.id for run in page.runs] == ids[::-1]
