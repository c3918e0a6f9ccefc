"""The plan: an action and a reason for each file, to print, to compare, to check, to apply."""

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
    """What happens to a file."""

    CREATE = "create"
    UPDATE = "update"
    MERGE = "merge"
    CONFLICT = "conflict"
    DELETE = "delete"
    KEEP = "keep"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Change:
    """What happens to one file.

    Attributes:
        path: POSIX path below the project's folder.
        action: What happens.
        reason: Why, in a few words; may be empty where the action says it all.
        owner: Who edits the file.
        before: The bytes on disk; None where there is no file.
        after: The bytes to be there afterwards, if they differ; None for a file that goes, or stays as it is.
        collisions: What a person has to settle.
        settleable: Whether choosing a side settles the conflict; not when something is in the way.
        executable: Whether a new file is a program.
        summary: A few words about the file for the listing of a new project.
        moved: Of a file that moved: where to, or where from.
        left: What of the person's could not follow a file that moved.
        note: What a person should do by hand, as a diff.
        stray: The job in it that runs although the spec, which had it, has it no more.
        left_spec: Whether it has edits and the spec, which asked for it, does so no more.
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
        """How many lines are added and removed."""
        added = removed = 0
        for line in self.diff().splitlines()[2:]:
            added += line.startswith("+")
            removed += line.startswith("-")
        return added, removed

    def diff(self) -> str:
        """The change as a unified diff; empty when the disk does not change."""
        if not self.writes:
            return ""
        if is_binary(self.before or b"") or is_binary(self.after or b""):
            return f"Binary file {self.path} differs\n"
        return unified_diff(self.path, self.before, self.after)

    def to_json(self) -> dict[str, Any]:
        """The change for a program."""
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
    """What happens to the project, and its lock afterwards.

    Attributes:
        root: The project's folder; it need not exist yet.
        changes: Sorted by path.
        lock: The lock as it will be.
        lock_before: The lock's text as it is; None where there is none.
        locked_before: The lock as it is.
    """

    root: Path
    changes: tuple[Change, ...]
    lock: Lock
    lock_before: str | None
    locked_before: Lock

    @property
    def conflicts(self) -> tuple[Change, ...]:
        """What a person has to settle."""
        return self.having(Action.CONFLICT)

    @property
    def new_templates(self) -> tuple[str, ...]:
        """The team's templates that are used for the first time."""
        return tuple(sorted(self.lock.templates.keys() - self.locked_before.templates.keys()))

    @property
    def changed_templates(self) -> tuple[str, ...]:
        """The team's templates that say something else than when the project was last brought up to date."""
        before, after = self.locked_before.templates, self.lock.templates
        return tuple(name for name in sorted(before) if after.get(name) not in {None, before[name]})

    @property
    def strays(self) -> tuple[Change, ...]:
        """The files with a job that is in the code and not in the spec any more."""
        return tuple(change for change in self.changes if change.stray)

    @property
    def lock_changes(self) -> bool:
        """Whether the lock will be another than it is."""
        before = self.lock_before
        return before is None or self.lock_after != before.replace("\r\n", "\n")

    @cached_property
    def lock_after(self) -> str:
        """The lock's text as it will be."""
        return self.lock.dump()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do and nothing to settle."""
        return not (
            self.conflicts or self.lock_changes or any(change.writes for change in self.changes)
        )

    def having(self, *actions: Action) -> tuple[Change, ...]:
        """The changes with one of these actions."""
        return tuple(change for change in self.changes if change.action in actions)

    def diff(self) -> str:
        """All changes as one unified diff, and what is to be done by hand."""
        return "".join(
            change.diff() + change.note
            for change in self.changes
            if not change.path.startswith(f"{KEPT_PATH}/")  # these are diffs themselves
        )

    def to_json(self) -> dict[str, Any]:
        """The plan for a program."""
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
    """The difference as `git diff` prints it; line ends alone make none."""
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


# The outcome of one path, and its next entry in the lock.


@dataclass(frozen=True)
class Situation:
    """All that is known about one path.

    Attributes:
        path: POSIX path below the project's folder.
        generated: The file as the spec asks for it; None when it asks for none.
        entry: What the lock remembers; None for a path that is new to it.
        disk: What is there now.
        side: How the person wants a conflict settled.
        adopt: Whether a file of the person's that is already there is simply theirs; else it is in the way.
        restore: Whether the person asked for the generator's text back.
        formats: How the project's Python may be written.
        whole_spec: Whether the plan is about all that the spec asks for.
        retire: Whether the person asked for the file to go.
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
        """Who edits the file."""
        known = self.generated or self.entry
        assert known is not None  # a path is in the tree, in the lock, or in both
        return known.owner


@dataclass(frozen=True)
class Outcome:
    """What happens to the file.

    Attributes:
        change: What happens.
        entry: What the lock remembers afterwards; None is nothing.
        reshaped: Whether a job's module is of another kind or has other arguments, so that its test has to follow.
        drops: Whether a body that somebody wrote goes; it is kept aside.
    """

    change: Change
    entry: LockEntry | None
    reshaped: bool = False
    drops: bool = False


def stays(situation: Situation, entry: LockEntry | None, action: Action, reason: str) -> Outcome:
    """The file is left as it is."""
    return Outcome(change_of(situation, action, reason), entry)


def written(
    situation: Situation, entry: LockEntry | None, action: Action, reason: str, text: bytes
) -> Outcome:
    """Write `text` in the style the file has, unless something is in the way."""
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
    """A person has to settle something.

    Args:
        situation: The file.
        entry: What the lock remembers as long as that is not done.
        reason: What it is, where the collisions do not say it.
        collisions: The places.
        settleable: Whether choosing a side settles it.
    """
    change = change_of(situation, Action.CONFLICT, reason)
    return Outcome(replace(change, collisions=collisions, settleable=settleable), entry)


def marked(situation: Situation, conflict: Outcome, after: LockEntry, text: bytes) -> Outcome:
    """A conflict that is written into the file, for the person to edit."""
    if situation.disk.blocked:
        return conflict
    content = situation.disk.style.restore(text)
    return Outcome(replace(conflict.change, after=content), after)


def change_of(situation: Situation, action: Action, reason: str) -> Change:
    """A change that writes nothing yet."""
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
    """What the lock remembers of the generator's text; the entry it has already, when that says the same."""
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
    """The entry with another text as the generator's."""
    return LockEntry.of(entry.path, entry.owner, base, keep_base=True)


def is_formatted(entry: LockEntry, text: bytes) -> bool:
    """Whether a person's file differs from the generator's text in its formatting alone."""
    if not entry.path.endswith(".py") or entry.base is None:
        return False
    return is_same_module(entry.base, text)


# Keep edits that cannot follow the generator in `.targcc/kept/`, where nothing runs, imports or formats them.
# `status` lists it until the person deletes it.


def kept_path(path: str, disk: Disk, content: bytes, end: str, folder: str = KEPT_PATH) -> str:
    """Where a text of the file at `path` is kept: a name that is free, or that has this text already."""
    number, place = 1, f"{folder}/{path}{end}"
    while (on_disk := disk.look(place)).blocked or on_disk.raw not in {None, content}:
        number += 1
        place = f"{folder}/{path}.{number}{end}"
    return place


def keep(
    path: str, disk: Disk, content: bytes, end: str, reason: str, *, folder: str = KEPT_PATH
) -> Change:
    """The change that keeps `content`, a text of the file at `path`.

    Args:
        path: The file.
        disk: The project.
        content: The text.
        end: The end of the name: `.txt` for a whole file, `.diff` for a diff.
        reason: What it is.
        folder: Where such texts are kept.
    """
    place = kept_path(path, disk, content, end, folder)
    raw = disk.look(place).raw
    action = Action.UNCHANGED if raw == content else Action.CREATE
    after = None if raw == content else content
    return Change(place, action, reason, Owner.SCAFFOLD, before=raw, after=after)


def kept_files(root: Path) -> list[str]:
    """The texts that are kept in a project, each once."""
    folder = root / KEPT_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(path.relative_to(root).as_posix() for path in files)
