"""The option ``after`` of a job: which jobs follow which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.errors import JobError
from .definition import JobDefinition, name_of

# Which jobs follow which: the option ``after`` of a job.

Named = str | Callable[..., Any]
"""A job by its name, or its class or function."""
AfterRun = Literal["completion", "start"]


def interval_from(after: AfterRun | Sequence[Named] | None) -> str | None:
    """What ``after`` says of ``every``; ``None`` where it names jobs."""
    return after if isinstance(after, str) else None


def names(
    key: str, after: AfterRun | Sequence[Named] | None, *, has_schedule: bool
) -> tuple[str, ...]:
    """The names of the jobs that a job follows.

    Raises:
        JobError: it has a schedule too, or follows itself.
    """
    if after is None or isinstance(after, str):
        return ()
    found = tuple(dict.fromkeys(_name(key, one) for one in after))
    if found and has_schedule:
        raise JobError(f"{key}: it runs after other jobs or by a schedule, not both")
    return found


def _name(key: str, job: Named) -> str:
    if isinstance(job, str):
        return job
    mark = getattr(job, "__job__", None)
    if mark is None:
        raise JobError(f"{key}: after names {name_of(job)}, which is no job: it has no @job")
    name: str = mark.name
    return name


def refused(definitions: Mapping[str, JobDefinition]) -> dict[str, str]:
    """The jobs whose ``after`` cannot be, and why: a job that does not exist, or a circle, with its path."""
    found = {}
    for name, job in definitions.items():
        unknown = [one for one in job.after if one not in definitions]
        if unknown:
            found[name] = f"{name} follows {unknown[0]}, and there is no such job"
        elif path := circle(name, {one: job.after for one, job in definitions.items()}):
            found[name] = f"jobs follow each other in a circle: {' -> '.join(path)}"
    return found


def circle(name: str, after: Mapping[str, Iterable[str]]) -> list[str] | None:
    """The way from a job back to itself, each followed by the next; ``None``: there is none."""

    def way(path: list[str], seen: set[str]) -> list[str] | None:
        for one in after.get(path[0], ()):
            if one == name:
                return [one, *path]
            if one not in seen:
                seen.add(one)
                if found := way([one, *path], seen):
                    return found
        return None

    return way([name], set())


def chains(definitions: Iterable[JobDefinition]) -> tuple[tuple[JobDefinition, ...], ...]:
    """The jobs that hang together by their ``after``: of each chain those that follow no other first, and every job after those it follows."""
    jobs = sorted(definitions, key=lambda job: job.display_name.casefold())
    by_name = {job.name: job for job in jobs}
    after = {job.name: frozenset(job.after) & by_name.keys() for job in jobs}
    found = [_in_order(group, after) for group in _groups(after)]
    return tuple(
        tuple(by_name[name] for name in names)
        for names in sorted(found, key=lambda names: by_name[names[0]].display_name.casefold())
    )


def _groups(after: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The names that are linked, directly or through others; those with no link are left out."""
    group_of = {name: [name] for name in after}
    for name, parents in after.items():
        for parent in parents:
            mine, theirs = group_of[name], group_of[parent]
            if mine is not theirs:
                theirs += mine
                group_of |= dict.fromkeys(mine, theirs)
    every = {id(group): group for group in group_of.values()}
    return [group for group in every.values() if len(group) > 1]


def _in_order(group: Iterable[str], after: Mapping[str, frozenset[str]]) -> list[str]:
    """The names of a group, each after those that it follows; else as they stand in ``after``."""
    members, placed = set(group), dict[str, None]()
    rest = [name for name in after if name in members]
    while rest:
        ready = [name for name in rest if after[name] <= placed.keys()]
        placed |= dict.fromkeys(ready or rest)  # no circle: the registry refuses those
        rest = [name for name in rest if name not in placed]
    return list(placed)


# What a run sees of the runs that it waited for.


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
