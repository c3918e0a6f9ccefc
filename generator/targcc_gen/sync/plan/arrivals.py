"""Edits of people arrive in the files that hold the text around them now, and what cannot is kept aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from targcc_gen.render.package import SOURCE_TREE
from targcc_gen.render.tree import Owner, Tree
from targcc_gen.sync.folder.disk import Disk, OnDisk
from targcc_gen.sync.lock import Lock, LockEntry, digest
from targcc_gen.sync.merging.formats import Formats
from targcc_gen.sync.merging.merge import (
    Collision,
    Side,
    count_new_lines,
)
from targcc_gen.sync.merging.python import as_written
from targcc_gen.sync.merging.text import is_binary, plain
from targcc_gen.sync.plan.kept import keep
from targcc_gen.sync.plan.outcome import Outcome, is_formatted
from targcc_gen.sync.plan.plan import Action, Change
from targcc_gen.sync.renames.carry import Carried, Moved, carry
from targcc_gen.sync.renames.imports import Homes
from targcc_gen.sync.renames.table import Renames

_TAKES_EDITS = {Action.CREATE, Action.UPDATE, Action.MERGE, Action.UNCHANGED}
_SHOWN = 2


@dataclass(frozen=True)
class OldFile:
    """A managed file whose text is elsewhere now.

    Attributes:
        entry: What the lock remembers of it.
        disk: What is there.
        targets: Where its text is now.
    """

    entry: LockEntry
    disk: OnDisk
    targets: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where it was."""
        return self.entry.path

    @property
    def is_gone(self) -> bool:
        """Whether a person deleted it."""
        return self.disk.raw is None and self.disk.blocked is None

    @property
    def is_edited(self) -> bool:
        """Whether a person changed what it says."""
        return self.is_other and not is_formatted(self.entry, self.disk.text or b"")

    @property
    def is_other(self) -> bool:
        """Whether a person changed it in any way."""
        return self.disk.text is not None and digest(self.disk.text) != self.entry.sha256

    @property
    def moved(self) -> Moved | None:
        """Its texts; None for one that cannot be merged line by line."""
        base, mine = self.entry.base, self.disk.text
        if base is None or mine is None or is_binary(mine):
            return None
        try:
            return Moved(self.path, base.decode(), mine.decode(), self.targets)
        except UnicodeDecodeError:
            return None


class Arrivals:
    """What happens to each file, and the changes of it when edits arrive.

    Args:
        tree: What the spec asks for.
        lock: The lock as it is.
        disk: The project.
        renames: Where files went.
        outcomes: What the rules say of each path by itself.
        sides: How the person wants conflicts settled, by path.
        formats: How the project's Python may be written.
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
        self.plain: dict[str, str] = {}  # the files that take edits, as they were before
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
        """What a file is going to be by the rules alone."""
        change = self.outcomes[path].change
        content = plain(change.after or change.before or self.tree.files[path].content)
        try:
            return None if is_binary(content) else content.decode()
        except UnicodeDecodeError:
            return None

    def _format_as(self, path: str, old: OldFile) -> None:
        """Write a new file as the person's formatter wrote the old one."""
        change = self.outcomes[path].change
        is_new = change.action is Action.CREATE and not change.moved and path in self.texts
        if not (is_new and path.endswith(".py") and old.is_other):
            return
        self.texts[path] = self._formatted(old, self.texts[path].encode())
        change = replace(change, after=old.disk.style.restore(self.texts[path].encode()))
        self.outcomes[path] = replace(self.outcomes[path], change=change)

    def _in_its_format(self, old: OldFile) -> Moved | None:
        """Its texts, the generator's written as the person's; the new files are written so too."""
        moved = old.moved
        if moved is None or not old.path.endswith(".py"):
            return moved
        for path in old.targets:
            self._format_as(path, old)
        return replace(moved, base=self._formatted(old, moved.base.encode()))

    def _formatted(self, old: OldFile, text: bytes) -> str:
        """A text of the generator, written as the person's formatter wrote the old file."""
        mine, base = old.disk.text or b"", old.entry.base or b""
        return self.formats.as_in(old.path, mine, base, text).decode()

    def _plain(self, path: str, text: str) -> str:
        return (self.formats.plain(path, text.encode()) or text.encode()).decode()

    def _carried(self, moved: Moved) -> Carried:
        """Each edit at its place; where line breaks of the person's are in the way, without these."""
        carried = carry(moved, self.homes)
        if not carried.left or not moved.path.endswith(".py"):
            return carried
        plain = {path: self._plain(path, self.texts[path]) for path in moved.targets}
        base, mine = self._plain(moved.path, moved.base), self._plain(moved.path, moved.mine)
        homes = replace(self.homes, texts={**self.texts, **plain})
        plainly = carry(replace(moved, base=base, mine=mine), homes)
        if plainly.left:
            return carried
        examples = {path: (moved.mine.encode(), self.texts[path].encode()) for path in plain}
        texts = {
            path: as_written(text.encode(), examples[path]).decode()
            for path, text in plainly.texts.items()
        }
        return Carried(texts, ())

    def _successor(self, old: OldFile) -> str | None:
        """The one new place of a file that nothing but moved: the generator's text is the same there."""
        if len(old.targets) != 1 or old.targets[0] in self.lock.entries:
            return None
        (path,) = old.targets
        if self.outcomes[path].change.action is not Action.CREATE:
            return None
        return path if digest(plain(self.tree.files[path].content)) == old.entry.sha256 else None

    def _take_whole(self, path: str, old: OldFile) -> None:
        """Let the person's file be at its new place as it is, to the byte."""
        assert old.disk.raw is not None  # it was looked at
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
        """Let an ejected file be ejected at its new place; False for one that was split, or that is in the way there."""
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
        """Write a text that has edits of `old`."""
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

    def _say_whence(self, path: str, old: OldFile) -> None:
        outcome = self.outcomes[path]
        change = replace(outcome.change, moved=(*outcome.change.moved, old.path))
        if change.action is Action.CREATE:
            change = replace(change, reason=f"moved from {self._listed(change.moved)}")
        self.outcomes[path] = replace(outcome, change=change)

    def _kept(self, old: OldFile, left: tuple[Collision, ...], diff: str) -> str:
        """Keep what could not follow where it harms nothing, and say where."""
        assert old.disk.raw is not None  # it was edited
        count = sum(max(1, one.last - one.first + 1) for one in left)
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
        """A few paths in words, without the folder of the project's code or of the scheduler's."""
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
