"""`targcc-gen scheduler`: switch a project between the package and the scheduler's source, keeping user edits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from targcc_gen.dependencies.declare import (
    Declared,
    Texts,
    declare,
    declared_extras,
    undeclare,
)
from targcc_gen.dependencies.dependency import Dependency, app_dependencies, index_dependency
from targcc_gen.errors import ConflictError
from targcc_gen.render import Owner, Tree, TreeFile, render_project
from targcc_gen.render.package import DISTRIBUTION, SOURCE_TREE
from targcc_gen.spec import Spec, set_scheduler
from targcc_gen.spec.shared import whole_spec
from targcc_gen.sync import Action, Lock, Plan, make_plan
from targcc_gen.sync.disk import remove_empty
from targcc_gen.sync.lock import digest
from targcc_gen.sync.merge import plain
from targcc_gen.sync.plan.plan import is_formatted, unified_diff
from targcc_gen.sync.renames.table import has_old_place

if TYPE_CHECKING:
    from targcc_gen.sync import LockEntry


# Edits in the scheduler's folder that a switch would drop, and the user's own files that stay.


@dataclass(frozen=True)
class Edit:
    """A file of the scheduler that the user changed.

    Attributes:
        path: POSIX path below the project's folder.
        diff: The user's changes, as a unified diff.
    """

    path: str
    diff: str

    def to_json(self) -> dict[str, str]:
        """Return the edit for JSON."""
        return {"path": self.path, "diff": self.diff}


def edits(root: Path, folder: str, lock: Lock, before: Tree) -> Iterator[Edit]:
    """Yield the edits of managed files in a folder; ejected files are the user's own.

    Args:
        root: The project's folder.
        folder: The scheduler's folder below the project's folder, ending in `/`.
        lock: The files as written.
        before: The tree of the current spec.
    """
    for path, entry in lock.entries.items():
        if not path.startswith(folder) or entry.ejected:
            continue
        place = root / path
        if not place.is_file():
            continue
        text = place.read_bytes()
        if digest(plain(text)) != entry.sha256 and not is_formatted(entry, plain(text)):
            yield Edit(path, unified_diff(path, _written(entry, before), text))


def own_files(root: Path, folder: str, lock: Lock) -> Iterator[str]:
    """Yield the user's own files in a folder: added by the user, or ejected."""
    for place in sorted((root / folder).rglob("*")):
        path = place.relative_to(root).as_posix()
        entry = lock.entries.get(path)
        is_own = entry is None or entry.ejected
        if is_own and place.is_file() and "__pycache__" not in place.parts:
            yield path


def _written(entry: LockEntry, before: Tree) -> bytes | None:
    """Return the text before the user's edit: the text in the lock, or the rendered text."""
    if entry.base is not None:
        return entry.base
    rendered = before.files.get(entry.path)
    return None if rendered is None else rendered.content


# Plan the switch, and carry out the plan.

SPEC_FILE = "targcc.yaml"
FOLDER = f"{SOURCE_TREE}/"

Way = Literal["package", "vendored"]
Render = Callable[[Spec, str], Tree]


@dataclass(frozen=True)
class Switch:
    """A planned switch, ready to carry out or to show with its obstacles.

    Attributes:
        way: The way the project has the scheduler afterwards.
        plan: All changes of files.
        edits: User edits of the scheduler's source, which the switch drops.
        stays: The user's own files in the scheduler's folder.
        drops: Whether the user agreed to lose the edits.
        declared: The requirements of an existing app; None for a standalone project.
    """

    way: Way
    plan: Plan
    edits: tuple[Edit, ...]
    stays: tuple[str, ...]
    drops: bool
    declared: Declared | None

    @property
    def is_blocked(self) -> bool:
        """Whether the user has to agree first."""
        return bool(self.edits) and not self.drops

    def to_json(self) -> dict[str, Any]:
        """Return the switch for JSON, without the plan."""
        return {
            "scheduler": self.way,
            "edits": [edit.to_json() for edit in self.edits],
            "stays": list(self.stays),
        }


def prepare(
    root: Path, text: str, way: Way, *, drop_edits: bool = False, render: Render | None = None
) -> Switch:
    """Plan a switch; write nothing.

    Args:
        root: The project's folder, absolute.
        text: The project's spec.
        way: The way the project will have the scheduler.
        drop_edits: Whether edits of the scheduler's source may be lost.
        render: Returns the tree for a spec and its text.

    Raises:
        InputError: The spec cannot be edited, or the lock is damaged.
        ConflictError: The scheduler is in the place of an earlier release.
    """
    render = render or (lambda spec, text: render_project(spec, spec_text=text))
    changed = set_scheduler(text, way)
    spec, after = whole_spec(text, root), whole_spec(changed, root)
    tree, lock = render(after, changed), Lock.load(root)
    if has_old_place(lock.entries, tree.layout):
        raise ConflictError(
            "the scheduler is where an earlier release put it: nothing was written",
            hint="bring the project up to date first: targcc-gen regenerate",
        )
    before = render(spec, text)
    edited = tuple(edits(root, FOLDER, lock, before))
    texts = Texts(root)
    declared = redeclared(texts, spec, after, lock)
    written = TreeFile(SPEC_FILE, changed.encode(), Owner.SCAFFOLD, replaces=text.encode())
    replaced = {file.path: file for file in (*requirement_files(texts, declared), written)}
    tree = replace(tree, files=dict(sorted({**tree.files, **replaced}.items())))
    plan = _dropping(make_plan(tree, root), {edit.path for edit in edited})
    own = tuple(own_files(root, FOLDER, lock))
    return Switch(way, plan, edited, own, drop_edits, declared)


def remove_empty_folders(plan: Plan) -> None:
    """Remove folders of deleted files that hold nothing but compiled files."""
    for change in plan.having(Action.DELETE):
        remove_empty(plan.root, (plan.root / change.path).parent)


def with_moved_requirements(tree: Tree, root: Path, spec: Spec) -> Tree:
    """Add current requirements to the tree of an app whose files declare others.

    The requirements change with the database of the spec, with the version, and with the place of an earlier release.

    Args:
        tree: The tree of the spec.
        root: The project's folder.
        spec: The project's spec.

    Returns:
        The changed tree; for any other project, the same tree.
    """
    lock = Lock.load(root)
    if spec.project.inside is None or not (
        has_old_place(lock.entries, tree.layout) or _declares_others(lock, spec)
    ):
        return tree
    texts = Texts(root)
    declared = redeclared(texts, spec, spec, lock)
    files = {file.path: file for file in requirement_files(texts, declared)}
    return replace(tree, files=dict(sorted({**tree.files, **files}.items())))


def _declares_others(lock: Lock, spec: Spec) -> bool:
    """Return whether the generator declared other extras than the spec needs."""
    locked = _locked_extras(lock)
    return locked is not None and locked != {
        extra for dependency in app_dependencies(spec) for extra in dependency.extras
    }


def _locked_extras(lock: Lock) -> set[str] | None:
    """Return the extras of the scheduler that the generator declared; None if people declared the scheduler."""
    from packaging.requirements import Requirement

    for entry in lock.entries.values():
        for text in entry.added:
            if (requirement := Requirement(text)).name == DISTRIBUTION:
                return set(requirement.extras)
    return None


def _with_own_extras(texts: Texts, lock: Lock, needed: Dependency) -> Dependency:
    """Return the dependency with the extras that people added to the generator's."""
    locked = _locked_extras(lock)
    if locked is None:
        return needed
    own = declared_extras(texts) - locked
    return replace(needed, extras=(*needed.extras, *sorted(own - {*needed.extras})))


def redeclared(texts: Texts, before: Spec, after: Spec, lock: Lock) -> Declared | None:
    """Edit the requirements of an existing app; the requirements of a standalone project follow with regeneration.

    Requirements of the former way are removed if the lock shows them as ours; otherwise they stay, because the app may need them.

    Args:
        texts: The app's files; receives the edits.
        before: The current spec.
        after: The new spec.
        lock: The files as written.
    """
    if before.project.inside is None:
        return None
    needed = [_with_own_extras(texts, lock, dependency) for dependency in app_dependencies(after)]
    undeclare(
        texts, app_dependencies(before)
    )  # first, because this requirement is more than a name in a list
    for path, entry in lock.entries.items():
        undeclare(texts, [index_dependency(added) for added in entry.added], path)
    declared = declare(texts, needed)
    # The lock has the generator's extras alone, so that the next run tells them from those of people.
    own = tuple(dependency.pinned for dependency in app_dependencies(after))
    return replace(declared, added=own if declared.added else ())


def requirement_files(texts: Texts, declared: Declared | None) -> Iterator[TreeFile]:
    """Yield the changed files of an app's requirements."""
    for path, raw, text in texts.changes():
        added = declared.added if declared is not None and path == declared.path else ()
        yield TreeFile(path, text, Owner.PATCHED, replaces=raw, added=added)


def _dropping(plan: Plan, lost: Collection[str]) -> Plan:
    """Return the plan with edited files deleted too."""
    changes = tuple(
        (
            replace(change, action=Action.DELETE, reason="your edits of it are dropped")
            if change.path in lost and change.action is Action.KEEP
            else change
        )
        for change in plan.changes
    )
    gone = {change.path for change in changes if change.action is Action.DELETE}
    entries = {path: entry for path, entry in plan.lock.entries.items() if path not in gone}
    return replace(plan, changes=changes, lock=replace(plan.lock, entries=entries))
