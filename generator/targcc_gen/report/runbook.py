"""The runbook of a move: steps with their times and people, the load here, a list of everything that stops with the old scheduler, SQL for the DBA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.words import format_duration

from targcc_gen.parity.compare import SPAN
from targcc_gen.parity.load import ASSUMED, WINDOW, Load, QueueLoad, load_of
from targcc_gen.sources.model import Import, MoveStep
from targcc_gen.sources.moving import plain_move

LOAD_HEADINGS = ("Queue", "Jobs", "Workers", "Needed so that none waits", "Longest wait")
STEP_HEADINGS = ("When", "Who", "What", "Commands, files", "Good")


def runbook(result: Import) -> dict[str, Any]:
    """Return the runbook of the move, for JSON and the other formats.

    Returns:
        ``window``: the quiet window in words; ``load``: the load preview with its assumptions; ``steps`` and ``back``: the steps;
        ``no_return``: the end of the way back; ``stops``: the checklist; ``scripts``: SQL by file name.
    """
    move = (result.move or plain_move)(result)
    load = load_of(result)
    zone = result.options.zone
    return {
        "window": _window(load, zone),
        "load": {
            "queues": [_queue(queue, zone) for queue in load.queues],
            "assumptions": list(_assumptions(load)),
        },
        "steps": [_step(step) for step in move.steps],
        "no_return": move.no_return,
        "back": [_step(step) for step in move.back],
        "stops": list(move.stops),
        "scripts": dict(move.scripts),
    }


def _window(load: Load, zone: ZoneInfo) -> str:
    first = load.quiet
    hours = [load.hours[(first + step) % 24] for step in range(WINDOW)]
    busy, starts = (sum(column) for column in zip(*hours, strict=True))
    return (
        f"{first:02d}:00 to {(first + WINDOW) % 24:02d}:00 ({zone.key}): on average {starts:.1f} starts and"
        f" {busy:.1f} minutes of work"
    )


def _queue(queue: QueueLoad, zone: ZoneInfo) -> dict[str, Any]:
    wait = queue.wait
    words = (
        f"{format_duration(wait.length)}: {wait.job.key}, {_moment(wait.at, zone)}"
        if wait
        else None
    )
    if queue.often and queue.needed > queue.workers:
        words = f"{f'{words}; ' if words else ''}not known of {queue.often} that start often"
    return {
        "queue": queue.queue,
        "jobs": queue.jobs,
        "workers": queue.workers,
        "needed": queue.needed,
        "peak": _moment(queue.peak, zone) if queue.peak and queue.needed > 1 else None,
        "longest_wait_seconds": round(wait.length.total_seconds()) if wait else 0,
        "wait": words,
    }


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%a %d %b %Y %H:%M}"


def _assumptions(load: Load) -> Iterator[str]:
    yield f"The active jobs of the next {SPAN.days} days, each with one run at a time, and one server."
    yield f"A run takes its longest known time ({load.measured} jobs), without history {format_duration(ASSUMED)} ({load.assumed} jobs)."
    if often := sum(queue.often for queue in load.queues):
        yield f"{often} jobs start every ten minutes or more often: each counts as one worker, and waits leave them out."


def _step(step: MoveStep) -> dict[str, Any]:
    return asdict(step) | {"commands": list(step.commands)}


# Cells for tables.


def step_cells(step: dict[str, Any]) -> Sequence[str]:
    """Return a step's row in a table."""
    return (step["when"], step["who"], step["what"], "\n".join(step["commands"]), step["good"])


def load_cells(queue: dict[str, Any]) -> Sequence[str]:
    """Return a queue's row in a table."""
    at = f" at {queue['peak']}" if queue["peak"] else ""
    jobs, workers, needed = (str(queue[name]) for name in ("jobs", "workers", "needed"))
    return queue["queue"], jobs, workers, needed + at, queue["wait"] or "none"
