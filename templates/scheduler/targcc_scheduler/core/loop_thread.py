"""Event loops in threads of their own.

The scheduler loop has the database, the engine and the heartbeats. Jobs run on a second loop, so that a job that blocks the loop
delays no more than other jobs. The web server has a third loop.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from .actor import everything_visible

log = logging.getLogger("targcc.core.loop_thread")

T = TypeVar("T")
_calls: ContextVar[SimpleQueue[Callable[[], None] | None] | None] = ContextVar(
    "targcc_calls", default=None
)
"""Sync functions that the thread waiting in :func:`run_beside` has to call."""

_LAST_WAIT = 4.0
"""Seconds for cancelled tasks to end, such as a query cancelled on the server. Closing the loop earlier would lose their connections."""


class LoopCalls:
    """Queue calls of functions on a loop, from any thread; calls that are queued together wake the loop once.

    Args:
        loop: The loop that makes the calls, in the order of :meth:`ask`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_woken = False

    def ask(self, function: Callable[..., object], *arguments: Any) -> None:
        """Queue a call of a function; no effect when the loop is closed."""
        self._asked.append((function, arguments))
        if not self._is_woken and not self._loop.is_closed():
            self._is_woken = True
            with everything_visible():  # the call belongs to no request
                self._loop.call_soon_threadsafe(self._make)

    def _make(self) -> None:
        self._is_woken = False  # set first, so that a call queued from now on wakes the loop again
        while self._asked:
            function, arguments = self._asked.popleft()
            self._loop.call_soon(function, *arguments)


class LoopThread:
    """An event loop in a daemon thread, running until :meth:`stop`.

    Args:
        name: The name of the thread in logs and debuggers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.new_event_loop()
        self.calls = LoopCalls(self.loop)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def has_begun(self) -> bool:
        """Return whether the thread was started."""
        return self.thread.ident is not None

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        with self._lock:
            if not self.has_begun:
                self.thread.start()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this loop and wait for the result from any other loop; cancelling the wait cancels the coroutine."""
        if asyncio.get_running_loop() is self.loop:
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))

    def call_sync(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on this loop and block until the result is there. A call from the loop's own thread would deadlock."""
        return self.submit(coroutine).result(timeout)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on this loop and return its future. The coroutine sees all jobs, whatever the scope of the caller."""
        with everything_visible():
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stack(self) -> str:
        """Return the current stack of the thread."""
        return stack_of(self.thread)

    def stop(self, timeout: float = 5) -> None:
        """Stop the loop, cancel the remaining tasks and join the thread; a thread that is still blocked after ``timeout`` is abandoned."""
        if not self.has_begun:
            self.loop.close()
        if not self.thread.is_alive():
            return
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            while not self._stopping:
                self._turn()
            for task in self.loop.run_until_complete(_cancel_rest()):
                log.warning("the loop %s ends although a task goes on: %r", self.name, task)
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    def _turn(self) -> None:
        """Run the loop until it stops. Code on the loop may stop it or call ``sys.exit`` in a task; neither may end the thread."""
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            log.warning(
                "a task on the loop %s raised %s: it goes on", self.name, type(error).__name__
            )


class LoopOnDemand:
    """A :class:`LoopThread` that starts at the first :meth:`open`, and anew after :meth:`stop`.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self.started: LoopThread | None = None
        """The running loop thread; ``None``: none runs."""

    def open(self) -> LoopThread:
        """Return the loop thread; start it if none runs. For any thread."""
        with self._lock:
            if self.started is None:
                self.started = LoopThread(self._name)
                self.started.start()
            return self.started

    async def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``last`` on the loop, then stop the loop; no effect when no loop runs."""
        loop = self.started
        if loop is not None:
            await loop.call(last())
            await asyncio.to_thread(loop.stop)
            self.started = None


def stack_of(thread: threading.Thread) -> str:
    """Return the current stack of a thread; empty when the thread has ended."""
    frames = sys._current_frames()  # noqa: SLF001 - documented, in spite of its name
    frame = frames.get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


async def _cancel_rest() -> set[asyncio.Task[Any]]:
    """Cancel the remaining tasks; return those that have not ended in time."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    return (await asyncio.wait(tasks, timeout=_LAST_WAIT))[1] if tasks else set()


def run_beside(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop in another thread; meanwhile the calling thread runs the functions that :func:`call_plain` is given.

    Connections of Django and of SQLite belong to the thread that opened them; this way a job in a test uses its caller's connections.
    """
    calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    context = copy_context()
    context.run(_calls.set, calls)
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(context.run, partial(asyncio.run, coroutine))
        done.add_done_callback(lambda _: calls.put(None))
        while (call := calls.get()) is not None:
            call()
        return done.result()


async def call_plain(function: Callable[..., T], /, **arguments: Any) -> T:
    """Call a sync function in the thread that waits in :func:`run_beside`; without such a thread, in a worker thread."""
    calls = _calls.get()
    if calls is None:
        return await asyncio.to_thread(function, **arguments)
    done: Future[T] = Future()
    context = copy_context()

    def call() -> None:
        try:
            done.set_result(context.run(partial(function, **arguments)))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)

    calls.put(call)
    return await asyncio.wrap_future(done)
