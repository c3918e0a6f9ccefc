"""The collection of poisons, each served in a worker process, and those that only a process of its own survives."""

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
"""What ends, freezes or cuts off its process: each costs its run, which fails, and nothing else."""


def deadly(function: Callable[[JobContext], Any]) -> Callable[[JobContext], Any]:
    """Add a function to the collection."""
    DEADLY[function.__name__] = function
    return function


@deadly
def exits_well(ctx: JobContext) -> Any:
    """As if all were done."""
    os._exit(0)


@deadly
def exits_badly(ctx: JobContext) -> Any:
    """With a status of its own."""
    os._exit(77)


@deadly
def segfaults(ctx: JobContext) -> Any:
    """Reads where nothing is."""
    ctypes.string_at(0)


@deadly
def aborts(ctx: JobContext) -> Any:
    """As an assertion in C does."""
    ctypes.CDLL(None).abort()


@deadly
def overflows_the_stack(ctx: JobContext) -> Any:
    """Recursion in C that no counter stops."""
    sys.setrecursionlimit(10**9)
    value: Any = []
    for _ in range(1_000_000):
        value = [value]
    (
        ctypes.string_at(0) if repr(value) else None
    )  # newer interpreters end repr by an error of their own


@deadly
def kills_itself(ctx: JobContext) -> Any:
    """As the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


@deadly
def dies_while_it_writes(ctx: JobContext) -> Any:
    """Its last line is on the way."""
    threading.Timer(0.02, os._exit, (5,)).start()
    while True:
        ctx.log.info("x" * 10_000)


@deadly
def closes_everything(ctx: JobContext) -> Any:
    """Every descriptor, those to the node too."""
    os.closerange(0, 256)
    time.sleep(60)


@deadly
def says_nonsense(ctx: JobContext) -> Any:
    """Writes to the node what is no message."""
    _to_the_node(b"\x00\x00\x00\x02{}" + b"\x00\x00\x00\x12" + b'{"kind": "ended"} ')
    time.sleep(60)


@deadly
def says_noise(ctx: JobContext) -> Any:
    """Writes to the node what has not even a length."""
    _to_the_node(os.urandom(100_000))
    time.sleep(60)


@deadly
def dies_and_leaves_a_child(ctx: JobContext) -> Any:
    """A process that it has forked lives on, with all that was open."""
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os._exit(3)


@deadly
def waits_deaf(ctx: JobContext) -> Any:
    """Holds the interpreter: it has a timeout."""
    ctypes.PyDLL(None).sleep(60)


@deadly
def freezes(ctx: JobContext) -> Any:
    """Stops its own process: it has a timeout."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


@deadly
def hears_no_signal(ctx: JobContext) -> Any:
    """Ignores SIGTERM and never looks whether it should stop: it has a timeout."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.2)


SOME = ["segfaults", "dies_while_it_writes", "says_nonsense", "dies_and_leaves_a_child"]
"""Those in which a node is most likely to wait for ever; no timeout is needed for their end."""


def _to_the_node(data: bytes) -> None:
    """Write to every pipe that is open, as code does that got a descriptor wrong."""
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
    """Serves one poison of the collection."""


@job(isolation="process", retries=0)
class PlainPoisonJob(poisons.PlainPoisonJob):
    """The same from a thread."""


@job(isolation="process", retries=0, timeout="2s")
class DeadlyJob:
    """Serves what is deadly, on the loop of the jobs."""

    async def execute(self, ctx: JobContext, name: str) -> Any:
        return DEADLY[name](ctx)


@job(isolation="process", retries=0, timeout="2s")
class PlainDeadlyJob:
    """The same from a thread."""

    def execute(self, ctx: JobContext, name: str) -> Any:
        return DEADLY[name](ctx)


@job("* * * * * *", overlap="allow", misfire="run_all", retries=0, queue="critical")
class BystanderJob:
    """Has nothing to do with it, once a second and in time: what waits does so in another queue."""

    async def execute(self, ctx: JobContext) -> None: ...
