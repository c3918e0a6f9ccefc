"""Nodes index the texts of finished runs beside all other work."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import JobContext, Scheduler, job
from targcc_scheduler.core.search_language import only
from targcc_scheduler.db.tables import job_setting, job_text_due
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import text_index as index_keeper
from targcc_scheduler.kernel.node import maintenance
from targcc_scheduler.kernel.node.maintenance import pause_after
from targcc_scheduler.kernel.queries import run_search
from targcc_scheduler.kernel.queries.run_search import RunFilter

NOW = datetime.now(UTC)


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


@pytest.mark.parametrize(
    ("waits", "behind", "pause"),
    [
        (0, False, 0.5),
        (49, False, 0.5),
        (49, True, 0.5),
        (50, False, 30),
        (1_000, False, 30),
        (1_000, True, 1.0),
    ],
)
def test_an_index_that_is_far_behind_does_not_wait_for_the_end_of_a_burst(
    waits: int, *, behind: bool, pause: float
):
    assert pause_after(waits, usual=0.5, behind=behind) == pause


@pytest.mark.sqlite  # SQL Server has no index of texts
@pytest.mark.slow
async def test_indexing_old_runs_does_not_wait_for_the_end_of_a_burst(
    not_started: Scheduler, monkeypatch: pytest.MonkeyPatch
):
    await not_started.start(schedule=False)
    run_id = await not_started.enqueue(speak, n=1)
    await not_started.wait(run_id, 30)
    looks: list[bool] = []

    def note(waits: int, usual: float, *, behind: bool) -> float:
        looks.append(behind)
        return pause_after(waits, usual, behind=behind)

    async def index() -> None:
        async with asyncio.timeout(30):
            while (  # noqa: ASYNC110 - the database says it
                await not_started.read(waits) or await not_started.read(index_keeper.unseen)
            ):
                await asyncio.sleep(0.02)

    await index()
    monkeypatch.setattr(maintenance, "pause_after", note)
    note_of_old_runs = {"Name": index_keeper.UNSEEN, "Value": str(run_id), "UpdatedAt": NOW}
    await not_started.change(lambda db: db.execute(job_setting.insert(), note_of_old_runs))
    await index()
    assert True in looks


async def test_the_index_is_behind_when_more_runs_wait_than_a_burst_leaves(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index_keeper, "BEHIND", 3)

    async def look(db: AsyncConnection) -> list[bool]:
        looks = []
        for ids in ((1, 2), (3, 4)):
            await db.execute(job_text_due.insert(), [{"RunId": id_} for id_ in ids])
            looks.append(await index_keeper.is_behind(db))
        return looks

    assert await scheduler.change(look) == [False, True]  # the index keeper sees nothing of it


async def test_nodes_index_different_runs_at_the_same_time(migrated_postgresql_url: str):
    """Fifty nodes that waited for each other's rows would hold up their other work, and deadlock."""
    store, steps = Store(migrated_postgresql_url), []

    async def note(_: AsyncConnection, ids: Sequence[int]) -> None:
        steps.append(ids)

    async with store.write() as db:
        await db.execute(job_text_due.insert(), [{"RunId": id_} for id_ in (1, 2, 3)])
    async with store.write() as one_node, store.write() as other_node, asyncio.timeout(30):
        await index_keeper.step(one_node, 2, note)
        await index_keeper.step(other_node, 2, note)
    await store.dispose()
    assert steps == [[1, 2], [3]]
