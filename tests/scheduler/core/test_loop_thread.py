"""An event loop thread that starts on first use."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from targcc_scheduler.core import loop_thread
from targcc_scheduler.core.loop_thread import LoopOnDemand


async def where() -> str:
    return threading.current_thread().name


async def test_whoever_asks_gets_the_same_loop():
    loop = LoopOnDemand("on demand")
    assert loop.started is None
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: loop.open(), range(50)))
    assert len(set(map(id, opened))) == 1
    assert await loop.open().call(where()) == "on demand"
    await loop.stop(lambda: asyncio.sleep(0))


async def test_the_last_thing_is_done_on_it_and_it_can_be_opened_again():
    loop, last = LoopOnDemand("on demand"), []

    async def note() -> None:
        last.append(await where())

    first = loop.open()
    await loop.stop(note)
    assert last == ["on demand"]
    assert loop.started is None
    assert not first.thread.is_alive()
    assert await loop.open().call(where()) == "on demand"
    await loop.stop(note)
    await loop.stop(note)  # the loop is not running
    assert len(last) == 2


async def test_a_task_that_outlives_its_loop_is_named(monkeypatch, caplog):
    monkeypatch.setattr(loop_thread, "_LAST_WAIT", 0.01)
    loop = LoopOnDemand("on demand")

    async def linger():
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    async def begin():
        task = asyncio.create_task(linger(), name="linger")
        task._log_destroy_pending = False
        await asyncio.sleep(0)

    await loop.open().call(begin())
    await loop.stop(where)
    assert "the loop on demand ends although a task goes on: <Task" in caplog.text
    assert "name='linger'" in caplog.text
