"""Leave stop signals to the node: the other processes of a service ignore them.

A service manager, a terminal or a console sends stop signals to every process of a service. Only the node acts on a signal: the node
notifies the running jobs and ends its processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
"""The names of the stop signals. SIGINT and SIGBREAK are also the console events Ctrl+C and Ctrl+Break of Windows."""
_masks = threading.local()
"""The signal mask of a forking thread, as before the fork."""


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Block the stop signals in this thread; a process started meanwhile inherits the mask until it calls :func:`leave_to_node`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_node() -> None:
    """Ignore the stop signals in the main thread of a process beside a node.

    The programs and forks that a job starts handle the signals as usual. ``SIG_IGN`` would be inherited by programs; a handler is not
    inherited by programs, and forks restore the previous handler.
    """
    before = {number: signal.signal(number, _nothing) for number in _numbers()}
    if not hasattr(signal, "pthread_sigmask"):
        return
    for number in before:
        signal.siginterrupt(number, False)  # noqa: FBT003 - it has no name
    signal.pthread_sigmask(signal.SIG_UNBLOCK, before)

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is _nothing:
                signal.signal(number, handler)
        allow()

    def block() -> None:
        _masks.held = signal.pthread_sigmask(signal.SIG_BLOCK, before)

    def allow() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.held)

    # Signals are blocked during the fork, so that a signal for a new fork waits until the previous handlers are restored.
    os.register_at_fork(before=block, after_in_parent=allow, after_in_child=restore)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Ignore a signal; the node acts on signals."""


def _numbers() -> list[int]:
    return [number for name in NAMES if (number := getattr(signal, name, None)) is not None]
