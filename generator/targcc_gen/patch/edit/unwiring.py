"""Take the scheduler's lines out of a file again, wherever they are by now."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import names_in, targets_of
from targcc_gen.patch.app.source import Replacement, Source, SourceError
from targcc_gen.patch.edit.wiring import (
    NAMED,
    RETURNED,
    Wiring,
    includes,
    router_imports,
)


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
