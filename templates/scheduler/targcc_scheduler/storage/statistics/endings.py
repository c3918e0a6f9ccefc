"""What the statistics count: runs that ended, and attempts after which another one follows."""

from __future__ import annotations

import functools
import os
import platform
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...core.states import RunState
from .buckets import bucket_of

QUARTER = timedelta(minutes=15)
"""How long one row counts. Every zone of today begins its days at a whole quarter of an hour."""
_SHARDS = 1000
HISTORY_SHARD = _SHARDS
"""The shard of what is counted afterwards: rows of an earlier release, and imported ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A run that ended, or an attempt after which the run goes on.

    Args:
        job: The job.
        at: When the attempt began; of a run without one, its slot or the instant of its end.
        outcome: The state that the run ended in; ``retrying`` for an attempt after which it goes on.
        duration_ms: How long the attempt took, if it succeeded.
        retried: Whether it was not the run's first attempt.
    """

    job: str
    at: datetime
    outcome: RunState
    duration_ms: int | None = None
    retried: bool = False

    @property
    def begins_at(self) -> datetime:
        """The quarter of an hour it counts in."""
        return quarter_of(self.at)

    @property
    def bucket(self) -> int:
        """The class of its duration."""
        return bucket_of(self.duration_ms)


def quarter_of(instant: datetime) -> datetime:
    """The beginning of the quarter of an hour that an instant is in; the same in every zone."""
    return instant - timedelta(
        minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond
    )


def added_up(endings: Iterable[Ending], shard: int) -> list[dict[str, Any]]:
    """The rows of ``c_JobStat`` that count these, in the order of their keys: who writes several locks them in the same order."""
    rows: dict[tuple[str, datetime, str, int], dict[str, Any]] = {}
    for one in endings:
        key = (one.job, one.begins_at, str(one.outcome), one.bucket)
        names = ("JobName", "BeginsAt", "Outcome", "Bucket")
        fresh = {"Shard": shard, "Count": 0, "Retried": 0, "SumMs": 0, "MaxMs": 0}
        row = rows.setdefault(key, dict(zip(names, key, strict=True)) | fresh)
        row["Count"] += 1
        row["Retried"] += one.retried
        row["SumMs"] += one.duration_ms or 0
        row["MaxMs"] = max(row["MaxMs"], one.duration_ms or 0)
    return [rows[key] for key in sorted(rows)]


def shard_of_process() -> int:
    """The shard of this process: two nodes write rows of their own, so that neither waits for the other."""
    return _shard(os.getpid())


@functools.cache
def _shard(process_id: int) -> int:
    return zlib.crc32(f"{platform.node()}/{process_id}".encode()) % _SHARDS
