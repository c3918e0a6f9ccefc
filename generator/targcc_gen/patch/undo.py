"""Remove the scheduler from an app; also remove the files of the patch when the project has not used them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen.dependencies.declare import Texts, undeclare
from targcc_gen.dependencies.dependency import app_dependencies, index_dependency
from targcc_gen.patch import rollback
from targcc_gen.patch.app_file import Source
from targcc_gen.patch.detect import detect_lines
from targcc_gen.patch.host_files import host_undone, is_coverage_test
from targcc_gen.patch.layout import SPEC, may_make_app
from targcc_gen.patch.rollback import remove_lock
from targcc_gen.patch.target_package import OWN_PACKAGE
from targcc_gen.patch.wiring import Wiring, unwire
from targcc_gen.render.package import SOURCE_TREE
from targcc_gen.sync import (
    Action,
    Change,
    Lock,
    LockEntry,
    Owner,
    Plan,
    Tree,
    TreeFile,
    apply,
    make_plan,
)
from targcc_gen.sync.disk import remove_left
from targcc_gen.sync.lock import digest
from targcc_gen.sync.merge import plain
from targcc_gen.sync.plan.plan import is_formatted

if TYPE_CHECKING:
    from targcc_gen.patch.detect import Target
    from targcc_gen.spec import Spec

_LONG = 2000
"""Lines; a longer comparison uses difflib's `autojunk`, which ignores very frequent lines."""


@dataclass(frozen=True)
class Undone:
    """A planned removal of the scheduler.

    Args:
        target: The file.
        removed: The removed lines with their numbers.
        plan: All changes.
        whole: Whether the files of the patch are removed too.
        stays: Why the files of a patch stay; empty when the files are removed or no patch made them.
        declared: The files that lose a declared dependency.
    """

    target: Target
    removed: tuple[tuple[int, str], ...]
    plan: Plan
    whole: bool
    stays: str
    declared: tuple[str, ...] = ()

    @property
    def nothing_to_do(self) -> bool:
        """Whether the app has no scheduler."""
        return not self.removed and not self.whole

    def to_json(self) -> dict[str, Any]:
        """Return the removal as JSON."""
        return {
            **self.plan.to_json(),
            "file": self.target.relative,
            "removed": [{"line": line, "text": text.strip()} for line, text in self.removed],
            "notes": [self.stays] if self.stays else [],
        }


def prepare_undo(target: Target) -> Undone:
    """Plan the removal. Writes nothing.

    Raises:
        InputError: The app uses the router beyond the patch's lines, or the spec is invalid.
    """
    spec = _spec(target.root)
    for module in _modules(target, spec):
        target, _ = detect_lines(target, module)
    data = _without(target, spec)
    lock = _patch_lock(Lock.load(target.root), spec)
    made_by_patch = spec is not None and spec.project.inside is not None
    stays = _used(target, spec, lock) if spec is not None and made_by_patch else ""
    whole = made_by_patch and not stays
    files = []
    original = target.file.source.data
    if data != original:
        files.append(TreeFile(target.relative, data, Owner.PATCHED, replaces=original))
    edited = [*host_undone(target.root, lock, spec.project.package)] if whole and spec else []
    files += [
        TreeFile(path, after, Owner.PATCHED, replaces=before) for path, before, after in edited
    ]
    declared = set()
    for path, before, after in _undeclared(target.root, spec, lock) if whole else ():
        declared.add(path)
        files.append(TreeFile(path, after, Owner.PATCHED, replaces=before))
    gone = (
        [path for path, entry in lock.entries.items() if entry.owner is not Owner.PATCHED]
        if whole
        else []
    )
    plan = make_plan(Tree.of(files, complete=False, removed=gone), target.root)
    tests = [*_tests(target.root, lock)] if whole else []
    plan = replace(plan, changes=(*plan.changes, *tests))
    settled = {target.relative, *declared, *(path for path, _, _ in edited)}
    settled |= {test.path for test in tests}
    entries = {path: entry for path, entry in plan.lock.entries.items() if path not in settled}
    return Undone(
        target,
        _removed_lines(original, data),
        replace(plan, lock=replace(plan.lock, entries=entries)),
        whole,
        stays,
        tuple(sorted(declared)),
    )


def carry_out_undo(undone: Undone) -> None:
    """Apply a planned removal.

    Raises:
        TargccError: A file has changed since the plan, or the disk refused a write. Nothing is changed.
    """
    apply(undone.plan)
    finish_undo(undone)


def finish_undo(undone: Undone) -> None:
    """Clean up after an applied removal: empty folders, the lock, the mark of an untried patch."""
    plan = undone.plan
    if undone.whole:
        for change in plan.changes:
            if change.after is None:
                remove_left(plan.root, plan.root / change.path)
    rollback.unmark(plan.root)
    if undone.whole:
        remove_lock(plan)


def _spec(root: Path) -> Spec | None:
    if not (root / SPEC).is_file():
        return None
    from targcc_gen.spec import load_spec

    return load_spec(root / SPEC)


def _patch_lock(lock: Lock, spec: Spec | None) -> Lock:
    """Return the lock without the app's own `__init__.py`, which no patch wrote."""
    if spec is None or spec.project.package == OWN_PACKAGE:
        return lock
    folder = "" if spec.project.inside in {None, "."} else f"{spec.project.inside}/"
    init = f"{folder}{spec.project.package}/__init__.py"
    return replace(
        lock, entries={path: entry for path, entry in lock.entries.items() if path != init}
    )


def _without(target: Target, spec: Spec | None) -> bytes:
    """Return the file's bytes without the patch's lines."""
    source = target.file.source
    for module in _modules(target, spec):
        source = Source(source.name, unwire(source, Wiring(module, target.layout.package)))
    return source.data


def _modules(target: Target, spec: Spec | None) -> list[str]:
    """Return the modules that the patch's lines may import from; without a spec, those of both possible packages."""
    packages = [spec.project.package] if spec else filter(None, [target.layout.top, OWN_PACKAGE])
    return [f"{package}.scheduler" for package in packages]


def _undeclared(root: Path, spec: Spec | None, lock: Lock) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield path, old bytes and new bytes of each file that declares the scheduler or its requirements."""
    texts = Texts(root)
    if spec is not None:
        undeclare(texts, app_dependencies(spec))
    for path, entry in lock.entries.items():
        undeclare(texts, [index_dependency(requirement) for requirement in entry.added], path)
    return texts.changes()


def _used(target: Target, spec: Spec, lock: Lock) -> str:
    """Return why the files of a patch stay, such as an edited file or a new job; empty for unused files."""
    package = target.root / (spec.project.inside or "src") / spec.project.package
    where = package.relative_to(target.root).as_posix()
    others = [
        path
        for path, entry in lock.entries.items()
        if entry.owner is Owner.PATCHED and path != target.relative and may_make_app(path)
    ]
    if others:
        return f"{where}/scheduler.py stays: {others[0]} uses it too"
    if set(spec.jobs) != {"Heartbeat"}:
        return f"{where}/scheduler.py stays: the spec has jobs of yours"
    for path, entry in lock.entries.items():
        is_app_s = entry.owner is Owner.PATCHED and not is_coverage_test(path)
        if is_app_s or _is_own_services(entry):
            continue
        file = target.root / path
        if not file.is_file():
            continue
        text = plain(file.read_bytes())
        if digest(text) != entry.sha256 and not is_formatted(entry, text):
            return f"{where}/scheduler.py stays: you have edited {path}"
    for path in _files_of(target.root, package, lock):
        if path not in lock.entries:
            return f"{where}/scheduler.py stays: {path} is yours"
    return ""


def _tests(root: Path, lock: Lock) -> Iterator[Change]:
    """Yield the removal of the test that a patch made for the app's coverage."""
    for path, entry in lock.entries.items():
        if entry.owner is Owner.PATCHED and is_coverage_test(path) and (root / path).is_file():
            before = (root / path).read_bytes()
            yield Change(path, Action.DELETE, "", Owner.PATCHED, before)


def _is_own_services(entry: LockEntry) -> bool:
    """Return whether a `services.py` was the app's own before the patch."""
    return entry.ejected and entry.path.endswith("/services.py")


def _files_of(root: Path, package: Path, lock: Lock) -> Iterator[str]:
    """Yield the files in the folders that a patch made.

    `migrations` counts only if the lock has files of the generator there: since 0.2 a patch makes no migrations, and the app may have
    its own, whose `env.py` the patch edits.
    """
    migrations = f"{package.relative_to(root).as_posix()}/migrations/"
    names = ["jobs"]
    if any(
        path.startswith(migrations) and entry.owner is not Owner.PATCHED
        for path, entry in lock.entries.items()
    ):
        names.append("migrations")
    folders = [package] if package.name == OWN_PACKAGE else [package / name for name in names]
    folders.append(root / SOURCE_TREE)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix()


def _removed_lines(before: bytes, after: bytes) -> tuple[tuple[int, str], ...]:
    """Return the removed lines with their numbers; compare only the lines between the first and last difference."""
    old, new = before.splitlines(), after.splitlines()
    first = _shared(old, new)
    last = _shared(old[first:][::-1], new[first:][::-1])
    middle, others = old[first : len(old) - last], new[first : len(new) - last]
    matcher = difflib.SequenceMatcher(None, middle, others, autojunk=len(middle) > _LONG)
    return tuple(
        (first + number + 1, middle[number].decode("utf-8", "replace"))
        for tag, start, end, _, _ in matcher.get_opcodes()
        if tag in {"delete", "replace"}
        for number in range(start, end)
    )


def _shared(left: list[bytes], other: list[bytes]) -> int:
    """Return the number of equal lines at the start of two texts."""
    pairs = zip(left, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(other)))
