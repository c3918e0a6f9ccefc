"""The two lines that put the scheduler into an app: add, find, move and remove them.

They carry no mark. They are found by what they mean: an import of `scheduler_router` from the scheduler, and a call of
`include_router` with it; so they may be moved, reformatted or renamed in between. The same holds for lines that were added by
hand: `app = with_scheduler(app, "/jobs")`, or `mount(app)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from targcc_gen.patch.app_file import (
    AppFile,
    RefusalError,
    Replacement,
    Source,
    SourceError,
    insertion,
    names_in,
    targets_of,
)
from targcc_gen.patch.apps import App, Construction, apps_of

# The help of a refusal: the two lines a person adds, and where.

ROUTER = "scheduler_router"
WRAPPER = "with_scheduler"
MOUNT = "mount"
PREFIX = "/jobs"
_AGAIN = "then: targcc-gen patch --verify"


@dataclass(frozen=True)
class ByHand:
    """The lines that a person adds to a file.

    Args:
        name: The file.
        importing: How the file imports from the scheduler: `from .scheduler import `.
        prefix: Where the scheduler is to be; empty for what its settings say.
    """

    name: str
    importing: str
    prefix: str = ""

    def include(self, target: str, line: int | None = None) -> str:
        """The page that includes the router in an app.

        Args:
            target: The app: `app`, `self.app`.
            line: The line after which the app is there.
        """
        where = "right after the app is made, before other routes"
        if self.prefix:
            return self._page(MOUNT, f'{MOUNT}({target}, "{self.prefix}")', where, line)
        return self._page(ROUTER, f"{target}.include_router({ROUTER})", where, line)

    def wrap(self, target: str, line: int | None = None, free: str = PREFIX) -> str:
        """The page that wraps what a server loads; that works for any application that speaks ASGI.

        Args:
            target: The name that the server loads: `app`.
            line: The line after which it is what the server gets.
            free: Where the pages will be, unless the prefix says so.
        """
        text = f'{target} = {WRAPPER}({target}, "{self.prefix or free}")'
        return self._page(WRAPPER, text, f"below all that changes {target}", line)

    def _page(self, name: str, text: str, where: str, line: int | None) -> str:
        place = f"{self.name}, below line {line}" if line else self.name
        return (
            f"Add two lines yourself; everything else is in place.\n\n"
            f"  {self.name}, to the imports:\n\n    {self.importing}{name}\n\n"
            f"  {place}, {where}:\n\n    {text}\n\n{_AGAIN}"
        )


def refusal(file: AppFile, app: App, lines: ByHand) -> RefusalError:
    """Why an app is not touched, with the lines to add and where they belong."""
    place = app.places[0]
    subject = app.target or place.bound or "this FastAPI app"
    text = f"{subject} cannot be wired: {app.problem}"
    if app.target and (app.scope or not _is_to_be_wrapped(app)):
        page = lines.include(app.target, place.last_line)
    else:
        page = lines.wrap(place.bound or "app", None if app.scope else place.last_line)
    return RefusalError(file.source.error(place.line, place.column, text).message, hint=page)


def _is_to_be_wrapped(app: App) -> bool:
    """Whether a router in the app would not do: routes before it, or a lifespan that does not run."""
    problem = app.problem or ""
    return app.mounted or "routes=" in problem


# Add the lines and find them again.

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
        return self._absolute(name) in {f"{self.module}.{wrapper}" for wrapper in (WRAPPER, MOUNT)}

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
        here, target = self.package.split("."), self.module.split(".")
        if not self.package or here[0] != target[0]:
            return self.module
        shared = next(
            (i for i, (a, b) in enumerate(zip(here, target, strict=False)) if a != b), len(here)
        )
        return "." * (len(here) - shared + 1) + ".".join(target[shared:])


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
    numbered, moved = [], 0
    for change in sorted(changes, key=lambda change: change.first):
        old = change.last - change.first + 1
        kept = range(1, old)  # only the first of the lines that were there differs
        numbered += [
            (change.first + moved + index, line)
            for index, line in enumerate(change.lines)
            if index not in kept
        ]
        moved += len(change.lines) - old
    return tuple(numbered)


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
            if any(
                wiring.is_router(name) for value in values for name in file.qualified_names(value)
            ):
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


# Remove the lines.


def unwire(source: Source, wiring: Wiring) -> bytes:
    """The file's bytes without the import of the router and without its includes.

    Lines that hold nothing else go away as a whole; everything else stays byte for byte. A file without our
    lines comes back as it is.

    Raises:
        InputError: The router is used in a way that is more than the two lines.
    """
    file = AppFile(source)
    _check_removable(file, wiring)
    while change := _next_removal(file, wiring):
        source = Source(source.name, source.edited([change]))
        if "scheduler" not in source.text:
            break  # neither an import of ours is left, nor what it was for
        file = AppFile(source)
    return source.data


def _next_removal(file: AppFile, wiring: Wiring) -> Replacement | None:
    """One removal at a time: each leaves a file whose lines can be counted again."""
    for call in includes(file, wiring):
        statement = file.statement_of(call)
        if _is_wrap(statement, call):
            return _remove_part(file, statement)
        return _returned_again(file, statement) or _remove_part(file, statement)
    for node, alias in router_imports(file, wiring):
        if len(node.names) == 1:
            return _remove_part(file, node)
        return _remove_alias(file, node.names, alias)
    return None


def _returned_again(file: AppFile, include: ast.stmt) -> Replacement | None:
    """`return FastAPI()` in place of the three lines that a patch made of it."""
    block = file.block_of(include)
    index = next(i for i, other in enumerate(block) if other is include)
    if not 0 < index < len(block) - 1:
        return None
    made, returned = block[index - 1], block[index + 1]
    names_it = isinstance(made, ast.Assign) and ast.unparse(made.targets[0]) == NAMED
    gives_it = isinstance(returned, ast.Return) and returned.value is not None
    if not names_it or not gives_it or ast.unparse(returned) != f"return {NAMED}":
        return None
    first, last = file.line_of(made), file.last_line_of(returned)
    lines = [line.rstrip("\r\n") for line in file.source.lines[first - 1 : file.last_line_of(made)]]
    lines[0] = lines[0].replace(f"{NAMED} =", RETURNED, 1)
    return Replacement(first, last, tuple(lines))


def _is_wrap(statement: ast.stmt, call: ast.Call) -> bool:
    """Whether a statement is `app = with_scheduler(app, …)`, also with another wrapper in between."""
    return (
        isinstance(statement, ast.Assign)
        and statement.value is call
        and bool(call.args)
        and bool(set(targets_of(statement)) & names_in(call.args[0]))
    )


def _check_removable(file: AppFile, wiring: Wiring) -> None:
    """Say what is in the way while the lines still have their own numbers."""
    calls = list(includes(file, wiring))
    for call in calls:
        statement = file.statement_of(call)
        if not isinstance(file.parents[call], ast.Expr) and not _is_wrap(statement, call):
            raise file.error(call, "this include is part of more than itself: remove it by hand")
    imported = list(router_imports(file, wiring))
    names = {alias.asname or alias.name for _, alias in imported}
    ours = {id(part) for call in calls for part in ast.walk(call)}
    for node in file.nodes:
        if not isinstance(node, ast.Name) or node.id not in names or id(node) in ours:
            continue
        if file.qualified_names(node) and any(map(wiring.is_ours, file.qualified_names(node))):
            raise file.error(node, f"{node.id} is still used here: remove that first")


def _remove_part(file: AppFile, part: ast.stmt) -> Replacement:
    """Remove a small statement: its lines, or its share of a line with several."""
    mates = file.line_mates(part)
    if len(mates) > 1:
        return _remove_from_list(file, mates, part)
    if file.is_inline(part):
        return spliced(file, file.start(part), file.end(part), "pass")
    first, last = file.line_of(part), file.last_line_of(part)
    if len(file.block_of(part)) == 1 and not isinstance(file.parents[part], ast.Module):
        return Replacement(first, last, (f"{file.source.indent_of(first)}pass",))
    return Replacement(first, last, ())


def _remove_from_list(file: AppFile, parts: Sequence[ast.AST], part: ast.AST) -> Replacement:
    """Remove one of several parts with the separator before the next, or after the one before."""
    index = next(i for i, other in enumerate(parts) if other is part)
    if index + 1 < len(parts):
        return spliced(file, file.start(part), file.start(parts[index + 1]), "")
    return spliced(file, file.end(parts[index - 1]), file.end(part), "")


def _remove_alias(file: AppFile, aliases: Sequence[ast.alias], alias: ast.alias) -> Replacement:
    """Remove one name of an import: with its line when it has one of its own."""
    (line, start), (last, end) = file.start(alias), file.end(alias)
    before, after = file.source.lines[line - 1][:start], file.source.lines[last - 1][end:]
    if not before.strip() and after.lstrip().startswith(","):
        rest = after.lstrip()[1:].strip()
        if not rest or rest.startswith("#"):
            return Replacement(line, last, ())
    return _remove_from_list(file, aliases, alias)


def spliced(file: AppFile, start: tuple[int, int], end: tuple[int, int], new: str) -> Replacement:
    """Replace the text between two places (line from 1, column from 0)."""
    lines = [line.rstrip("\r\n") for line in file.source.lines[start[0] - 1 : end[0]]]
    if any("\f" in line for line in lines):
        raise SourceError(
            f"{file.source.name}:{start[0]}: error: a form feed stands in this line: remove ours by hand"
        )
    return Replacement(start[0], end[0], (lines[0][: start[1]] + new + lines[-1][end[1] :],))


# Move the scheduler to another prefix.


def is_elsewhere(file: AppFile, wiring: Wiring) -> bool:
    """Whether the lines of a file put the scheduler somewhere else than at the prefix that is asked for."""
    calls = list(includes(file, wiring))
    return bool(wiring.prefix) and any(prefix_of(call) != wiring.prefix for call in calls)


def moved(file: AppFile, app: App | None, wiring: Wiring) -> Patched:
    """The file with the scheduler at the prefix of `wiring`.

    A call of `mount` or `with_scheduler` gets another prefix, with all that people wrote in it; the lines of
    `include_router`, which takes none, become those of `mount`.

    Raises:
        InputError: The prefix is computed, or the app cannot be told.
    """
    calls = list(includes(file, wiring))
    taking = [call for call in calls if wiring.hands_app(file, call)]
    if not taking:
        return _wired_anew(file, app, wiring)
    changes = [_with_prefix(file, call, wiring.prefix) for call in taking]
    added = [
        (change.first + index, line)
        for change in changes
        for index, line in enumerate(change.lines)
    ]
    return Patched(file.source.edited(changes), tuple(added))


def _with_prefix(file: AppFile, call: ast.Call, prefix: str) -> Replacement:
    text = f'"{prefix}"'
    named = [keyword.value for keyword in call.keywords if keyword.arg == "prefix"]
    for value in (*named, *call.args[1:2]):
        if not isinstance(value, ast.Constant):
            raise file.error(value, "the prefix is computed here: change it there")
        return spliced(file, file.start(value), file.end(value), text)
    if not call.args:
        raise file.error(call, "the app is handed over by name here: add prefix= to the call")
    place = file.end(call.args[0])
    return spliced(file, place, place, f", {text}")


def _wired_anew(file: AppFile, app: App | None, wiring: Wiring) -> Patched:
    """The file with `mount` instead of `include_router`."""
    if app is None:
        call = next(includes(file, wiring))
        raise file.error(call, f'no app can be told: write mount(app, "{wiring.prefix}") yourself')
    plain = AppFile(Source(file.source.name, unwire(file.source, wiring)), file.classes)
    return wire(plain, apps_of(plain)[apps_of(file).index(app)], wiring)
