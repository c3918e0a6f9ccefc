"""Read a job's `@job(...)` by `ast`: each argument, its meaning and its position."""

from __future__ import annotations

import ast
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.names import JobName

# Meanings of arguments, however written: `"60m"` and `"1h"` are one timeout.

SCHEDULE = "schedule"
"""The name of the first argument, which has none."""

NAME = "name"
"""The argument with the name under which a job's history is kept; without it that is the class's."""

AFTER = "after"
"""The argument that names the jobs which a job comes after, or says where intervals are counted from."""

_TYPES = {"MANUAL": "manual", "FIRE_AND_FORGET": "fire-and-forget", "DELAYED": "delayed"}
_SCHEDULES = (SCHEDULE, "every", "at")
_DURATIONS = ("every", "backoff", "timeout", "misfire_grace", "unique_scope", "expires_in")
_LISTS = ("calendar", "unique")
"""One name stands for a list of it."""
_DEFAULTS: Mapping[str, Any] = {
    "priority": 0,
    "misfire": "run_once",
    "misfire_grace": timedelta(days=1),
    "paused": False,
    "left_spec": False,
    "aliases": (),
    "on_duplicate": "skip",
    "expires_in": "none",
}
_ALERT_DEFAULTS = {"on": ("failure",), "email": (), "other": {}, "oncall": False}


@dataclass(frozen=True)
class Unread:
    """What an argument says by code that only Python can work out.

    Attributes:
        tree: The code, without how it is written.
    """

    tree: str


def meaning_of(
    name: str,
    arguments: Mapping[str, str],
    constants: Mapping[str, str],
    *,
    class_name: str,
    defaults: Mapping[str, Any],
) -> Any:
    """What an argument says; None where that is what holds anyway. The name is said in any case.

    Args:
        name: The argument.
        arguments: The source of each argument.
        constants: The source of the plain values that names of the module stand for.
        class_name: The decorated class.
        defaults: What the project says of the arguments that are not given; below `after`, names of jobs whose classes are called
            otherwise.
    """
    source = arguments.get(name)
    key = class_name.removesuffix("Job") or class_name
    if source is None and name == NAME:
        return key
    if source is None:
        names = (*_SCHEDULES, AFTER)
        no_schedule = name == SCHEDULE and not any(option in arguments for option in names)
        return ("type", "manual") if no_schedule else None
    tree = ast.parse(source, mode="eval").body
    if name == AFTER:
        tree = _by_name(tree, constants, defaults.get(AFTER, {}))
    value = _value(tree, constants)
    if isinstance(value, Unread):
        return value
    value = _normal(name, value)
    has_schedule = any(
        option in arguments for option in _SCHEDULES
    ) and "JobType" not in arguments.get(SCHEDULE, "")
    holds: dict[str, Any] = {
        **_DEFAULTS,
        **defaults,
        "display_name": JobName(key).display,
        "overlap": "skip" if has_schedule else "allow",
    }
    return None if name in holds and holds[name] == value else value


def _value(node: ast.expr, constants: Mapping[str, str]) -> Any:
    """The value of a literal, of a constant of the module, or of a call that only puts such values together."""
    result: Any = Unread(ast.dump(node))
    match node:
        case ast.Constant():
            result = node.value
        case ast.Tuple() | ast.List():
            items = tuple(_value(item, constants) for item in node.elts)
            result = result if any(isinstance(item, Unread) for item in items) else items
        case ast.Dict(keys=keys) if all(isinstance(key, ast.Constant) for key in keys):
            items = tuple(_value(item, constants) for item in node.values)
            values = dict(
                zip(
                    (key.value for key in keys if isinstance(key, ast.Constant)), items, strict=True
                )
            )
            result = result if any(isinstance(item, Unread) for item in items) else values
        case ast.Name() if node.id in constants:
            result = _value(ast.parse(constants[node.id], mode="eval").body, {})
        case ast.Attribute() if node.attr in _TYPES:
            result = ("type", _TYPES[node.attr])
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
            result = -number
        case ast.Call(args=[]):
            result = _call(node, constants)
    return result


def _by_name(node: ast.expr, constants: Mapping[str, str], names: Mapping[str, str]) -> ast.expr:
    """The list of jobs that a job comes after, with classes and functions as the names of their jobs."""
    if not isinstance(node, ast.List | ast.Tuple):
        return node
    return ast.List([_named(item, constants, names) for item in node.elts], ast.Load())


def _named(node: ast.expr, constants: Mapping[str, str], names: Mapping[str, str]) -> ast.expr:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    if not name or name in constants:
        return node
    try:
        key = JobName.parse(name).key
    except InputError:
        return node
    return ast.Constant(names.get(key, key))


def _call(node: ast.Call, constants: Mapping[str, str]) -> Any:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    values = {word.arg or "": _value(word.value, constants) for word in node.keywords}
    if "" in values or any(isinstance(value, Unread) for value in values.values()):
        return Unread(ast.dump(node))
    if name == "Alerts":
        given = {key: value for key, value in values.items() if value is not None}
        return {
            key: value for key, value in sorted(given.items()) if _ALERT_DEFAULTS.get(key) != value
        }
    try:
        return timedelta(**values) if name == "timedelta" else Unread(ast.dump(node))
    except (TypeError, OverflowError):
        return Unread(ast.dump(node))


def _normal(name: str, value: Any) -> Any:
    """One form for all ways to write a value; one that is wrong stays as it is."""
    from targcc_scheduler.schedules.words import format_duration, parse_duration

    if not isinstance(value, str):
        return value
    result: Any = value
    try:
        if name == SCHEDULE:
            result = ("cron", " ".join(value.split()))
        elif name in _LISTS:
            result = (value,)
        elif name == "on_duplicate":
            word, _, span = value.partition(" ")
            result = f"{word} {format_duration(parse_duration(span.strip()))}" if span else word
        elif name in _DURATIONS and value != "none":
            result = parse_duration(value)
        elif name in {"at", "anchor"}:
            result = datetime.fromisoformat(value)
    except ValueError:
        return value
    return result


def spec_values(meanings: Mapping[str, Any]) -> dict[str, Any]:
    """What a spec says with the keys of a job, for what a decorator says.

    Args:
        meanings: Meanings by argument.

    Raises:
        ValueError: One cannot be read; names it.
    """
    values: dict[str, Any] = {}
    misfire: dict[str, Any] = {}
    for name, value in meanings.items():
        if isinstance(value, Unread):
            raise ValueError(name)  # noqa: TRY004 - it is about the text of the argument
        shown = _as_written(value)
        if name == SCHEDULE:
            kind, text = value if isinstance(value, tuple) else ("cron", value)
            values[kind] = text
        elif name == "misfire":
            misfire["policy"] = shown
        elif name == "misfire_grace":
            misfire["grace"] = shown
        elif name == "alerts":
            values[name] = {key: _as_written(item) for key, item in value.items()}
        else:
            values[name] = shown
    if misfire:
        values["misfire"] = misfire
    return values


def _as_written(value: Any) -> Any:
    from targcc_scheduler.schedules.words import format_duration

    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


# The decorator and its arguments.

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
    jobs = jobs_in(content)
    named = [job for job in jobs if job.name == name]
    named += [job for job in jobs if f"{job.means(NAME)}Job" == name]
    if named:
        return named[0]
    return jobs[0] if len(jobs) == 1 else None


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
    result: dict[str, str] = {}
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                result[name] = _segment(source, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                result[name] = _segment(source, value)
    return result


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
