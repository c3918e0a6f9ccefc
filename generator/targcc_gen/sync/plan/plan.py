"""The plan: what happens to each file, and why. It is printed, shown as a diff, handed to programs, checked, or applied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from targcc_gen.render.tree import KEPT_PATH, Owner
from targcc_gen.sync.lock import Lock
from targcc_gen.sync.merging.merge import Collision
from targcc_gen.sync.merging.text import is_binary, plain


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
                data[name] = [asdict(one) for one in places]
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
        return not (self.conflicts or self.lock_changes or any(one.writes for one in self.changes))

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
