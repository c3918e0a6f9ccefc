"""A job's `@job(...)` follows the spec, argument by argument; every other byte of the file stays.

Three versions are compared: the file as the generator wrote it (base), as it is now (mine) and as the generator would write it now
(generated). An argument that only the spec changed is taken over, one that only the person changed stays, and one that both changed is a
collision.
"""

from __future__ import annotations

from dataclasses import dataclass

from targcc_gen.sync.decorators.edit import edited
from targcc_gen.sync.decorators.model import DESCRIPTION, SCHEDULE, DecoratedJob, job_in
from targcc_gen.sync.merging.merge import Collision, Side


@dataclass(frozen=True)
class Synced:
    """What became of the file.

    Attributes:
        text: The person's file with the spec's changes.
        base: The base with the same changes.
        changed: The arguments that were changed.
        collisions: The arguments that both changed, and no side was chosen.
        problem: Why the file cannot follow at all, in words.
    """

    text: bytes
    base: bytes
    changed: tuple[str, ...] = ()
    collisions: tuple[Collision, ...] = ()
    problem: str | None = None


def sync_decorator(
    *, mine: bytes, base: bytes, generated: bytes, side: Side | None = None
) -> Synced:
    """Let the decorator in the person's file follow the spec.

    Args:
        mine: The person's file, with `\\n` line ends.
        base: The file as the generator wrote it.
        generated: The file as the generator would write it now.
        side: How to settle collisions.
    """
    was, wanted = job_in(base), job_in(generated)
    if was is None or wanted is None:
        return Synced(mine, base)
    spec_changes = _differences(was, wanted)
    rebased = edited(base, was.name, spec_changes, generated) if spec_changes else base
    try:
        now = job_in(mine, was.name)
    except (SyntaxError, ValueError) as error:
        problem = f"{error}: @job cannot follow the spec until that is right"
        return Synced(mine, rebased, problem=problem)
    if not spec_changes:
        return Synced(mine, rebased)
    if now is None:
        return Synced(mine, rebased, problem="it has no @job any more that could follow the spec")
    edits = _differences(was, now)
    changes = {
        name: source
        for name, source in spec_changes.items()
        if wanted.means(name) != now.means(name) and (name not in edits or side is Side.GENERATED)
    }
    collisions = (
        () if side in {Side.MINE, Side.GENERATED} else _collisions(now, wanted, edits, spec_changes)
    )
    text = edited(mine, now.name, changes, generated) if changes else mine
    return Synced(text, rebased, tuple(changes), collisions)


def _differences(before: DecoratedJob, after: DecoratedJob) -> dict[str, str | None]:
    """The arguments that say something else, with their new source; None for one that is gone."""
    names = [*after.arguments, *before.arguments, DESCRIPTION]
    return {
        name: _source(after, name)
        for name in dict.fromkeys(names)
        if before.means(name) != after.means(name)
    }


def _source(job: DecoratedJob, name: str) -> str | None:
    if name == DESCRIPTION and name not in job.arguments:
        from targcc_gen.render.literals import pyliteral

        return pyliteral(job.docstring)
    return job.arguments.get(name)


def _collisions(
    now: DecoratedJob,
    wanted: DecoratedJob,
    edits: dict[str, str | None],
    spec: dict[str, str | None],
) -> tuple[Collision, ...]:
    return tuple(
        Collision(now.first, now.last, _shown(name, now), _shown(name, wanted))
        for name in spec
        if name in edits and now.means(name) != wanted.means(name)
    )


def _shown(name: str, job: DecoratedJob) -> str:
    source = job.arguments.get(name)
    if source is None:
        return f"no {name}\n"
    return f"{source}\n" if name == SCHEDULE else f"{name}={source}\n"
