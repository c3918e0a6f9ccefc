"""Which jobs follow which: the option ``after`` of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from ...core.errors import JobError
from ..definition import JobDefinition, name_of

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
