"""Event loops in threads of their own.

The scheduler loop has the database, the engine and the heartbeats. Jobs run on a second loop, so that a job that blocks it stops
other jobs at most. The web server has a third.
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

from .job_scope import everything_visible

log = logging.getLogger("targcc.core.loop_thread")

T = TypeVar("T")
_calls: ContextVar[SimpleQueue[Callable[[], None] | None] | None] = ContextVar(
    "targcc_calls", default=None
)
"""Plain functions for the thread that waits in :func:`run_beside`."""

_LAST_WAIT = 4.0
"""Seconds that cancelled tasks have to end, as a query that is given up on the server: a loop that closes before them loses their connections."""


class LoopCalls:
    """Calls of functions on a loop, asked for by any thread: those that are asked for together wake it once.

    Args:
        loop: Where they are made, in the order in which they are asked for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_woken = False

    def ask(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called soon; nothing happens when the loop is closed."""
        self._asked.append((function, arguments))
        if not self._is_woken and not self._loop.is_closed():
            self._is_woken = True
            with everything_visible():  # what runs there is nobody's request
                self._loop.call_soon_threadsafe(self._make)

    def _make(self) -> None:
        self._is_woken = False  # first: what is asked for from now on wakes the loop again
        while self._asked:
            function, arguments = self._asked.popleft()
            self._loop.call_soon(function, *arguments)


class LoopThread:
    """An event loop that runs in a daemon thread until it is stopped.

    Args:
        name: The thread's name, as it shows in logs and debuggers.
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
        """Whether it was started."""
        return self.thread.ident is not None

    def start(self) -> None:
        """Start the thread; starting it twice does nothing."""
        with self._lock:
            if not self.has_begun:
                self.thread.start()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine here and wait for it from any other loop; cancelling the wait cancels it."""
        if asyncio.get_running_loop() is self.loop:
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))

    def call_sync(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine here and block until it is done. From this thread itself it would block for good."""
        return self.submit(coroutine).result(timeout)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine here; the future says when it is done. It sees everything, whoever asks for it."""
        with everything_visible():
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stack(self) -> str:
        """What the thread is doing right now."""
        return stack_of(self.thread)

    def stop(self, timeout: float = 5) -> None:
        """Cancel what is left, stop the loop and wait for the thread; one that is blocked is left behind."""
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
            self.loop.run_until_complete(_cancel_rest())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    def _turn(self) -> None:
        """Run the loop until it is stopped; code on it may do so, or call ``sys.exit`` in a task of its own, and that must not end the thread."""
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            log.warning(
                "a task on the loop %s raised %s: it goes on", self.name, type(error).__name__
            )


class LoopOnDemand:
    """A :class:`LoopThread` that starts when it is first asked for, and anew once it was stopped.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self.started: LoopThread | None = None
        """The loop, if it runs."""

    def open(self) -> LoopThread:
        """The loop, started if it is not; from any thread."""
        with self._lock:
            if self.started is None:
                self.started = LoopThread(self._name)
                self.started.start()
            return self.started

    async def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do one last thing on the loop and end it; where none runs there is nothing to do."""
        loop = self.started
        if loop is not None:
            await loop.call(last())
            await asyncio.to_thread(loop.stop)
            self.started = None


def stack_of(thread: threading.Thread) -> str:
    """What a thread is doing right now; empty when it has ended."""
    frames = sys._current_frames()  # noqa: SLF001 - documented, in spite of its name
    frame = frames.get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


async def _cancel_rest() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_LAST_WAIT) if tasks else None


def run_beside(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop in another thread; the caller waits, and runs what :func:`call_plain` is given.

    Connections of Django and of SQLite belong to the thread that opened them: so a job in a test uses those of its caller.
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
    """Call a plain function in the thread that waits in :func:`run_beside`; without one, in a thread of its own."""
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
