"""Signals that ask a process to stop, and the processes beside a node, which obey the node instead.

A service manager, a terminal or a console sends such signals to every process of a service. The node alone acts on them: it tells the
running jobs and ends its processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
"""SIGINT and SIGBREAK are also the console events Ctrl+C and Ctrl+Break of Windows."""
_masks = threading.local()
"""The mask of a thread that forks, as it was before."""


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Block the signals in this thread: a process that is started meanwhile inherits that, and has time for :func:`leave_to_node`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_node() -> None:
    """Take no notice of the signals, in the main thread of a process beside a node.

    Programs and copies of the process that a job starts take them as ever: an ignored signal would be ignored there too, a handler is not
    inherited by programs, and is taken away from copies.
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

    # Blocked meanwhile: a signal for a copy that has just begun waits until the copy takes it as ever.
    os.register_at_fork(before=block, after_in_parent=allow, after_in_child=restore)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The node acts on it."""


def _numbers() -> list[int]:
    return [number for name in NAMES if (number := getattr(signal, name, None)) is not None]
