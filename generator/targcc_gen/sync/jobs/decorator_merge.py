"""Merge a job's `@job(...)` with the spec, argument by argument; every other byte of the file stays.

Three versions are compared by the meaning of their arguments: the generator's last text (base), the user's text (existing) and the
generator's new text (generated). An argument that only the spec changed is taken over. An argument that the user changed to a meaning
other than the spec's is a collision, unless `keep` in the spec lists the argument.
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
"""The arguments covered by `keep: [schedule]`."""


@dataclass(frozen=True)
class Synced:
    """The result of updating a decorator.

    Attributes:
        text: The user's file with the spec's changes.
        base: The base with the same changes.
        changed: Names of the changed arguments.
        collisions: Arguments that the user changed and that differ from the spec; empty when a side was chosen.
        problem: Reason why the file cannot follow at all; None where it can.
        new_name: The job's new name after a user renamed the class without `name=`: the job would lose its history. Also in `collisions`.
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
    """Update the decorator in the user's file to the spec.

    Args:
        existing: The user's file, with `\\n` line ends.
        base: The generator's last text of the file.
        generated: The generator's new text of the file.
        side: Choice for settling collisions.
        defaults: The project's defaults of arguments.
        keep: Arguments whose value in the code wins over the spec; `schedule` covers every argument of the schedule.
        one_sided: Whether a value that only the user changed stays, as in a merge of two versions of the file.
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
    """Return the result for a file without the spec's job: no job, or several jobs with other names."""
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
    from targcc_gen.sync.jobs.decorator_edit import edited  # libcst is slow to import

    return edited(content, name, changes, generated)


def drifted(
    now: DecoratedJob,
    wanted: DecoratedJob,
    was: DecoratedJob | None,
    *,
    keep: Collection[str],
    defaults: Mapping[str, Any],
) -> list[str]:
    """Return the arguments that a user changed and that differ from the spec.

    Args:
        now: The job in the code.
        wanted: The job rendered from the spec.
        was: The job in the generator's last text; None where unknown.
        keep: Arguments whose value in the code wins over the spec.
        defaults: The project's defaults of arguments.
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
        skipped.add(DESCRIPTION)  # a docstring belongs to the user
    return [
        name
        for name in names
        if name not in skipped
        and now.means(name, defaults) != wanted.means(name, defaults)
        and (was is None or now.means(name, defaults) != was.means(name, defaults))
    ]


def kept_arguments(keep: Collection[str]) -> set[str]:
    """Return the arguments covered by the words below `keep`."""
    return {*keep, *(WHEN if SCHEDULE in keep else ())}


def _differences(
    before: DecoratedJob, after: DecoratedJob, defaults: Mapping[str, Any]
) -> dict[str, str | None]:
    """Return the arguments whose meaning differs, with their new source; None for a removed argument."""
    names = [*after.arguments, *before.arguments, DESCRIPTION]
    return {
        name: _source(after, name, before.name)
        for name in dict.fromkeys(names)
        if before.means(name, defaults) != after.means(name, defaults)
    }


def _source(job: DecoratedJob, name: str, class_name: str) -> str | None:
    """Return the source of an argument that gives a class's decorator the meaning of `job`; None to omit the argument."""
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
