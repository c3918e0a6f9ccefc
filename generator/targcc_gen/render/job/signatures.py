"""The parameters that a blueprint's `execute` has of itself, and other defaults for them."""

from __future__ import annotations

import ast
from collections.abc import Mapping


def own_parameters(source: str) -> list[tuple[ast.arg, ast.expr | None]]:
    """The parameters of the job's `execute` after the context, each with its default.

    Args:
        source: A job's module.
    """
    arguments = _execute(ast.parse(source)).args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*defaults, *arguments.defaults], strict=True)][2:]
    return [*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]


def with_defaults(source: str, defaults: Mapping[str, str]) -> str:
    """The module with other defaults for some parameters of its `execute`.

    Args:
        source: A job's module.
        defaults: The new default by parameter, as source.
    """
    lines = source.encode().split(b"\n")  # the columns of the tree count bytes
    for argument, default in reversed(own_parameters(source)):
        if argument.arg in defaults and default is not None:
            row, start, end = default.lineno - 1, default.col_offset, default.end_col_offset
            line = lines[row]
            lines[row] = line[:start] + defaults[argument.arg].encode() + line[end:]
    return b"\n".join(lines).decode()


def _execute(module: ast.Module) -> ast.FunctionDef | ast.AsyncFunctionDef:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "execute":
            return node
    raise LookupError("execute")
