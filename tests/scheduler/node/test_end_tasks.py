"""The loops of a stopping node end, whatever they wait for."""

import asyncio
import contextlib

from targcc_scheduler.kernel.node.node import end_tasks


async def test_a_loop_that_takes_a_cancellation_for_itself_is_cancelled_again():
    ended = []

    async def keeps_one() -> None:
        # like a wait that ends at the same moment
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("keeps one")

    async def fails() -> None:
        raise ValueError("it has ended before")

    tasks = [asyncio.create_task(keeps_one()), asyncio.create_task(fails())]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end_tasks(tasks)
    assert ended == ["keeps one"]
    assert all(task.done() for task in tasks)
    await end_tasks([])
