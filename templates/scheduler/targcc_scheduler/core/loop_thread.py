"""Event loops in threads of their own.

The scheduler loop has the database, the engine and the heartbeats. Jobs run on a second loop, so that a job that blocks it stops
other jobs at most. The web server has a third.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a daemon thread until it is stopped.

    Args:
        name: The thread's name, as it shows in logs and debuggers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread; starting it twice does nothing."""
        with self._lock:
            if self.thread.ident is None:
                self.thread.start()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine here and wait for it from any other loop; cancelling the wait cancels it."""
        if asyncio.get_running_loop() is self.loop:
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))

    def call_sync(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine here and block until it is done; never from this thread itself."""
        return self.submit(coroutine).result(timeout)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine here; the future says when it is done."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stack(self) -> str:
        """What the thread is doing right now."""
        return stack_of(self.thread)

    def stop(self, timeout: float = 5) -> None:
        """Cancel what is left, stop the loop and wait for the thread; one that is blocked is left behind."""
        if self.thread.ident is None or not self.thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(_cancel_rest())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


def stack_of(thread: threading.Thread) -> str:
    """What a thread is doing right now; empty when it has ended."""
    frames = sys._current_frames()  # noqa: SLF001 - documented, in spite of its name
    frame = frames.get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


async def _cancel_rest() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=1) if tasks else None
