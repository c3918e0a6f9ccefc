"""Rename a job: move its module and test with their edits, and update references."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from targcc_gen.names import JobName
from targcc_gen.render.tree import JobMove, Owner, Tree
from targcc_gen.sync.disk import Disk, OnDisk
from targcc_gen.sync.lock import Lock, LockEntry
from targcc_gen.sync.merge import is_binary, plain
from targcc_gen.sync.plan.plan import Action, Change, Outcome

if TYPE_CHECKING:
    from targcc_gen.render.tree import TreeFile

_BUILT = {"__pycache__", "node_modules", "build", "dist"}


@dataclass(frozen=True)
class Arrived:
    """A file of a renamed job at its new path.

    Attributes:
        old: The old path.
        entry: The lock's entry, under the new name.
        disk: State of the file at the new path.
        raw: Bytes at the old path; None where the file has moved already.
    """

    old: str
    entry: LockEntry
    disk: OnDisk
    raw: bytes | None


def arrivals(tree: Tree, lock: Lock, disk: Disk) -> dict[str, Arrived]:
    """Return the files of renamed jobs that the lock has at old paths, by new path."""
    result: dict[str, Arrived] = {}
    for move in tree.moved:
        for old, new in move.paths:
            entry = lock.entries.get(old)
            if entry is None or new in result or new not in tree.files:
                continue
            if old == new:
                result |= _in_place(entry, move, disk)
                continue
            if new in lock.entries:
                continue
            here, new_file = disk.look(old), disk.look(new)
            if new_file.raw is not None and here.raw is None:
                result[new] = Arrived(old, _entry(entry, new, move), new_file, None)
            elif new_file.raw is not None or new_file.blocked:
                why = new_file.blocked or f"it is there already, and {old} is to go there"
                result[new] = Arrived(
                    old, _entry(entry, new, move), OnDisk(here.raw, why), here.raw
                )
            else:
                raw = here.raw
                text = None if raw is None else here.style.restore(renamed(plain(raw), move))
                moved = OnDisk(text, here.blocked, here.mode)
                result[new] = Arrived(old, _entry(entry, new, move), moved, raw)
    return result


def _in_place(entry: LockEntry, move: JobMove, disk: Disk) -> dict[str, Arrived]:
    """Handle a file whose path is the same for both names of the job."""
    new, here = _entry(entry, entry.path, move), disk.look(entry.path)
    if new == entry or here.raw is None:
        return {}
    text = here.style.restore(renamed(plain(here.raw), move))
    return {entry.path: Arrived(entry.path, new, OnDisk(text, here.blocked, here.mode), here.raw)}


def arrived(outcome: Outcome, arrival: Arrived) -> dict[str, Outcome]:
    """Return the outcomes at the old and the new path, from the outcome at the new path."""
    change = outcome.change
    if arrival.raw is None:
        return {change.path: outcome}
    if arrival.disk.blocked and change.action is not Action.CONFLICT:
        change = replace(
            change,
            action=Action.CONFLICT,
            reason=arrival.disk.blocked,
            after=None,
            settleable=False,
        )
        outcome = replace(outcome, change=change)
    after = change.after if change.after is not None else arrival.disk.raw
    if arrival.old == change.path:
        here = replace(change, before=arrival.raw)
        if change.action is not Action.CONFLICT:
            here = replace(here, action=Action.UPDATE, after=after)
        return {change.path: replace(outcome, change=here)}
    reason = "; ".join(filter(None, [f"was {arrival.old}", change.reason]))
    here = replace(change, before=None, reason=reason)
    if change.action is not Action.CONFLICT:
        here = replace(here, action=Action.CREATE, after=after)
    gone = Change(
        arrival.old, Action.DELETE, f"it is {change.path} now", change.owner, before=arrival.raw
    )
    if change.action is Action.CONFLICT and change.after is None:
        gone = replace(gone, action=Action.KEEP)
    return {change.path: replace(outcome, change=here), arrival.old: Outcome(gone, None)}


def _entry(entry: LockEntry, path: str, move: JobMove) -> LockEntry:
    if entry.base is None:
        return replace(entry, path=path)
    return LockEntry.of(path, entry.owner, renamed(entry.base, move), keep_base=True)


def renamed(text: bytes, move: JobMove) -> bytes:
    """Rename the job's class and module in a text."""
    if is_binary(text):
        return text
    old, new = JobName(move.old), JobName(move.new)
    try:
        source = text.decode()
    except UnicodeDecodeError:
        return text
    source = re.sub(rf"\b{old.class_name}\b", new.class_name, source)
    source = re.sub(rf"(\bjobs\.|\bfrom \.){old.module}\b", rf"\g<1>{new.module}", source)
    return _with_module(source, old.module, new.module).encode()


def _with_module(source: str, old: str, new: str) -> str:
    """Rewrite `from package.jobs import old` as `import new as old`, so that uses of `old` keep working."""

    def follow(match: re.Match[str]) -> str:
        names = match[2]
        names = re.sub(rf"\b{old}\b(\s+as\b)", rf"{new}\1", names)
        return match[1] + re.sub(rf"\b{old}\b(?!\s+as\b)(?<!as {old})", f"{new} as {old}", names)

    if new == old:
        return source
    pattern = r"(\bfrom\s+(?:[\w.]*\.)?(?:jobs|(?<=from )\.)\s+import\s+)(\([^)]*\)|[^\n]*)"
    return re.sub(pattern, follow, source)


def mentions(
    tree: Tree, disk: Disk, outcomes: Mapping[str, Outcome], moves: tuple[JobMove, ...], lock: Lock
) -> dict[str, Outcome]:
    """Return the outcomes of the users' modules that import a renamed job, with the new names.

    Args:
        tree: The files rendered from the spec.
        disk: The project's disk.
        outcomes: Outcome of each file otherwise.
        moves: The renamed jobs whose files move.
        lock: The lock before the run.
    """
    result: dict[str, Outcome] = {}
    for path in _modules(disk, moves):
        file = tree.files.get(path)
        if file is not None and file.owner is Owner.MANAGED:
            continue
        outcome = result.get(path) or outcomes.get(path) or _untouched(path, disk, lock, file)
        change = outcome.change
        now = change.after if change.after is not None else change.before
        if now is None or change.action in {Action.DELETE, Action.CONFLICT}:
            continue
        text = plain(now)
        for move in moves:
            text = renamed(text, move)
        if text == plain(now):
            continue
        after = disk.look(path).style.restore(text)
        names = ", ".join(JobName(move.new).class_name for move in moves)
        action = change.action if change.after is not None else Action.UPDATE
        reason = change.reason or f"names {names} now"
        result[path] = replace(
            outcome, change=replace(change, action=action, after=after, reason=reason)
        )
    return result


def _untouched(path: str, disk: Disk, lock: Lock, file: TreeFile | None) -> Outcome:
    owner = Owner.SCAFFOLD if file is None else file.owner
    change = Change(path, Action.UNCHANGED, "", owner, before=disk.look(path).raw)
    return Outcome(change, lock.entries.get(path))


def _modules(disk: Disk, moves: tuple[JobMove, ...]) -> Iterator[str]:
    """Yield the project's Python files that mention any of the jobs."""
    root, names = disk.root, [JobName(move.old) for move in moves]
    words = [word.encode() for name in names for word in (name.class_name, name.module)]
    folders = dict.fromkeys(
        place.rpartition("/")[0].split("/")[0] or "." for move in moves for _, place in move.paths
    )
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") or part in _BUILT for part in parts)
            if hidden or "scheduler" in parts:
                continue
            place = path.relative_to(root).as_posix()
            text = disk.look(place).raw or b""
            if any(word in text for word in words):
                yield place
