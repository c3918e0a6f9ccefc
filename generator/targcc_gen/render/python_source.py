"""Python source: format code as black does, and insert imports in ruff's order."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

# Formatting.

LINE_LENGTH = 100

_CLOSES = re.compile(r"[)\]}]")
_ALONE = re.compile(r'\s*(?:#|r?""".*"""$)')
"""A comment or a docstring of one line. black keeps such a line at any length."""
_TEXT = re.compile(r"\s*r?[\"']")
_OPENS = re.compile(r"[(\[{]$")
_CALL = re.compile(r"\w\($|[\[{]$")
"""The bracket of a call, a definition or a literal. black removes none of these brackets."""
_MAY_GO_ON = re.compile(r"""[(\[{\\]\s*(?:#.*)?$|\S\s*\"{3}|\S\s*'{3}""")
"""A line after which a statement may continue: the line ends in an open bracket or a backslash, or a triple-quoted string may start in the line."""
_DEFINES = re.compile(r"(?: {4})?(?:@|class |def |async def )")


def formatted(source: str) -> str:
    """Format `source` with black for the oldest Python that a project supports."""
    import black
    from black.mode import TargetVersion

    mode = black.Mode(line_length=LINE_LENGTH, target_versions={TargetVersion.PY311})
    return black.format_str(source, mode=mode)


def fits(line: str) -> bool:
    """Return whether a line fits the line length, whatever the width of its characters."""
    return _width(line) <= LINE_LENGTH


def broken(head: str, elements: Sequence[str], tail: str) -> str:
    """Break a line after its bracket as black does: all elements on the next line, or one element a line.

    Args:
        head: The line up to and including the opening bracket, with its indent.
        elements: The elements between the brackets.
        tail: The closing bracket and the rest of the line.
    """
    indent = " " * (len(head) - len(head.lstrip()))
    together = f"{indent}    {', '.join(elements)}"
    inner = [together] if fits(together) else [f"{indent}    {element}," for element in elements]
    return "\n".join([head, *inner, f"{indent}{tail}"])


def tidy(source: str) -> str:
    """Return a blueprint's output in black's style.

    Blueprints print black's style already, with two exceptions: a name or a text makes a line too long, or a statement of several
    lines fits on one line. Importing black takes longer than rendering ten jobs, so black runs in two cases only: a line is too long,
    or the width or the brackets of a joined statement are in doubt.
    """
    lines = source.split("\n")
    if not all(fits(line) for line in lines if not _ALONE.match(line)):
        return formatted(source)
    for first, last, joined in reversed(_short_statements(lines)):
        if not fits(joined) or not _CALL.search(lines[first]):
            return formatted(
                source
            )  # black decides: the width of the letters is unclear, or black would remove the brackets
        lines[first : last + 1] = [joined]
    return "\n".join(lines)


def _short_statements(lines: list[str]) -> list[tuple[int, int, str]]:
    """Return each statement of several lines that may fit on a single line: its first and last line, from 0, and the joined line."""
    if not any(_MAY_GO_ON.search(line) for line in lines):
        return []
    result = []
    start = 0
    for number, line in enumerate([*lines, "def"]):
        if number == len(lines) or (number and _DEFINES.match(line) and not lines[number - 1]):
            try:
                shorts = _short_in("\n".join(lines[start:number]))
            except (tokenize.TokenError, SyntaxError):
                return [
                    *_short_in("\n".join(lines))
                ]  # a string has a line that looks like a definition
            result += [(start + first, start + last, joined) for first, last, joined in shorts]
            start = number
    return result


@lru_cache(maxsize=1024)
def _short_in(source: str) -> tuple[tuple[int, int, str], ...]:
    """Return the result of `_short_statements` for a part of a module. Most parts are equal in all jobs of a blueprint, hence the cache."""
    lines = source.split("\n")
    if not any(_MAY_GO_ON.search(line) for line in lines):
        return ()
    return tuple(statement for statement in _on_one_line(source, lines) if _may_fit(statement[2]))


def _on_one_line(source: str, lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield each statement of several lines joined to a single line; skip a statement with a trailing comma."""
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            several = lines[first - 1 : token.end[0]] if first else []
            if len(several) > 1 and not _TEXT.match(several[0]):
                joined = _joined(several)
                if joined is not None:
                    yield first - 1, token.end[0] - 1, joined
            first = 0
        elif not first and token.type in {tokenize.NAME, tokenize.OP, tokenize.STRING}:
            first = token.start[0]


def _joined(several: list[str]) -> str | None:
    joined = several[0]
    for line in several[1:]:
        text = line.strip()
        if _CLOSES.match(text) and joined.endswith(","):
            return None
        glued = _OPENS.search(joined) or _CLOSES.match(text)
        joined += text if glued or text.startswith(".") else f" {text}"
    return joined


def _may_fit(line: str) -> bool:
    """Return whether a line may fit: combining characters take no column, so only ASCII characters count."""
    return sum(character.isascii() for character in line) <= LINE_LENGTH


def _width(line: str) -> int:
    """Return the greatest possible width of a line in columns: each non-ASCII character may take two."""
    return (
        len(line) if line.isascii() else len(line) + sum(character > "\x7f" for character in line)
    )


# Imports of generated lines, sorted as ruff does.

_Statement = ast.Import | ast.ImportFrom


def with_head(
    source: str, package: str, needed: Iterable[tuple[str, str]], constants: Iterable[str] = ()
) -> str:
    """Insert imports, and constants after the imports.

    Args:
        source: A module without comments between its imports.
        package: The project's own package; imports from the package go last.
        needed: Pairs of module and name.
        constants: Lines to put after the imports.

    Returns:
        The changed module, or `source` when nothing is missing.

    Raises:
        SyntaxError: The source is not Python.
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
    """Parse a module up to its first class or function; parse the whole module when a string contains two blank lines before that."""
    head, blank, _ = source.partition("\n\n\n")
    try:
        return ast.parse(head + blank)
    except SyntaxError:
        return ast.parse(source)


def _imports_of(module: ast.Module) -> list[_Statement]:
    """Return the imports at the head of the module, after the docstring."""
    result: list[_Statement] = []
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            result.append(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            break
    return result


def _span(module: ast.Module, statements: list[_Statement]) -> tuple[int, int]:
    """Return the lines of the imports as a range from 0. Without imports: an empty range after the docstring."""
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
    """Return the rank of an import's section: `__future__`, the standard library, other packages, the project."""
    top = module.partition(".")[0]
    if top == "__future__":
        return 0
    if top in sys.stdlib_module_names:
        return 1
    return 3 if top in {package, ""} else 2


def _order(name: str) -> tuple[int, str]:
    """Return the sort key of an imported name: constants first, then classes, then other names."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name
