"""The two lines that put the scheduler into an app: adding them, and finding and removing them again.

They carry no mark. They are found by what they mean: an import of `scheduler_router` from the scheduler, and a call of
`include_router` with it; so they may be moved, reformatted or renamed in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import libcst as cst

from targcc_gen.patch.app.apps import App, apps_of
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import dotted, names_in
from targcc_gen.patch.app.source import Replacement, Source, SourceError, insertion

ROUTER = "scheduler_router"
ALIASES = ("targcc_scheduler_router", "targcc_jobs_router")


@dataclass(frozen=True)
class Wiring:
    """What to import the router from, seen from the file.

    Args:
        module: The scheduler's package: `acme.scheduler`.
        package: The package the file itself is in: `acme.web`; empty for a file in no package.
    """

    module: str
    package: str

    def is_router(self, name: str) -> bool:
        """Whether a qualified name, absolute or with leading dots, means the router."""
        # Releases before 0.2 imported it from `scheduler.app`.
        return self._absolute(name) in {f"{self.module}.{ROUTER}", f"{self.module}.app.{ROUTER}"}

    def _absolute(self, name: str) -> str:
        dots = len(name) - len(name.lstrip("."))
        if not dots:
            return name
        parts = self.package.split(".") if self.package else []
        return ".".join([*parts[: len(parts) - dots + 1], name[dots:]])

    def import_line(self, name: str = ROUTER, *, relative: bool = False) -> str:
        """The import: `from acme.scheduler import scheduler_router`, or from `.scheduler`."""
        module = self._relative() if relative else self.module
        renamed = "" if name == ROUTER else f" as {name}"
        return f"from {module} import {ROUTER}{renamed}"

    def _relative(self) -> str:
        here, there = self.package.split("."), self.module.split(".")
        if not self.package or here[0] != there[0]:
            return self.module
        shared = next(
            (i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), len(here)
        )
        return "." * (len(here) - shared + 1) + ".".join(there[shared:])


@dataclass(frozen=True)
class Patched:
    """A file after its patch.

    Args:
        data: The new bytes; the old ones when there was nothing to do.
        added: The new lines with their numbers in the new file, from 1.
    """

    data: bytes
    added: tuple[tuple[int, str], ...] = ()


def include_line(app: App, name: str = ROUTER) -> str:
    """The call, without its indentation: `app.include_router(scheduler_router)`."""
    return f"{app.target or 'app'}.include_router({name})"


def wire(file: AppFile, app: App, wiring: Wiring) -> Patched:
    """Add the import, and the include right after each place where the app is made.

    Right after the construction no mount, catch-all route or return can stand in between. A file that is wired
    already comes back as it is.

    Raises:
        InputError: The app cannot be wired with certainty, or another app of the file has the scheduler.
    """
    if any(includes(file, wiring)):
        _check_wired(file, app, wiring)
        return Patched(file.source.data)
    if app.problem:
        raise refusal(file, app, wiring)
    name = _imported_name(file, app, wiring)
    changes = []
    if name is None:
        name = _free_name(file)
        line = wiring.import_line(name, relative=_uses_relative(file))
        changes.append(insertion(_import_place(file, app), line))
    for place in app.places:
        indent = file.source.indent_of(place.line)
        changes.append(insertion(place.last_line + 1, indent + include_line(app, name)))
    data = file.source.edited(changes)
    _check(file, app, wiring, data)
    return Patched(data, _numbered(changes))


def _numbered(changes: Sequence[Replacement]) -> tuple[tuple[int, str], ...]:
    ordered = sorted(changes, key=lambda change: change.first)
    return tuple((change.first + done, change.lines[0]) for done, change in enumerate(ordered))


def _check(file: AppFile, app: App, wiring: Wiring, data: bytes) -> None:
    """What we wrote is Python again, with the same app: a last look before anything reaches the disk."""
    again = apps_of(AppFile(Source(file.source.name, data)))
    if not any((other.target, other.scope) == (app.target, app.scope) for other in again):
        raise refusal(
            file, replace(app, problem="its file is written in a way that cannot be edited"), wiring
        )


def _check_wired(file: AppFile, app: App, wiring: Wiring) -> None:
    for call in includes(file, wiring):
        function = call.func
        if isinstance(function, cst.Attribute) and isinstance(function.value, cst.Name):
            other = function.value.value
            if other != app.target and other not in app.aliases:
                raise file.source.error(
                    file.line_of(call),
                    1,
                    f"{other} has the scheduler already, {app.label} would start a second one",
                )


def refusal(file: AppFile, app: App, wiring: Wiring) -> SourceError:
    """Why an app is not touched, with the lines to paste and where they belong."""
    place = app.places[0]
    subject = app.target or "this FastAPI app"
    text = f"{subject} cannot be wired: {app.problem}"
    return SourceError(
        file.source.error(place.line, place.column, text).message,
        hint=paste(wiring, app, relative=_uses_relative(file), line=place.last_line),
    )


def paste(
    wiring: Wiring, app: App | None = None, *, relative: bool = False, line: int | None = None
) -> str:
    """The lines a person adds by hand, with their places."""
    include = include_line(app) if app else f"app.include_router({ROUTER})"
    where = f", line {line}" if line else ""
    return (
        "Add these lines yourself, the first to the imports, the second right after the app is made"
        f"{where}, before other routes:\n\n    {wiring.import_line(relative=relative)}\n\n    {include}\n"
    )


def includes(file: AppFile, wiring: Wiring) -> Iterator[cst.Call]:
    """Every `….include_router(scheduler_router)`, however the router is reached."""
    for node in file.nodes:
        if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
            continue
        if node.func.attr.value != "include_router":
            continue
        values = (argument.value for argument in node.args)
        if any(wiring.is_router(name) for value in values for name in file.qualified_names(value)):
            yield node


def router_imports(
    file: AppFile, wiring: Wiring
) -> Iterator[tuple[cst.ImportFrom, cst.ImportAlias]]:
    """Every import of the router by name."""
    for node in file.nodes:
        if not isinstance(node, cst.ImportFrom) or isinstance(node.names, cst.ImportStar):
            continue
        module = "." * len(node.relative) + (dotted(node.module) if node.module else "")
        for alias in node.names:
            if wiring.is_router(
                f"{module}.{alias.evaluated_name}"
                if node.module
                else f"{module}{alias.evaluated_name}"
            ):
                yield node, alias


def _imported_name(file: AppFile, app: App, wiring: Wiring) -> str | None:
    """What a module-level import above the app already calls the router."""
    for node, alias in router_imports(file, wiring):
        statement = file.parents[node]
        top = isinstance(file.parents[statement], cst.Module)
        if top and file.line_of(node) < app.line:
            return alias.evaluated_alias or ROUTER
    return None


def _free_name(file: AppFile) -> str:
    taken = names_in(file.module)
    for name in (ROUTER, *ALIASES):
        if name not in taken:
            return name
    raise SourceError(
        f"{file.source.name}: error: the names {', '.join((ROUTER, *ALIASES))} are all taken"
    )


def _uses_relative(file: AppFile) -> bool:
    return any(isinstance(node, cst.ImportFrom) and node.relative for node in file.nodes)


def _import_place(file: AppFile, app: App) -> int:
    """The line before which the import goes: below the last import above the app, or at the file's first code."""
    body = file.module.body
    last = 0
    for index, statement in enumerate(body):
        if not isinstance(statement, cst.SimpleStatementLine) or file.last_line_of(
            statement
        ) >= _outer_line(file, app):
            continue
        imports = any(isinstance(part, cst.Import | cst.ImportFrom) for part in statement.body)
        if imports or (index == 0 and file.module.get_docstring() is not None):
            last = file.last_line_of(statement)
    return last + 1 if last else _first_code(file)


def _outer_line(file: AppFile, app: App) -> int:
    """The first line of the module-level statement that holds the app."""
    return max(
        line for statement in file.module.body if (line := file.line_of(statement)) <= app.line
    )


def _first_code(file: AppFile) -> int:
    """The first statement's line, or that of the comment above it unless the comment opens the file."""
    first = line = file.line_of(file.module.body[0])
    while line > 1 and file.source.lines[line - 2].lstrip(" \t\f").startswith("#"):
        line -= 1
    return first if line == 1 else line
