"""A queue with a limit across all nodes: the project's settings reach the claim."""

import asyncio
import threading
from dataclasses import replace

import pytest
from projects import RIG
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.core.actor import SYSTEM

ALL = 6


class Meter:
    """Jobs that count concurrent runs and continue once the expected number has run concurrently."""

    def __init__(self, expected: int) -> None:
        self.now = self.most = self.done = 0
        self.expected = expected
        self.reached = asyncio.Event()
        self.all_done = threading.Event()  # jobs have their own event loop

    async def run(self) -> None:
        """A job's work."""
        self.now += 1
        self.most = max(self.most, self.now)
        if self.most >= self.expected:
            self.reached.set()
        await asyncio.wait_for(self.reached.wait(), 20)
        await asyncio.sleep(0.02)  # time for a run beyond the expected number
        self.now -= 1
        self.done += 1
        if self.done == ALL:
            self.all_done.set()


@pytest.mark.parametrize(("limits", "most"), [({"critical": 1}, 1), ({"default": 1}, 2)])
async def test_a_node_takes_no_more_than_the_limit_of_a_queue(database, monkeypatch, limits, most):
    monkeypatch.setattr("targcc_scheduler.project._configured", replace(RIG, queue_limits=limits))
    meter = Meter(most)

    async def first() -> None:
        await meter.run()

    async def second() -> None:
        await meter.run()

    scheduler = Scheduler(Settings(_env_file=None, database_url=database.url, poll_seconds=0.1))
    for name, job in (("First", first), ("Second", second)):
        scheduler.add_recurring(name, job, "0 0 1 1 *", queue="critical", overlap="allow")
    await scheduler.start(schedule=False)
    try:
        for name in ("First", "Second") * (ALL // 2):
            await scheduler.trigger(name, by=SYSTEM)
        assert await asyncio.to_thread(meter.all_done.wait, 20)
    finally:
        await scheduler.stop()

    assert meter.most == most
