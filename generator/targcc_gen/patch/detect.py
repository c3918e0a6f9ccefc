"""Detect the file and app to patch, applications of other frameworks, and the lines of an earlier patch."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from targcc_gen.dependencies.declare import requires_fastapi
from targcc_gen.errors import AppChoiceError, InputError, PathError
from targcc_gen.patch.app_file import AppFile, RefusalError, Source, code_of, dotted, targets_of
from targcc_gen.patch.apps import (
    LARGEST,
    MANAGED,
    App,
    NoAppError,
    apps_of,
    file_of_module,
    find_file,
    outer_apps,
    python_files,
)
from targcc_gen.patch.entrypoint import (
    USUAL_NAMES,
    Made,
    Mounting,
    Origin,
    Resolver,
    find_mounting,
    loaded_entry,
    unloadable_reason,
)
from targcc_gen.patch.import_order import read_order
from targcc_gen.patch.layout import SPEC, Layout, find_layout, find_root, may_make_app
from targcc_gen.patch.server_settings import Entry
from targcc_gen.patch.wiring import WRAPPER, ByHand, Wiring, includes, last_line
from targcc_gen.sync import Lock, Owner

# Applications of other frameworks, and the help for each.

_MAKERS = {
    "starlette.applications.Starlette": "Starlette",
    "litestar.Litestar": "Litestar",
    "litestar.app.Litestar": "Litestar",
    "quart.Quart": "Quart",
    "django.core.asgi.get_asgi_application": "Django (ASGI)",
    "django.core.wsgi.get_wsgi_application": "Django (WSGI)",
    "flask.Flask": "Flask",
    "flask.app.Flask": "Flask",
}
_WSGI = frozenset({"Flask", "Django (WSGI)"})
_SHOWN = 60  # characters of code that fit in a line of help
_ORDER = list(_MAKERS.values())


@dataclass(frozen=True)
class Host:
    """An application of another framework.

    Args:
        framework: The framework's name.
        name: The name that holds the application; a factory's result is not followed.
        line: The line of the assignment.
        is_top: Whether the assignment is at module level.
        code: The call that makes the application; with `...` for many arguments.
        factory: The function of the module that makes the application; empty without a function.
    """

    framework: str
    name: str
    line: int
    is_top: bool
    code: str = ""
    factory: str = ""

    @property
    def speaks_wsgi(self) -> bool:
        """Whether the application is WSGI, which has no lifespan to run a scheduler in."""
        return self.framework in _WSGI


def host_in(file: AppFile) -> Host | None:
    """Return the file's application of another framework, ASGI before WSGI; `None` without one."""
    result = []
    for node in file.nodes:
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.Return):
            continue
        if isinstance(node.value, ast.Call) and (framework := _framework(file, node.value)):
            targets = [] if isinstance(node, ast.Return) else targets_of(node)
            targets = targets or [dotted(target) for target in getattr(node, "targets", [])]
            top = not file.scope_of(node)
            name = targets[0] if targets else ""
            code = code_of(node.value)
            code = code if len(code) <= _SHOWN else f"{code_of(node.value.func)}(...)"
            scope = file.scope_of(node)
            factory = scope[0] if len(scope) == 1 else ""
            result.append(Host(framework, name, file.line_of(node), top, code, factory))
    return min(result, key=lambda host: (_ORDER.index(host.framework), host.line), default=None)


def _framework(file: AppFile, call: ast.Call) -> str:
    """Return the framework of the application that a call makes, also by a subclass of the file; empty for none."""
    names = file.qualified_names(call.func)
    for node in file.nodes:
        if isinstance(node, ast.ClassDef) and node.name in names:
            names = names.union(*map(file.qualified_names, node.bases))
    return next((_MAKERS[name] for name in sorted(names) if name in _MAKERS), "")


def host_entry(target: Target, host: Host) -> Entry | None:
    """Return the entry that a server loads for an application of another framework; `None` without a name in the module."""
    if target.entry is not None:
        return target.entry
    for entry in target.follower.entries if target.follower else ():
        if target.follower and target.follower.file_of(entry) == target.path:
            return entry
    name = served_name(target.file, host)
    return Entry(target.layout.module, name, target.relative) if name else None


def served_name(file: AppFile, host: Host) -> str:
    """Return the module-level name that a server loads: a usual name bound below the host, else the host's own name."""
    later = [
        name
        for node in file.nodes
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and not file.scope_of(node)
        and file.line_of(node) > host.line
        for name in targets_of(node)
        if name in USUAL_NAMES
    ]
    return next(iter(later), host.name if host.is_top else "")


def find_host(root: Path) -> Path | None:
    """Return the file of a project that makes an application of another framework, ASGI before WSGI."""
    result = []
    for path in sorted(python_files(root)):
        try:
            data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
            if (
                not any(name.rpartition(".")[2].encode() in data for name in _MAKERS)
                or MANAGED in data
            ):
                continue
            host = host_in(AppFile(Source(path.relative_to(root).as_posix(), data)))
        except (OSError, InputError):
            continue
        if host is not None:
            result.append((_ORDER.index(host.framework), path))
    return min(result)[1] if result else None


def refusal_of(file: AppFile, host: Host, lines: ByHand, program: str) -> RefusalError:
    """Build the refusal for an application of another framework, with the lines to add or the commands to run."""
    name = served_name(file, host) or host.name or "app"
    message = f"{file.source.name}:{host.line}: error: {host.name or 'it'} is a {host.framework} application, not FastAPI"
    if not host.speaks_wsgi:
        if not host.name:
            return RefusalError(message, hint=lines.returned(host.code, host.line))
        return RefusalError(
            message, hint=lines.wrap(name, last_line(file) if host.is_top else None)
        )
    served = f"{host.factory}()" if host.factory else name
    return RefusalError(
        message,
        hint=(
            "A server that speaks WSGI runs no lifespan, so nothing in it can run jobs. Everything else is in place; run beside it,"
            f" on the same database:\n\n    {program} serve      # jobs and pages\n    {program} worker     # jobs alone\n\n"
            "Or serve both by one ASGI server, such as uvicorn:\n\n"
            f"    from a2wsgi import WSGIMiddleware\n    {lines.importing}{WRAPPER}\n\n"
            f'    application = {WRAPPER}(WSGIMiddleware({served}), "/jobs")'
        ),
    )


# The target: file, app, and the object that the project's server loads.


@dataclass(frozen=True)
class Target:
    """The file that a command patches.

    Args:
        root: The project's folder, absolute.
        path: The file, absolute.
        file: The parsed file.
        layout: How Python imports the file.
        app: The app, if a followed name led to the app; else `None`.
        entry: The object that the server loads, if the project's settings lead to this file.
        inner: The places of the calls that mount the app that was named, outermost last; empty for an app that no app mounts.
        follower: The resolver, with the project's files read so far.
        repository: The folder that the search began in; `None` for a project that the command names.
    """

    root: Path
    path: Path
    file: AppFile
    layout: Layout
    app: App | None = None
    entry: Entry | None = None
    inner: tuple[str, ...] = ()
    follower: Resolver | None = field(default=None, compare=False)
    repository: Path | None = None

    @property
    def relative(self) -> str:
        """The file's path below the project's folder, with `/`."""
        return self.path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class _Named:
    """The arguments of the command line.

    Args:
        file: The file.
        module: The module of `--app`; empty without a module.
        name: The name of `--app`; empty without `--app`.
    """

    file: Path | None
    module: str
    name: str


def find_target(project: Path | None, file: Path | None, app: str | None) -> Target:
    """Find the file that makes the app.

    A given file or module is followed first, then the object that the server loads, then the only file with an app.

    Args:
        project: The project's folder; if `None`, searched upwards from the file or the current folder.
        file: The file; if `None`, searched for.
        app: `name` or `module:name`.

    Raises:
        InputError: No file makes the app, several files do, or the file cannot be read as Python.
    """
    module, _, name = app.rpartition(":") if app else ("", "", "")
    named = _Named(file.parent.resolve() / file.name if file else None, module, name)
    root = project.resolve() if project else find_root(named.file or Path.cwd())
    if not root.is_dir():
        raise PathError(f"{root} is no folder")
    target = _Finder(root, named).target()
    return target if project else _in_own_project(target)


_MANIFESTS = (SPEC, "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile")


def _in_own_project(target: Target) -> Target:
    """Return the target in the nearest folder with requirements, if the repository's own do not have FastAPI.

    A repository may have several projects, such as `backend` with the app and a workspace at its top.
    """
    root, source = target.root, target.layout.source
    script = target.entry.script if target.entry else ""
    if (root / SPEC).is_file() or requires_fastapi(root) or script:
        return target
    for folder in (source, *source.parents):
        if folder == root:
            break
        if any((folder / name).is_file() for name in _MANIFESTS):
            layout = replace(target.layout, root=folder)
            return replace(target, root=folder, layout=layout, repository=root)
    return target


class _Finder:
    """Finds the app of one project."""

    def __init__(self, root: Path, named: _Named) -> None:
        self._root = root
        self._named = named
        self._follower = Resolver(root)

    def target(self) -> Target:
        """Return the file of the app, or of the outermost app that mounts the app."""
        return self._outermost(self._named_target())

    def _named_target(self) -> Target:
        path = self._named.file or _known_file(self._root)
        if path is None and self._named.module:
            path = file_of_module(self._root, self._named.module)
        if path is not None:
            return self._from_file(path)
        served = self._chosen(self._served())
        if len(served) > 1:
            listed = "\n".join(f"  {entry.where}  {entry.shown}" for entry, _ in served)
            raise AppChoiceError(
                f"the files of {self._root} name several apps\n{listed}",
                hint=f"Name the one to patch: targcc-gen patch --app {served[0][0].shown}",
            )
        if served:
            return self._target(served[0][1], served[0][0])
        try:
            return self._from_file(find_file(self._root, is_inner=self._is_inner))
        except NoAppError:
            other = self._through_modules() or find_host(self._root)
            if other is None:
                raise
            return self._from_file(other)

    def _chosen(self, served: list[tuple[Entry, Origin]]) -> list[tuple[Entry, Origin]]:
        """Prefer the app that settings in the project's own folder name, and an app that no other served app mounts."""
        if len(served) < 2:  # noqa: PLR2004 - nothing to choose from
            return served
        settings = [pair for pair in served if _is_main_setting(pair[0])]
        served = settings if len(settings) == 1 else served
        outer = [
            pair for pair in served if find_mounting(self._root, pair[1], self._follower) is None
        ]
        return outer if len(outer) == 1 else served

    def _is_inner(self, path: Path) -> bool:
        """Whether another file mounts each app of a file."""
        file = self._follower.file(path)
        apps = outer_apps(apps_of(file))
        return bool(apps) and all(
            find_mounting(self._root, Origin(path, file, app), self._follower) for app in apps
        )

    def _outermost(self, target: Target) -> Target:
        """Return the target of the outermost app; a server runs the lifespan of that app alone."""
        for _ in range(_DEEPEST_MOUNT):
            app = target.app or self._only_app(target)
            if app is None or target.entry in self._follower.entries:
                return target
            origin = Origin(target.path, target.file, app)
            mounting = find_mounting(self._root, origin, self._follower)
            if mounting is None:
                return target
            target = self._outer(target, app, mounting)
        return target

    def _only_app(self, target: Target) -> App | None:
        apps = [
            app
            for app in outer_apps(apps_of(target.file))
            if not self._named.name or app.answers_to(self._named.name)
        ]
        return apps[0] if len(apps) == 1 else None

    def _outer(self, target: Target, app: App, mounting: Mounting) -> Target:
        """Return the target of the app that mounts an app; for an unknown outer app, the app with its problem."""
        inner = (*target.inner, mounting.where)
        if mounting.outer is not None:
            entry = self._entry_of(mounting.outer)
            return replace(self._target(mounting.outer, entry), inner=inner)
        if mounting.is_top and mounting.receiver:
            layout = find_layout(mounting.file, mounting.path, self._root)
            entry = Entry(layout.module, mounting.receiver, mounting.where)
            return Target(
                self._root, mounting.path, mounting.file, layout, None, entry, inner, self._follower
            )
        problem = (
            f"{mounting.where} mounts it in an app that no line of the project makes, and a mounted app's"
            " lifespan does not run"
        )
        outer = (mounting.file.source.name, mounting.line, mounting.receiver)
        app = replace(app, problem=problem, mounted=True, outer=outer)
        return replace(target, app=app, inner=inner)

    def _entry_of(self, origin: Origin) -> Entry | None:
        for entry, other in self._served():
            if (other.path, other.app.line) == (origin.path, origin.app.line):
                return entry
        return None

    def _through_modules(self) -> Path | None:
        """Return the only file that makes an app of a FastAPI subclass from another file; `None` for none or several."""
        result = []
        for path in sorted(python_files(self._root)):
            with contextlib.suppress(InputError):
                result += [path] if apps_of(self._follower.file(path)) else []
        return result[0] if len(result) == 1 else None

    def _served(self) -> list[tuple[Entry, Origin]]:
        """Return each app that a server loads, with the first entry that leads to the app."""
        result: dict[tuple[Path, int], tuple[Entry, Origin]] = {}
        for entry in self._follower.entries:
            origin = self._follower.origin(entry)
            if origin is not None and (
                not self._named.name or _answers(origin, entry, self._named.name)
            ):
                result.setdefault((origin.path, origin.app.line), (entry, origin))
        return [*result.values()]

    def _from_file(self, path: Path) -> Target:
        """Return a target for the file, or for the file that its imported app comes from."""
        _check(path)
        shown = path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else ""
        if not shown:
            raise PathError(
                f"{path} is not in the project {self._root}", hint="Name its folder with --project"
            )
        parsed = self._follower.file(path)
        if not apps_of(parsed):
            entry = Entry("", self._named.name, shown, script=shown)
            origin = self._follower.origin(entry)
            if origin is not None and origin.path != path:
                return self._target(origin, self._followed(path, parsed, origin))
        if not self._named.name:
            served = [(entry, origin) for entry, origin in self._served() if origin.path == path]
            if len(served) == 1:
                return self._target(served[0][1], served[0][0])
        layout = find_layout(parsed, path, self._root, self._named.module or self._module_of(path))
        return Target(self._root, path, parsed, layout, follower=self._follower)

    def _module_of(self, path: Path) -> str | None:
        """Return the module name that a server loads the file by; `None` when no server does."""
        for entry in self._follower.entries:
            if entry.module and self._follower.file_of(entry) == path:
                return entry.module
        return None

    def _followed(self, path: Path, file: AppFile, origin: Origin) -> Entry | None:
        """Return the entry of a server that loads the file which imports the app; without a server, the file's own name."""
        for entry in self._follower.entries:
            if self._follower.file_of(entry) == path:
                return entry
        layout = find_layout(file, path, self._root, self._named.module or None)
        name = self._named.name or next(
            (usual for usual in USUAL_NAMES if file.exported(usual)), ""
        )
        return Entry(layout.module, name, file.source.name) if name and origin else None

    def _target(self, origin: Origin, entry: Entry | None) -> Target:
        layout = self._layout(origin, entry)
        return Target(
            self._root,
            origin.path,
            origin.file,
            layout,
            origin.app,
            entry,
            follower=self._follower,
        )

    def _layout(self, origin: Origin, entry: Entry | None) -> Layout:
        """Return how the origin is imported, relative to the folder that the server imports from."""
        start = self._follower.file_of(entry) if entry and entry.module else None
        if start is not None and entry is not None:
            parts = len(entry.module.split(".")) + (start.name == "__init__.py")
            source = start.parents[parts - 1]
            if origin.path.is_relative_to(source):
                relative = origin.path.relative_to(source).with_suffix("").parts
                module = ".".join(relative[:-1] if relative[-1] == "__init__" else relative)
                return find_layout(origin.file, origin.path, self._root, module or None)
        return find_layout(origin.file, origin.path, self._root)


_DEEPEST_MOUNT = 5


def _is_main_setting(entry: Entry) -> bool:
    """Whether a settings file in the project's own folder names the entry: `Procfile:1`, not `tools/run.py:3`."""
    file = entry.where.partition(":")[0]
    return "/" not in file and not file.endswith(".py")


def _answers(origin: Origin, entry: Entry, name: str) -> bool:
    return entry.name == name or origin.app.answers_to(name)


def entry_of(target: Target, app: App) -> Entry | str:
    """Return the entry that a server loads to get the app, or the reason when no entry can be loaded."""
    follower = target.follower or Resolver(target.root)
    if target.entry is not None:
        return target.entry
    for entry in follower.entries:
        origin = follower.origin(entry)
        if origin and origin.path == target.path and origin.app.line == app.line:
            return entry
    made = Made(target.root, target.path, target.file, target.layout.module, app)
    return loaded_entry(made, follower) or unloadable_reason(made)


def entry_by_name(target: Target, app: str | None) -> Entry:
    """Return the entry that a server loads, by name alone; for lines added by hand.

    Raises:
        InputError: No name leads to an entry.
    """
    module, _, name = app.rpartition(":") if app else ("", "", "")
    if name:
        return Entry(module or target.layout.module, name, "--app")
    if target.entry is not None:
        return target.entry
    follower = target.follower or Resolver(target.root)
    for entry in follower.entries:
        if follower.file_of(entry) == target.path:
            return entry
    names: Sequence[str] = [
        usual for usual in ("app", "application", "api") if target.file.exported(usual)
    ]
    if names:
        return Entry(target.layout.module, names[0], target.relative)
    apps = outer_apps(apps_of(target.file))
    result = (
        entry_of(target, apps[0])
        if len(apps) == 1
        else f"{target.relative} has no app of a usual name"
    )
    if isinstance(result, str):
        raise AppChoiceError(result, hint="Name what the server loads: --app module:name")
    return result


def _known_file(root: Path) -> Path | None:
    """Return the Python file of an earlier patch, from the lock; `None` for none or several."""
    known = [
        path
        for path, entry in Lock.load(root).entries.items()
        if entry.owner is Owner.PATCHED and may_make_app(path)
    ]
    return root / known[0] if len(known) == 1 and (root / known[0]).is_file() else None


def _check(path: Path) -> None:
    if path.is_dir():
        raise AppChoiceError(
            f"{path} is a folder", hint="Name the file that makes the app, or none at all."
        )
    if path.is_symlink():
        raise PathError(f"{path} is a link", hint="Name the file itself.")
    if not path.is_file():
        raise PathError(f"{path}: No such file or directory")


# The file with the scheduler's lines: the app's file or the server's file.


def detect_lines(target: Target, module: str, prefix: str = "") -> tuple[Target, Wiring]:
    """Return the target with the scheduler's lines, or the target to add the lines to, and its wiring.

    Args:
        target: The file that makes the app.
        module: The scheduler's package: `acme.scheduler`.
        prefix: The prefix asked for; empty for the prefix of the settings.
    """
    order = read_order(target.root, target.layout.source, module.partition(".")[0])
    wiring = Wiring(module, target.layout.package, prefix, order=order)
    entry, follower = target.entry, target.follower
    path = follower.file_of(entry) if entry is not None and follower is not None else None
    if path in {None, target.path} or any(includes(target.file, wiring)):
        return target, wiring
    assert path is not None
    assert entry is not None
    assert follower is not None
    file, wiring_there = follower.file(path), replace(wiring, package=package_of(entry, path))
    if not any(includes(file, wiring_there)):
        return target, wiring
    layout = find_layout(file, path, target.root, entry.module or None)
    return replace(target, path=path, file=file, layout=layout, app=None), wiring_there


def package_of(entry: Entry, path: Path) -> str:
    """Return the package of the file that a server loads."""
    return entry.module if path.name == "__init__.py" else entry.module.rpartition(".")[0]
