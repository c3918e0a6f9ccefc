"""The rule for people's modules after an upgrade: what they import from the scheduler follows it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from targcc_gen import __version__
from targcc_gen.render.tree import Owner, Tree
from targcc_gen.sync.folder.disk import Disk, OnDisk
from targcc_gen.sync.imports_follow.names import Names
from targcc_gen.sync.imports_follow.rewrite import Here, Left, Rewritten, rewrite
from targcc_gen.sync.lock import Lock, LockEntry, digest, is_older
from targcc_gen.sync.merging.merge import Collision
from targcc_gen.sync.merging.text import plain
from targcc_gen.sync.plan.outcome import Outcome, rebased
from targcc_gen.sync.plan.plan import Action, Change
from targcc_gen.sync.renames.table import Renames

_REASON = "imports follow the scheduler"
_TESTS = "tests"


def imports_followed(
    tree: Tree, lock: Lock, disk: Disk, renames: Renames, outcomes: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """The outcomes of the modules in which an import is another one now.

    Args:
        tree: What the spec asks for.
        lock: The lock as it is; one that this version wrote asks for nothing.
        disk: The project.
        renames: Where files went.
        outcomes: What happens to each file otherwise.
    """
    if tree.layout is None or not is_older(lock.generator, __version__):
        return {}
    return _Imports(tree, lock, disk, renames, outcomes).followed()


class _Imports:
    def __init__(
        self,
        tree: Tree,
        lock: Lock,
        disk: Disk,
        renames: Renames,
        outcomes: Mapping[str, Outcome],
    ) -> None:
        layout = tree.layout
        assert layout is not None  # else there is nothing to follow
        self.lock, self.disk, self.outcomes = lock, disk, outcomes
        self.code = layout.code
        self.package = PurePosixPath(layout.code).name
        self.scheduler = f"{layout.code}/scheduler/"
        self.source = layout.code.removesuffix(self.package)
        new = {
            path.removeprefix(self.scheduler): text
            for path in tree.files
            if (text := self._new(path)) is not None
        }
        self.vendored = len(new) > 1
        self.names = self._names(new if self.vendored else _wheel(), renames)

    def followed(self) -> dict[str, Outcome]:
        found = {}
        for path in self._paths():
            outcome = self._followed(path)
            if outcome is not None:
                found[path] = outcome
        return found

    def _names(self, new: Mapping[str, str], renames: Renames) -> Names:
        size = len(self.scheduler)
        known = {f"{self.scheduler}{path}" for path in new}

        def targets(path: str) -> tuple[str, ...] | None:
            places = renames.targets(f"{self.scheduler}{path}", known)
            return None if places is None else tuple(one[size:] for one in places)

        old = {
            path.removeprefix(self.scheduler): text
            for path, entry in self.lock.entries.items()
            if path.startswith(self.scheduler) and (text := self._old(path, entry)) is not None
        }
        return Names(old, new, targets)

    def _old(self, path: str, entry: LockEntry) -> str | None:
        """A module of the earlier release, with the person's edits."""
        if not path.endswith(".py"):
            return None
        text = self.disk.look(path).text
        return _decoded(entry.base if text is None else text)

    def _new(self, path: str) -> str | None:
        """A module of this one, with the person's edits that came along."""
        if not (path.startswith(self.scheduler) and path.endswith(".py")):
            return None
        change = self.outcomes[path].change
        return _decoded(plain(change.after or change.before or b""))

    def _paths(self) -> list[str]:
        """The people's modules: the package but the scheduler, the tests, and what was patched."""
        patched = {
            path for path, entry in self.lock.entries.items() if entry.owner is Owner.PATCHED
        }
        places = {*patched, *self._modules(self.code), *self._modules(_TESTS), *self.outcomes}
        return sorted(path for path in places if self._is_asked(path, patched))

    def _is_asked(self, path: str, patched: set[str]) -> bool:
        ours = path.startswith((f"{self.code}/", f"{_TESTS}/")) or path in patched
        return ours and path.endswith(".py") and not path.startswith(self.scheduler)

    def _modules(self, folder: str) -> Iterator[str]:
        for place, folders, files in os.walk(self.disk.root / folder):
            folders[:] = [one for one in folders if not one.startswith((".", "__pycache__"))]
            below = Path(place).relative_to(self.disk.root)
            yield from ((below / file).as_posix() for file in files if file.endswith(".py"))

    def _followed(self, path: str) -> Outcome | None:
        known, there = self.outcomes.get(path), self.disk.look(path)
        if known is not None and known.change.action in {Action.CONFLICT, Action.DELETE}:
            return None
        content = there.raw if known is None else known.change.after or known.change.before
        text = _decoded(plain(content)) if content is not None else None
        if text is None or "scheduler" not in text:
            return None
        here = self._here(path)
        found = rewrite(text, here, self.names)
        if found.text == text and not found.left:
            return None
        entry = self.lock.entries.get(path) if known is None else known.entry
        change = self._change(path) if known is None else known.change
        if there.blocked:
            return _by_hand(change, entry, there.blocked)
        if entry is not None and entry.owner is Owner.SCAFFOLD:
            entry = self._rebased(entry, text, found.text, here)
        else:
            entry = _patched(entry, there, found)
        return Outcome(_changed(change, found, text, there), entry)

    def _rebased(self, entry: LockEntry, text: str, followed: str, here: Here) -> LockEntry:
        """The entry of a file of people's, as if the generator had written it with these imports: they are no edit."""
        if digest(text.encode()) == entry.sha256:
            return rebased(entry, followed.encode())
        base = _decoded(entry.base)
        if base is None:
            return entry
        return rebased(entry, rewrite(base, here, self.names).text.encode())

    def _here(self, path: str) -> Here:
        parts = path.removeprefix(self.source).removesuffix(".py").split("/")
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        return Here(module, f"{self.package}.scheduler", self.vendored, is_package)

    def _change(self, path: str) -> Change:
        entry = self.lock.entries.get(path)
        owner = Owner.SCAFFOLD if entry is None else entry.owner
        return Change(path, Action.UNCHANGED, "", owner, before=self.disk.look(path).raw)


def _changed(change: Change, found: Rewritten, text: str, there: OnDisk) -> Change:
    left = tuple(map(_collision, found.left))
    if found.text == text:
        action: Action = Action.KEEP if change.action is Action.UNCHANGED else change.action
        reason = _joined(change.reason, "what it names has moved: change it by hand")
        return replace(change, action=action, reason=reason, left=left)
    stayed = change.action in {Action.UNCHANGED, Action.KEEP}
    action = Action.UPDATE if stayed else change.action
    reason = _joined(_REASON, "" if change.action is Action.UNCHANGED else change.reason)
    after = there.style.restore(found.text.encode())
    return replace(change, action=action, reason=reason, after=after, left=left)


def _by_hand(change: Change, entry: LockEntry | None, blocked: str) -> Outcome:
    reason = f"{blocked}; its imports are those of an older scheduler"
    return Outcome(replace(change, action=Action.KEEP, reason=reason), entry)


def _patched(entry: LockEntry | None, there: OnDisk, found: Rewritten) -> LockEntry | None:
    """The entry of a patched file says what was written there last."""
    is_patched = entry is not None and entry.owner is Owner.PATCHED
    if entry is None or not is_patched or digest(there.text or b"") != entry.sha256:
        return entry
    return replace(entry, sha256=digest(found.text.encode()))


def _collision(left: Left) -> Collision:
    return Collision(left.first, left.last, f"{left.text}\n→ {left.advice}\n", "")


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _decoded(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def _wheel() -> dict[str, str]:
    from targcc_gen.render.package import package_files

    return {path: content.decode() for path, content in package_files() if path.endswith(".py")}
