"""Which runs waited for others: the old server ran the jobs of one runner one after the other."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from datetime import datetime, timedelta

from targcc_gen.evidence.grid import Waited
from targcc_gen.evidence.old_rows import runner_of
from targcc_gen.sources.model import Import, ImportedJob

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time
_SECOND = timedelta(seconds=1)
_BETWEEN = 120
"""Seconds from the end of a run to the start of the next one that was due: the runner looks again after one."""


class Queues:
    """When runs of each runner ended.

    Args:
        result: Every job and its past.
    """

    def __init__(self, result: Import) -> None:
        self._ends: dict[str, array[int]] = defaultdict(lambda: array("q"))
        for job in [*result.jobs, *result.inactive]:
            past = result.history.of(job.old.id, job.old.name)
            if past is not None:
                self._ends[runner_of(job)].extend(past.log.ends())
        for runner, ends in self._ends.items():
            self._ends[runner] = array("q", sorted(ends))

    def waited(self, job: ImportedJob) -> Waited:
        """Whether a start of a job came right after another run of its runner."""
        ends = self._ends[runner_of(job)]

        def late(start: datetime) -> bool:
            second = (start - _EPOCH) // _SECOND
            index = bisect_left(ends, second - _BETWEEN)
            return index < len(ends) and ends[index] <= second

        return late
