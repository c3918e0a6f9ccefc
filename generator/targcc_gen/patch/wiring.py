"""Add, find, move and remove the two lines that put the scheduler into an app.

The lines carry no mark: an import of `scheduler_router` from the scheduler and a call of `include_router` with the router are
recognised by their meaning, even when moved, reformatted or renamed. Lines added by hand count too:
`app = with_scheduler(app, "/jobs")` or `mount(app)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from targcc_gen.patch.app_file import (
    FUNCTIONS,
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
from targcc_gen.patch.import_order import ImportOrder, is_alone, place_import

# The help of a refusal: the two lines to add, and the places.

ROUTER = "scheduler_router"
WRAPPER = "with_scheduler"
MOUNT = "mount"
PREFIX = "/jobs"
_AGAIN = "then: targcc-gen patch --verify"


@dataclass(frozen=True)
class ByHand:
    """Describes the lines that a person adds to a file.

    Args:
        name: The file's name.
        importing: The start of the import line: `from .scheduler import `.
        prefix: The scheduler's prefix; empty for the prefix of the settings.
    """

    name: str
    importing: str
    prefix: str = ""

    def include(self, target: str, line: int | None = None) -> str:
        """Return the instructions for including the router in an app.

        Args:
            target: The app: `app`, `self.app`.
            line: The last line of the statement that makes the app.
        """
        where = "right after the app is made, before other routes"
        if self.prefix:
            return self._page(MOUNT, f'{MOUNT}({target}, "{self.prefix}")', where, line)
        return self._page(ROUTER, f"{target}.include_router({ROUTER})", where, line)

    def wrap(self, target: str, line: int | None = None, free: str = PREFIX) -> str:
        """Return the instructions for wrapping the object that a server loads; works for any ASGI application.

        Args:
            target: The name that the server loads: `app`.
            line: The line after which the name holds the served app.
            free: The prefix to suggest if `prefix` is empty.
        """
        text = f'{target} = {WRAPPER}({target}, "{self.prefix or free}")'
        return self._page(WRAPPER, text, f"below all that changes {target}", line)

    def put(self, target: str, line: int) -> str:
        """Return the instructions for `mount(app)`, which takes a FastAPI or Starlette app.

        Args:
            target: The app: `app`, `self.app`.
            line: The line above the call that mounts another app.
        """
        text = f'{MOUNT}({target}, "{self.prefix}")' if self.prefix else f"{MOUNT}({target})"
        return self._page(MOUNT, text, "before other apps are mounted", line)

    def returned(self, code: str, line: int) -> str:
        """Return the instructions for wrapping the application that a factory returns.

        Args:
            code: The call that makes the application.
            line: The line of `return`.
        """
        text = f'return {WRAPPER}({code}, "{self.prefix or PREFIX}")'
        return self._page(WRAPPER, text, f"in place of the `return` of line {line}", line - 1)

    def _page(self, name: str, text: str, where: str, line: int | None) -> str:
        place = f"{self.name}, below line {line}" if line else self.name
        return (
            f"Add two lines yourself; everything else is in place.\n\n"
            f"  {self.name}, to the imports:\n\n    {self.importing}{name}\n\n"
            f"  {place}, {where}:\n\n    {text}\n\n{_AGAIN}"
        )


def refusal(file: AppFile, app: App, lines: ByHand) -> RefusalError:
    """Build the refusal for an app that cannot be wired, with the lines to add by hand."""
    if app.outer is not None:
        return _outer_refusal(file, app, app.outer, lines)
    place = app.places[0]
    subject = app.target or place.bound or "this FastAPI app"
    text = f"{subject} cannot be wired: {app.problem}"
    if app.target and (app.scope or not _is_to_be_wrapped(app)):
        page = lines.include(app.target, place.last_line)
    else:
        page = lines.wrap(place.bound or "app", None if app.scope else place.last_line)
    return RefusalError(file.source.error(place.line, place.column, text).message, hint=page)


def _outer_refusal(
    file: AppFile, app: App, outer: tuple[str, int, str], lines: ByHand
) -> RefusalError:
    """Build the refusal for an app that an unknown app of another file mounts, with the lines for that file."""
    place = app.places[0]
    text = f"{app.label} cannot be wired: {app.problem}"
    name, line, receiver = outer
    hint = replace(lines, name=name).put(receiver or "app", line - 1)
    return RefusalError(file.source.error(place.line, place.column, text).message, hint=hint)


def _is_to_be_wrapped(app: App) -> bool:
    """Whether the app needs a wrapper instead of a router: `routes=` come first, or the app is mounted without lifespan."""
    problem = app.problem or ""
    return app.mounted or "routes=" in problem


# Add the lines, and find existing lines.

NAMED = "targcc_app"
"""The name that a patch gives to an app in `return FastAPI()`."""
RETURNED = "return"
MOUNT_ALIASES = ("mount_scheduler", "mount_targcc")
ALIASES = ("targcc_scheduler_router", "targcc_jobs_router")
WRAPPER_ALIASES = ("with_targcc_scheduler", "with_targcc_jobs")


@dataclass(frozen=True)
class Wiring:
    """How a file imports the router.

    Args:
        module: The scheduler's package: `acme.scheduler`.
        package: The file's own package: `acme.web`; empty for a file outside packages.
        prefix: The scheduler's prefix if not the prefix of the settings; the lines then call `mount`.
        wraps: Whether the lines call `with_scheduler`.
        order: The project's order of imports.
    """

    module: str
    package: str
    prefix: str = ""
    wraps: bool = False
    order: ImportOrder = field(default_factory=ImportOrder)

    @property
    def imported(self) -> str:
        """The imported name: the router, `mount` or `with_scheduler`."""
        if self.wraps:
            return WRAPPER
        return MOUNT if self.prefix else ROUTER

    def is_router(self, name: str) -> bool:
        """Whether a qualified name, absolute or with leading dots, means the router."""
        # Releases before 0.2 imported it from `scheduler.app`.
        return self._absolute(name) in {f"{self.module}.{ROUTER}", f"{self.module}.app.{ROUTER}"}

    def takes_app(self, name: str) -> bool:
        """Whether a qualified name means `with_scheduler` or `mount`."""
        return self._absolute(name) in {f"{self.module}.{wrapper}" for wrapper in (WRAPPER, MOUNT)}

    def hands_app(self, file: AppFile, call: ast.Call) -> bool:
        """Whether a call is of `with_scheduler` or `mount`."""
        return any(map(self.takes_app, file.qualified_names(call.func)))

    def is_ours(self, name: str) -> bool:
        """Whether a qualified name means the router, `with_scheduler` or `mount`."""
        return self.is_router(name) or self.takes_app(name)

    def _absolute(self, name: str) -> str:
        dots = len(name) - len(name.lstrip("."))
        if not dots:
            return name
        parts = self.package.split(".") if self.package else []
        return ".".join([*parts[: len(parts) - dots + 1], name[dots:]])

    def import_line(self, name: str, *, relative: bool = False) -> str:
        """Return the import: `from acme.scheduler import scheduler_router`, or from `.scheduler`."""
        module = self._relative() if relative else self.module
        renamed = "" if name == self.imported else f" as {name}"
        return f"from {module} import {self.imported}{renamed}"

    def lines(self, file: AppFile) -> ByHand:
        """Return the lines that a person may add to the file."""
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
        data: The new bytes; equal to the old bytes without a change.
        added: The new lines with their numbers in the new file, from 1.
    """

    data: bytes
    added: tuple[tuple[int, str], ...] = ()


def include_line(app: App, name: str, prefix: str = "") -> str:
    """Return the call without indentation: `app.include_router(scheduler_router)` or `mount(app, "/ops")`."""
    target = app.target or (NAMED if app.places[0].is_returned else "app")
    return f'{name}({target}, "{prefix}")' if prefix else f"{target}.include_router({name})"


def wire(file: AppFile, app: App, wiring: Wiring) -> Patched:
    """Add the import, and the include right after each call that makes the app.

    At that place the include precedes every mount, catch-all route and return. A file with the lines is returned unchanged.

    Raises:
        InputError: The app cannot be wired safely, or another app of the file has the scheduler.
    """
    if any(includes(file, wiring)):
        _check_wired(file, app, wiring)
        return Patched(file.source.data)
    if app.problem:
        raise refusal(file, app, wiring.lines(file))
    outer = _outer_line(file, app.line)
    name = _imported_name(file, outer, wiring)
    changes = []
    if name is None:
        name = _free_name(file, wiring)
        changes.append(_import(file, outer, wiring, name))
    for place in app.places:
        line = include_line(app, name, wiring.prefix)
        change = (_named if place.is_returned else _follow)(file, place, line)
        if change not in changes:  # several branches may share one insertion line
            changes.append(change)
    data = file.source.edited(changes)
    _check(file, app, wiring, data)
    return Patched(data, _numbered(changes))


def _follow(file: AppFile, place: Construction, line: str) -> Replacement:
    """Insert the include below the app's statement."""
    after, beside = place.follow
    return insertion(after + 1, file.source.indent_of(beside) + line)


def _named(file: AppFile, place: Construction, line: str) -> Replacement:
    """Replace `return FastAPI()` by an assignment, the include and `return`."""
    indent = file.source.indent_of(place.line)
    if NAMED in names_in(file.module):
        raise SourceError(f"{file.source.name}:{place.line}: error: the name {NAMED} is taken")
    lines = [line.rstrip("\r\n") for line in file.source.lines[place.line - 1 : place.last_line]]
    lines[0] = lines[0].replace(RETURNED, f"{NAMED} =", 1)
    more = (f"{indent}{line}", f"{indent}return {NAMED}")
    return Replacement(place.line, place.last_line, (*lines, *more))


def _numbered(changes: Sequence[Replacement]) -> tuple[tuple[int, str], ...]:
    """Return the new and changed lines with their numbers in the new file."""
    numbered, moved = [], 0
    for change in sorted(changes, key=lambda change: change.first):
        old = change.last - change.first + 1
        kept = range(1, old)  # of the replaced lines only the first differs
        numbered += [
            (change.first + moved + index, line)
            for index, line in enumerate(change.lines)
            if index not in kept and line
        ]
        moved += len(change.lines) - old
    return tuple(numbered)


def _check(file: AppFile, app: App, wiring: Wiring, data: bytes) -> None:
    """Check that the new bytes parse and still make the same app, before anything is written.

    Raises:
        RefusalError: The app is not in the new file.
    """
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
    """Yield the calls that add the scheduler: `….include_router(scheduler_router)`, `with_scheduler(app)`, `mount(app)`."""
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
    """Return the literal prefix in a call of `mount` or `with_scheduler`; empty without a prefix."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "prefix"]
    for value in (*named, *call.args[1:2]):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return ""


def router_imports(file: AppFile, wiring: Wiring) -> Iterator[tuple[ast.ImportFrom, ast.alias]]:
    """Yield each `from … import` of the router, `with_scheduler` or `mount`, with the imported name."""
    for node in file.nodes:
        if not isinstance(node, ast.ImportFrom):
            continue
        module = "." * node.level + (f"{node.module}." if node.module else "")
        for alias in node.names:
            if wiring.is_ours(f"{module}{alias.name}"):
                yield node, alias


def _imported_name(file: AppFile, before: int, wiring: Wiring) -> str | None:
    """Return the name by which a module-level import above a line already has the router, `mount` or `with_scheduler`."""
    for node, alias in router_imports(file, wiring):
        if alias.name != wiring.imported:
            continue
        if isinstance(file.parents[node], ast.Module) and file.line_of(node) < before:
            return alias.asname or alias.name
    return None


def _free_name(file: AppFile, wiring: Wiring) -> str:
    taken = names_in(file.module)
    names = {
        ROUTER: (ROUTER, *ALIASES),
        MOUNT: (MOUNT, *MOUNT_ALIASES),
        WRAPPER: (WRAPPER, *WRAPPER_ALIASES),
    }[wiring.imported]
    for name in names:
        if name not in taken:
            return name
    raise SourceError(f"{file.source.name}: error: the names {', '.join(names)} are all taken")


def _uses_relative(file: AppFile) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in file.nodes)


def _import(file: AppFile, before: int, wiring: Wiring, name: str) -> Replacement:
    """Insert the import above the module-level statement at line `before`."""
    line = wiring.import_line(name, relative=_uses_relative(file))
    if change := place_import(file, before, line, wiring.order):
        return change
    docstring = file.module.body[0]
    if ast.get_docstring(file.module, clean=False) is None or file.line_of(docstring) >= before:
        return insertion(_first_code(file), line)
    return insertion(file.last_line_of(file.line_mates(docstring)[-1]) + 1, line)


def _outer_line(file: AppFile, inner: int) -> int:
    """Return the first line of the module-level statement at or above a line."""
    return max(line for statement in file.module.body if (line := file.line_of(statement)) <= inner)


def _first_code(file: AppFile) -> int:
    """Return the line of the first statement, or of the comment above unless the comment opens the file."""
    first = line = file.line_of(file.module.body[0])
    while line > 1 and file.source.lines[line - 2].lstrip(" \t\f").startswith("#"):
        line -= 1
    return first if line == 1 else line


# Wrap the object that a server loads, at the end of its module.


def wrap(file: AppFile, name: str, wiring: Wiring, prefix: str) -> Patched | None:
    """Add the import and `app = with_scheduler(app, "/jobs")` below all that changes the name.

    The line comes last in the module, above `if __name__ == "__main__":`.

    Args:
        file: The file that the server loads.
        name: The module-level name that the server loads.
        wiring: The lines; `wraps` is set.
        prefix: The scheduler's prefix.

    Returns:
        The patched file; `None` when the module does not bind the name, or binds the name in its last `if`.
    """
    body = _served_body(file)
    if not any(_binds(file, statement, name) for statement in body):
        return None
    after, last = body[-1], last_line(file)
    imported, changes = _imported_name(file, last + 1, wiring), []
    if imported is None:
        imported = _free_name(file, wiring)
        changes.append(_import(file, last + 1, wiring, imported))
    blank = _TWO_BLANK if isinstance(after, (*FUNCTIONS, ast.ClassDef)) else ()
    changes.append(insertion(last + 1, *blank, f'{name} = {imported}({name}, "{prefix}")'))
    return Patched(file.source.edited(changes), _numbered(changes))


def last_line(file: AppFile) -> int:
    """Return the last line that a server runs when it imports the file: above `if __name__ == "__main__":`."""
    body = _served_body(file)
    return file.last_line_of(file.line_mates(body[-1])[-1]) if body else 0


def _served_body(file: AppFile) -> list[ast.stmt]:
    """Return the statements above the first `if __name__ == "__main__":`; all statements when code follows the `if`."""
    body = file.module.body
    while body and _is_main_guard(body[-1]):
        body = body[:-1]
    return body


_TWO_BLANK = ("", "")
"""The lines that formatters want below a definition."""


def _binds(file: AppFile, statement: ast.stmt, name: str) -> bool:
    """Whether a statement binds the name at module level: assignment, import, or an expression with `:=`."""
    return any(
        not file.scope_of(node)
        and (
            name in names_in(node)
            if isinstance(node, ast.ImportFrom | ast.Import)
            else isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
        )
        for node in ast.walk(statement)
    )


def _is_main_guard(statement: ast.stmt) -> bool:
    """Whether a statement is `if __name__ == "__main__":`."""
    return isinstance(statement, ast.If) and "__name__" in names_in(statement.test)


# Remove the lines.


def unwire(source: Source, wiring: Wiring) -> bytes:
    """Return the file's bytes without the imports and calls that add the scheduler.

    A line without other code is removed whole; all other bytes stay. A file without the lines is returned unchanged.

    Raises:
        InputError: The file uses the router beyond the patch's lines.
    """
    file = AppFile(source)
    _check_removable(file, wiring)
    while change := _next_removal(file, wiring):
        source = Source(source.name, source.edited([change]))
        if "scheduler" not in source.text:
            break  # no import or call is left
        file = AppFile(source)
    return source.data


def _next_removal(file: AppFile, wiring: Wiring) -> Replacement | None:
    """Return the next removal, `None` when nothing is left; the caller parses the file anew after each removal."""
    for call in includes(file, wiring):
        statement = file.statement_of(call)
        if _is_wrap(statement, call):
            return _unwrapped(file, statement)
        return _returned_again(file, statement) or _remove_part(file, statement)
    for node, alias in router_imports(file, wiring):
        if len(node.names) == 1:
            return remove_import(file, node)
        return _remove_alias(file, node.names, alias)
    return None


def _returned_again(file: AppFile, include: ast.stmt) -> Replacement | None:
    """Restore `return FastAPI()` from the three lines of `_named`; `None` for other code."""
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
    """Whether a statement is `app = with_scheduler(app, …)`, also around another wrapper of the app."""
    return (
        isinstance(statement, ast.Assign)
        and statement.value is call
        and bool(call.args)
        and bool(set(targets_of(statement)) & names_in(call.args[0]))
    )


def _unwrapped(file: AppFile, statement: ast.stmt) -> Replacement:
    """Remove the line of `wrap`, and the two blank lines between a definition and the line."""
    change, lines = _remove_part(file, statement), file.source.lines
    block = file.block_of(statement)
    index = next(i for i, other in enumerate(block) if other is statement)
    before = block[index - 1] if index else None
    above = lines[max(change.first - 3, 0) : change.first - 1]
    is_blank = len(above) == len(_TWO_BLANK) and not "".join(above).strip()
    if not change.lines and is_blank and isinstance(before, (*FUNCTIONS, ast.ClassDef)):
        return replace(change, first=change.first - len(_TWO_BLANK))
    return change


def remove_import(file: AppFile, node: ast.stmt) -> Replacement:
    """Remove an import, and the blank line above when the import has a block of its own."""
    change = _remove_part(file, node)
    if not change.lines and is_alone(file, change.first, change.last):
        return replace(change, first=change.first - 1)
    return change


def _check_removable(file: AppFile, wiring: Wiring) -> None:
    """Raise for code that prevents the removal, while line numbers are still those of the file."""
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
    """Remove a simple statement: its lines, or its part of a line with several statements."""
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
    """Remove a part of a list together with the separator after the part, or before the last part."""
    index = next(i for i, other in enumerate(parts) if other is part)
    if index + 1 < len(parts):
        return spliced(file, file.start(part), file.start(parts[index + 1]), "")
    return spliced(file, file.end(parts[index - 1]), file.end(part), "")


def _remove_alias(file: AppFile, aliases: Sequence[ast.alias], alias: ast.alias) -> Replacement:
    """Remove a name from an import, with the line if the name has its own line."""
    (line, start), (last, end) = file.start(alias), file.end(alias)
    before, after = file.source.lines[line - 1][:start], file.source.lines[last - 1][end:]
    if not before.strip() and after.lstrip().startswith(","):
        rest = after.lstrip()[1:].strip()
        if not rest or rest.startswith("#"):
            return Replacement(line, last, ())
    return _remove_from_list(file, aliases, alias)


def spliced(file: AppFile, start: tuple[int, int], end: tuple[int, int], new: str) -> Replacement:
    """Replace the text between two positions (line from 1, column from 0)."""
    lines = [line.rstrip("\r\n") for line in file.source.lines[start[0] - 1 : end[0]]]
    if any("\f" in line for line in lines):
        raise SourceError(
            f"{file.source.name}:{start[0]}: error: a form feed stands in this line: remove ours by hand"
        )
    return Replacement(start[0], end[0], (lines[0][: start[1]] + new + lines[-1][end[1] :],))


# Move the scheduler to another prefix.


def is_elsewhere(file: AppFile, wiring: Wiring) -> bool:
    """Whether the file adds the scheduler at another prefix than the prefix asked for."""
    calls = list(includes(file, wiring))
    return bool(wiring.prefix) and any(prefix_of(call) != wiring.prefix for call in calls)


def moved(file: AppFile, app: App | None, wiring: Wiring) -> Patched:
    """Return the file with the scheduler at the prefix of `wiring`.

    A call of `mount` or `with_scheduler` gets the new prefix and keeps its other arguments. The lines of `include_router`,
    which takes no prefix, are replaced by `mount`.

    Raises:
        InputError: The prefix in the file is computed, or the app cannot be told.
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
    """Return the file with `mount` instead of `include_router`."""
    if app is None:
        call = next(includes(file, wiring))
        raise file.error(call, f'no app can be told: write mount(app, "{wiring.prefix}") yourself')
    plain = AppFile(Source(file.source.name, unwire(file.source, wiring)), file.classes)
    return wire(plain, apps_of(plain)[apps_of(file).index(app)], wiring)
