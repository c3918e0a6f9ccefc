"""The poisons run in worker processes, and poisons that only a separate process survives."""

# ruff: noqa: ARG001 - a job takes its context

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import poisons
from targcc_scheduler import JobContext, job

DEADLY: dict[str, Callable[[JobContext], Any]] = {}
"""Functions that end, freeze or cut off their process: the run fails, and nothing else is harmed."""


def deadly(function: Callable[[JobContext], Any]) -> Callable[[JobContext], Any]:
    """Add a function to the collection."""
    DEADLY[function.__name__] = function
    return function


@deadly
def exits_well(ctx: JobContext) -> Any:
    """Exit with status 0."""
    os._exit(0)


@deadly
def exits_badly(ctx: JobContext) -> Any:
    """Exit with status 77."""
    os._exit(77)


@deadly
def segfaults(ctx: JobContext) -> Any:
    """Read an invalid address."""
    ctypes.string_at(0)


@deadly
def aborts(ctx: JobContext) -> Any:
    """Abort like an assertion in C."""
    ctypes.CDLL(None).abort()


@deadly
def overflows_the_stack(ctx: JobContext) -> Any:
    """Recurse in C beyond the stack; Python's recursion limit does not stop this."""
    sys.setrecursionlimit(10**9)
    value: Any = []
    for _ in range(1_000_000):
        value = [value]
    (
        ctypes.string_at(0) if repr(value) else None
    )  # newer interpreters raise an error in repr instead


@deadly
def kills_itself(ctx: JobContext) -> Any:
    """Send SIGKILL, like the kernel when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


@deadly
def dies_while_it_writes(ctx: JobContext) -> Any:
    """Exit while a log line is being sent."""
    threading.Timer(0.02, os._exit, (5,)).start()
    while True:
        ctx.log.info("x" * 10_000)


@deadly
def closes_everything(ctx: JobContext) -> Any:
    """Close every descriptor, including the connection to the node."""
    os.closerange(0, 256)
    time.sleep(60)


@deadly
def says_nonsense(ctx: JobContext) -> Any:
    """Send the node an invalid message."""
    _to_the_node(b"\x00\x00\x00\x02{}" + b"\x00\x00\x00\x12" + b'{"kind": "ended"} ')
    time.sleep(60)


@deadly
def says_noise(ctx: JobContext) -> Any:
    """Send the node random bytes without a valid length."""
    _to_the_node(os.urandom(100_000))
    time.sleep(60)


@deadly
def dies_and_leaves_a_child(ctx: JobContext) -> Any:
    """Exit while a forked child lives on with all open descriptors."""
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os._exit(3)


@deadly
def waits_deaf(ctx: JobContext) -> Any:
    """Hold the interpreter's lock until the timeout."""
    ctypes.PyDLL(None).sleep(60)


@deadly
def freezes(ctx: JobContext) -> Any:
    """Stop its own process until the timeout."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


@deadly
def hears_no_signal(ctx: JobContext) -> Any:
    """Block SIGTERM and never check for a stop request, until the timeout."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.2)


SOME = ["segfaults", "dies_while_it_writes", "says_nonsense", "dies_and_leaves_a_child"]
"""Poisons most likely to hang a node; they end without a timeout."""


def _to_the_node(data: bytes) -> None:
    """Write to every open pipe, like code with a wrong descriptor."""
    for descriptor in _pipes():
        with contextlib.suppress(OSError):
            os.write(descriptor, data)


def _pipes() -> Iterator[int]:
    for descriptor in range(3, 256):
        with contextlib.suppress(OSError):
            if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("pipe:"):
                yield descriptor


@job(isolation="process", retries=0)
class PoisonJob(poisons.PoisonJob):
    """Run one poison of the collection."""


@job(isolation="process", retries=0)
class PlainPoisonJob(poisons.PlainPoisonJob):
    """Run one poison in a thread."""


@job(isolation="process", retries=0, timeout="2s")
class DeadlyJob:
    """Run a deadly function on the event loop of jobs."""

    async def execute(self, ctx: JobContext, name: str) -> Any:
        return DEADLY[name](ctx)


@job(isolation="process", retries=0, timeout="2s")
class PlainDeadlyJob:
    """Run a deadly function in a thread."""

    def execute(self, ctx: JobContext, name: str) -> Any:
        return DEADLY[name](ctx)


@job("* * * * * *", overlap="allow", misfire="run_all", retries=0, queue="critical")
class BystanderJob:
    """Uninvolved job, due every second: must stay in time, because blocked runs are in another queue."""

    async def execute(self, ctx: JobContext) -> None: ...
