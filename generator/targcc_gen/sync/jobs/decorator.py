"""Read a job's `@job(...)` with `ast`: source, meaning and position of each argument."""

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

# Meanings of arguments, independent of spelling: `"60m"` and `"1h"` are the same timeout.

SCHEDULE = "schedule"
"""Key of the first, positional argument."""

NAME = "name"
"""The argument with the job's stable name for its history; default: the class's name."""

AFTER = "after"
"""The argument with the jobs to run after, or with `start` or `completion`: the moment of the last run from which `every` counts."""

_TYPES = {"MANUAL": "manual", "FIRE_AND_FORGET": "fire-and-forget", "DELAYED": "delayed"}
_SCHEDULES = (SCHEDULE, "every", "at")
_DURATIONS = ("every", "backoff", "timeout", "misfire_grace", "unique_scope", "expires_in")
_LISTS = ("calendar", "unique")
"""Arguments for which a single name means a list with that name."""
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
    """The meaning of an argument that only running Python could compute.

    Attributes:
        tree: The code as an `ast` dump, without formatting.
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
    """Return the meaning of an argument; None when the meaning equals the default. A name is returned even if it equals the default.

    Args:
        name: Name of the argument.
        arguments: Source of each argument.
        constants: Source of the module's constants, by name.
        class_name: Name of the decorated class.
        defaults: The project's defaults of arguments. Below `after`: stable names of jobs by the key of their class, where the two
            differ.
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
    """Return the value of a literal, a module constant, or a call that only combines such values."""
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
    """Replace classes and functions in the list of jobs to run after by the names of their jobs."""
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
    """Normalise a value to one form for all spellings; return an invalid value unchanged."""
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
    """Convert meanings of decorator arguments to the keys of a job in the spec.

    Args:
        meanings: Meanings by argument.

    Raises:
        ValueError: An argument cannot be read; the message is its name.
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
"""Marks a job that has left the spec; the generator writes and removes the argument."""

ALIASES = "aliases"
"""Former names of a job; the generator adds the names, and users drop them."""


@dataclass(frozen=True)
class DecoratedJob:
    """A decorated job of a module.

    Attributes:
        name: Name of the class or function.
        arguments: Source of each argument of the decorator, by name.
        first: First line of the decorator, from 1.
        last: Last line of the decorator.
        docstring: First line of the docstring.
        constants: Source of the module's constants, by name.
        has_more: Whether the decorator has `**options`, whose content only running Python could tell.
    """

    name: str
    arguments: dict[str, str]
    first: int
    last: int
    docstring: str
    constants: Mapping[str, str] = field(default_factory=dict)
    has_more: bool = False

    def means(self, argument: str, defaults: Mapping[str, Any] | None = None) -> Any:
        """Return the meaning of an argument, independent of spelling. The docstring is the default of the description.

        Args:
            argument: Name of the argument.
            defaults: The project's defaults of arguments.
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
    """Return the job of a module: the class called `name`, else the job whose `name=` keeps that class's name, else the only job."""
    jobs = jobs_in(content)
    named = [job for job in jobs if job.name == name]
    named += [job for job in jobs if f"{job.means(NAME)}Job" == name]
    if named:
        return named[0]
    return jobs[0] if len(jobs) == 1 else None


def jobs_in(content: bytes) -> list[DecoratedJob]:
    """Return every job of a module.

    Raises:
        SyntaxError: The module is not valid Python.
        ValueError: The module is not text.
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
    """Return whether a decorator is `job` or `something.job`."""
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
    # Parentheses make a string over several lines a single expression.
    return f"({segment})" if "\n" in segment else segment


@lru_cache(maxsize=1)
def _lines(source: str) -> tuple[bytes, ...]:
    """Return the lines as `ast` counts them. Cached: `ast.get_source_segment` would split the whole source for each expression."""
    return tuple(line.encode() for line in io.StringIO(source, newline=""))
