"""What a Python module says, however it is written: the same for two texts that differ in formatting alone."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from functools import lru_cache


def says_the_same(one: bytes, other: bytes) -> bool:
    """Whether two modules differ in formatting alone: line breaks, commas, quotes, the order of imports, blanks in docstrings.

    A comment is what somebody says. Only `# noqa` may be missing in `other`: linters remove one that has no use.
    """
    first, second = _meaning(one), _meaning(other)
    if first is None or second is None or first[0] != second[0]:
        return False
    gone, new = first[1] - second[1], second[1] - first[1]
    return not new and all("noqa" in comment for comment in gone)


@lru_cache(maxsize=64)
def _meaning(source: bytes) -> tuple[str, Counter[str]] | None:
    try:
        tree = ast.parse(source)
        comments = _comments(source.decode())
    except (SyntaxError, ValueError, tokenize.TokenError):
        return None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            _plain_docstring(body)
            body[:] = _sorted_imports(body)
    return ast.dump(tree), comments


def _comments(source: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return Counter(
        token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT
    )


def _plain_docstring(body: list[ast.stmt]) -> None:
    match body:
        case [ast.Expr(value=ast.Constant(value=str() as text) as docstring), *_]:
            docstring.value = " ".join(text.split())


def _sorted_imports(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements with each run of imports as one name a statement, sorted."""
    found: list[ast.stmt] = []
    run: list[ast.Import | ast.ImportFrom] = []
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            run += _single(node)
            continue
        found += sorted(run, key=ast.dump)
        run = []
        found.append(node)
    return [*found, *sorted(run, key=ast.dump)]


def _single(node: ast.Import | ast.ImportFrom) -> list[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    return [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
