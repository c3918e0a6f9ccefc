"""`targcc-gen scheduler`: switch a project between the package and the scheduler's source, keeping people's edits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from targcc_gen.dependencies.declare import Declared, Texts, declare, undeclare
from targcc_gen.dependencies.dependency import app_dependencies, index_dependency
from targcc_gen.errors import ConflictError
from targcc_gen.render import Owner, Tree, TreeFile, render_project
from targcc_gen.render.package import SOURCE_TREE
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


# Edits in the scheduler's folder: those that a switch would drop, and people's own files that stay.


@dataclass(frozen=True)
class Edit:
    """A file of the scheduler that is not as it was written.

    Attributes:
        path: POSIX path below the project's folder.
        diff: What the person changed, as a unified diff.
    """

    path: str
    diff: str

    def to_json(self) -> dict[str, str]:
        """The edit for a program."""
        return {"path": self.path, "diff": self.diff}


def edits(root: Path, folder: str, lock: Lock, before: Tree) -> Iterator[Edit]:
    """The edits of managed files in a folder; ejected files are people's own.

    Args:
        root: The project's folder.
        folder: The scheduler's folder below it, ending in `/`.
        lock: What was written.
        before: The project as it is asked for now.
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
    """The files in a folder that are people's own: added by them, or ejected."""
    for place in sorted((root / folder).rglob("*")):
        path = place.relative_to(root).as_posix()
        entry = lock.entries.get(path)
        is_own = entry is None or entry.ejected
        if is_own and place.is_file() and "__pycache__" not in place.parts:
            yield path


def _written(entry: LockEntry, before: Tree) -> bytes | None:
    """The text that the person found: as the lock kept it, or as it is rendered now."""
    if entry.base is not None:
        return entry.base
    rendered = before.files.get(entry.path)
    return None if rendered is None else rendered.content


# Plan the switch, and carry the plan out.

SPEC_FILE = "targcc.yaml"
FOLDER = f"{SOURCE_TREE}/"

Way = Literal["package", "vendored"]
Render = Callable[[Spec, str], Tree]


@dataclass(frozen=True)
class Switch:
    """A switch that is ready to be carried out, or to be shown with what stands against it.

    Attributes:
        way: The way the scheduler is had afterwards.
        plan: Everything that is written.
        edits: What people changed in the scheduler's source, which the switch drops.
        stays: Files of their own in its folder.
        drops: Whether they agreed to lose the edits.
        declared: Where an app that was there before declares what it needs; None for a project of its own.
    """

    way: Way
    plan: Plan
    edits: tuple[Edit, ...]
    stays: tuple[str, ...]
    drops: bool
    declared: Declared | None

    @property
    def is_blocked(self) -> bool:
        """Whether a person has to agree first."""
        return bool(self.edits) and not self.drops

    def to_json(self) -> dict[str, Any]:
        """What a program is told beside the plan."""
        return {
            "scheduler": self.way,
            "edits": [edit.to_json() for edit in self.edits],
            "stays": list(self.stays),
        }


def prepare(
    root: Path, text: str, way: Way, *, drop_edits: bool = False, render: Render | None = None
) -> Switch:
    """Work out a switch; nothing is written.

    Args:
        root: The project's folder, absolute.
        text: Its spec.
        way: The way the scheduler is to be had.
        drop_edits: Whether edits of the scheduler's source may be lost.
        render: Makes the tree of a spec and its text.

    Raises:
        InputError: The spec cannot be edited, or the lock is damaged.
        ConflictError: The project has the scheduler where an earlier release put it.
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
    """Remove the folders in which nothing is left but compiled files of what the plan removed."""
    for change in plan.having(Action.DELETE):
        remove_empty(plan.root, (plan.root / change.path).parent)


def with_moved_requirements(tree: Tree, root: Path, spec: Spec) -> Tree:
    """The tree; of an app whose scheduler is where an earlier release put it, with the list of requirements of today.

    Args:
        tree: What the spec asks for.
        root: The project's folder.
        spec: Its spec.
    """
    lock = Lock.load(root)
    if spec.project.inside is None or not has_old_place(lock.entries, tree.layout):
        return tree
    texts = Texts(root)
    declared = redeclared(texts, spec, spec, lock)
    files = {file.path: file for file in requirement_files(texts, declared)}
    return replace(tree, files=dict(sorted({**tree.files, **files}.items())))


def redeclared(texts: Texts, before: Spec, after: Spec, lock: Lock) -> Declared | None:
    """Edit the requirements of an app that was there before; those of a project follow as in every regeneration.

    What was declared for an earlier form goes where that is known to be ours, and else stays: the app may need it for itself.

    Args:
        texts: The app's files; they have the edits then.
        before: The project as it was asked for.
        after: As it is to be.
        lock: What was written.
    """
    if before.project.inside is None:
        return None
    undeclare(texts, app_dependencies(before))  # first, since it is more than a name in a list
    for path, entry in lock.entries.items():
        undeclare(texts, [index_dependency(added) for added in entry.added], path)
    return declare(texts, app_dependencies(after))


def requirement_files(texts: Texts, declared: Declared | None) -> Iterator[TreeFile]:
    """The files with an app's requirements that are to be others."""
    for path, raw, text in texts.changes():
        added = declared.added if declared is not None and path == declared.path else ()
        yield TreeFile(path, text, Owner.PATCHED, replaces=raw, added=added)


def _dropping(plan: Plan, lost: Collection[str]) -> Plan:
    """The plan in which edited files go too."""
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
