"""The rule of managed files that moved: carry edits along, keep and report the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from targcc_gen.render.package import SOURCE_TREE
from targcc_gen.render.tree import Owner, Tree
from targcc_gen.sync.disk import Disk, OnDisk
from targcc_gen.sync.lock import Lock, LockEntry, digest
from targcc_gen.sync.merge import (
    Collision,
    Merged,
    Side,
    count_new_lines,
    has_markers,
    is_binary,
    merge,
    plain,
)
from targcc_gen.sync.merge_python import Formats, as_written, merge_file
from targcc_gen.sync.plan.managed import broken_python
from targcc_gen.sync.plan.plan import Action, Change, Outcome, is_formatted, keep, unified_diff
from targcc_gen.sync.renames.carry import (
    Carried,
    Hunk,
    Moved,
    carry,
    with_hunks,
    with_imports,
    without_imports,
)
from targcc_gen.sync.renames.imports import Homes
from targcc_gen.sync.renames.table import Renames

# Write edits into the files that now hold the surrounding text.

_TAKES_EDITS = {Action.CREATE, Action.UPDATE, Action.MERGE, Action.UNCHANGED}
_SHOWN = 2


@dataclass(frozen=True)
class OldFile:
    """A managed file whose text has moved.

    Attributes:
        entry: The lock's entry.
        disk: State of the old path on disk.
        targets: New paths of the text.
    """

    entry: LockEntry
    disk: OnDisk
    targets: tuple[str, ...]

    @property
    def path(self) -> str:
        """Old path of the file."""
        return self.entry.path

    @property
    def is_gone(self) -> bool:
        """Whether a user deleted the file."""
        return self.disk.raw is None and self.disk.blocked is None

    @property
    def is_edited(self) -> bool:
        """Whether a user edited the file beyond formatting."""
        return self.is_other and not is_formatted(self.entry, self.disk.text or b"")

    @property
    def is_other(self) -> bool:
        """Whether a user changed the file in any way."""
        return self.disk.text is not None and digest(self.disk.text) != self.entry.sha256

    @property
    def moved(self) -> Moved | None:
        """The file's texts; None for a file that cannot be merged line by line."""
        base, existing = self.entry.base, self.disk.text
        if base is None or existing is None or is_binary(existing):
            return None
        try:
            return Moved(self.path, base.decode(), existing.decode(), self.targets)
        except UnicodeDecodeError:
            return None


class Arrivals:
    """The outcome of each file, and methods that add arriving edits to outcomes.

    Args:
        tree: The files rendered from the spec.
        lock: The lock before the run.
        disk: The project's disk.
        renames: New places of moved files.
        outcomes: Outcome of each path by the rules for one file.
        sides: The user's choices for settling conflicts, by path.
        formats: Formats of the project's Python.
    """

    def __init__(
        self,
        tree: Tree,
        lock: Lock,
        disk: Disk,
        renames: Renames,
        *,
        outcomes: Mapping[str, Outcome],
        sides: Mapping[str, Side | None],
        formats: Formats,
    ) -> None:
        self.tree, self.lock, self.disk = tree, lock, disk
        self.sides, self.formats = sides, formats
        self.outcomes = dict(outcomes)
        self.texts = {path: text for path in tree.files if (text := self._text(path)) is not None}
        self.plain: dict[str, str] = {}  # original texts of the files that take edits
        source = "src" if tree.layout is None else tree.layout.code.rpartition("/")[0]
        self.renames = renames
        self.homes = Homes(self.texts, lambda path: renames.targets(path, tree.files), source)
        self.old = {
            path: OldFile(entry, disk.look(path), targets)
            for path, entry in lock.entries.items()
            if entry.owner is Owner.MANAGED
            and (targets := renames.targets(path, tree.files)) is not None
        }

    def _text(self, path: str) -> str | None:
        """Return a file's text after the rules for one file; None for a binary file."""
        change = self.outcomes[path].change
        content = plain(change.after or change.before or self.tree.files[path].content)
        try:
            return None if is_binary(content) else content.decode()
        except UnicodeDecodeError:
            return None

    def _format_as(self, path: str, old: OldFile) -> None:
        """Format a new file as the user's formatter formatted the old file."""
        change = self.outcomes[path].change
        is_new = change.action is Action.CREATE and not change.moved and path in self.texts
        if not (is_new and path.endswith(".py") and old.is_other):
            return
        self.texts[path] = self._formatted(old, self.texts[path].encode())
        change = replace(change, after=old.disk.style.restore(self.texts[path].encode()))
        self.outcomes[path] = replace(self.outcomes[path], change=change)

    def _in_its_format(self, old: OldFile) -> Moved | None:
        """Return the old file's texts with the base in the user's format; reformat the new files too."""
        moved = old.moved
        if moved is None or not old.path.endswith(".py"):
            return moved
        for path in old.targets:
            self._format_as(path, old)
        return replace(moved, base=self._formatted(old, moved.base.encode()))

    def _formatted(self, old: OldFile, text: bytes) -> str:
        """Return a text of the generator in the user's format of the old file."""
        existing, base = old.disk.text or b"", old.entry.base or b""
        return self.formats.as_in(old.path, existing, base, text).decode()

    def _plain(self, path: str, text: str) -> str:
        return (self.formats.plain(path, text.encode()) or text.encode()).decode()

    def _carried(self, moved: Moved) -> Carried:
        """Carry each edit to its new place. Where the user's line breaks prevent that, retry in canonical line breaks."""
        carried = carry(moved, self.homes)
        if not carried.left or not moved.path.endswith(".py"):
            return carried
        plain = {path: self._plain(path, self.texts[path]) for path in moved.targets}
        base, existing = self._plain(moved.path, moved.base), self._plain(moved.path, moved.mine)
        homes = replace(self.homes, texts={**self.texts, **plain})
        plainly = carry(replace(moved, base=base, mine=existing), homes)
        if plainly.left:
            return carried
        examples = {path: (moved.mine.encode(), self.texts[path].encode()) for path in plain}
        texts = {
            path: as_written(text.encode(), examples[path]).decode()
            for path, text in plainly.texts.items()
        }
        return Carried(texts, ())

    def _successor(self, old: OldFile) -> str | None:
        """Return the only new path of a file that moved without any change of the generator's text, or None."""
        if len(old.targets) != 1 or old.targets[0] in self.lock.entries:
            return None
        (path,) = old.targets
        if self.outcomes[path].change.action is not Action.CREATE:
            return None
        return path if digest(plain(self.tree.files[path].content)) == old.entry.sha256 else None

    def _take_whole(self, path: str, old: OldFile) -> None:
        """Write the user's file to its new path unchanged, byte for byte."""
        assert old.disk.raw is not None  # the caller has read the file
        outcome = self.outcomes[path]
        reason = f"moved from {self._listed([old.path])}"
        if old.is_edited:
            base = old.entry.base
            count = 0 if base is None else count_new_lines(base, old.disk.text or b"")
            words = "your line kept" if count == 1 else f"your {count} lines kept"
            reason = f"{reason}, {words if base is not None else 'as it is'}"
        change = replace(
            outcome.change,
            action=Action.MERGE if old.is_edited else Action.CREATE,
            reason=reason,
            after=old.disk.raw,
            moved=(old.path,),
        )
        self.outcomes[path] = replace(outcome, change=change)
        if not is_binary(old.disk.raw):
            self.texts[path] = (old.disk.text or b"").decode(errors="replace")

    def _take_ejected(self, old: OldFile) -> bool:
        """Move an ejected file to its new path and keep it ejected; return False for a file that was split or blocked."""
        if len(old.targets) != 1 or old.disk.raw is None or old.disk.blocked:
            return False
        (path,) = old.targets
        if path != self.renames.home(old.path) or path in self.lock.entries:
            return False
        self._take_whole(path, old)
        self.outcomes[path] = replace(self.outcomes[path], entry=replace(old.entry, path=path))
        self._go(old, f"{self._went(old)}; it is ejected there too")
        return True

    def _takes_edits(self, path: str) -> bool:
        return path in self.texts and self.outcomes[path].change.action in _TAKES_EDITS

    def _arrive(self, path: str, old: OldFile, text: str) -> None:
        """Write a text that contains edits of `old`."""
        outcome = self.outcomes[path]
        before = self.plain.setdefault(path, self.texts[path])
        change, self.texts[path] = outcome.change, text
        style = old.disk.style if change.before is None else self.disk.look(path).style
        count = count_new_lines(before.encode(), text.encode())
        whence = (*change.moved, *(() if old.path in {*change.moved, path} else (old.path,)))
        kept = "your line kept" if count == 1 else f"your {count} lines kept"
        reason = f"moved from {self._listed(whence)}, {kept}" if whence else kept
        after = style.restore(text.encode())
        change = replace(change, action=Action.MERGE, reason=reason, after=after, moved=whence)
        self.outcomes[path] = replace(outcome, change=change)

    def _note_origin(self, path: str, old: OldFile) -> None:
        outcome = self.outcomes[path]
        change = replace(outcome.change, moved=(*outcome.change.moved, old.path))
        if change.action is Action.CREATE:
            change = replace(change, reason=f"moved from {self._listed(change.moved)}")
        self.outcomes[path] = replace(outcome, change=change)

    def _kept(self, old: OldFile, left: tuple[Collision, ...], diff: str) -> str:
        """Keep the edits that could not follow in `.targcc/kept/`, and return a reason with the path."""
        assert old.disk.raw is not None  # the file was edited
        count = sum(max(1, item.last - item.first + 1) for item in left)
        lines = "1 line" if count == 1 else f"{count} lines"
        kept = [keep(old.path, self.disk, old.disk.raw, ".txt", "your text, as it was")]
        if diff:
            reason = f"{lines} of yours that could not follow"
            kept.append(keep(old.path, self.disk, diff.encode(), ".diff", reason))
        self.outcomes |= {change.path: Outcome(change, None) for change in kept}
        return f"{lines} of yours could not follow: see {kept[-1].path}"

    def _go(self, old: OldFile, reason: str, left: tuple[Collision, ...] = ()) -> None:
        change = self._change(old, Action.DELETE, reason)
        self.outcomes[old.path] = Outcome(replace(change, moved=old.targets, left=left), None)

    def _stays(self, old: OldFile, action: Action, reason: str) -> None:
        self.outcomes[old.path] = Outcome(self._change(old, action, reason), None)

    def _in_the_way(self, old: OldFile, reason: str) -> None:
        change = self._change(old, Action.CONFLICT, reason)
        self.outcomes[old.path] = Outcome(replace(change, settleable=False), old.entry)

    def _change(self, old: OldFile, action: Action, reason: str) -> Change:
        return Change(old.path, action, reason, Owner.MANAGED, before=old.disk.raw)

    def _went(self, old: OldFile) -> str:
        return f"moved to {self._listed(old.targets)}" if old.targets else "it has no successor"

    def _listed(self, paths: Iterable[str]) -> str:
        """Return a few paths in words, without the folders of the project's and the scheduler's code."""
        names = [self._short(path) for path in dict.fromkeys(paths)]
        more = len(names) - _SHOWN
        if more > 0:
            return f"{', '.join(names[:_SHOWN])} and {more} more"
        return " and ".join(names)

    def _short(self, path: str) -> str:
        short = path.removeprefix(f"{SOURCE_TREE}/")
        return (
            short if self.tree.layout is None else short.removeprefix(f"{self.tree.layout.code}/")
        )


# Moved files.


class Moves(Arrivals):
    """Carries the edits of moved files to their new places."""

    def followed(self) -> dict[str, Outcome]:
        """Return the outcomes, with the edits at their new places."""
        here = [old for old in self.old.values() if old.path in self.tree.files]
        parts = [(old, moved) for old in here if (moved := self._moved_in_part(old)) is not None]
        for old, _ in parts:
            self._start_anew(old)
        for old, moved in parts:
            self._carry_parts(old, moved)
        for old in self.old.values():
            if old not in here:
                self._moved(old)
        return self.outcomes

    def _moved(self, old: OldFile) -> None:
        if old.entry.ejected:
            if not self._take_ejected(old):
                where = f": targcc-gen makes {self._listed(old.targets)} now" if old.targets else ""
                self._stays(old, Action.KEEP, f"ejected; it stays, and nothing uses it{where}")
        elif old.is_gone:
            self._stay_deleted(old)
        elif old.disk.raw is None or old.disk.blocked:
            self._in_the_way(old, old.disk.blocked or "")
        elif has_markers(old.disk.raw):
            self._in_the_way(old, "it still has conflict markers")
        elif old.is_other and (place := self._successor(old)) is not None:
            self._take_whole(place, old)
            self._go(old, f"{self._went(old)}{', with your edits' if old.is_edited else ''}")
        elif not old.is_edited:
            self._go(old, self._went(old))
            for path in old.targets:
                self._format_as(path, old)
                self._note_origin(path, old)
        else:
            self._take_edits(old)

    def _stay_deleted(self, old: OldFile) -> None:
        """Keep a deleted file deleted at its new path, unless the new file also holds the text of other files."""
        self._stays(old, Action.UNCHANGED, "it is gone already")
        for path in old.targets:
            sources = [item for item in self.old.values() if path in item.targets]
            outcome = self.outcomes[path]
            if outcome.change.action is Action.CREATE and all(
                item.is_gone and len(item.targets) == 1 for item in sources
            ):
                reason = f"you deleted it as {self._short(old.path)}; restore brings it back"
                change = replace(outcome.change, action=Action.KEEP, reason=reason, after=None)
                self.outcomes[path] = replace(outcome, change=change)

    def _take_edits(self, old: OldFile) -> None:
        moved = self._in_its_format(old)
        if moved is None:
            self._leave(old, (Collision(1, 1, "(the whole file)\n", ""),), "")
        elif self._is_alone(old) and _is_successor(moved.base, self.texts[old.targets[0]]):
            self._merge(old, moved)
        elif self._stays_in_its_folder(old, moved):
            self._merge(
                replace(old, targets=(home := self._home(old),)), replace(moved, targets=(home,))
            )
        else:
            self._split(old, moved)

    def _is_alone(self, old: OldFile) -> bool:
        """Return whether the file has a single, newly created path that takes no other file's edits."""
        if len(old.targets) != 1 or old.targets[0] not in self.texts:
            return False
        (path,) = old.targets
        others = [
            old_file
            for old_file in self.old.values()
            if path in old_file.targets and old_file.is_edited
        ]
        is_new = path not in self.lock.entries
        return is_new and len(others) == 1 and self.outcomes[path].change.action is Action.CREATE

    def _home(self, old: OldFile) -> str:
        return self.renames.home(old.path)

    def _stays_in_its_folder(self, old: OldFile, moved: Moved) -> bool:
        """Return whether all edits merge at the same place in the scheduler's new folder, for a file that the rename table splits."""
        path = self._home(old)
        if path == old.path or path not in old.targets or path not in self.texts:
            return False
        if self.outcomes[path].change.action is not Action.CREATE:
            return False
        return not self._merged(path, moved.base, moved.mine).collisions

    def _merge(self, old: OldFile, moved: Moved) -> None:
        """Three-way merge of a file that moved as a whole, at its new path."""
        (path,) = old.targets
        side = self.sides.get(path)
        existing = without_imports(moved, self.homes) if path.endswith(".py") else moved.mine
        merged = self._merged(path, moved.base, existing)
        broken = broken_python(path, before=existing.encode(), after=merged.text)
        if not (merged.collisions or broken):
            self._arrive(path, old, with_imports(merged.text.decode(), moved, self.homes))
            self._go(old, f"{self._went(old)}, with your edits")
        elif broken or side is Side.GENERATED or not carry(moved, self.homes).left:
            # Text of other files was added beside it, or the order changed: an edit may still have a unique place.
            self._split(old, moved)
        elif side is Side.MINE:
            merged = self._merged(path, moved.base, existing, side)
            self._arrive(path, old, with_imports(merged.text.decode(), moved, self.homes))
            self._go(old, f"{self._went(old)}, with your edits")
        else:
            # Line numbers of the user's file: the import statements at the top were left out.
            lines = moved.mine.count("\n") - existing.count("\n")
            marked = self._merged(path, moved.base, existing, side).text if side else None
            self._collide(old, _further(merged.collisions, lines), marked)

    def _merged(self, path: str, base: str, existing: str, side: Side | None = None) -> Merged:
        texts = (base.encode(), existing.encode(), self.texts[path].encode())
        return merge_file(path, *texts, formats=self.formats, side=side)

    def _collide(
        self, old: OldFile, collisions: tuple[Collision, ...], marked: bytes | None
    ) -> None:
        (path,) = old.targets
        outcome = self.outcomes[path]
        change = replace(
            outcome.change,
            action=Action.CONFLICT,
            reason=f"moved from {self._short(old.path)}",
            collisions=collisions,
            after=None if marked is None else old.disk.style.restore(marked),
        )
        self.outcomes[path] = replace(outcome, change=change)
        self._go(old, self._went(old))

    def _split(self, old: OldFile, moved: Moved) -> None:
        """Place each edit by its surrounding lines: the file was split, or joined with others."""
        targets = tuple(path for path in old.targets if self._takes_edits(path))
        carried = self._carried(replace(moved, targets=targets))
        for path in old.targets:
            if path in carried.texts:
                self._arrive(path, old, carried.texts[path])
            else:
                self._note_origin(path, old)
        if carried.left:
            left = tuple(map(_collision, carried.left))
            self._leave(old, left, _diff_of(moved, carried.left))
        else:
            self._go(old, f"{self._went(old)}, with your edits")

    def _moved_in_part(self, old: OldFile) -> Moved | None:
        """Return the texts of a file that moved in part; None where the rules for one file apply."""
        path, side = old.path, self.sides.get(old.path)
        generated = self.tree.files[path].content
        if old.targets == (path,) or not old.is_edited or old.entry.sha256 == digest(generated):
            return None
        moved = self._in_its_format(old)
        if moved is None or side in {Side.MINE, Side.MARKERS} or old.disk.blocked:
            return None
        formatted = self._formatted(old, generated)
        if not merge(moved.base.encode(), moved.mine.encode(), formatted.encode()).collisions:
            return None
        targets = tuple(
            target for target in old.targets if target == path or self._takes_edits(target)
        )
        moved = replace(moved, targets=targets)
        homes = replace(self.homes, texts={**self.texts, path: formatted})
        return moved if side is Side.GENERATED or not carry(moved, homes).left else None

    def _start_anew(self, old: OldFile) -> None:
        """Reset the file to the generator's text, as a target for edits."""
        path, generated = old.path, self.tree.files[old.path].content
        self.texts[path] = self._formatted(old, generated)
        after = old.disk.style.restore(self.texts[path].encode())
        change = replace(
            self.outcomes[path].change,
            action=Action.UPDATE,
            reason="",
            collisions=(),
            after=after,
        )
        entry = LockEntry.of(path, Owner.MANAGED, generated, keep_base=True)
        self.outcomes[path] = Outcome(change, entry)

    def _carry_parts(self, old: OldFile, moved: Moved) -> None:
        carried = carry(moved, self.homes)
        for place, text in carried.texts.items():
            self._arrive(place, old, text)
        if carried.left:
            left = tuple(map(_collision, carried.left))
            outcome = self.outcomes[old.path]
            reason = self._kept(old, left, _diff_of(moved, carried.left))
            change = replace(outcome.change, reason=reason, left=left)
            self.outcomes[old.path] = replace(outcome, change=change)

    def _leave(self, old: OldFile, left: tuple[Collision, ...], diff: str) -> None:
        self._go(old, f"{self._went(old)}; {self._kept(old, left, diff)}", left)


def _diff_of(moved: Moved, hunks: Iterable[Hunk]) -> str:
    """Return some of a user's edits as a diff."""
    return unified_diff(moved.path, moved.base.encode(), with_hunks(moved.base, hunks).encode())


def _collision(hunk: Hunk) -> Collision:
    return Collision(hunk.first, hunk.last, "".join(hunk.added), "".join(hunk.removed))


def _is_successor(old: str, new: str) -> bool:
    """Return whether `new` is `old` at a new path, and not a file that took a few lines of `old`."""
    before, after = ({line.strip() for line in text.splitlines()} - {""} for text in (old, new))
    common = len(before & after)
    return common * 2 >= len(before) and common * 3 >= len(after)


def _further(collisions: tuple[Collision, ...], lines: int) -> tuple[Collision, ...]:
    return tuple(
        replace(collision, first=collision.first + lines, last=collision.last + lines)
        for collision in collisions
    )
