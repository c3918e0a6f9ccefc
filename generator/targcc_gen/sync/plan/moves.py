"""The rules for managed files that moved: an edit goes along, and what cannot is kept and named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from targcc_gen.render.tree import Owner
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.merge import (
    Collision,
    Merged,
    Side,
    has_markers,
    merge,
)
from targcc_gen.sync.merging.python import merge_file
from targcc_gen.sync.plan.arrivals import Arrivals, OldFile
from targcc_gen.sync.plan.managed import broken_python
from targcc_gen.sync.plan.outcome import Outcome
from targcc_gen.sync.plan.plan import Action, unified_diff
from targcc_gen.sync.renames.carry import Moved, carry, with_imports, without_imports
from targcc_gen.sync.renames.hunks import Hunk, with_hunks

_TAKES_EDITS = {Action.CREATE, Action.UPDATE, Action.MERGE, Action.UNCHANGED}
_SHOWN = 2


class Moves(Arrivals):
    """Lets the edits of files that moved follow."""

    def followed(self) -> dict[str, Outcome]:
        """The outcomes, with the edits at their new places."""
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
                self._say_whence(path, old)
        else:
            self._take_edits(old)

    def _stay_deleted(self, old: OldFile) -> None:
        """A file that was deleted stays so at its new place, unless that holds the text of others too."""
        self._stays(old, Action.UNCHANGED, "it is gone already")
        for path in old.targets:
            sources = [one for one in self.old.values() if path in one.targets]
            outcome = self.outcomes[path]
            if outcome.change.action is Action.CREATE and all(
                one.is_gone and len(one.targets) == 1 for one in sources
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
        """Whether it is at one new place, where no other edited file has a part."""
        if len(old.targets) != 1 or old.targets[0] not in self.texts:
            return False
        (path,) = old.targets
        others = [one for one in self.old.values() if path in one.targets and one.is_edited]
        is_new = path not in self.lock.entries
        return is_new and len(others) == 1 and self.outcomes[path].change.action is Action.CREATE

    def _home(self, old: OldFile) -> str:
        return self.renames.home(old.path)

    def _stays_in_its_folder(self, old: OldFile, moved: Moved) -> bool:
        """Whether a file that the table names lost nothing that was edited: it merges at the same place of the scheduler's folder."""
        path = self._home(old)
        if path == old.path or path not in old.targets or path not in self.texts:
            return False
        if self.outcomes[path].change.action is not Action.CREATE:
            return False
        return not self._merged(path, moved.base, moved.mine).collisions

    def _merge(self, old: OldFile, moved: Moved) -> None:
        """The whole file moved: a three-way merge at its new place."""
        (path,) = old.targets
        side = self.sides.get(path)
        mine = without_imports(moved, self.homes) if path.endswith(".py") else moved.mine
        merged = self._merged(path, moved.base, mine)
        broken = broken_python(path, before=mine.encode(), after=merged.text)
        if not (merged.collisions or broken):
            self._arrive(path, old, with_imports(merged.text.decode(), moved, self.homes))
            self._go(old, f"{self._went(old)}, with your edits")
        elif broken or side is Side.GENERATED or not carry(moved, self.homes).left:
            # Text of other files came in beside it, or the order changed: an edit may have its place all the same.
            self._split(old, moved)
        elif side is Side.MINE:
            merged = self._merged(path, moved.base, mine, side)
            self._arrive(path, old, with_imports(merged.text.decode(), moved, self.homes))
            self._go(old, f"{self._went(old)}, with your edits")
        else:
            # The import statements at the top were left out.
            lines = moved.mine.count("\n") - mine.count("\n")
            marked = self._merged(path, moved.base, mine, side).text if side else None
            self._collide(old, _further(merged.collisions, lines), marked)

    def _merged(self, path: str, base: str, mine: str, side: Side | None = None) -> Merged:
        texts = (base.encode(), mine.encode(), self.texts[path].encode())
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
        """Its lines are in several files, or among those of others: each edit goes where its surroundings are."""
        targets = tuple(path for path in old.targets if self._takes_edits(path))
        carried = self._carried(replace(moved, targets=targets))
        for path in old.targets:
            if path in carried.texts:
                self._arrive(path, old, carried.texts[path])
            else:
                self._say_whence(path, old)
        if carried.left:
            left = tuple(map(_collision, carried.left))
            self._leave(old, left, _diff_of(moved, carried.left))
        else:
            self._go(old, f"{self._went(old)}, with your edits")

    def _moved_in_part(self, old: OldFile) -> Moved | None:
        """The texts of a file that is where it was, but for a part; None where the rules for a single file do."""
        path, side = old.path, self.sides.get(old.path)
        generated = self.tree.files[path].content
        if old.targets == (path,) or not old.is_edited or old.entry.sha256 == digest(generated):
            return None
        moved = self._in_its_format(old)
        if moved is None or side in {Side.MINE, Side.MARKERS} or old.disk.blocked:
            return None
        there = self._formatted(old, generated)
        if not merge(moved.base.encode(), moved.mine.encode(), there.encode()).collisions:
            return None
        targets = tuple(one for one in old.targets if one == path or self._takes_edits(one))
        moved = replace(moved, targets=targets)
        homes = replace(self.homes, texts={**self.texts, path: there})
        return moved if side is Side.GENERATED or not carry(moved, homes).left else None

    def _start_anew(self, old: OldFile) -> None:
        """The generator's text, for edits to be put into."""
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
    """Some of a person's edits as a diff."""
    return unified_diff(moved.path, moved.base.encode(), with_hunks(moved.base, hunks).encode())


def _collision(hunk: Hunk) -> Collision:
    return Collision(hunk.first, hunk.last, "".join(hunk.added), "".join(hunk.removed))


def _is_successor(old: str, new: str) -> bool:
    """Whether a file is another one at a new place, and not one that took a few lines of it."""
    before, after = ({line.strip() for line in text.splitlines()} - {""} for text in (old, new))
    common = len(before & after)
    return common * 2 >= len(before) and common * 3 >= len(after)


def _further(collisions: tuple[Collision, ...], lines: int) -> tuple[Collision, ...]:
    return tuple(replace(one, first=one.first + lines, last=one.last + lines) for one in collisions)
