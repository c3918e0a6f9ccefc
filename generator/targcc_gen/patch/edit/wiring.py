"""The two lines that put the scheduler into an app: adding them, and finding and removing them again.

They carry no mark. They are found by what they mean: an import of `scheduler_router` from the scheduler, and a call of
`include_router` with it; so they may be moved, reformatted or renamed in between. The same holds for lines that were added by
hand: `app = with_scheduler(app, "/jobs")`, or `mount(app)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from targcc_gen.patch.app.apps import App, Construction, apps_of
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import names_in
from targcc_gen.patch.app.source import Replacement, Source, SourceError, insertion
from targcc_gen.patch.edit.by_hand import MOUNT, ROUTER, WRAPPER, ByHand, refusal

NAMED = "targcc_app"
"""What a patch calls an app that is returned as it is made."""
RETURNED = "return"
MOUNT_ALIASES = ("mount_scheduler", "mount_targcc")
ALIASES = ("targcc_scheduler_router", "targcc_jobs_router")


@dataclass(frozen=True)
class Wiring:
    """What to import the router from, seen from the file.

    Args:
        module: The scheduler's package: `acme.scheduler`.
        package: The package the file itself is in: `acme.web`; empty for a file in no package.
        prefix: Where the scheduler is to be, when it is not what its settings say: then the app is handed to `mount`.
    """

    module: str
    package: str
    prefix: str = ""

    @property
    def imported(self) -> str:
        """What the file imports: the router, or `mount`."""
        return MOUNT if self.prefix else ROUTER

    def is_router(self, name: str) -> bool:
        """Whether a qualified name, absolute or with leading dots, means the router."""
        # Releases before 0.2 imported it from `scheduler.app`.
        return self._absolute(name) in {f"{self.module}.{ROUTER}", f"{self.module}.app.{ROUTER}"}

    def takes_app(self, name: str) -> bool:
        """Whether a qualified name means a function of the scheduler's that an app is handed to."""
        return self._absolute(name) in {f"{self.module}.{one}" for one in (WRAPPER, MOUNT)}

    def hands_app(self, file: AppFile, call: ast.Call) -> bool:
        """Whether a call hands an app to such a function."""
        return any(map(self.takes_app, file.qualified_names(call.func)))

    def is_ours(self, name: str) -> bool:
        """Whether a qualified name is one that the lines of a patch use."""
        return self.is_router(name) or self.takes_app(name)

    def _absolute(self, name: str) -> str:
        dots = len(name) - len(name.lstrip("."))
        if not dots:
            return name
        parts = self.package.split(".") if self.package else []
        return ".".join([*parts[: len(parts) - dots + 1], name[dots:]])

    def import_line(self, name: str, *, relative: bool = False) -> str:
        """The import: `from acme.scheduler import scheduler_router`, or from `.scheduler`."""
        module = self._relative() if relative else self.module
        renamed = "" if name == self.imported else f" as {name}"
        return f"from {module} import {self.imported}{renamed}"

    def lines(self, file: AppFile) -> ByHand:
        """The lines that a person may add to the file."""
        module = self._relative() if _uses_relative(file) else self.module
        return ByHand(file.source.name, f"from {module} import ", self.prefix)

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


def include_line(app: App, name: str, prefix: str = "") -> str:
    """The call, without its indentation: `app.include_router(scheduler_router)` or `mount(app, "/ops")`."""
    target = app.target or (NAMED if app.places[0].is_returned else "app")
    return f'{name}({target}, "{prefix}")' if prefix else f"{target}.include_router({name})"


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
        raise refusal(file, app, wiring.lines(file))
    name = _imported_name(file, app, wiring)
    changes = []
    if name is None:
        name = _free_name(file, wiring)
        line = wiring.import_line(name, relative=_uses_relative(file))
        changes.append(insertion(_import_place(file, app), line))
    for place in app.places:
        line = include_line(app, name, wiring.prefix)
        change = (_named if place.is_returned else _follow)(file, place, line)
        if change not in changes:  # several branches may be followed at one place
            changes.append(change)
    data = file.source.edited(changes)
    _check(file, app, wiring, data)
    return Patched(data, _numbered(changes))


def _follow(file: AppFile, place: Construction, line: str) -> Replacement:
    """The include in a line of its own, below the app's."""
    after, beside = place.follow
    return insertion(after + 1, file.source.indent_of(beside) + line)


def _named(file: AppFile, place: Construction, line: str) -> Replacement:
    """`return FastAPI()` with a name in between, so that a line can follow it."""
    indent = file.source.indent_of(place.line)
    if NAMED in names_in(file.module):
        raise SourceError(f"{file.source.name}:{place.line}: error: the name {NAMED} is taken")
    lines = [line.rstrip("\r\n") for line in file.source.lines[place.line - 1 : place.last_line]]
    lines[0] = lines[0].replace(RETURNED, f"{NAMED} =", 1)
    more = (f"{indent}{line}", f"{indent}return {NAMED}")
    return Replacement(place.line, place.last_line, (*lines, *more))


def _numbered(changes: Sequence[Replacement]) -> tuple[tuple[int, str], ...]:
    """The new lines with their numbers; of a line that was changed, its new text."""
    found, moved = [], 0
    for change in sorted(changes, key=lambda change: change.first):
        old = change.last - change.first + 1
        kept = range(1, old)  # only the first of the lines that were there differs
        found += [
            (change.first + moved + index, line)
            for index, line in enumerate(change.lines)
            if index not in kept
        ]
        moved += len(change.lines) - old
    return tuple(found)


def _check(file: AppFile, app: App, wiring: Wiring, data: bytes) -> None:
    """What we wrote is Python again, with the same app: a last look before anything reaches the disk."""
    again = apps_of(AppFile(Source(file.source.name, data), file.classes))
    target = app.target or (NAMED if app.places[0].is_returned else "")
    if not any((other.target, other.scope) == (target, app.scope) for other in again):
        problem = "its file is written in a way that cannot be edited"
        raise refusal(file, replace(app, problem=problem), wiring.lines(file))


def _check_wired(file: AppFile, app: App, wiring: Wiring) -> None:
    for call in includes(file, wiring):
        function = call.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            other = function.value.id
            if other not in {app.target, NAMED, *app.aliases}:
                raise file.source.error(
                    file.line_of(call),
                    1,
                    f"{other} has the scheduler already, {app.label} would start a second one",
                )


def includes(file: AppFile, wiring: Wiring) -> Iterator[ast.Call]:
    """Every `….include_router(scheduler_router)`, however the router is reached, and every `with_scheduler(app)`."""
    for node in file.nodes:
        if not isinstance(node, ast.Call):
            continue
        if wiring.hands_app(file, node):
            yield node
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "include_router":
            values = (*node.args, *(keyword.value for keyword in node.keywords))
            if any(wiring.is_router(name) for one in values for name in file.qualified_names(one)):
                yield node


def prefix_of(call: ast.Call) -> str:
    """The prefix that is handed to `mount` or `with_scheduler`; empty when the call says none."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "prefix"]
    for value in (*named, *call.args[1:2]):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return ""


def router_imports(file: AppFile, wiring: Wiring) -> Iterator[tuple[ast.ImportFrom, ast.alias]]:
    """Every import of the router by name, and of what else the lines of a patch may use."""
    for node in file.nodes:
        if not isinstance(node, ast.ImportFrom):
            continue
        module = "." * node.level + (f"{node.module}." if node.module else "")
        for alias in node.names:
            if wiring.is_ours(f"{module}{alias.name}"):
                yield node, alias


def _imported_name(file: AppFile, app: App, wiring: Wiring) -> str | None:
    """What a module-level import above the app already calls the router."""
    for node, alias in router_imports(file, wiring):
        if alias.name != wiring.imported:
            continue
        if isinstance(file.parents[node], ast.Module) and file.line_of(node) < app.line:
            return alias.asname or alias.name
    return None


def _free_name(file: AppFile, wiring: Wiring) -> str:
    taken = names_in(file.module)
    names = (MOUNT, *MOUNT_ALIASES) if wiring.prefix else (ROUTER, *ALIASES)
    for name in names:
        if name not in taken:
            return name
    raise SourceError(f"{file.source.name}: error: the names {', '.join(names)} are all taken")


def _uses_relative(file: AppFile) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in file.nodes)


def _import_place(file: AppFile, app: App) -> int:
    """The line before which the import goes: below the last import above the app, or at the file's first code."""
    last, outer = 0, _outer_line(file, app)
    for index, statement in enumerate(file.module.body):
        if file.last_line_of(statement) >= outer:
            break
        imports = isinstance(statement, ast.Import | ast.ImportFrom)
        if imports or (index == 0 and ast.get_docstring(file.module, clean=False) is not None):
            last = file.last_line_of(file.line_mates(statement)[-1])
    return last + 1 if last and last < outer else _first_code(file)


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
