"""The plan: an action and a reason for each file, to print, compare, check and apply."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from targcc_gen.render.tree import KEPT_PATH, Owner, TreeFile
from targcc_gen.sync.disk import Disk, OnDisk
from targcc_gen.sync.lock import Lock, LockEntry, digest
from targcc_gen.sync.merge import Collision, Side, is_binary, plain
from targcc_gen.sync.merge_python import Formats, is_same_module

# The plan.


class Action(StrEnum):
    """Action on a file."""

    CREATE = "create"
    UPDATE = "update"
    MERGE = "merge"
    CONFLICT = "conflict"
    DELETE = "delete"
    KEEP = "keep"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Change:
    """The change of one file.

    Attributes:
        path: POSIX path below the project's folder.
        action: Action on the file.
        reason: Reason in a few words; empty where the action needs none.
        owner: Owner of the file, generator or user.
        before: The bytes on disk; None where there is no file.
        after: The bytes to write; None for a file to delete or to leave as it is.
        collisions: Places for a user to settle.
        settleable: Whether choosing a side settles the conflict; False when something is in the way.
        executable: Whether a new file is a program.
        summary: A few words about the file for the listing of a new project.
        moved: New paths of a file that moved away, or old paths of a file that moved here.
        left: The user's edits that could not follow a file that moved.
        note: A diff for the user to apply by hand.
        stray: Key of a job in the file that still runs although the spec has dropped the job.
        left_spec: Whether the file has edits and has left the spec.
    """

    path: str
    action: Action
    reason: str
    owner: Owner
    before: bytes | None = None
    after: bytes | None = None
    collisions: tuple[Collision, ...] = ()
    settleable: bool = True
    executable: bool = False
    summary: str = ""
    moved: tuple[str, ...] = ()
    left: tuple[Collision, ...] = ()
    note: str = ""
    stray: str = ""
    left_spec: bool = False

    @property
    def writes(self) -> bool:
        """Whether the disk changes."""
        return self.action is Action.DELETE or self.after is not None

    @property
    def lines(self) -> tuple[int, int]:
        """Number of added and of removed lines."""
        added = removed = 0
        for line in self.diff().splitlines()[2:]:
            added += line.startswith("+")
            removed += line.startswith("-")
        return added, removed

    def diff(self) -> str:
        """Return the change as a unified diff; empty when the disk does not change."""
        if not self.writes:
            return ""
        if is_binary(self.before or b"") or is_binary(self.after or b""):
            return f"Binary file {self.path} differs\n"
        return unified_diff(self.path, self.before, self.after)

    def to_json(self) -> dict[str, Any]:
        """Return the change as data for JSON output."""
        added, removed = self.lines
        data: dict[str, Any] = {
            "path": self.path,
            "action": self.action.value,
            "owner": self.owner.value,
            "reason": self.reason,
            "lines_added": added,
            "lines_removed": removed,
        }
        if self.moved:
            data["moved_to" if self.action is Action.DELETE else "moved_from"] = list(self.moved)
        for name, places in (("collisions", self.collisions), ("left_behind", self.left)):
            if places:
                data[name] = [asdict(place) for place in places]
        if self.note:
            data["note"] = self.note
        if self.stray:
            data["not_in_spec"] = self.stray
        return data


@dataclass(frozen=True)
class Plan:
    """The changes of a project, and its lock before and after.

    Attributes:
        root: The project's folder; need not exist yet.
        changes: Changes sorted by path.
        lock: The lock after the plan.
        lock_before: Text of the lock before the plan; None where there is none.
        locked_before: The lock before the plan.
    """

    root: Path
    changes: tuple[Change, ...]
    lock: Lock
    lock_before: str | None
    locked_before: Lock

    @property
    def conflicts(self) -> tuple[Change, ...]:
        """Changes that a user has to settle."""
        return self.having(Action.CONFLICT)

    @property
    def new_templates(self) -> tuple[str, ...]:
        """Names of the team's templates that are used for the first time."""
        return tuple(sorted(self.lock.templates.keys() - self.locked_before.templates.keys()))

    @property
    def changed_templates(self) -> tuple[str, ...]:
        """Names of the team's templates that differ from the last update of the whole project."""
        before, after = self.locked_before.templates, self.lock.templates
        return tuple(name for name in sorted(before) if after.get(name) not in {None, before[name]})

    @property
    def strays(self) -> tuple[Change, ...]:
        """Changes of files whose job is in the code and has left the spec."""
        return tuple(change for change in self.changes if change.stray)

    @property
    def lock_changes(self) -> bool:
        """Whether the lock changes."""
        before = self.lock_before
        return before is None or self.lock_after != before.replace("\r\n", "\n")

    @cached_property
    def lock_after(self) -> str:
        """Text of the lock after the plan."""
        return self.lock.dump()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write and nothing to settle."""
        return not (
            self.conflicts or self.lock_changes or any(change.writes for change in self.changes)
        )

    def having(self, *actions: Action) -> tuple[Change, ...]:
        """Return the changes with any of these actions."""
        return tuple(change for change in self.changes if change.action in actions)

    def diff(self) -> str:
        """Return all changes as a unified diff, with the diffs to apply by hand."""
        return "".join(
            change.diff() + change.note
            for change in self.changes
            if not change.path.startswith(f"{KEPT_PATH}/")  # kept files contain diffs themselves
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as data for JSON output."""
        return {
            "project": str(self.root),
            "changes": [change.to_json() for change in self.changes],
            "counts": {action.value: len(self.having(action)) for action in Action},
            "lock_changes": self.lock_changes,
            **({"new_templates": list(self.new_templates)} if self.new_templates else {}),
            **(
                {"changed_templates": list(self.changed_templates)}
                if self.changed_templates
                else {}
            ),
        }


def unified_diff(path: str, before: bytes | None, after: bytes | None) -> str:
    """Return the difference in the format of `git diff`; line ends are ignored."""
    import difflib

    old = "/dev/null" if before is None else f"a/{path}"
    new = "/dev/null" if after is None else f"b/{path}"
    lines = difflib.unified_diff(_text_lines(before), _text_lines(after), old, new)
    return "".join(_ended(lines))


def _text_lines(content: bytes | None) -> list[str]:
    text = plain(content or b"").decode("utf-8", "replace")
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _ended(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


# The outcome of one path, and the path's next entry in the lock.


@dataclass(frozen=True)
class Situation:
    """The inputs of the rules for one path.

    Attributes:
        path: POSIX path below the project's folder.
        generated: The file rendered from the spec; None for a file that has left the spec.
        entry: The lock's entry; None for a path that is new to the lock.
        disk: State of the path on disk.
        side: The user's choice for settling a conflict.
        adopt: Whether an existing user's file is adopted as the user's own; False makes the file a conflict.
        restore: Whether the user asked for the generator's text back.
        formats: Formats of the project's Python.
        whole_spec: Whether the plan covers the whole spec.
        retire: Whether the user asked to remove the file.
    """

    path: str
    generated: TreeFile | None
    entry: LockEntry | None
    disk: OnDisk
    formats: Formats
    side: Side | None = None
    adopt: bool = False
    restore: bool = False
    whole_spec: bool = False
    retire: bool = False

    @property
    def owner(self) -> Owner:
        """Owner of the file."""
        known = self.generated or self.entry
        assert known is not None  # a path is in the tree, in the lock, or in both
        return known.owner


@dataclass(frozen=True)
class Outcome:
    """The outcome of the rules for one path.

    Attributes:
        change: The change of the file.
        entry: The lock's entry afterwards; None for no entry.
        reshaped: Whether a job's module has a new blueprint or new arguments, so that its test must follow.
        drops: Whether a user's body is replaced; the body is kept in `.targcc/kept/`.
    """

    change: Change
    entry: LockEntry | None
    reshaped: bool = False
    drops: bool = False


def stays(situation: Situation, entry: LockEntry | None, action: Action, reason: str) -> Outcome:
    """Return an outcome that writes nothing."""
    return Outcome(change_of(situation, action, reason), entry)


def written(
    situation: Situation, entry: LockEntry | None, action: Action, reason: str, text: bytes
) -> Outcome:
    """Write `text` in the style of the file on disk, or return a conflict when the path is blocked."""
    if situation.disk.blocked:
        return conflict(situation, situation.entry, situation.disk.blocked, settleable=False)
    change = change_of(situation, action, reason)
    return Outcome(replace(change, after=situation.disk.style.restore(text)), entry)


def conflict(
    situation: Situation,
    entry: LockEntry | None,
    reason: str,
    collisions: tuple[Collision, ...] = (),
    *,
    settleable: bool = True,
) -> Outcome:
    """Return a conflict for the user to settle.

    Args:
        situation: The file.
        entry: The lock's entry until the conflict is settled.
        reason: Reason, where the collisions do not show it.
        collisions: Places that collide.
        settleable: Whether choosing a side settles the conflict.
    """
    change = change_of(situation, Action.CONFLICT, reason)
    return Outcome(replace(change, collisions=collisions, settleable=settleable), entry)


def marked(situation: Situation, conflict: Outcome, after: LockEntry, text: bytes) -> Outcome:
    """Write a conflict into the file as `text` with markers, for the user to edit."""
    if situation.disk.blocked:
        return conflict
    content = situation.disk.style.restore(text)
    return Outcome(replace(conflict.change, after=content), after)


def change_of(situation: Situation, action: Action, reason: str) -> Change:
    """Return a change that writes nothing yet."""
    generated = situation.generated
    return Change(
        situation.path,
        action,
        reason,
        situation.owner,
        before=situation.disk.raw,
        executable=generated is not None and generated.executable,
        summary="" if generated is None else generated.summary,
    )


def entry_of(situation: Situation, generated: TreeFile) -> LockEntry:
    """Return the lock's entry for the generator's text; reuse the existing entry when its checksum and owner are equal."""
    known = situation.entry
    keep_base = not is_binary(generated.content) and generated.path != "targcc.yaml"
    if (
        known is not None
        and known.owner is generated.owner
        and not known.ejected
        and known.sha256 == digest(generated.content)
        and (known.packed is not None or not keep_base)
    ):
        return known
    return LockEntry.of(
        generated.path, generated.owner, plain(generated.content), keep_base=keep_base
    )


def rebased(entry: LockEntry, base: bytes) -> LockEntry:
    """Return the entry with `base` as the generator's text."""
    return LockEntry.of(entry.path, entry.owner, base, keep_base=True)


def is_formatted(entry: LockEntry, text: bytes) -> bool:
    """Return whether a user's file differs from the generator's text in formatting alone."""
    if not entry.path.endswith(".py") or entry.base is None:
        return False
    return is_same_module(entry.base, text)


# Keep edits that cannot follow the generator in `.targcc/kept/`, where no tool runs, imports or formats the files.
# `status` lists each file until the user deletes the file.


def kept_path(path: str, disk: Disk, content: bytes, end: str, folder: str = KEPT_PATH) -> str:
    """Return a path to keep `content` at: the first path that is free, or that holds this content already."""
    number, place = 1, f"{folder}/{path}{end}"
    while (on_disk := disk.look(place)).blocked or on_disk.raw not in {None, content}:
        number += 1
        place = f"{folder}/{path}.{number}{end}"
    return place


def keep(
    path: str, disk: Disk, content: bytes, end: str, reason: str, *, folder: str = KEPT_PATH
) -> Change:
    """Return the change that keeps `content`, a text of the file at `path`.

    Args:
        path: Original path of the file.
        disk: The project's disk.
        content: The text to keep.
        end: End of the name: `.txt` for a whole file, `.diff` for a diff.
        reason: Description of the text.
        folder: Folder to keep the text in.
    """
    place = kept_path(path, disk, content, end, folder)
    raw = disk.look(place).raw
    action = Action.UNCHANGED if raw == content else Action.CREATE
    after = None if raw == content else content
    return Change(place, action, reason, Owner.SCAFFOLD, before=raw, after=after)


def kept_files(root: Path) -> list[str]:
    """Return the paths of the kept files of a project, sorted."""
    folder = root / KEPT_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(path.relative_to(root).as_posix() for path in files)
