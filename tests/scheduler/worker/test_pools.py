"""Queues that share workers and count waiting time: the project's settings reach the claim."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from projects import RIG
from rt_tools import until
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import JobContext, Scheduler, Settings
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.queries import system

POOL = {"workers": 1, "order": "strict", "queues": {"high": 1, "low": 1}}
PROJECT = replace(
    RIG,
    queues={"default": 1, "high": 1, "low": 1},
    pools={"main": POOL},
    queue_aging={"low": 60},
)


@pytest.mark.parametrize(("queues", "workers"), [(None, 2), (["low", "high"], 1), (["low"], 1)])
async def test_a_node_goes_by_the_order_of_the_project(database, monkeypatch, queues, workers):
    monkeypatch.setattr("targcc_scheduler.project._configured", PROJECT)
    order: list[int] = []

    async def work(ctx: JobContext) -> None:
        order.append(ctx.run_id)

    scheduler = Scheduler(Settings(_env_file=None, database_url=database.url, poll_seconds=0.1))
    for queue in ("high", "low"):
        scheduler.add_recurring(queue, work, "0 0 1 1 *", queue=queue, overlap="allow")
    try:
        await scheduler.start(work=False, schedule=False)
        urgent, old = [await scheduler.trigger("low", by=SYSTEM) for _ in range(2)]
        high = await scheduler.trigger("high", by=SYSTEM)
        ago = scheduler.clock.now() - timedelta(minutes=10)
        for run_id, values in ((urgent, {"Priority": 5}), (old, {"DueAt": ago})):
            move = job_run.update().where(job_run.c.Id == run_id).values(**values)
            await scheduler.change(partial(AsyncConnection.execute, statement=move))
        await scheduler.start(queues=queues, schedule=False)
        expected = [old, urgent] if queues == ["low"] else [high, old, urgent]
        await until(lambda: len(order) == len(expected))
        [node] = await scheduler.read(system.read_servers)
    finally:
        await scheduler.stop()
    assert (order, node.workers) == (expected, workers)
