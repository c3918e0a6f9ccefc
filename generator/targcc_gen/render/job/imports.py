"""Add what generated lines need to the imports at the head of a module, in the order in which ruff sorts them."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable

_Statement = ast.Import | ast.ImportFrom


def with_head(
    source: str, package: str, needed: Iterable[tuple[str, str]], constants: Iterable[str] = ()
) -> str:
    """The module with more imports and, after them, a few constants.

    Args:
        source: A module; no comments stand between its imports.
        package: The project's own package, whose imports stand last.
        needed: Pairs of module and name.
        constants: Lines to put after the imports.

    Raises:
        SyntaxError: It is no Python.
    """
    module = _head(source)
    statements = _imports_of(module)
    missing = set(needed) - set(_names(statements))
    constants = list(constants)
    if not missing and not constants:
        return source
    lines = source.split("\n")
    start, end = _span(module, statements)
    block = _block(statements, missing, package)
    head = [*block, "", *constants] if constants else block
    return "\n".join([*lines[:start], *head, *lines[end:]])


def _head(source: str) -> ast.Module:
    """The tree of a module as far as its first class or function; of all of it where blank lines in a text come first."""
    head, blank, _ = source.partition("\n\n\n")
    try:
        return ast.parse(head + blank)
    except SyntaxError:
        return ast.parse(source)


def _imports_of(module: ast.Module) -> list[_Statement]:
    """The imports at the head, after the docstring."""
    found: list[_Statement] = []
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            break
    return found


def _span(module: ast.Module, statements: list[_Statement]) -> tuple[int, int]:
    """The lines of the imports, from 0; an empty span after the docstring where there are none."""
    if statements:
        return statements[0].lineno - 1, statements[-1].end_lineno or 0
    end = module.body[0].end_lineno or 0 if ast.get_docstring(module, clean=False) else 0
    return end, end


def _names(statements: Iterable[_Statement]) -> list[tuple[str, str]]:
    return [
        (_module(node), alias.name)
        for node in statements
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname is None
    ]


def _module(node: ast.ImportFrom) -> str:
    return "." * node.level + (node.module or "")


def _block(statements: list[_Statement], missing: set[tuple[str, str]], package: str) -> list[str]:
    plain: dict[int, list[str]] = defaultdict(list)
    members: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                plain[_section(alias.name, package)].append(f"import {_alias(alias)}")
        else:
            names = {_alias(alias) for alias in node.names}
            members[_section(_module(node), package)][_module(node)] |= names
    for module, name in missing:
        members[_section(module, package)][module].add(name)
    sections = [
        [*sorted(plain[number]), *_from_lines(members[number])]
        for number in sorted({*plain, *members})
    ]
    return [line for section in sections for line in ("", *section)][1:]


def _from_lines(members: dict[str, set[str]]) -> list[str]:
    return [
        f"from {module} import {', '.join(sorted(names, key=_order))}"
        for module, names in sorted(members.items())
    ]


def _alias(alias: ast.alias) -> str:
    return alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"


def _section(module: str, package: str) -> int:
    """`__future__`, the standard library, other packages, the project."""
    top = module.partition(".")[0]
    if top == "__future__":
        return 0
    if top in sys.stdlib_module_names:
        return 1
    return 3 if top in {package, ""} else 2


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name
