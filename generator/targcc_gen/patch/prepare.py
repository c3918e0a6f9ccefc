"""Prepare a patch: the app, its file with the lines, other files, and the reasons against a line."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from targcc_gen.dependencies.declare import Declared, Texts, declare
from targcc_gen.dependencies.dependency import app_dependencies
from targcc_gen.errors import ConflictError, InputError
from targcc_gen.patch.app_file import AppFile, RefusalError, SourceError, code_of, targets_of
from targcc_gen.patch.apps import App, apps_of, outer_apps
from targcc_gen.patch.detect import Target, detect_lines, entry_of, host_in, refusal_of
from targcc_gen.patch.layout import pyproject
from targcc_gen.patch.server_settings import Entry
from targcc_gen.patch.target_package import TargetPackage, find_target_package, new_files
from targcc_gen.patch.wiring import Patched, Wiring, includes, is_elsewhere, moved, wire
from targcc_gen.render.package import SOURCE_TREE
from targcc_gen.sync import LockEntry, Owner, Plan, Tree, TreeFile, make_plan

# Choose the app of a file: the only one, or the one `--app` names.

_NAMES = ("app", "application", "api")


def choose_app(file: AppFile, wanted: str | None, wiring: Wiring, program: str = "targcc") -> App:
    """The app to wire.

    Args:
        file: The file.
        wanted: `app`, `create_app` or `module:app`; `None` takes the only app that no other app mounts.
        wiring: For the lines to add when there is no app to take.
        program: The project's command line.

    Raises:
        InputError: There is none, there are several, or none of that name.
    """
    apps = apps_of(file)
    if not apps:
        raise _none(file, wiring, program)
    if wanted:
        return _named(file, apps, wanted.rpartition(":")[2])
    outer = outer_apps(apps)
    if len(outer) == 1:
        return outer[0]
    names = _names(outer)
    listed = "\n".join(
        f"  {file.source.name}:{app.line}  {name}" for app, name in zip(outer, names, strict=True)
    )
    raise SourceError(
        f"{file.source.name}:{outer[0].line}: error: {len(outer)} FastAPI apps are made here\n{listed}",
        hint=f"Name the one that gets the scheduler: --app {names[0]}",
    )


def _names(apps: Sequence[App]) -> list[str]:
    """A name for each app, longer where two of them have the same: `create_app.internal`."""
    labels = [app.label for app in apps]
    return [
        ".".join(filter(None, (*app.scope, app.target))) if labels.count(label) > 1 else label
        for app, label in zip(apps, labels, strict=True)
    ]


def _named(file: AppFile, apps: Sequence[App], name: str) -> App:
    matching = [app for app in apps if app.answers_to(name)]
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(f"{app.label} (line {app.line})" for app in apps)
    what = "several FastAPI apps" if matching else "no FastAPI app"
    raise SourceError(f"{file.source.name}: error: it makes {what} named {name}; it makes {listed}")


def _none(file: AppFile, wiring: Wiring, program: str) -> SourceError:
    """Why a file has no app to wire: it is another framework's, or made outside of the project, or there is none."""
    if host := host_in(file):
        return refusal_of(file, host, wiring.lines(file), program)
    for node in file.nodes:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        named = [target for target in targets_of(node) if target in _NAMES]
        for name in file.qualified_names(node.value.func):
            module, _, function = name.rpartition(".")
            if named and module and function.islower() and not file.scope_of(node):
                return RefusalError(
                    f"{file.source.name}:{file.line_of(node)}: error: {named[0]} = {code_of(node.value.func)}()"
                    f" comes from {module}, which is not a file of the project",
                    hint=wiring.lines(file).wrap(named[0], file.last_line_of(node)),
                )
    return SourceError(
        f"{file.source.name}: error: it makes no FastAPI app",
        hint=wiring.lines(file).wrap("app"),
    )


# The patch.


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
            listed = "\n".join(f"  {change.path}: {change.reason}" for change in plan.conflicts)
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
    target, wiring = detect_lines(target, package.router_module, prefix)
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
    declared = declare(Texts(target.root), app_dependencies(package.spec))
    notes = package.notes
    if package.is_new:
        notes = (*notes, *_already_declared(declared), *_exclusions(target, package, project))
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


def _already_declared(declared: Declared) -> list[str]:
    """What the project requires itself, maybe in other versions."""
    if not declared.present:
        return []
    return [
        f"{declared.path} has these already, and the scheduler needs: {', '.join(declared.present)}"
    ]


def _exclusions(target: Target, package: TargetPackage, project: dict[str, Any]) -> list[str]:
    """What keeps the project's own tools out of the scheduler's source."""
    if package.spec.scheduler != "vendored":
        return []

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


# Settings that keep formatter, linter and type checker out of the scheduler's source.

# By tool: its own settings files, the line for pyproject.toml, the line for its own file. ruff has a file in the source tree.
_TOOLS = {
    "black": ((), 'extend-exclude = "^/vendor/"', ""),
    "isort": ((".isort.cfg",), f'extend_skip = ["{SOURCE_TREE}"]', f"extend_skip = {SOURCE_TREE}"),
    "mypy": (("mypy.ini", ".mypy.ini"), 'exclude = ["^vendor/"]', "exclude = ^vendor/"),
    "pyright": (("pyrightconfig.json",), 'exclude = ["vendor"]', '"exclude": ["vendor"]'),
    "pylint": ((".pylintrc", "pylintrc"), 'ignore-paths = ["^vendor/"]', "ignore-paths=^vendor/"),
    "flake8": ((".flake8", "tox.ini"), 'extend-exclude = ["vendor"]', "extend-exclude = vendor"),
}


def exclusions(root: Path, pyproject: dict[str, Any]) -> list[str]:
    """The line to add for each tool that the app is set up for.

    Args:
        root: The app's folder.
        pyproject: Its pyproject.toml.
    """
    notes = []
    for tool, (files, in_pyproject, in_file) in _TOOLS.items():
        if tool in pyproject.get("tool", {}):
            notes.append(f"pyproject.toml: keep {tool} out of {SOURCE_TREE}: {in_pyproject}")
        elif file := _settings_file(root, tool, files):
            notes.append(f"{file}: keep {tool} out of {SOURCE_TREE}: {in_file}")
    return notes


def _settings_file(root: Path, tool: str, files: tuple[str, ...]) -> str:
    """The file with the tool's settings: its own, or setup.cfg or tox.ini with a section for it."""
    for name in (*files, "setup.cfg"):
        path = root / name
        if path.is_file():
            own = name not in {"setup.cfg", "tox.ini"}
            if own or f"[{tool}" in path.read_text(encoding="utf-8", errors="replace"):
                return name
    return ""
