"""Merge a job's `@job(...)` with the spec, argument by argument; every other byte of the file stays.

Three versions are compared: the file as the generator wrote it (base), as it is now (existing) and as the generator would write it now
(generated). An argument that only the spec changed is taken over. One that the person changed, so that it says something else than the spec, is
a collision, unless the spec says that the code keeps it. Compared is what arguments say, not how they are written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from targcc_gen.sync.jobs.decorator import (
    ALIASES,
    DESCRIPTION,
    LEFT_SPEC,
    NAME,
    SCHEDULE,
    DecoratedJob,
    job_in,
    jobs_in,
)
from targcc_gen.sync.merge import Collision, Side

WHEN = (SCHEDULE, "every", "anchor", "after", "at")
"""The arguments that `keep: [schedule]` speaks of."""


@dataclass(frozen=True)
class Synced:
    """What became of the file.

    Attributes:
        text: The person's file with the spec's changes.
        base: The base with the same changes.
        changed: The arguments that were changed.
        collisions: The arguments that say something else than the spec because the person changed them, and no side was chosen.
        problem: Why the file cannot follow at all, in words.
        new_name: The name that a person's renaming of the class gave the job, whose history is another's; among the collisions.
        is_gone: Whether the file has no job any more.
    """

    text: bytes
    base: bytes
    changed: tuple[str, ...] = ()
    collisions: tuple[Collision, ...] = ()
    problem: str | None = None
    new_name: str = ""
    is_gone: bool = False


def sync_decorator(
    *,
    existing: bytes,
    base: bytes,
    generated: bytes,
    side: Side | None = None,
    defaults: Mapping[str, Any] | None = None,
    keep: Collection[str] = (),
    one_sided: bool = False,
) -> Synced:
    """Let the decorator in the person's file follow the spec.

    Args:
        existing: The person's file, with `\\n` line ends.
        base: The file as the generator wrote it.
        generated: The file as the generator would write it now.
        side: How to settle collisions.
        defaults: What the project says of the arguments that are not given.
        keep: The arguments that the code says, whatever the spec does; `schedule` is all that say when it runs.
        one_sided: Whether what only the person changed stays, as in a merge of two versions of the file.
    """
    was, wanted = job_in(base), job_in(generated)
    if was is None or wanted is None:
        return Synced(existing, base)
    holds = defaults or {}
    spec_changes = _differences(was, wanted, holds)
    rebased = _edited(base, was.name, spec_changes, generated)
    try:
        now = job_in(existing, was.name)
    except (SyntaxError, ValueError) as error:
        problem = f"{error}: @job cannot follow the spec until that is right"
        return Synced(existing, rebased, problem=problem if spec_changes else None)
    if now is None:
        return _without_job(existing, rebased, was, spec_changes, keep=keep, one_sided=one_sided)
    edits = drifted(now, wanted, was, keep=keep, defaults=holds)
    if one_sided:
        edits = [name for name in edits if name in spec_changes]
    kept = kept_arguments(keep)
    changes = {
        name: _source(wanted, name, now.name)
        for name in [*spec_changes, *edits, LEFT_SPEC]
        if name not in kept
        and wanted.means(name, holds) != now.means(name, holds)
        and (name not in edits or side is Side.GENERATED)
    }
    settled = side in {Side.MINE, Side.GENERATED}
    collisions = () if settled else _collisions(now, wanted, edits)
    text = _edited(existing, now.name, changes, generated)
    is_renamed = bool(collisions) and NAME in edits and NAME not in now.arguments
    new_name = now.means(NAME) if is_renamed else ""
    return Synced(text, rebased, tuple(changes), collisions, new_name=new_name)


def _without_job(
    existing: bytes,
    rebased: bytes,
    was: DecoratedJob,
    spec_changes: Collection[str],
    *,
    keep: Collection[str],
    one_sided: bool,
) -> Synced:
    """A file in which nobody can tell the spec's job: there is none, or there are several with other names."""
    others = [job.name for job in jobs_in(existing)]
    if others and not one_sided and NAME not in keep:
        which = f"its @job(…) says name={was.means(NAME)!r}"
        problem = f"{was.name} is not in it, but {', '.join(others)}; the one that it was is known when {which}"
        return Synced(existing, rebased, problem=problem)
    problem = "it has no @job any more that could follow the spec"
    return Synced(existing, rebased, problem=problem if spec_changes else None, is_gone=not others)


def _edited(
    content: bytes, name: str, changes: Mapping[str, str | None], generated: bytes
) -> bytes:
    if not changes:
        return content
    from targcc_gen.sync.jobs.decorator_edit import edited  # libcst takes its time to load

    return edited(content, name, changes, generated)


def drifted(
    now: DecoratedJob,
    wanted: DecoratedJob,
    was: DecoratedJob | None,
    *,
    keep: Collection[str],
    defaults: Mapping[str, Any],
) -> list[str]:
    """The arguments that a person changed and that say something else than the spec.

    Args:
        now: The job in the code.
        wanted: The job as the spec asks for it.
        was: The job as the generator wrote it; None where nobody knows.
        keep: The arguments that the code says, whatever the spec does.
        defaults: What the project says of the arguments that are not given.
    """
    names = dict.fromkeys([*wanted.arguments, *now.arguments, *(was.arguments if was else ())])
    skipped = {*kept_arguments(keep), ALIASES, LEFT_SPEC}
    if SCHEDULE not in names:
        names = {SCHEDULE: None, **names}
    if now.name != wanted.name:
        names |= {NAME: None}
    if now.has_more:
        skipped |= names.keys() - now.arguments.keys()
    if DESCRIPTION not in now.arguments:
        skipped.add(DESCRIPTION)  # a docstring is the person's
    return [
        name
        for name in names
        if name not in skipped
        and now.means(name, defaults) != wanted.means(name, defaults)
        and (was is None or now.means(name, defaults) != was.means(name, defaults))
    ]


def kept_arguments(keep: Collection[str]) -> set[str]:
    """The arguments that the words below `keep` speak of."""
    return {*keep, *(WHEN if SCHEDULE in keep else ())}


def _differences(
    before: DecoratedJob, after: DecoratedJob, defaults: Mapping[str, Any]
) -> dict[str, str | None]:
    """The arguments that say something else, with their new source; None for one that is gone."""
    names = [*after.arguments, *before.arguments, DESCRIPTION]
    return {
        name: _source(after, name, before.name)
        for name in dict.fromkeys(names)
        if before.means(name, defaults) != after.means(name, defaults)
    }


def _source(job: DecoratedJob, name: str, class_name: str) -> str | None:
    """What the decorator of a class has to say so that it says the same as that of a job."""
    if name in job.arguments or name not in {DESCRIPTION, NAME}:
        return job.arguments.get(name)
    from targcc_gen.render.literals import pyliteral

    if name == DESCRIPTION:
        return pyliteral(job.docstring)
    return None if job.name == class_name else pyliteral(job.means(NAME))


def _collisions(
    now: DecoratedJob, wanted: DecoratedJob, edits: Collection[str]
) -> tuple[Collision, ...]:
    return tuple(
        Collision(now.first, now.last, _shown(name, now), _shown(name, wanted)) for name in edits
    )


def _shown(name: str, job: DecoratedJob) -> str:
    source = job.arguments.get(name)
    if source is None and name == NAME:
        return f"class {job.name}, whose history is that of {job.means(NAME)}\n"
    if source is None:
        return f"no {name}\n"
    return f"{source}\n" if name == SCHEDULE else f"{name}={source}\n"
