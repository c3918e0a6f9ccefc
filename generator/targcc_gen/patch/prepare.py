"""Prepare a patch: choose the app, edit its file, render new files, collect notes and refusals."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from targcc_gen.dependencies.declare import Declared, Texts, declare, requirement_files
from targcc_gen.dependencies.dependency import app_dependencies
from targcc_gen.errors import InputError, ObstacleError
from targcc_gen.patch.app_file import AppFile, RefusalError, SourceError, code_of, targets_of
from targcc_gen.patch.apps import App, apps_of, outer_apps
from targcc_gen.patch.detect import (
    Target,
    detect_lines,
    entry_of,
    host_entry,
    host_in,
    refusal_of,
)
from targcc_gen.patch.host_files import host_edits
from targcc_gen.patch.layout import find_layout, pyproject
from targcc_gen.patch.server_settings import Entry
from targcc_gen.patch.target_package import TargetPackage, find_target_package, new_files
from targcc_gen.patch.wiring import (
    PREFIX,
    Patched,
    Wiring,
    includes,
    is_elsewhere,
    moved,
    wire,
    wrap,
)
from targcc_gen.render.package import SOURCE_TREE
from targcc_gen.sync import LockEntry, Owner, Plan, Tree, TreeFile, make_plan

# Choose the app of a file: the only app, or the app of `--app`.

_NAMES = ("app", "application", "api")


def choose_app(file: AppFile, wanted: str | None, wiring: Wiring, program: str = "targcc") -> App:
    """Return the app to wire.

    Args:
        file: The file.
        wanted: `app`, `create_app` or `module:app`; `None` takes the only app that no other app mounts.
        wiring: For the lines that a refusal shows.
        program: The project's command line.

    Raises:
        InputError: The file has no app, several apps, or no app of that name.
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
    """Return a name for each app; apps with the same label get longer names: `create_app.internal`."""
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
    """Build the error for a file without an app: another framework's app, an app from outside the project, or none."""
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
    """A patch that is ready to apply.

    Args:
        target: The file.
        app: The app; `None` when no app can be told.
        package: The scheduler's package.
        wiring: How the file imports the router.
        patched: The file after the patch.
        files: The other files to write.
        kept: Rendered files whose place an existing file of the app keeps.
        declared: The declared dependency.
        refusal: Why no line is added to the file; `None` when a line is added.
        notes: Notes to show.
        moves: Whether the patch moves an existing scheduler to another prefix.
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
        return not self.patched.added and self.refusal is None and not self.files

    @cached_property
    def plan(self) -> Plan:
        """All changes of the patch."""
        return self._plan(with_lines=bool(self.patched.added))

    @cached_property
    def plan_without_lines(self) -> Plan:
        """All changes except the lines in the app's file."""
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
            raise ObstacleError(f"something is in the way, nothing was written\n{listed}")
        return _with_known(plan, self.kept)

    @cached_property
    def entry(self) -> Entry | str:
        """The entry that the server loads, or the reason when the entry cannot be told."""
        if self.target.entry is not None:
            return self.target.entry
        return entry_of(self.target, self.app) if self.app else self._wrapped_entry()

    def _wrapped_entry(self) -> Entry | str:
        """Return the entry of the name that `app = with_scheduler(app, …)` binds, or the reason when no line does."""
        target, file = self.target, self.target.file
        for entry in target.follower.entries if target.follower else ():
            if target.follower and target.follower.file_of(entry) == target.path:
                return entry
        for call in includes(file, self.wiring):
            statement = file.statement_of(call)
            if isinstance(statement, ast.Assign) and not file.scope_of(call):
                for name in targets_of(statement):
                    return Entry(target.layout.module, name, target.relative)
        return "no app was found"

    @property
    def served(self) -> str:
        """The loaded entry and the setting that names the entry; empty when the app's own file does."""
        entry = self.entry
        if isinstance(entry, str) or entry.where in {
            self.target.relative,
            self.target.file.source.name,
        }:
            return ""
        return f"{entry.shown}  by {entry.where}"

    @property
    def label(self) -> str:
        """The app's name in messages."""
        return self.app.label if self.app else "app"

    def to_json(self) -> dict[str, Any]:
        """Return the patch as JSON."""
        return {
            **self.plan.to_json(),
            "file": self.target.relative,
            "app": f"{self.target.layout.module}:{self.label}",
            "database": self.package.spec.database,
            "mode": self.package.spec.mode,
            "served": self.entry.shown if isinstance(self.entry, Entry) else None,
            "added": [{"line": line, "text": text.strip()} for line, text in self.patched.added],
            "refused": self.refusal.message if self.refusal else None,
            "notes": list(self.notes),
        }


def prepare(
    target: Target,
    app_name: str | None,
    scheduler: str | None = None,
    prefix: str = "",
    database: str | None = None,
    *,
    mode: str | None = None,
) -> Prepared:
    """Plan all changes of a patch. Writes nothing.

    Args:
        target: The file.
        app_name: `name` or `module:name`.
        scheduler: The scheduler mode of a new project: `package` (also for `None`) or `vendored`.
        prefix: The scheduler's prefix; empty for the prefix of the settings, `/jobs`.
        database: The database of a new project: `sqlite` or `postgresql`; `None` for the app's.
        mode: The work of web processes in a new project: `embedded` (also for `None`) or `pages`.

    Raises:
        InputError: The app cannot be told, or the project has the other scheduler mode or database, or does not leave room
            for the scheduler.
    """
    project = pyproject(target.root)
    package = find_target_package(target.layout, project, scheduler, database, mode)
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
        lines = wrapped_lines(target, app, wiring)
        refusal = None if lines else _of_factory(target, app, wiring) or error
        target, wiring, patched = lines or (target, wiring, patched)
        app = None if lines else app
    if package.is_new:
        check_requirements(target.root, package)
    files, kept = new_files(package, target.root) if package.is_new else ([], [])
    declared = declare(Texts(target.root), app_dependencies(package.spec))
    edits = host_edits(target.layout, package, declared)
    notes = (*_mounted(target), *_own_folder(target), *package.notes, *edits.notes)
    if package.is_new:
        notes = (*notes, *_already_declared(declared), *_exclusions(target, package, project))
        has_wheel = any(file.path.startswith("vendor/") for file in files)
        if has_wheel and not any(file.path == "Dockerfile" for file in edits.files):
            notes = (*notes, *image_notes(target.root))
        if declared.added:
            files.append(_requirements(declared))
    return Prepared(
        target,
        app,
        package,
        wiring,
        patched,
        (*files, *edits.files),
        tuple(kept),
        declared,
        refusal,
        notes,
        moves=moves,
    )


def _of_factory(target: Target, app: App | None, wiring: Wiring) -> RefusalError | None:
    """Return the refusal of an app that a served factory returns, with the line in place of its `return`; `None` for other apps."""
    entry = entry_of(target, app) if app is not None and not app.mounted else None
    if app is None or not isinstance(entry, Entry) or not entry.factory or target.follower is None:
        return None
    path = target.follower.file_of(entry)
    file = target.follower.file(path) if path is not None else target.file
    returns = [
        node
        for node in file.nodes
        if isinstance(node, ast.Return)
        and node.value is not None
        and file.scope_of(node) == (entry.name,)
    ]
    if path is None or len(returns) != 1 or returns[0].value is None:
        return None
    package = find_layout(file, path, target.root, entry.module or None).package
    lines = replace(wiring, package=package).lines(file)
    hint = lines.returned(code_of(returns[0].value), file.line_of(returns[0]))
    place = app.places[0]
    text = f"{app.target or place.bound or 'this FastAPI app'} cannot be wired: {app.problem}"
    return RefusalError(target.file.source.error(place.line, place.column, text).message, hint=hint)


def _mounted(target: Target) -> list[str]:
    """Return a note about each app that another app mounts, up to the app that gets the lines."""
    return [
        f"{where} mounts the app: the lines go to the outer app, as a server runs no lifespan of a mounted app"
        for where in target.inner
    ]


def wrapped_lines(
    target: Target, app: App | None, wiring: Wiring, free: str = PREFIX
) -> tuple[Target, Wiring, Patched] | None:
    """Return the file that the server loads with `app = with_scheduler(app, "/jobs")`; `None` when no such line can be placed.

    Args:
        target: The file that makes the app.
        app: The app; `None` for an app of another framework.
        wiring: The lines of the app's file.
        free: The prefix if `wiring` has none.
    """
    entry = _wrappable(target, app)
    if entry is None or target.follower is None:
        return None
    path = target.follower.file_of(entry)
    if path is None:
        return None
    file = target.follower.file(path)
    layout = find_layout(file, path, target.root, entry.module or None)
    wiring = replace(wiring, package=layout.package, wraps=True)
    patched = wrap(file, entry.name, wiring, wiring.prefix or free)
    if patched is None:
        return None
    target = replace(target, path=path, file=file, layout=layout, app=None, entry=entry)
    return target, wiring, patched


def _wrappable(target: Target, app: App | None) -> Entry | None:
    """Return the entry whose name a line can wrap: an ASGI app by a plain name of a module, served with its lifespan."""
    if app is not None:
        entry = None if app.mounted else entry_of(target, app)
    else:
        host = host_in(target.file)
        entry = None if host is None or host.speaks_wsgi else host_entry(target, host)
    if not isinstance(entry, Entry) or "." in entry.name:
        return None
    return None if entry.factory or entry.wsgi or entry.lifespan == "off" else entry


def check_requirements(root: Path, package: TargetPackage) -> None:
    """Check that the project's requirements leave room for the scheduler.

    Raises:
        FitError: They do not.
    """
    from targcc_gen.dependencies.fit import check_fit
    from targcc_gen.dependencies.required import python_versions, read_required

    texts = Texts(root)
    required = read_required(texts, requirement_files(root))
    check_fit(app_dependencies(package.spec), required, python_versions(texts))


def _wired_app(target: Target, app_name: str | None, wiring: Wiring) -> App | None:
    """Return the app of a file with the scheduler's lines; `None` when the lines were added by hand and no app is found."""
    try:
        return choose_app(target.file, app_name, wiring)
    except RefusalError:
        return None
    except InputError:
        if app_name:
            raise
        return None


def _own_folder(target: Target) -> list[str]:
    """Return a note for an app whose project is below the folder that the command started in."""
    if target.repository in {None, target.root}:
        return []
    folder = target.root.relative_to(target.repository).as_posix()
    return [f"the app's project is {folder}: run targcc-gen there, or with --project {folder}"]


def _requirements(declared: Declared) -> TreeFile:
    """Build the file of requirements, with the added requirements recorded."""
    return TreeFile(
        declared.path,
        declared.after,
        Owner.PATCHED,
        replaces=declared.before,
        added=declared.added,
    )


def _already_declared(declared: Declared) -> list[str]:
    """Return a note about requirements that the project already declares, perhaps in other versions."""
    if not declared.present:
        return []
    return [
        f"{declared.path} has these already, and the scheduler needs: {', '.join(declared.present)}"
    ]


def _exclusions(target: Target, package: TargetPackage, project: dict[str, Any]) -> list[str]:
    """Return the notes that keep the project's tools out of vendored source; empty in package mode."""
    if package.spec.scheduler != "vendored":
        return []

    return exclusions(target.root, project)


_INSTALLS = re.compile(
    r"^RUN\b.*\b(pip3?\s+install\s+(-r|--requirement|\.|-e)|pip-sync|uv\s+sync|uv\s+pip\s+(install|sync)|poetry\s+install|pdm\s+(install|sync)|pipenv\s+(install|sync))",
    re.IGNORECASE,
)
_COPIES_ALL = re.compile(r"^(COPY|ADD)\b(?!.*--from=).*(\s\.{1,2}/?\s|\bvendor\b)", re.IGNORECASE)


def image_notes(root: Path) -> list[str]:
    """Return a note if the app's Dockerfile installs requirements before it copies `vendor/`, which has the scheduler's wheel.

    Args:
        root: The app's folder.
    """
    path = root / "Dockerfile"
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    joined = re.sub(r"\\\r?\n", lambda match: " " + "\0" * match[0].count("\n"), text)
    number = 1
    for line in joined.splitlines():
        if _COPIES_ALL.search(line.strip()):
            return []
        if _INSTALLS.search(line.strip()):
            return [
                f"Dockerfile:{number}: the image installs before it has the scheduler: add COPY vendor ./vendor above"
            ]
        number += 1 + line.count("\0")
    return []


def _with_known(plan: Plan, kept: Sequence[TreeFile]) -> Plan:
    """Add the kept files to the plan's lock, as a regenerate does."""
    known = {
        file.path: replace(
            LockEntry.of(file.path, file.owner, file.content, keep_base=True),
            ejected=file.path.endswith("/services.py"),
        )
        for file in kept
    }
    lock = replace(plan.lock, entries={**plan.lock.entries, **known})
    return replace(plan, lock=lock)


def install_lines(prepared: Prepared) -> list[str]:
    """Return the steps that install the scheduler's requirements in the project's environment."""
    declared = prepared.declared
    by_hand = [f"add to the project's requirements: {line}" for line in declared.lines]
    return [*by_hand, declared.install]


def database_lines(package: TargetPackage) -> list[str]:
    """Return the steps that give the scheduler the app's database on a server; empty for SQLite."""
    if package.spec.database == "sqlite":
        return []
    value = f"the value of {package.url_variable}" if package.url_variable else "the app's database"
    return [
        f"set TARGCC_DATABASE_URL to {value}: {package.spec.database}://user:password@host/name",
        f"{program_of(package)} migrate      # or at the first start",
    ]


def program_of(package: TargetPackage) -> str:
    """Return the command that runs the project's command line without an installed `targcc` script."""
    return f"python -m targcc_scheduler --project {package.package}"


# Settings that keep formatters, linters and type checkers out of the scheduler's source.

# By tool: settings files, the line for pyproject.toml, the line for a settings file. ruff's file is in the source tree.
_TOOLS = {
    "black": ((), 'extend-exclude = "^/vendor/"', ""),
    "isort": ((".isort.cfg",), f'extend_skip = ["{SOURCE_TREE}"]', f"extend_skip = {SOURCE_TREE}"),
    "mypy": (("mypy.ini", ".mypy.ini"), 'exclude = ["^vendor/"]', "exclude = ^vendor/"),
    "pyright": (("pyrightconfig.json",), 'exclude = ["vendor"]', '"exclude": ["vendor"]'),
    "pylint": ((".pylintrc", "pylintrc"), 'ignore-paths = ["^vendor/"]', "ignore-paths=^vendor/"),
    "coverage": ((".coveragerc",), 'omit = ["vendor/*"]', "omit = vendor/*"),
    "flake8": ((".flake8", "tox.ini"), 'extend-exclude = ["vendor"]', "extend-exclude = vendor"),
}


def exclusions(root: Path, pyproject: dict[str, Any]) -> list[str]:
    """Return a note with the line to add for each tool that the app has settings for.

    Args:
        root: The app's folder.
        pyproject: The app's pyproject.toml.
    """
    notes = []
    for tool, (files, in_pyproject, in_file) in _TOOLS.items():
        if tool in pyproject.get("tool", {}):
            notes.append(f"pyproject.toml: keep {tool} out of {SOURCE_TREE}: {in_pyproject}")
        elif file := _settings_file(root, tool, files):
            notes.append(f"{file}: keep {tool} out of {SOURCE_TREE}: {in_file}")
    return notes


def _settings_file(root: Path, tool: str, files: tuple[str, ...]) -> str:
    """Return the tool's settings file: its own file, or setup.cfg or tox.ini with a section; empty for none."""
    for name in (*files, "setup.cfg"):
        path = root / name
        if path.is_file():
            own = name not in {"setup.cfg", "tox.ini"}
            if own or f"[{tool}" in path.read_text(encoding="utf-8", errors="replace"):
                return name
    return ""
