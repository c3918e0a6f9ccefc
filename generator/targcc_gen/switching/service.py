"""Work out what a switch changes and what stands against it, and carry it out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from targcc_gen.declare.dependency import Declared, declare, undeclare
from targcc_gen.declare.needed import needed, published
from targcc_gen.declare.texts import Texts
from targcc_gen.folders import remove_empty
from targcc_gen.render import Owner, Tree, TreeFile, render_project
from targcc_gen.render.embedded import embedded_path
from targcc_gen.render.vendor import public_names
from targcc_gen.spec import Spec, set_scheduler
from targcc_gen.spec.sharing.whole import whole_spec
from targcc_gen.switching.deep_imports import DeepImport, Search
from targcc_gen.switching.edits import Edit, edits, people_s_files
from targcc_gen.sync import Action, Lock, Plan, Side, make_plan

SPEC_FILE = "targcc.yaml"

Way = Literal["vendored", "package"]
Render = Callable[[Spec, str], Tree]


@dataclass(frozen=True)
class Switch:
    """A switch that is ready to be carried out, or to be shown with what stands against it.

    Attributes:
        way: The way the scheduler is had afterwards.
        folder: Where its files are, below the project's folder, ending in `/`.
        plan: Everything that is written.
        edits: What people changed in files of the scheduler, which the switch drops.
        imports: Their imports that only work with a copy; none for a switch to a copy.
        stays: Files of their own in the folder.
        drops: Whether they agreed to lose the edits.
        declared: Where an app that was there before declares what it needs; None for a project of its own.
    """

    way: Way
    folder: str
    plan: Plan
    edits: tuple[Edit, ...]
    imports: tuple[DeepImport, ...]
    stays: tuple[str, ...]
    drops: bool
    declared: Declared | None

    @property
    def is_blocked(self) -> bool:
        """Whether a person has to do something first."""
        return bool(self.imports or (self.edits and not self.drops))

    def to_json(self) -> dict[str, Any]:
        """What a program is told beside the plan."""
        return {
            "scheduler": self.way,
            "edits": [one.to_json() for one in self.edits],
            "imports": [one.to_json() for one in self.imports],
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
        drop_edits: Whether edits of the scheduler's files may be lost.
        render: Makes the tree of a spec and its text.

    Raises:
        InputError: The spec cannot be edited, or the lock is damaged.
    """
    render = render or (lambda spec, text: render_project(spec, spec_text=text))
    changed = set_scheduler(text, way)
    spec, after = whole_spec(text, root), whole_spec(changed, root)
    trees = render(spec, text), render(after, changed)
    lock = Lock.load(root)
    folder = _folder(spec)
    found = tuple(edits(root, folder, lock, trees[0]))
    texts = Texts(root)
    declared = _declared(texts, spec, after, lock)
    written = TreeFile(SPEC_FILE, changed.encode(), Owner.SCAFFOLD, replaces=text.encode())
    replaced = {file.path: file for file in (*_edited(texts, declared), written)}
    tree = replace(trees[1], files=dict(sorted({**trees[1].files, **replaced}.items())))
    plan = _plan(tree, root, f"{folder}__init__.py", {one.path for one in found})
    return Switch(
        way,
        folder,
        plan,
        found,
        tuple(_deep_imports(root, spec, lock)) if way == "package" else (),
        tuple(people_s_files(root, folder, lock)),
        drop_edits,
        declared,
    )


def clean_up(switch: Switch) -> None:
    """Remove the folders in which nothing is left but compiled files of what the switch removed."""
    root = switch.plan.root
    for change in switch.plan.having(Action.DELETE):
        remove_empty(root, (root / change.path).parent)


def _folder(spec: Spec) -> str:
    path = f"src/{spec.project.package}/scheduler/"
    inside = None if spec.project.inside is None else embedded_path(path, spec)
    return inside or path


def _declared(texts: Texts, before: Spec, after: Spec, lock: Lock) -> Declared | None:
    """Edit the requirements of an app that was there before; those of a project follow as in every regeneration.

    What was declared for a copy goes where that is known to be ours, and else stays: the app may need it for itself.
    """
    if before.project.inside is None:
        return None
    if before.scheduler == "package":  # first, since it is more than a name in a list
        undeclare(texts, needed(before))
    for path, entry in lock.entries.items():
        undeclare(texts, [published(one) for one in entry.added], path)
    return declare(texts, needed(after))


def _edited(texts: Texts, declared: Declared | None) -> Iterator[TreeFile]:
    for path, raw, text in texts.changes():
        added = declared.added if declared is not None and path == declared.path else ()
        yield TreeFile(path, text, Owner.PATCHED, replaces=raw, added=added)


def _plan(tree: Tree, root: Path, init: str, lost: set[str]) -> Plan:
    """The plan for a tree, in which edited files go and the folder's `__init__.py` is the generator's."""
    takes = {init} if init in lost or not (root / init).is_file() else set()
    plan = make_plan(tree, root, sides=dict.fromkeys(takes, Side.GENERATED), restore=takes)
    changes = tuple(
        (
            replace(one, action=Action.DELETE, reason="your edits of it are dropped")
            if one.path in lost and one.action is Action.KEEP
            else one
        )
        for one in plan.changes
    )
    gone = {one.path for one in changes if one.action is Action.DELETE}
    return _without_entries(replace(plan, changes=changes), gone)


def _without_entries(plan: Plan, paths: Collection[str]) -> Plan:
    """The plan whose lock does not know some files: they go, or are the app's own."""
    entries = {one: entry for one, entry in plan.lock.entries.items() if one not in paths}
    return replace(plan, lock=replace(plan.lock, entries=entries))


def _deep_imports(root: Path, spec: Spec, lock: Lock) -> Iterator[DeepImport]:
    source = root / (spec.project.inside or "src")
    package = spec.project.package
    search = Search(f"{package}.scheduler", source, frozenset(public_names()))
    folder = (source / package).relative_to(root).as_posix()
    patched = {
        path
        for path, entry in lock.entries.items()
        if entry.owner is Owner.PATCHED and path.endswith(".py")
    }
    files = {*_python_files(root, folder), *_python_files(root, "tests"), *patched}
    yield from search.in_files(
        root, sorted(path for path in files if not path.startswith(f"{folder}/scheduler/"))
    )


def _python_files(root: Path, folder: str) -> Iterator[str]:
    for place in (root / folder).rglob("*.py"):
        yield place.relative_to(root).as_posix()
