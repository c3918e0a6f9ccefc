"""Job chains: the option ``after``, the check for cycles, and a run's parents."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.errors import JobError
from .definition import JobDefinition, name_of

# The job option ``after``.

Named = str | Callable[..., Any]
"""A job, given as its name, class or function."""
AfterRun = Literal["completion", "start"]


def interval_from(after: AfterRun | Sequence[Named] | None) -> str | None:
    """Return the event that ``every`` counts from, ``completion`` or ``start``; ``None`` if ``after`` names jobs."""
    return after if isinstance(after, str) else None


def names(
    key: str, after: AfterRun | Sequence[Named] | None, *, has_schedule: bool
) -> tuple[str, ...]:
    """Return the names in ``after``: the jobs that a job follows.

    Raises:
        JobError: The job has a schedule too, or ``after`` contains a class or function without ``@job``.
    """
    if after is None or isinstance(after, str):
        return ()
    parents = tuple(dict.fromkeys(_name(key, parent) for parent in after))
    if parents and has_schedule:
        raise JobError(f"{key}: it runs after other jobs or by a schedule, not both")
    return parents


def _name(key: str, job: Named) -> str:
    if isinstance(job, str):
        return job
    mark = getattr(job, "__job__", None)
    if mark is None:
        raise JobError(f"{key}: after names {name_of(job)}, which is no job: it has no @job")
    name: str = mark.name
    return name


def refused(definitions: Mapping[str, JobDefinition]) -> dict[str, str]:
    """Return the jobs with an invalid ``after``, each with the reason: an unknown job, or a cycle with its path."""
    reasons = {}
    after = {name: job.after for name, job in definitions.items()}
    for name, parents in after.items():
        unknown = [parent for parent in parents if parent not in after]
        if unknown:
            reasons[name] = f"{name} follows {unknown[0]}, and there is no such job"
        elif path := circle(name, after):
            reasons[name] = f"jobs follow each other in a circle: {' -> '.join(path)}"
    return reasons


def circle(name: str, after: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Return the shortest path from a job back to itself, in run order; ``None`` without a cycle."""
    follower: dict[str, str] = {}
    waiting = deque([name])
    while waiting and name not in follower:
        job = waiting.popleft()
        for parent in after.get(job, ()):
            if parent not in follower:
                follower[parent] = job
                waiting.append(parent)
    if name not in follower:
        return None
    path = [name, follower[name]]
    while path[-1] != name:
        path.append(follower[path[-1]])
    return path


def chains(definitions: Iterable[JobDefinition]) -> tuple[tuple[JobDefinition, ...], ...]:
    """Group jobs that are connected by ``after`` into chains; in each chain a job comes after every job that it follows."""
    by_name = {job.name: job for job in definitions}
    followers = [job for job in by_name.values() if job.after]
    connected = {name for job in followers for name in (job.name, *job.after)}
    members = (job for job in by_name.values() if job.name in connected)  # few of many jobs
    jobs = sorted(members, key=lambda job: job.display_name.casefold())
    after = {job.name: frozenset(job.after) & by_name.keys() for job in jobs}
    groups = [_in_order(group, after) for group in _groups(after)]
    return tuple(
        tuple(by_name[name] for name in names)
        for names in sorted(groups, key=lambda names: by_name[names[0]].display_name.casefold())
    )


def _groups(after: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Group the names that are connected, directly or indirectly; omit names without a connection."""
    group_of = {name: [name] for name in after}
    for name, parents in after.items():
        for parent in parents:
            own_group, parent_group = group_of[name], group_of[parent]
            if own_group is not parent_group:
                parent_group += own_group
                group_of |= dict.fromkeys(own_group, parent_group)
    every = {id(group): group for group in group_of.values()}
    return [group for group in every.values() if len(group) > 1]


def _in_order(group: Iterable[str], after: Mapping[str, frozenset[str]]) -> list[str]:
    """Sort a group's names topologically; keep the order in ``after`` between independent names."""
    members, placed = set(group), dict[str, None]()
    rest = [name for name in after if name in members]
    while rest:
        ready = [name for name in rest if after[name] <= placed.keys()]
        placed |= dict.fromkeys(ready or rest)  # `or rest`: stop at a cycle
        rest = [name for name in rest if name not in placed]
    return list(placed)


# A run's parents: the runs that the run waited for.


@dataclass(frozen=True, slots=True)
class ParentRun:
    """A run that the current run waited for.

    Args:
        job: The parent's job.
        run_id: The parent's id.
        state: The state in which the parent ended, such as ``succeeded``; ``running`` for a parent that was no longer needed.
        message: The parent's result or error, in one line.
        metadata: The metadata in the parent's result.
    """

    job: str
    run_id: int
    state: str = "succeeded"
    message: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Parents(Mapping[str, ParentRun]):
    """Map job names to the runs that the current run waited for; for several runs with the same job, to the newest run.

    Args:
        runs: All parents, oldest first.
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
"""The parents when a run waited for no run."""
