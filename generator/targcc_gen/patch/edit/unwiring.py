"""Take the scheduler's two lines out of a file again, wherever they are by now."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import names_in
from targcc_gen.patch.app.source import Replacement, Source, SourceError
from targcc_gen.patch.edit.wiring import ROUTER, Wiring, includes, router_imports

Part = cst.CSTNode


def unwire(source: Source, wiring: Wiring) -> bytes:
    """The file's bytes without the import of the router and without its includes.

    Lines that hold nothing else go away as a whole; everything else stays byte for byte. A file without our
    lines comes back as it is.

    Raises:
        InputError: The router is used in a way that is more than the two lines.
    """
    _check_removable(AppFile(source), wiring)
    while change := _next_removal(AppFile(source), wiring):
        source = Source(source.name, source.edited([change]))
    return source.data


def _next_removal(file: AppFile, wiring: Wiring) -> Replacement | None:
    """One removal at a time: each leaves a file whose lines can be counted again."""
    for call in includes(file, wiring):
        return _remove_part(file, file.parents[call])
    for node, alias in router_imports(file, wiring):
        if len(_aliases(node)) == 1:
            return _remove_part(file, node)
        return _remove_alias(file, _aliases(node), alias)
    return None


def _aliases(node: cst.ImportFrom) -> Sequence[cst.ImportAlias]:
    assert not isinstance(node.names, cst.ImportStar)
    return node.names


def _check_removable(file: AppFile, wiring: Wiring) -> None:
    """Say what is in the way while the lines still have their own numbers."""
    calls = list(includes(file, wiring))
    for call in calls:
        if not isinstance(file.parents[call], cst.Expr):
            raise file.error(call, "this include is part of more than itself: remove it by hand")
    names = {alias.evaluated_alias or ROUTER for _, alias in router_imports(file, wiring)}
    for node in file.nodes:
        if not isinstance(node, cst.Name) or node.value not in names:
            continue
        around = [parent for parent, _ in file.ancestors(node)]
        ours = any(parent in calls or isinstance(parent, cst.ImportFrom) for parent in around)
        if not ours and node.value in names_in(around[0]):
            raise file.error(node, f"{node.value} is still used here: remove that first")


def _remove_part(file: AppFile, part: Part) -> Replacement:
    """Remove a small statement: its lines, or its share of a line with several."""
    line = file.parents[part]
    if not isinstance(line, cst.SimpleStatementLine | cst.SimpleStatementSuite):
        raise SourceError(
            f"{file.source.name}:{file.line_of(part)}: error: this line cannot be removed"
        )
    if len(line.body) > 1:
        return _remove_from_list(file, line.body, part)
    if isinstance(line, cst.SimpleStatementSuite):
        return _spliced(file, file.start(part), file.end(part), "pass")
    first, last = file.line_of(line), file.last_line_of(line)
    block = file.parents[line]
    if isinstance(block, cst.IndentedBlock) and len(block.body) == 1:
        return Replacement(first, last, (f"{file.source.indent_of(first)}pass",))
    return Replacement(first, last, ())


def _remove_from_list(file: AppFile, parts: Sequence[Part], part: Part) -> Replacement:
    """Remove one of several parts with the separator before the next, or after the one before."""
    index = next(i for i, other in enumerate(parts) if other is part)
    if index + 1 < len(parts):
        return _spliced(file, file.start(part), file.start(parts[index + 1]), "")
    return _spliced(file, file.end(parts[index - 1]), file.end(part), "")


def _remove_alias(
    file: AppFile, aliases: Sequence[cst.ImportAlias], alias: cst.ImportAlias
) -> Replacement:
    """Remove one name of an import: with its line when it has one of its own."""
    (line, start), (last, end) = file.start(alias), file.end(alias)
    before, after = file.source.lines[line - 1][:start], file.source.lines[last - 1][end:]
    if not before.strip() and after.lstrip().startswith(","):
        rest = after.lstrip()[1:].strip()
        if not rest or rest.startswith("#"):
            return Replacement(line, last, ())
    return _remove_from_list(file, aliases, alias)


def _spliced(file: AppFile, start: tuple[int, int], end: tuple[int, int], new: str) -> Replacement:
    """Replace the text between two places (line from 1, column from 0)."""
    lines = [line.rstrip("\r\n") for line in file.source.lines[start[0] - 1 : end[0]]]
    if any("\f" in line for line in lines):
        raise SourceError(
            f"{file.source.name}:{start[0]}: error: a form feed stands in this line: remove ours by hand"
        )
    return Replacement(start[0], end[0], (lines[0][: start[1]] + new + lines[-1][end[1] :],))
