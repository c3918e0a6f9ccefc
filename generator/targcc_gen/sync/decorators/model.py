"""The `@job(...)` of a module, read by `ast`: what each of its arguments says, and where it stands."""

from __future__ import annotations

import ast
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from targcc_gen.sync.decorators.meaning import NAME, SCHEDULE, meaning_of

__all__ = [
    "DESCRIPTION",
    "LEFT_SPEC",
    "NAME",
    "SCHEDULE",
    "DecoratedJob",
    "is_job",
    "job_in",
    "jobs_in",
]

DESCRIPTION = "description"

LEFT_SPEC = "left_spec"
"""Says of a job that the spec had it and has it no more; the generator writes and removes it."""

ALIASES = "aliases"
"""The names that a job had before; the generator adds them, and people drop them."""


@dataclass(frozen=True)
class DecoratedJob:
    """The decorated class of a module.

    Attributes:
        name: The class's name.
        arguments: The source of each argument of the decorator, by name.
        first: The decorator's first line, from 1.
        last: Its last line.
        docstring: The first line of the class's docstring.
        constants: The source of the plain values that names of the module stand for.
        has_more: Whether there may be arguments that only Python can work out: `**options`.
    """

    name: str
    arguments: dict[str, str]
    first: int
    last: int
    docstring: str
    constants: Mapping[str, str] = field(default_factory=dict)
    has_more: bool = False

    def means(self, argument: str, defaults: Mapping[str, Any] | None = None) -> Any:
        """What an argument says, however it is written; a description may be the docstring.

        Args:
            argument: Its name.
            defaults: What the project says of the arguments that are not given.
        """
        if argument == DESCRIPTION and argument not in self.arguments:
            return self.docstring
        return meaning_of(
            argument,
            self.arguments,
            self.constants,
            class_name=self.name,
            defaults=defaults or {},
        )


def job_in(content: bytes, name: str | None = None) -> DecoratedJob | None:
    """The job of a module: the one whose class is called `name`, else the one that keeps that class's name, else the only one."""
    found = jobs_in(content)
    named = [job for job in found if job.name == name]
    named += [job for job in found if f"{job.means(NAME)}Job" == name]
    if named:
        return named[0]
    return found[0] if len(found) == 1 else None


def jobs_in(content: bytes) -> list[DecoratedJob]:
    """Every job of a module.

    Raises:
        SyntaxError: It is no Python.
        ValueError: It is no text.
    """
    source = content.decode("utf-8")
    module = ast.parse(source)
    constants = _constants(module, source)
    return [
        _read(node, decorator, source, constants)
        for node in module.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and is_job(decorator.func)
    ]


def is_job(function: ast.expr) -> bool:
    """Whether a decorator is `job` or `something.job`."""
    if isinstance(function, ast.Attribute):
        return function.attr == "job"
    return isinstance(function, ast.Name) and function.id == "job"


def _constants(module: ast.Module, source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = _segment(source, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = _segment(source, value)
    return found


def _read(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    call: ast.Call,
    source: str,
    constants: Mapping[str, str],
) -> DecoratedJob:
    arguments: dict[str, str] = {}
    if call.args:
        arguments[SCHEDULE] = _segment(source, call.args[0])
    for keyword in call.keywords:
        if keyword.arg is not None:
            arguments[keyword.arg] = _segment(source, keyword.value)
    first_line = next(iter((ast.get_docstring(node) or "").splitlines()), "")
    return DecoratedJob(
        node.name,
        arguments,
        call.lineno,
        call.end_lineno or call.lineno,
        first_line,
        constants,
        has_more=any(keyword.arg is None for keyword in call.keywords),
    )


def _segment(source: str, node: ast.expr) -> str:
    lines = list(_lines(source)[node.lineno - 1 : node.end_lineno])
    lines[-1] = lines[-1][: node.end_col_offset]
    lines[0] = lines[0][node.col_offset :]
    segment = b"".join(lines).decode()
    # In parentheses so that a string written over several lines is still one expression.
    return f"({segment})" if "\n" in segment else segment


@lru_cache(maxsize=1)
def _lines(source: str) -> tuple[bytes, ...]:
    """The lines as `ast` counts them; `ast.get_source_segment` splits the whole source for each expression."""
    return tuple(line.encode() for line in io.StringIO(source, newline=""))
