"""Follow the object that a server loads to the file and line that make the FastAPI app."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from targcc_gen.errors import AppChoiceError, InputError
from targcc_gen.patch.app_file import (
    FUNCTIONS,
    AppFile,
    Function,
    Source,
    code_of,
    dotted,
    targets_of,
    walk,
)
from targcc_gen.patch.apps import LARGEST, App, apps_of, handed_over, mounts, python_files
from targcc_gen.patch.layout import find_layout
from targcc_gen.patch.server_settings import Entry, read_entries

# Follow a name through imports, factories, wrappers and attributes.

_DEEPEST = 12
_SERVES = frozenset({"run", "Config"})  # of uvicorn
_DEFAULT_NAMES = ("app", "application", "api")


@dataclass(frozen=True)
class Origin:
    """The file that makes an app.

    Args:
        path: The file's path.
        file: The parsed file.
        app: The app.
    """

    path: Path
    file: AppFile
    app: App


class Resolver:
    """Follows names through the files of one project and caches the parsed files.

    Args:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[Path, AppFile] = {}
        self._apps: dict[Path, tuple[App, ...]] = {}

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The entries of the project's server settings, the most certain first."""
        return tuple(map(self.settled, read_entries(self._root)))

    def origin(self, entry: Entry) -> Origin | None:
        """Return the origin of the app that a server loads; `None` when the name cannot be followed."""
        path = self.file_of(entry)
        if path is None:
            return None
        names = [entry.name] if entry.name else list(_DEFAULT_NAMES)
        for app in (
            self._in(path) if entry.script else ()
        ):  # a script's function may make the app and serve it
            if app.target == entry.name:
                return Origin(path, self.file(path), app)
        for name in names:
            for origin in self._name(path, name, (), 0):
                return origin
        return self._served_in_function(path, entry.name) if entry.script else None

    def _served_in_function(self, path: Path, name: str) -> Origin | None:
        """Return the origin of an expression that a script serves, by the names of the function around the call."""
        file = self.file(path)
        for node in file.nodes:
            if (
                not isinstance(node, ast.Call)
                or dotted(node.func).rpartition(".")[2] not in _SERVES
            ):
                continue
            values = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "app")]
            for value in values:
                if code_of(value) == name:
                    for origin in self._expression(path, value, file.scope_of(node), 0):
                        return origin
        return None

    def leads_to(self, path: Path, value: ast.expr, origin: Origin) -> bool:
        """Whether an expression of a file is the app, its factory's result, or a wrapper around the app."""
        if not isinstance(value, ast.Name | ast.Attribute | ast.Call):
            return False
        scope = self.file(path).scope_of(value)
        return any(_same(reached, origin) for reached in self._expression(path, value, scope, 0))

    def named_in(self, path: Path, name: str, scope: tuple[str, ...]) -> Origin | None:
        """Return the origin of a name inside a scope of a file; `None` when the name cannot be followed."""
        return next(self._name(path, name, scope, 0), None)

    def settled(self, entry: Entry) -> Entry:
        """Return the entry with the default name of `fastapi run` filled in, if the entry has no name."""
        path = None if entry.name or entry.script else self.file_of(entry)
        if path is None:
            return entry
        file = self.file(path)
        made = [app.target for app in self._in(path) if not app.scope]
        usual = [name for name in _DEFAULT_NAMES if file.exported(name)]
        return replace(entry, name=next(iter([*usual, *made]), ""))

    def file_of(self, entry: Entry) -> Path | None:
        """Return the file that a server loads; `None` when the file does not exist."""
        if entry.script:
            path = self._root / entry.script
            return path if path.is_file() else None
        near = self._root / entry.folder if entry.folder else None
        return self.module(entry.module, near)

    def module(self, name: str, near: Path | None = None) -> Path | None:
        """Return the file of a module; `None` when no folder has the module.

        Search `near` and its parents, the project's folder, `src`, then the project's other folders if only one matches.
        """
        bases = [] if near is None else [near, *near.parents]
        bases = [base for base in bases if base == self._root or self._root in base.parents]
        bases += [self._root, self._root / "src"]
        for base in bases:
            if path := _module_file(base, name):
                return path
        paths = [
            path
            for folder in sorted(self._root.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
            if (path := _module_file(folder, name))
        ]
        return paths[0] if len(paths) == 1 else None

    def file(self, path: Path) -> AppFile:
        """Parse a file, with the FastAPI subclasses that the file imports from other files of the project.

        Raises:
            InputError: The file cannot be read, or is not valid Python.
        """
        if path not in self._files:
            try:
                data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
            except OSError as error:
                raise AppChoiceError(f"{path}: {error.strerror or error}") from error
            shown = path.relative_to(self._root).as_posix()
            file = self._files[path] = AppFile(Source(shown, data))
            if imported := frozenset(self._imported_classes(path, file)):
                self._files[path] = AppFile(file.source, imported)
        return self._files[path]

    def _imported_classes(self, path: Path, file: AppFile) -> Iterator[str]:
        called = {
            name
            for node in file.nodes
            for value in _called(node)
            for name in file.qualified_names(value)
            if name.rpartition(".")[2][:1].isupper()
        }
        for name in sorted(called - file.classes):
            other, inner = self.located(path, name)
            if other is None or other == path or not inner:
                continue
            try:
                if self.file(other).exported(inner) & self.file(other).classes:
                    yield name
            except InputError:  # another file's errors are not reported here
                continue

    def located(self, path: Path, name: str) -> tuple[Path | None, str]:
        """Return the file that defines a qualified name used in `path`, and the name in that file."""
        dots = len(name) - len(name.lstrip("."))
        parts = name[dots:].split(".")
        near = path.parents[dots - 1] if dots else path.parent
        for size in range(len(parts), 0, -1):
            module = ".".join(parts[:size])
            file = _module_file(near, module) if dots else self.module(module, path.parent)
            if file and file != path:
                return file, ".".join(parts[size:])
        if dots and (init := near / "__init__.py").is_file() and init != path:
            return init, ".".join(parts)
        return path, name

    def _in(self, path: Path) -> tuple[App, ...]:
        if path not in self._apps:
            self._apps[path] = apps_of(self.file(path))
        return self._apps[path]

    def _name(self, path: Path, name: str, scope: tuple[str, ...], depth: int) -> Iterator[Origin]:
        """Yield the origins that a name of a file may lead to, the last binding first."""
        if depth > _DEEPEST:
            return
        try:
            file = self.file(path)
        except InputError:
            return
        for app in self._in(path):
            factory = app.scope and app.scope[0] == name.partition(".")[0] and not scope
            if (app.target == name and app.scope == scope) or factory:
                yield Origin(path, file, app)
        yield from self._bound(path, name, scope, depth + 1)
        for imported in sorted(file.exported(name) if not scope else ()):
            other, inner = self.located(path, imported)
            if other is not None and (other, inner) != (path, name) and inner:
                yield from self._name(other, inner, (), depth + 1)
        if scope:
            yield from self._name(path, name, (), depth + 1)

    def _bound(self, path: Path, name: str, scope: tuple[str, ...], depth: int) -> Iterator[Origin]:
        """Yield the origins of a name's values and functions in the file itself."""
        file = self.file(path)
        head, _, attribute = name.partition(".")
        for value in reversed([*_values(file, head, scope)]):
            yield from self._expression(path, value, scope, depth, attribute)
        for node in file.nodes:
            if isinstance(node, FUNCTIONS) and node.name == head and file.scope_of(node) == scope:
                yield from self._function(path, node, depth)

    def _function(self, path: Path, function: Function, depth: int) -> Iterator[Origin]:
        """Yield the origins of a factory's return values."""
        file = self.file(path)
        scope = (*file.scope_of(function), function.name)
        for node in walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from self._expression(path, node.value, scope, depth + 1)

    def _expression(
        self, path: Path, value: ast.expr, scope: tuple[str, ...], depth: int, attribute: str = ""
    ) -> Iterator[Origin]:
        if isinstance(value, ast.IfExp):
            yield from self._expression(path, value.body, scope, depth, attribute)
            yield from self._expression(path, value.orelse, scope, depth, attribute)
        elif isinstance(value, ast.Call):
            yield from self._named(path, value.func, depth, attribute)
            for argument in (*value.args, *(keyword.value for keyword in value.keywords)):
                if isinstance(argument, ast.Name | ast.Attribute | ast.Call):
                    yield from self._expression(path, argument, scope, depth + 1)
        elif isinstance(value, ast.Attribute) and not dotted(value):
            yield from self._expression(path, value.value, scope, depth, value.attr)
        elif name := dotted(value):
            yield from self._name(path, name, scope, depth)

    def _named(
        self, path: Path, function: ast.expr, depth: int, attribute: str
    ) -> Iterator[Origin]:
        """Yield the origins of a call's result, or of `attribute` of the result."""
        if depth > _DEEPEST:
            return
        for name in sorted(self.file(path).qualified_names(function)):
            other, inner = self.located(path, name)
            if other is not None and inner:
                whole = f"{inner}.{attribute}" if attribute else inner
                yield from self._name(other, whole, (), depth + 1)


def _called(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call):
        yield node.func
    elif isinstance(node, ast.ClassDef):
        yield from node.bases


def _values(file: AppFile, name: str, scope: tuple[str, ...]) -> Iterator[ast.expr]:
    """Yield the expressions that a scope assigns to a name."""
    for node in file.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(dotted(target) == name for target in targets) and file.scope_of(node) == scope:
                yield node.value


def _module_file(base: Path, name: str) -> Path | None:
    path = base.joinpath(*name.split("."))
    for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


# The name that a server loads to get an app: outer app, wrapper, factory, or own name.

USUAL_NAMES = ("app", "application", "api")


@dataclass(frozen=True)
class Made:
    """An app with its file and project.

    Args:
        root: The project's folder.
        path: The file's path.
        file: The parsed file.
        module: The file's module.
        app: The app.
    """

    root: Path
    path: Path
    file: AppFile
    module: str
    app: App

    @property
    def name(self) -> str:
        """The module-level name of the app, or of the factory or class that makes the app."""
        return self.app.scope[0] if self.app.scope else self.app.target or self.app.places[0].bound

    @property
    def attribute(self) -> str:
        """The attribute of an object that holds the app: `app` in `self.app`; empty without an object."""
        return self.app.target.removeprefix("self.") if "." in self.app.target else ""


def loaded_entry(made: Made, follower: Resolver) -> Entry | None:
    """Return the entry that gets the app by the project's own code; `None` when every way needs arguments."""
    entries = [*_elsewhere(made, follower)]
    for name in USUAL_NAMES if made.app.scope else ():
        entry = Entry(made.module, name, made.file.source.name)
        origin = follower.origin(entry) if made.file.exported(name) else None
        if origin is not None and (origin.path, origin.app.line) == (made.path, made.app.line):
            return entry
    return _own(made) or next(iter(entries), None)


def unloadable_reason(made: Made) -> str:
    """Return why no server can load the app, such as the factory's required arguments."""
    for node in made.file.nodes:
        if isinstance(node, FUNCTIONS) and node.name == made.name and not made.file.scope_of(node):
            required = _required(node)
            if required:
                return f"{made.name} needs {', '.join(required)}, and no file of the project calls it at its own level"
    return f"nothing says what a server loads to get {made.app.label}"


def _own(made: Made) -> Entry | None:
    """Return an entry for the app by a name of its own file; `None` without a name."""
    where = made.file.source.name
    app = made.app
    if app.aliases:
        return Entry(made.module, app.aliases[0], where)
    if not app.scope:
        return Entry(made.module, made.name, where) if made.name else None
    for node in made.file.nodes:
        is_top = isinstance(node, ast.Assign) and not made.file.scope_of(node)
        if is_top and (entry := _of_object(made, node, made.module, where)):
            return entry
        if isinstance(node, FUNCTIONS) and (node.name,) == app.scope and not _required(node):
            return Entry(made.module, node.name, where, factory=True)
        if isinstance(node, ast.ClassDef) and (node.name,) == app.scope:
            return Entry(made.module, f"{node.name}.{app.target}", where)
    return None


def _of_object(made: Made, node: ast.AST, module: str, where: str) -> Entry | None:
    """Return the entry `server.app` for `server = Server()`, or `app` for `app = Server().app`."""
    if not isinstance(node, ast.Assign):
        return None
    names = targets_of(node)
    value = node.value.value if isinstance(node.value, ast.Attribute) else node.value
    if not names or not made.attribute or not isinstance(value, ast.Call):
        return None
    if dotted(value.func).rpartition(".")[2] != made.name:
        return None
    name = names[0] if value is not node.value else f"{names[0]}.{made.attribute}"
    return Entry(module, name, where)


def _required(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    plain = positional[: len(positional) - len(arguments.defaults)]
    named = [
        argument
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    return [argument.arg for argument in (*plain, *named)]


def _elsewhere(made: Made, follower: Resolver) -> Iterator[Entry]:
    """Yield the entries of other files that use the app."""
    name, module = made.name.encode(), made.module.rpartition(".")[2].encode()
    for path in sorted(python_files(made.root)):
        try:
            data = path.read_bytes()
            if path == made.path or not name or name not in data or module not in data:
                continue
            file = follower.file(path)
            layout = find_layout(file, path, made.root)
        except (InputError, OSError):
            continue
        for node in file.nodes:
            yield from _uses_of(made, follower, path, layout.module, node)


def _uses_of(
    made: Made, follower: Resolver, path: Path, module: str, node: ast.AST
) -> Iterator[Entry]:
    file = follower.file(path)
    if not isinstance(node, ast.Assign) or file.scope_of(node):
        return
    where = f"{file.source.name}:{file.line_of(node)}"
    names, value = targets_of(node), node.value
    if entry := _of_object(made, node, module, where):
        yield entry
    elif names and isinstance(value, ast.Call):
        handed = [*value.args, *(keyword.value for keyword in value.keywords)]
        if any(_means(made, follower, path, part) for part in (value.func, *handed)):
            yield Entry(module, names[0], where)


def _means(made: Made, follower: Resolver, path: Path, value: ast.expr) -> bool:
    """Whether an expression of another file is the app or a call of the app's factory."""
    value = value.func if isinstance(value, ast.Call) else value
    return any(
        follower.located(path, name) == (made.path, made.name)
        for name in follower.file(path).qualified_names(value)
    )


# The app that mounts an app: the server runs the lifespan of the outer app alone.


@dataclass(frozen=True)
class Mounting:
    """A call in another file that mounts an app.

    Args:
        path: The file of the call.
        file: The parsed file.
        line: The line of the call.
        receiver: The name of the outer app in that file; empty when unknown.
        outer: The outer FastAPI app, or `None` for an app of another framework or an unknown app.
        is_top: Whether the receiver is a name of the module.
    """

    path: Path
    file: AppFile
    line: int
    receiver: str
    outer: Origin | None
    is_top: bool

    @property
    def where(self) -> str:
        """The place in messages: `shop/outer.py:5`."""
        return f"{self.file.source.name}:{self.line}"


def find_mounting(root: Path, inner: Origin, follower: Resolver) -> Mounting | None:
    """Return the first call of another file that mounts the app; `None` for an app that no file mounts."""
    for path in sorted(python_files(root)):
        try:
            data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
            if path == inner.path or not any(word in data for word in _MOUNTING):
                continue
            file = follower.file(path)
        except (InputError, OSError):
            continue
        for node in file.nodes:
            if not isinstance(node, ast.Call) or not mounts(node):
                continue
            mounting = _mounting(path, file, node, follower)
            if mounting.outer is not None and _same(mounting.outer, inner):
                continue
            values = [value for value in handed_over(node) if dotted(value) != mounting.receiver]
            if any(follower.leads_to(path, value, inner) for value in values):
                return mounting
    return None


_MOUNTING = (b".mount(", b".host(", b"Mount(", b"Host(")


def _same(first: Origin, second: Origin) -> bool:
    return (first.path, first.app.line) == (second.path, second.app.line)


def _mounting(path: Path, file: AppFile, call: ast.Call, follower: Resolver) -> Mounting:
    """Describe a call of `root.mount(…)`, or `Mount(…)` in the routes of an app."""
    line, scope = file.line_of(call), file.scope_of(call)
    receiver = dotted(call.func).rpartition(".")[0] if dotted(call.func)[:1].islower() else ""
    if dotted(call.func).rpartition(".")[2] in {"Mount", "Host"}:
        receiver = _app_with_routes(file, call)
    outer = follower.named_in(path, receiver, scope) if receiver else None
    is_top = bool(file.exported(receiver)) and "." not in receiver
    return Mounting(path, file, line, receiver, outer, is_top)


def _app_with_routes(file: AppFile, call: ast.Call) -> str:
    """Return the name of the app whose `routes=` has the call, directly or by a name; empty for an unknown app."""
    statement = file.statement_of(call)
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return ""
    names = targets_of(statement)
    if isinstance(statement.value, ast.Call):
        return next(iter(names), "")
    for node in file.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            values = [keyword.value for keyword in node.value.keywords if keyword.arg == "routes"]
            if any(dotted(value) in names for value in values):
                return next(iter(targets_of(node)), "")
    return ""
