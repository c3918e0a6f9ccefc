"""The parameters that a blueprint's `execute` has of itself, and other defaults for them."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from targcc_gen.render.job.formatting import broken, fits

Parameter = tuple[ast.arg, ast.expr | None]
"""A parameter and its default."""


def own_parameters(source: str) -> list[Parameter]:
    """The parameters of the job's `execute` after the context, each with its default.

    Args:
        source: A job's module.
    """
    positional, named = _pairs(_execute(ast.parse(source)).args)
    return [*positional[2:], *named]


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


def broken_signature(source: str) -> str:
    """The module with the signature of its `execute` on several lines where one is too short for it, as black breaks it.

    Args:
        source: A job's module.
    """
    lines = source.split("\n")
    if all(fits(line) for line in lines if "def execute(" in line):
        return source
    execute = _execute(ast.parse(source))
    line = lines[execute.lineno - 1]
    elements = _elements(line.encode(), execute.args)
    head, together, tail = line.partition(", ".join(elements))
    if fits(line) or not together or execute.body[0].lineno == execute.lineno:
        return source
    lines[execute.lineno - 1] = broken(head, elements, tail)
    return "\n".join(lines)


def _elements(line: bytes, arguments: ast.arguments) -> list[str]:
    """What is in the brackets of a signature of one line."""
    positional, named = _pairs(arguments)
    star = ["*"] if named else []
    return [
        *(_text(line, *one) for one in positional),
        *star,
        *(_text(line, *one) for one in named),
    ]


def _text(line: bytes, argument: ast.arg, default: ast.expr | None) -> str:
    return line[argument.col_offset : (default or argument).end_col_offset].decode()


def _pairs(arguments: ast.arguments) -> tuple[list[Parameter], list[Parameter]]:
    """The parameters, each with its default: the positional ones, and those that go by name alone."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = zip(positional, [*defaults, *arguments.defaults], strict=True)
    return list(pairs), list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _execute(module: ast.Module) -> ast.FunctionDef | ast.AsyncFunctionDef:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "execute":
            return node
    raise LookupError("execute")
