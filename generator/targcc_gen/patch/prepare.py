"""A patch worked out: the app, its file with the lines, what else is written, and why a line is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from targcc_gen.declare.dependency import Declared, declare
from targcc_gen.declare.needed import needed
from targcc_gen.declare.texts import Texts
from targcc_gen.errors import ConflictError, InputError
from targcc_gen.patch.app.apps import App
from targcc_gen.patch.app.layout import pyproject
from targcc_gen.patch.app.source import RefusalError
from targcc_gen.patch.choose import choose_app
from targcc_gen.patch.edit.moving import is_elsewhere, moved
from targcc_gen.patch.edit.wiring import Patched, Wiring, includes, wire
from targcc_gen.patch.find import Target, entry_of
from targcc_gen.patch.served.entry import Entry
from targcc_gen.patch.target_package import TargetPackage, find_target_package, new_files
from targcc_gen.patch.wired import at_its_lines
from targcc_gen.sync import LockEntry, Owner, Plan, Tree, TreeFile, make_plan


@dataclass(frozen=True)
class Prepared:
    """A patch that is ready to be carried out.

    Args:
        target: The file.
        app: The app in it; None when it cannot be told.
        package: The package that the scheduler lives in.
        wiring: How the file imports the router.
        patched: The file after its patch.
        files: Everything else that is written.
        kept: The app's files that stand in for ours.
        declared: Where the dependency is declared.
        refusal: Why no line is added to the file.
        notes: What a person should know.
        moves: Whether the app has the scheduler already, at another prefix.
    """

    target: Target
    app: App | None
    package: TargetPackage
    wiring: Wiring
    patched: Patched
    files: tuple[TreeFile, ...]
    kept: tuple[TreeFile, ...]
    declared: Declared
    refusal: RefusalError | None
    notes: tuple[str, ...]
    moves: bool = False

    @property
    def nothing_to_do(self) -> bool:
        """Whether the app has the scheduler already."""
        return not self.patched.added and self.refusal is None

    @cached_property
    def plan(self) -> Plan:
        """Everything that is written."""
        return self._plan(with_lines=bool(self.patched.added))

    @cached_property
    def plan_without_lines(self) -> Plan:
        """Everything but the lines in the app's file."""
        return self._plan(with_lines=False)

    def _plan(self, *, with_lines: bool) -> Plan:
        files = [*self.files]
        if with_lines:
            source = self.target.file.source
            files.append(
                TreeFile(
                    self.target.relative, self.patched.data, Owner.PATCHED, replaces=source.data
                )
            )
        plan = make_plan(Tree.of(files, complete=False), self.target.root)
        if plan.conflicts:
            listed = "\n".join(f"  {one.path}: {one.reason}" for one in plan.conflicts)
            raise ConflictError(f"something is in the way, nothing was written\n{listed}")
        return _with_known(plan, self.kept)

    @cached_property
    def entry(self) -> Entry | str:
        """What the server loads, or why that cannot be told."""
        if self.target.entry is not None:
            return self.target.entry
        return entry_of(self.target, self.app) if self.app else "no app was found"

    @property
    def served(self) -> str:
        """What the server loads and what says so; empty when that is the app's own file."""
        entry = self.entry
        if isinstance(entry, str) or entry.where == self.target.relative:
            return ""
        return f"{entry.shown}  by {entry.where}"

    @property
    def label(self) -> str:
        """What people call the app."""
        return self.app.label if self.app else "app"

    def to_json(self) -> dict[str, Any]:
        """The patch for a program."""
        return {
            **self.plan.to_json(),
            "file": self.target.relative,
            "app": f"{self.target.layout.module}:{self.label}",
            "served": self.entry.shown if isinstance(self.entry, Entry) else None,
            "added": [{"line": line, "text": text.strip()} for line, text in self.patched.added],
            "refused": self.refusal.message if self.refusal else None,
            "notes": list(self.notes),
        }


def prepare(
    target: Target, app_name: str | None, scheduler: str | None = None, prefix: str = ""
) -> Prepared:
    """Work out everything that a patch changes; nothing is written.

    Args:
        target: The file.
        app_name: `name` or `module:name`.
        scheduler: How a new project is to have the scheduler: `package` (also when it is None) or `vendored`.
        prefix: Where the scheduler is to be; empty for what its settings say, `/jobs`.

    Raises:
        InputError: The app cannot be told, or the project has the scheduler the other way.
    """
    project = pyproject(target.root)
    package = find_target_package(target.layout, project, scheduler)
    target, wiring = at_its_lines(target, package.router_module, prefix)
    app, refusal, moves = target.app, None, False
    patched = Patched(target.file.source.data)
    try:
        if app is None and not any(includes(target.file, wiring)):
            app = choose_app(target.file, app_name, wiring, program_of(package))
        elif app is None:
            app = _wired_app(target, app_name, wiring)
        if moves := is_elsewhere(target.file, wiring):
            patched = moved(target.file, app, wiring)
        elif app is not None:
            patched = wire(target.file, app, wiring)
    except RefusalError as error:
        refusal = error
    files, kept = new_files(package, target.root) if package.is_new else ([], [])
    declared = declare(Texts(target.root), needed(package.spec))
    notes = package.notes
    if package.is_new:
        notes = (*notes, *_there(declared), *_exclusions(target, package, project))
        if declared.added:
            files.append(_requirements(declared))
    return Prepared(
        target,
        app,
        package,
        wiring,
        patched,
        tuple(files),
        tuple(kept),
        declared,
        refusal,
        notes,
        moves=moves,
    )


def _wired_app(target: Target, app_name: str | None, wiring: Wiring) -> App | None:
    """The app of a file that has our lines; None when they were added by hand to what no app can be told of."""
    try:
        return choose_app(target.file, app_name, wiring)
    except RefusalError:
        return None
    except InputError:
        if app_name:
            raise
        return None


def _requirements(declared: Declared) -> TreeFile:
    """The file with the requirements, and which of them are ours."""
    return TreeFile(
        declared.path,
        declared.after,
        Owner.PATCHED,
        replaces=declared.before,
        added=declared.added,
    )


def _there(declared: Declared) -> list[str]:
    """What the project requires itself, maybe in other versions."""
    if not declared.there:
        return []
    return [
        f"{declared.path} has these already, and the scheduler needs: {', '.join(declared.there)}"
    ]


def _exclusions(target: Target, package: TargetPackage, project: dict[str, Any]) -> list[str]:
    """What keeps the project's own tools out of the scheduler's source."""
    if package.spec.scheduler != "vendored":
        return []
    from targcc_gen.patch.exclusions import exclusions

    return exclusions(target.root, project)


def _with_known(plan: Plan, kept: Sequence[TreeFile]) -> Plan:
    """The plan whose lock also knows the app's files that stand in for ours, as after a regenerate."""
    known = {
        file.path: LockEntry.of(file.path, file.owner, file.content, keep_base=True)
        for file in kept
    }
    lock = replace(plan.lock, entries={**plan.lock.entries, **known})
    return replace(plan, lock=lock)


def install_lines(prepared: Prepared) -> list[str]:
    """The commands that add everything the scheduler needs to the project's environment."""
    declared = prepared.declared
    by_hand = [f"add to the project's requirements: {line}" for line in declared.lines]
    return [*by_hand, declared.install]


def program_of(package: TargetPackage) -> str:
    """How the project's command line is called where no script `targcc` is installed."""
    return f"python -m targcc_scheduler --project {package.package}"
