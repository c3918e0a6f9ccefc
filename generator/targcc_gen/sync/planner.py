"""Plan the update of every file: compare the tree with the disk and the lock."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from targcc_gen import __version__
from targcc_gen.errors import FolderTakenError, PathError
from targcc_gen.render.team import pins
from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.sync.branches import git_conflict, is_certain, settled
from targcc_gen.sync.disk import Disk, OnDisk
from targcc_gen.sync.import_style import ImportStyle
from targcc_gen.sync.jobs.removed import is_job_module, orphans, put_away, without_mark
from targcc_gen.sync.jobs.rename import arrivals, arrived, mentions
from targcc_gen.sync.lock import Lock, LockEntry
from targcc_gen.sync.merge import Side
from targcc_gen.sync.merge_python import Formats
from targcc_gen.sync.plan.moves import Moves
from targcc_gen.sync.plan.plan import Action, Change, Outcome, Plan, Situation, conflict, keep
from targcc_gen.sync.plan.upgrade import imports_rewritten, own_files_moved
from targcc_gen.sync.renames.table import Renames
from targcc_gen.sync.rules import decide, renewed

# The planner.


def make_plan(
    tree: Tree,
    root: Path,
    *,
    sides: Mapping[str, Side] | None = None,
    restore: Collection[str] = (),
    renames: Renames | None = None,
    retire: bool = False,
) -> Plan:
    """Plan the update of the project in `root` to `tree`. Writes nothing.

    A run that was killed while writing must be undone first.

    Args:
        tree: The files rendered from the spec.
        root: The project's folder; need not exist.
        sides: Choices for settling conflicts, by path of a file or a folder; `"."` is the whole project.
        restore: Paths whose deleted, edited or ejected file becomes the generator's again.
        renames: New places of files that moved since the lock was written; by default the generator's own table.
        retire: Whether edited files that have left the spec are moved to `.targcc/removed`.

    Raises:
        InputError: `root` is not a folder, or its lock is damaged.
        UnfinishedError: A killed run is not undone yet.
        ConflictError: Another run is writing right now.
    """
    root = _checked(root)
    text, lock = _lock(root)
    disk, formats = Disk(root), Formats(root, _own_imports(tree, root))
    adopt = tree.complete and text is not None
    outcomes: dict[str, Outcome] = {}
    moving = arrivals(tree, lock, disk)

    def situation_of(path: str, generated: TreeFile | None) -> Situation:
        here = moving.get(path)
        return Situation(
            path,
            generated,
            lock.entries.get(path) if here is None else here.entry,
            disk.look(path) if here is None else here.disk,
            formats,
            side=side_of(path, sides or {}),
            adopt=adopt,
            restore=path in restore,
            whole_spec=tree.complete,
            retire=retire,
        )

    for path in _concerned(tree, lock):
        outcomes[path] = _decided(situation_of(path, tree.files.get(path)))
    for file in tree:
        if file.test_of in outcomes and outcomes[file.test_of].reshaped:
            outcomes[file.path] = _decided(situation_of(file.path, replace(file, whole=True)))
    for path, item in moving.items():
        outcomes |= arrived(outcomes[path], item)
    if moving:
        moves = tuple(item for item in tree.moved if any(new in moving for _, new in item.paths))
        outcomes |= mentions(tree, disk, outcomes, moves, lock)
    if tree.complete and lock.entries:
        renames = Renames.load(tree.layout) if renames is None else renames
        chosen = {path: side_of(path, sides or {}) for path in tree.files}
        outcomes = Moves(
            tree, lock, disk, renames, outcomes=outcomes, sides=chosen, formats=formats
        ).followed()
        outcomes |= own_files_moved(tree, lock, disk, renames)
        outcomes |= imports_rewritten(tree, lock, disk, renames, outcomes)
        outcomes |= renewed(tree, lock, disk, outcomes)
    outcomes |= _notes(outcomes, disk)
    outcomes |= (alone := orphans(outcomes))
    outcomes |= put_away(outcomes if retire else alone, lock, disk)
    changes = tuple(outcomes[path].change for path in sorted(outcomes))
    # A partial run keeps the lock's version: the next whole run follows the rest.
    generator = __version__ if tree.complete else lock.generator
    # A partial run keeps the pins of changed templates for the next whole run; new templates are pinned now.
    templates = tree.templates if tree.complete else {**pins(), **lock.templates}
    after = replace(_after(lock, outcomes), generator=generator, templates=templates)
    return Plan(root, changes, after, text, lock)


def _own_imports(tree: Tree, root: Path) -> ImportStyle | None:
    """Return the layout of imports in a project whose settings are new with this run; None where the folder has the settings."""
    is_new = "pyproject.toml" in tree.files and not (root / "pyproject.toml").exists()
    return ImportStyle() if is_new else None


def plan_eject(root: Path, paths: Collection[str], left: Collection[str] = ()) -> Plan:
    """Plan the ejection of managed files: each file becomes the user's alone.

    Args:
        root: The project's folder.
        paths: The files to eject.
        left: Files that have left the spec; their entries are dropped from the lock.

    Raises:
        InputError: A path is not a managed file of the project.
    """
    root = _checked(root)
    text, lock = _lock(root)
    disk = Disk(root)
    outcomes: dict[str, Outcome] = {}
    for path in paths:
        entry = lock.entries.get(path)
        if entry is not None and path in left:
            outcomes[path] = forgotten(entry, disk.look(path))
            continue
        if entry is None or entry.owner is not Owner.MANAGED:
            raise PathError(_not_managed(path, entry), hint="targcc-gen status lists the files")
        outcomes[path] = ejected(entry, disk.look(path))
    changes = tuple(outcomes[path].change for path in sorted(outcomes))
    return Plan(root, changes, _after(lock, outcomes), text, lock)


def unsettled(plan: Plan, sides: Mapping[str, Side]) -> tuple[Change, ...]:
    """Return the conflicts that a chosen side does not settle: something else is in the way."""
    return tuple(change for change in plan.conflicts if side_of(change.path, sides) is not None)


def _decided(situation: Situation) -> Outcome:
    """Apply the rules to a file; where git left conflict markers, update both sides to the spec first."""
    sides = git_conflict(situation.disk)
    if sides is None or situation.generated is None or situation.generated.replaces is not None:
        return decide(situation)
    entry = situation.entry
    if situation.restore or (entry is not None and entry.ejected):
        return decide(situation)
    text = settled(sides, situation.generated, entry, situation.formats)
    if text is None and not is_certain(situation.path, situation.disk):
        return decide(situation)
    if text is None:
        places = "a place" if sides.places == 1 else f"{sides.places} places"
        reason = f"git could not merge {places}: edit what is between its markers"
        return conflict(situation, entry, reason, settleable=False)
    disk = situation.disk
    raw = disk.style.restore(text)
    decided = decide(replace(situation, disk=replace(disk, raw=raw)))
    change = replace(decided.change, before=disk.raw)
    if change.after is None and change.action is not Action.CONFLICT:
        reason = "git's conflict is settled by targcc.yaml"
        change = replace(change, action=Action.MERGE, reason=reason, after=raw)
    return replace(decided, change=change)


def _notes(outcomes: Mapping[str, Outcome], disk: Disk) -> dict[str, Outcome]:
    """Add files to `.targcc/kept/`: diffs to apply by hand, and dropped texts. The user deletes these files."""
    result = {}
    for path, outcome in outcomes.items():
        if outcome.change.note:
            note = outcome.change.note.encode()
            kept = keep(path, disk, note, ".diff", "what is new in targcc-gen's version")
            reason = f"{outcome.change.reason}: {kept.path}"
            result[path] = replace(outcome, change=replace(outcome.change, reason=reason))
            result[kept.path] = Outcome(kept, None)
        if outcome.drops and outcome.change.before is not None:
            kept = keep(path, disk, outcome.change.before, ".txt", "what you had")
            result[kept.path] = Outcome(kept, None)
    return result


def _checked(root: Path) -> Path:
    from targcc_gen.sync.journal import check_finished

    if root.exists() and not root.is_dir():
        raise FolderTakenError(f"{root} is a file, not a folder")
    root = root.resolve()
    check_finished(root)
    return root


def _lock(root: Path) -> tuple[str | None, Lock]:
    lock = Lock.load(root)
    if not lock.generator:
        return None, lock
    return lock.text, lock


def _concerned(tree: Tree, lock: Lock) -> list[str]:
    """Return the paths of the plan: all paths of the tree, and paths of the lock that have left the spec."""
    known = set(lock.entries)
    left = known if tree.complete else known & tree.removed
    return sorted(set(tree.files) | left)


def side_of(path: str, sides: Mapping[str, Side]) -> Side | None:
    """Return the side chosen for a path: the choice for the file, else for its nearest folder."""
    place = path
    while place:
        if place in sides:
            return sides[place]
        place = place.rpartition("/")[0]
    return sides.get(".")


def _after(lock: Lock, outcomes: Mapping[str, Outcome]) -> Lock:
    entries = {path: entry for path, entry in lock.entries.items() if path not in outcomes}
    for path, outcome in outcomes.items():
        entry = outcome.entry
        if entry is not None:
            entries[path] = replace(entry, others=()) if entry.others else entry
    return replace(lock, entries=entries, text=None, removed=_removed(lock, entries, outcomes))


def _removed(
    lock: Lock, entries: Mapping[str, LockEntry], outcomes: Mapping[str, Outcome]
) -> dict[str, LockEntry]:
    """Return the tombstones: the old ones and the job modules deleted now, without files that the user has taken over."""
    removed = dict(lock.removed)
    for path, outcome in outcomes.items():
        entry = lock.entries.get(path)
        if outcome.change.action is Action.DELETE and entry is not None and is_job_module(entry):
            removed[path] = replace(entry, others=())
        elif outcome.change.before is not None and path not in entries:
            removed.pop(path, None)  # the file belongs to the user now
    return {path: entry for path, entry in removed.items() if path not in entries}


def _not_managed(path: str, entry: LockEntry | None) -> str:
    if entry is None:
        return f"{path} is no file that targcc-gen made"
    return f"{path} is yours already"


# Eject: a managed file loses its header line and becomes the project's own.

_HEADER = re.compile(rb"^[^\n]*Managed by targcc-gen: [^\n]*\n(?:\r?\n)?", re.MULTILINE)
_HEAD_BYTES = 400


def ejected(entry: LockEntry, disk: OnDisk) -> Outcome:
    """Return the outcome of ejecting the file of `entry`."""
    own = replace(entry, ejected=True, packed=None)
    change = Change(entry.path, Action.KEEP, "ejected", entry.owner, before=disk.raw)
    if disk.raw is None or disk.blocked:
        return Outcome(change, own)
    after = without_header(disk.raw)
    if after != disk.raw:
        change = replace(change, action=Action.UPDATE, after=after)
    return Outcome(change, own)


def forgotten(entry: LockEntry, disk: OnDisk) -> Outcome:
    """Return the outcome of handing over a file that has left the spec: no header, no mark, no entry in the lock."""
    change = Change(entry.path, Action.KEEP, "yours alone", entry.owner, before=disk.raw)
    if disk.raw is None or disk.text is None or disk.blocked:
        return Outcome(change, None)
    after = without_header(disk.raw)
    if entry.path.endswith(".py"):
        text = without_mark(disk.text)
        after = disk.style.restore(text) if text != disk.text else after
    if after != disk.raw:
        change = replace(change, action=Action.UPDATE, after=after)
    return Outcome(change, None)


def without_header(content: bytes) -> bytes:
    """Return `content` without the `Managed by targcc-gen` line."""
    match = _HEADER.search(content[:_HEAD_BYTES])
    if match is None or content[: match.start()].count(b"\n") > 1:
        return content
    return content[: match.start()] + content[match.end() :]
