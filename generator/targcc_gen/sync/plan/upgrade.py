"""Rules of users' modules after an upgrade: imports follow the scheduler, files leave the scheduler's former folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from targcc_gen.render.package import SOURCE_TREE, package_files
from targcc_gen.render.tree import Owner, Tree
from targcc_gen.sync.disk import Disk, OnDisk
from targcc_gen.sync.lock import Lock, LockEntry, digest
from targcc_gen.sync.merge import Collision, Style, plain
from targcc_gen.sync.plan.plan import Action, Change, Outcome, keep, rebased
from targcc_gen.sync.renames.import_names import Names
from targcc_gen.sync.renames.import_rewrite import Here, Left, Rewritten, rewrite
from targcc_gen.sync.renames.table import HOME, Renames, has_old_place

# Imports.

_REASON = "imports follow the scheduler"
_SKIPPED = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "vendor"})


def imports_rewritten(
    tree: Tree, lock: Lock, disk: Disk, renames: Renames, outcomes: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """Return the outcomes of the modules whose imports change.

    Args:
        tree: The files rendered from the spec.
        lock: The lock before the run; without files in the old place, no import changes.
        disk: The project's disk.
        renames: New places of moved files.
        outcomes: Outcome of each file otherwise.
    """
    if not has_old_place(lock.entries, tree.layout):
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
        assert layout is not None  # without a layout there is nothing to rewrite
        self.lock, self.disk, self.outcomes = lock, disk, outcomes
        self.package = PurePosixPath(layout.code).name
        self.source = layout.code.removesuffix(self.package)
        self.old_place = renames.old_place
        new = {
            path.removeprefix(HOME): text
            for path in outcomes
            if path.startswith(HOME) and (text := self._new(path)) is not None
        }
        self.names = self._names(new or _installed(), renames)

    def followed(self) -> dict[str, Outcome]:
        result = {}
        for path in self._paths():
            outcome = self._followed(path)
            if outcome is not None:
                result[path] = outcome
        return result

    def _names(self, new: Mapping[str, str], renames: Renames) -> Names:
        known = {f"{HOME}{path}" for path in new}

        def targets(path: str) -> tuple[str, ...] | None:
            places = renames.targets(f"{self.old_place}{path}", known)
            if places is None:
                return None
            return tuple(place.removeprefix(HOME) for place in places if place.startswith(HOME))

        old = {
            path.removeprefix(self.old_place): text
            for path in (*self.lock.entries, *self.outcomes)
            if path.startswith(self.old_place) and (text := self._old(path)) is not None
        }
        return Names(old, new, targets)

    def _old(self, path: str) -> str | None:
        """Return a module in the scheduler's old folder with the user's edits; for a deleted module, the lock's base."""
        if not path.endswith(".py"):
            return None
        text, entry = self.disk.look(path).text, self.lock.entries.get(path)
        return _decoded(entry.base if text is None and entry is not None else text)

    def _new(self, path: str) -> str | None:
        """Return a module of the new release, merged with the user's edits."""
        if not path.endswith(".py"):
            return None
        change = self.outcomes[path].change
        return _decoded(plain(change.after or change.before or b""))

    def _paths(self) -> list[str]:
        """Return the users' modules: all modules of the project, and of the scheduler's only the user's own, ejected or merged modules."""
        places = {*self._modules(), *self.outcomes}
        return sorted(path for path in places if path.endswith(".py") and self._is_asked(path))

    def _is_asked(self, path: str) -> bool:
        if path.startswith(self.old_place):
            return False
        if not path.startswith(f"{SOURCE_TREE}/"):
            return True
        outcome = self.outcomes.get(path)
        return outcome is not None and (
            outcome.entry is None or outcome.entry.ejected or outcome.change.action is Action.MERGE
        )

    def _modules(self) -> Iterator[str]:
        for place, folders, files in os.walk(self.disk.root):
            folders[:] = [folder for folder in folders if not _is_skipped(Path(place, folder))]
            below = Path(place).relative_to(self.disk.root)
            yield from ((below / file).as_posix() for file in files if file.endswith(".py"))

    def _followed(self, path: str) -> Outcome | None:
        known, on_disk = self.outcomes.get(path), self.disk.look(path)
        if known is not None and known.change.action in {Action.CONFLICT, Action.DELETE}:
            return None
        content = on_disk.raw if known is None else known.change.after or known.change.before
        text = _decoded(plain(content)) if content is not None else None
        if text is None or not ("scheduler" in text or path.startswith(HOME)):
            return None
        here = self._here(path)
        rewritten = rewrite(text, here, self.names)
        if rewritten.text == text and not rewritten.left:
            return None
        entry = self.lock.entries.get(path) if known is None else known.entry
        change = self._change(path) if known is None else known.change
        if on_disk.blocked:
            return _by_hand(change, entry, on_disk.blocked)
        if entry is not None and entry.owner is Owner.SCAFFOLD:
            entry = self._rebased(entry, text, rewritten.text, here)
        else:
            entry = _patched(entry, on_disk, rewritten)
        return Outcome(_changed(change, rewritten, text, on_disk), entry)

    def _rebased(self, entry: LockEntry, text: str, followed: str, here: Here) -> LockEntry:
        """Rewrite the imports in the base of a user's file too, so that the rewritten imports do not count as edits."""
        if digest(text.encode()) == entry.sha256:
            return rebased(entry, followed.encode())
        base = _decoded(entry.base)
        if base is None:
            return entry
        return rebased(entry, rewrite(base, here, self.names).text.encode())

    def _here(self, path: str) -> Here:
        inside = path.startswith(HOME)
        name = f"{self.old_place}{path.removeprefix(HOME)}" if inside else path
        parts = name.removeprefix(self.source).removesuffix(".py").split("/")
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        entry = self.outcomes[path].entry if inside else None
        return Here(
            module,
            f"{self.package}.scheduler",
            is_package,
            inside=inside,
            is_placed=entry is not None,
        )

    def _change(self, path: str) -> Change:
        entry = self.lock.entries.get(path)
        owner = Owner.SCAFFOLD if entry is None else entry.owner
        return Change(path, Action.UNCHANGED, "", owner, before=self.disk.look(path).raw)


def _changed(change: Change, rewritten: Rewritten, text: str, on_disk: OnDisk) -> Change:
    left = tuple(map(_collision, rewritten.left))
    if rewritten.text == text:
        action: Action = Action.KEEP if change.action is Action.UNCHANGED else change.action
        reason = _joined(change.reason, "what it names has moved: change it by hand")
        return replace(change, action=action, reason=reason, left=left)
    stayed = change.action in {Action.UNCHANGED, Action.KEEP}
    action = Action.UPDATE if stayed else change.action
    reason = _joined(_REASON, "" if change.action is Action.UNCHANGED else change.reason)
    style = on_disk.style if change.after is None else Style.of(change.after)
    after = style.restore(rewritten.text.encode())
    return replace(change, action=action, reason=reason, after=after, left=left)


def _by_hand(change: Change, entry: LockEntry | None, blocked: str) -> Outcome:
    reason = f"{blocked}; its imports are those of an older scheduler"
    return Outcome(replace(change, action=Action.KEEP, reason=reason), entry)


def _patched(entry: LockEntry | None, on_disk: OnDisk, rewritten: Rewritten) -> LockEntry | None:
    """Update the checksum of a patched file that the user has not edited."""
    is_patched = entry is not None and entry.owner is Owner.PATCHED
    if entry is None or not is_patched or digest(on_disk.text or b"") != entry.sha256:
        return entry
    return replace(entry, sha256=digest(rewritten.text.encode()))


def _collision(left: Left) -> Collision:
    return Collision(left.first, left.last, f"{left.text}\n→ {left.advice}\n", "")


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _decoded(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def _is_skipped(folder: Path) -> bool:
    """Return whether a folder contains no modules of the project."""
    skipped = folder.name.startswith(".") or folder.name in _SKIPPED
    return skipped or (folder / "pyvenv.cfg").exists()


def _installed() -> dict[str, str]:
    return {path: content.decode() for path, content in package_files() if path.endswith(".py")}


# Users' own files in the scheduler's former folder.


def own_files_moved(tree: Tree, lock: Lock, disk: Disk, renames: Renames) -> dict[str, Outcome]:
    """Return the outcomes of users' own files in the scheduler's old folder, and at their new paths.

    Args:
        tree: The files rendered from the spec.
        lock: The lock before the run.
        disk: The project's disk.
        renames: New places of moved files.
    """
    if not has_old_place(lock.entries, tree.layout):
        return {}
    vendored = any(path.startswith(HOME) for path in tree.files)
    outcomes: dict[str, Outcome] = {}
    for path in _files(disk.root, renames.old_place):
        if path in lock.entries or path in tree.files:
            continue
        outcomes |= (
            _moved(path, tree, disk, renames) if vendored else {path: _in_the_way(path, disk)}
        )
    return outcomes


def _moved(path: str, tree: Tree, disk: Disk, renames: Renames) -> dict[str, Outcome]:
    home, here = renames.home(path), disk.look(path)
    if here.raw is None or here.blocked:
        return {path: _in_the_way(path, disk, here.blocked or "")}
    gone = Change(path, Action.DELETE, f"moved to {home}", Owner.SCAFFOLD, here.raw, moved=(home,))
    on_disk = disk.look(home)
    if home in tree.files or on_disk.raw is not None or on_disk.blocked:
        kept = keep(path, disk, here.raw, ".txt", "your file, as it was")
        reason = f"{home} is another file: yours is in {kept.path}"
        gone = replace(gone, reason=reason, moved=())
        return {path: Outcome(gone, None), kept.path: Outcome(kept, None)}
    new = Change(home, Action.CREATE, "yours, moved with the scheduler", Owner.SCAFFOLD)
    return {path: Outcome(gone, None), home: Outcome(replace(new, after=here.raw), None)}


def _in_the_way(path: str, disk: Disk, reason: str = "") -> Outcome:
    """Return a conflict: the user must move the file, because no module can import a file in a folder beside `scheduler.py`."""
    reason = (
        reason
        or "yours, and in a folder that is a module now: move it, such as into the folder above"
    )
    change = Change(path, Action.CONFLICT, reason, Owner.SCAFFOLD, disk.look(path).raw)
    return Outcome(replace(change, settleable=False), None)


def _files(root: Path, folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(root / folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        below = Path(place).relative_to(root)
        yield from ((below / name).as_posix() for name in sorted(files))
