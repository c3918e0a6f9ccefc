"""The old runners in the report: their queues, and where one job at a time mattered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.parity.overlaps import RunnerQueue, runner_queues
from targcc_gen.sources.model import Import

QUEUE_HEADINGS = ("Runner", "Queue", "At once", "Jobs", "Starts that meet another run")


def queue_cells(queue: dict[str, Any]) -> Sequence[str]:
    """A queue's row in a table."""
    first = queue["first"]
    meets = f"; first {first['at']}: {first['job']} and {first['other']}" if first else ""
    counts = str(queue["workers"]), str(queue["jobs"]), f"{queue['meetings']:,}{meets}"
    return queue["runner"], queue["queue"], *counts


def described_queues(result: Import) -> list[dict[str, Any]]:
    """Each old runner's queue, as JSON has it."""
    return [_queue(one, result.options.zone) for one in runner_queues(result)]


def _queue(one: RunnerQueue, zone: ZoneInfo) -> dict[str, Any]:
    """An old runner's queue, and where one at a time matters."""
    first = one.first
    return {
        "runner": one.runner,
        "queue": one.queue,
        "workers": one.workers,
        "jobs": one.jobs,
        "meetings": one.meetings,
        "longest_wait_seconds": round(one.longest_wait.total_seconds()),
        "first": (
            {"at": shown(first.at.astimezone(zone)), "job": first.job.key, "other": first.other.key}
            if first
            else None
        ),
    }


def shown(moment: datetime) -> str:
    """A moment with its offset, as people read it: ``Wed 25 Nov 2026 02:00 +02:00``."""
    offset = f"{moment:%z}"
    return f"{moment:%a %d %b %Y %H:%M} {offset[:3]}:{offset[3:5]}"
