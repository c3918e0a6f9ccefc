"""Faults and their effects; all but the kill heal after a while."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from storms.nodes import Process
from storms.policies import POOL

if TYPE_CHECKING:
    from storms.storm import Storm

_SHORTEST_PAUSE = 4.0
"""Seconds; a shorter pause cannot be judged, because clocks are read before the writes."""
_CLOCK_STEPS = (-3600, -90, -8, 8, 90, 3600)
_SQLITE_CLOCK_STEPS = (-8, 8, 12)
"""On one machine all nodes share a clock: after a step back, jobs rest until the clock catches up."""


_STOPS_SECONDS = 0.5
"""Seconds in which a thread of a stopped process may still finish a system call, such as taking a lock."""


@dataclass
class Fault:
    """Lasting fault.

    Args:
        kind: See ``plan.FAULTS``.
        nodes: The affected nodes; empty for all.
        until: The monotonic time at which the fault heals.
        heal: The function that heals the fault.
    """

    kind: str
    nodes: list[Process]
    until: float
    heal: Callable[[], None]


def kill(storm: Storm) -> None:
    """Kill a node, sometimes all nodes, and sometimes an application; then start them again."""
    if storm.dice.random() < 0.1:
        storm.kill_submitter()
    victims = storm.ready_nodes()
    chosen = victims if storm.dice.random() < 0.04 else [storm.dice.choice(victims)]
    for node in chosen:
        storm.processes.kill(node)
        storm.kills += 1
    for node in chosen:
        storm.replace(node, node.release)


def worker(storm: Storm) -> None:
    """Kill a worker process of a node, or crash it; prefer a process with a running job."""
    node = storm.dice.choice(storm.ready_nodes())
    number = storm.dice.choice((signal.SIGKILL, signal.SIGSEGV))
    workers = node.workers()
    busy = storm.processes.busy()
    chosen = sorted(workers, key=lambda process: process.pid not in busy)[:1]
    for process in chosen:
        storm.processes.say("fault", kind="worker", node=node.name, target=process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def term(storm: Storm) -> None:
    """Stop a node in order and start another node."""
    node = storm.dice.choice(storm.ready_nodes())
    storm.stop_in_order(node)
    storm.replace(node, node.release)


def deploy(storm: Storm) -> None:
    """Give a node, or all nodes, the newest release; after the last old node the next release begins."""
    old = [node for node in storm.nodes if node.release < storm.release]
    if not old:
        if not storm.next_release():
            return
        old = list(storm.nodes)
    ready = [node for node in storm.ready_nodes() if node in old]
    count = len(ready) if storm.dice.random() < 0.3 else 1
    for node in ready[:count]:
        storm.stop_in_order(node)
        storm.replace(node, storm.release)
    storm.submit_as(storm.release)


def stop(storm: Storm) -> None:
    """Freeze a node."""
    node = storm.dice.choice(storm.ready_nodes())
    seconds = storm.how_long_frozen()
    node.freeze(frozen=True)
    storm.begin("stop", [node], seconds, lambda: node.freeze(frozen=False))
    time.sleep(_STOPS_SECONDS)
    if storm.database.is_locked():  # the node stopped in the middle of a write to the SQLite file
        storm.begin("database", [], seconds, lambda: None)


def net(storm: Storm) -> None:
    """Cut a node's cable: packets vanish, or the connections break."""
    node = storm.dice.choice(storm.ready_nodes())
    cable = node.cable
    assert cable is not None
    cable.stall() if storm.dice.random() < 0.5 else cable.drop()
    storm.begin("cut", [node], storm.how_long(), cable.mend)


def pg(storm: Storm) -> None:
    """Stop the server and start it later."""
    seconds = min(storm.how_long(), 10)
    immediate = storm.dice.random() < 0.5
    storm.begin("database", [], seconds, storm.database.start)
    storm.database.stop(immediate=immediate)


def pause(storm: Storm) -> None:
    """Pause one of the queues that share workers."""
    longest = max(_SHORTEST_PAUSE, storm.plan.longest_outage)
    storm.pause(storm.dice.choice(POOL), storm.dice.uniform(_SHORTEST_PAUSE, longest))


def people(storm: Storm) -> None:
    """Kill the web server that people use, or the program that acts for them; then start it again."""
    storm.kill_people()


def disk(storm: Storm) -> None:
    """Fill the disk of the database."""
    full = storm.database.disk
    assert full is not None
    storm.begin("disk", [], min(storm.how_long(), 8), full.free)
    full.fill()


def clock(storm: Storm) -> None:
    """Set the clock of a node; on SQLite, which is one machine, of all nodes."""
    if storm.plan.database == "sqlite":
        nodes, step = list(storm.nodes), storm.dice.choice(_SQLITE_CLOCK_STEPS)
    else:
        nodes, step = [storm.dice.choice(storm.ready_nodes())], storm.dice.choice(_CLOCK_STEPS)
    files = {storm.clock_file(node) for node in nodes}
    for file in files:
        _set(file, step)

    def right() -> None:
        for file in files:
            _set(file, 0)

    storm.begin("clock", nodes, storm.how_long(), right)


def _set(file: Path, seconds: int) -> None:
    fresh = file.with_suffix(f".{time.monotonic_ns()}")
    fresh.write_text(f"{seconds:+d}\n", encoding="ascii")
    fresh.replace(file)


INFLICT: dict[str, Callable[[Storm], None]] = {
    "kill": kill,
    "worker": worker,
    "stop": stop,
    "term": term,
    "deploy": deploy,
    "pg": pg,
    "net": net,
    "clock": clock,
    "people": people,
    "pause": pause,
    "disk": disk,
}
