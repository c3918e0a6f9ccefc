"""What a run sees of the runs that it waited for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ParentRun:
    """A run that another waited for.

    Args:
        job: Its job.
        run_id: The run.
        state: How it ended, such as ``succeeded``; ``running`` of one that was not needed any more.
        message: Its result or error, in one line.
        metadata: What its result had as metadata.
    """

    job: str
    run_id: int
    state: str = "succeeded"
    message: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Parents(Mapping[str, ParentRun]):
    """The runs that a run waited for, by the names of their jobs; of several of one job, the newest.

    Args:
        runs: All of them, the oldest first.
    """

    def __init__(self, runs: Sequence[ParentRun] = ()) -> None:
        self.runs = tuple(runs)
        self._by_job = {run.job: run for run in self.runs}

    def __getitem__(self, job: str) -> ParentRun:
        return self._by_job[job]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_job)

    def __len__(self) -> int:
        return len(self._by_job)


NO_PARENTS = Parents()
"""Of a run that waited for none."""
