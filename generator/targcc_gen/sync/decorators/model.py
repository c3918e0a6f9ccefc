"""The `@job(...)` of a module, read by `ast`: what each of its arguments says, and where it stands."""

from __future__ import annotations

import ast
from dataclasses import dataclass

SCHEDULE = "schedule"
"""The name of the first argument, which has none."""

DESCRIPTION = "description"


@dataclass(frozen=True)
class DecoratedJob:
    """The decorated class of a module.

    Attributes:
        name: The class's name.
        arguments: The source of each argument of the decorator, by name.
        first: The decorator's first line, from 1.
        last: Its last line.
        docstring: The first line of the class's docstring.
    """

    name: str
    arguments: dict[str, str]
    first: int
    last: int
    docstring: str

    def means(self, argument: str) -> str | None:
        """What an argument says, in a form that ignores how it is written; a description may be the docstring."""
        source = self.arguments.get(argument)
        if source is None and argument == DESCRIPTION:
            source = repr(self.docstring)
        return None if source is None else ast.dump(ast.parse(source, mode="eval"))


def job_in(content: bytes, name: str | None = None) -> DecoratedJob | None:
    """The job of a module: the one called `name`, else the only one."""
    source = content.decode("utf-8")
    found = [
        _read(node, decorator, source)
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and is_job(decorator.func)
    ]
    named = [job for job in found if job.name == name]
    if named:
        return named[0]
    return found[0] if len(found) == 1 else None


def is_job(function: ast.expr) -> bool:
    """Whether a decorator is `job` or `something.job`."""
    if isinstance(function, ast.Attribute):
        return function.attr == "job"
    return isinstance(function, ast.Name) and function.id == "job"


def _read(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call, source: str
) -> DecoratedJob:
    arguments: dict[str, str] = {}
    if call.args:
        arguments[SCHEDULE] = _segment(source, call.args[0])
    for keyword in call.keywords:
        if keyword.arg is not None:
            arguments[keyword.arg] = _segment(source, keyword.value)
    first_line = next(iter((ast.get_docstring(node) or "").splitlines()), "")
    return DecoratedJob(
        node.name, arguments, call.lineno, call.end_lineno or call.lineno, first_line
    )


def _segment(source: str, node: ast.expr) -> str:
    segment = ast.get_source_segment(source, node)
    assert segment is not None  # the tree comes from this source
    # In parentheses so that a string written over several lines is still one expression.
    return f"({segment})" if "\n" in segment else segment
