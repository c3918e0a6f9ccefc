"""Tree against disk against the lock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from targcc_gen import __version__
from targcc_gen.errors import InputError
from targcc_gen.render.tree import LOCK_PATH, PENDING_PATH, Owner, Tree
from targcc_gen.sync.folder.disk import Disk
from targcc_gen.sync.lock import Lock, LockEntry
from targcc_gen.sync.merging.formats import Formats
from targcc_gen.sync.merging.merge import Side
from targcc_gen.sync.plan.imports import imports_followed
from targcc_gen.sync.plan.kept import keep
from targcc_gen.sync.plan.moves import Moves
from targcc_gen.sync.plan.outcome import Outcome, Situation
from targcc_gen.sync.plan.plan import Change, Plan
from targcc_gen.sync.plan.rules import decide
from targcc_gen.sync.renames.table import Renames


def make_plan(
    tree: Tree,
    root: Path,
    *,
    sides: Mapping[str, Side] | None = None,
    restore: Collection[str] = (),
    renames: Renames | None = None,
) -> Plan:
    """Work out what it takes to bring the project in `root` to `tree`; nothing is written.

    A run that was killed in the middle of writing is undone first.

    Args:
        tree: What the spec asks for.
        root: The project's folder; it need not exist.
        sides: How to settle conflicts, by path of a file or a folder; `"."` is everything.
        restore: Paths whose deleted, edited or ejected file should be the generator's again.
        renames: Where files went that moved since the lock was written; by default the generator's own table.

    Raises:
        InputError: `root` is no folder, or its lock is damaged.
    """
    root = _checked(root)
    text, lock = _lock(root)
    disk, formats = Disk(root), Formats(root)
    adopt = tree.complete and text is not None
    outcomes: dict[str, Outcome] = {}
    for path in _concerned(tree, lock):
        situation = Situation(
            path,
            tree.files.get(path),
            lock.entries.get(path),
            disk.look(path),
            formats,
            side=_side(path, sides or {}),
            adopt=adopt,
            restore=path in restore,
        )
        outcomes[path] = decide(situation)
    if tree.complete and lock.entries:
        renames = Renames.load(tree.layout) if renames is None else renames
        chosen = {path: _side(path, sides or {}) for path in tree.files}
        outcomes = Moves(
            tree, lock, disk, renames, outcomes=outcomes, sides=chosen, formats=formats
        ).followed()
        outcomes |= imports_followed(tree, lock, disk, renames, outcomes)
    outcomes |= _notes(outcomes, disk)
    changes = tuple(outcomes[path].change for path in sorted(outcomes))
    # What is not followed here waits for the next whole run: the lock still names the version before.
    generator = __version__ if tree.complete else lock.generator
    return Plan(root, changes, replace(_after(lock, outcomes), generator=generator), text, lock)


def plan_eject(root: Path, paths: Collection[str]) -> Plan:
    """Work out what it takes to make managed files the person's alone.

    Raises:
        InputError: A path is not a managed file of the project.
    """
    from targcc_gen.sync.plan.eject import ejected

    root = _checked(root)
    text, lock = _lock(root)
    disk = Disk(root)
    outcomes: dict[str, Outcome] = {}
    for path in paths:
        entry = lock.entries.get(path)
        if entry is None or entry.owner is not Owner.MANAGED:
            raise InputError(_not_managed(path, entry), hint="targcc-gen status lists the files")
        outcomes[path] = ejected(entry, disk.look(path))
    changes = tuple(outcomes[path].change for path in sorted(outcomes))
    return Plan(root, changes, _after(lock, outcomes), text, lock)


def unsettled(plan: Plan, sides: Mapping[str, Side]) -> tuple[Change, ...]:
    """The conflicts that remain although the person chose a side for them: something else is in the way."""
    return tuple(one for one in plan.conflicts if _side(one.path, sides) is not None)


def _notes(outcomes: Mapping[str, Outcome], disk: Disk) -> dict[str, Outcome]:
    """What is to be done by hand, kept until it is done: the lock forgets the generator's older text."""
    found = {}
    for path, outcome in outcomes.items():
        if outcome.change.note:
            note = outcome.change.note.encode()
            kept = keep(path, disk, note, ".diff", "what is new in targcc-gen's version")
            reason = f"{outcome.change.reason}: {kept.path}"
            found[path] = replace(outcome, change=replace(outcome.change, reason=reason))
            found[kept.path] = Outcome(kept, None)
    return found


def _checked(root: Path) -> Path:
    from targcc_gen.sync.folder.journal import recover

    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file, not a folder")
    root = root.resolve()
    if (root / PENDING_PATH).exists():
        recover(root)
    return root


def _lock(root: Path) -> tuple[str | None, Lock]:
    lock = Lock.load(root)
    if not lock.generator:
        return None, lock
    return (root / LOCK_PATH).read_text(encoding="utf-8"), lock


def _concerned(tree: Tree, lock: Lock) -> list[str]:
    """The paths the plan is about: the tree's, and of the lock's those that have left the spec."""
    known = set(lock.entries)
    left = known if tree.complete else known & tree.removed
    return sorted(set(tree.files) | left)


def _side(path: str, sides: Mapping[str, Side]) -> Side | None:
    """The side chosen for a path: the nearest of its own and its folders' counts."""
    place = path
    while place:
        if place in sides:
            return sides[place]
        place = place.rpartition("/")[0]
    return sides.get(".")


def _after(lock: Lock, outcomes: Mapping[str, Outcome]) -> Lock:
    entries = {path: entry for path, entry in lock.entries.items() if path not in outcomes}
    for path, outcome in outcomes.items():
        if outcome.entry is not None:
            entries[path] = outcome.entry
    return Lock(entries, lock.generator)


def _not_managed(path: str, entry: LockEntry | None) -> str:
    if entry is None:
        return f"{path} is no file that targcc-gen made"
    return f"{path} is yours already"
