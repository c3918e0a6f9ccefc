"""Which name of a project a server would load to get an app: where it is mounted, wrapped, called, or its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.patch.app.apps import App
from targcc_gen.patch.app.candidates import python_files
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.layout import find_layout
from targcc_gen.patch.app.nodes import FUNCTIONS, dotted, targets_of
from targcc_gen.patch.served.entry import Entry
from targcc_gen.patch.served.follow import Follower

USUAL_NAMES = ("app", "application", "api")


@dataclass(frozen=True)
class Made:
    """An app where it is made.

    Args:
        root: The project's folder.
        path: The file.
        file: What it says.
        module: Its module.
        app: The app.
    """

    root: Path
    path: Path
    file: AppFile
    module: str
    app: App

    @property
    def name(self) -> str:
        """Its name at the file's own level, of the app or of what makes it."""
        return self.app.scope[0] if self.app.scope else self.app.target or self.app.places[0].bound

    @property
    def attribute(self) -> str:
        """What leads from an object of a class to the app: `app` in `self.app`."""
        return self.app.target.removeprefix("self.") if "." in self.app.target else ""


def used(made: Made, follower: Follower) -> Entry | None:
    """What a server loads to get the app, by the project's own code; `None` when nothing makes it without arguments."""
    found = [*_elsewhere(made, follower)]
    outer = next((entry for mounts, entry in found if mounts), None)
    if outer is not None:
        return outer
    for name in USUAL_NAMES if made.app.scope else ():
        entry = Entry(made.module, name, made.file.source.name)
        origin = follower.origin(entry) if made.file.exported(name) else None
        if origin is not None and (origin.path, origin.app.line) == (made.path, made.app.line):
            return entry
    return _own(made) or next((entry for _, entry in found), None)


def needs(made: Made) -> str:
    """Why nothing can load the app: what its factory asks for."""
    for node in made.file.nodes:
        if isinstance(node, FUNCTIONS) and node.name == made.name and not made.file.scope_of(node):
            required = _required(node)
            if required:
                return f"{made.name} needs {', '.join(required)}, and no file of the project calls it at its own level"
    return f"nothing says what a server loads to get {made.app.label}"


def _own(made: Made) -> Entry | None:
    """A name of the file itself."""
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
    """`server.app` of `server = Server()`, or `app` of `app = Server().app`."""
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
        one
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    return [one.arg for one in (*plain, *named)]


def _elsewhere(made: Made, follower: Follower) -> Iterator[tuple[bool, Entry]]:
    """The uses of the app in other files, each with whether it is mounted there."""
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
            yield from _uses(made, follower, path, layout.module, node)


def _uses(
    made: Made, follower: Follower, path: Path, module: str, node: ast.AST
) -> Iterator[tuple[bool, Entry]]:
    file = follower.file(path)
    where = f"{file.source.name}:{file.line_of(node)}"
    if isinstance(node, ast.Call) and dotted(node.func).endswith(".mount"):
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        if any(_means(made, follower, path, value) for value in values):
            yield True, Entry(module, dotted(node.func).rpartition(".")[0], where)
    elif isinstance(node, ast.Assign) and not file.scope_of(node):
        names, value = targets_of(node), node.value
        if entry := _of_object(made, node, module, where):
            yield False, entry
        elif names and isinstance(value, ast.Call):
            handed = [*value.args, *(keyword.value for keyword in value.keywords)]
            if any(_means(made, follower, path, one) for one in (value.func, *handed)):
                yield False, Entry(module, names[0], where)


def _means(made: Made, follower: Follower, path: Path, value: ast.expr) -> bool:
    """Whether an expression of another file is the app, or a call of its factory."""
    value = value.func if isinstance(value, ast.Call) else value
    return any(
        follower.located(path, name) == (made.path, made.name)
        for name in follower.file(path).qualified_names(value)
    )
