"""Errors of a spec: of a value, of a model, and with their positions in the file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from targcc_gen.errors import InputError

# Errors of a value, carried by Pydantic.

PROBLEM: LiteralString = "targcc_problem"
"""The type of the Pydantic errors that carry our own words about one value."""

RULE: LiteralString = "targcc_rule"
"""The type of those about several values, from `targcc_gen.spec.rules`."""


def problem(
    message: str,
    *,
    hint: str | None = None,
    column: int | None = None,
    length: int = 1,
    kind: LiteralString = PROBLEM,
) -> PydanticCustomError:
    """A Pydantic error in our own words.

    Args:
        message: What is wrong.
        hint: What to do about it.
        column: Where in the text of the value the wrong part begins, from 0.
        length: How many characters are wrong.
        kind: The error's type.
    """
    context = {"message": message, "hint": hint, "column": column, "length": length}
    return PydanticCustomError(kind, "{message}", context)


def nearest(text: str, known: tuple[str, ...] | list[str]) -> str | None:
    """`did you mean "…"?` for the known word most like `text`, or None."""
    from difflib import get_close_matches

    same = [word for word in known if word.casefold() == text.casefold()]
    close = same or get_close_matches(text, known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None


# Errors of a spec before their position is known.

Steps = tuple[str | int, ...]
"""The keys and list positions from the top of a spec to a value."""

MAX_SHOWN = 60
"""So many characters of a wrong value are repeated in a message."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: The keys and list positions from the top of the spec to the value at fault.
        message: What is wrong.
        hint: What to do about it.
        at: Whether the key or its value is to blame.
        column: Where in the text of the value the wrong part begins, from 0; None for all of it.
        length: How many characters are wrong, if `column` is given.
        rule: Whether it is about several values, from `targcc_gen.spec.rules`.
    """

    path: Steps
    message: str
    hint: str | None = None
    at: Literal["key", "value"] = "value"
    column: int | None = None
    length: int = 1
    rule: bool = False


def findings_of(
    error: ValidationError, keys: Mapping[str, list[str]], *, below: Steps = ()
) -> list[Finding]:
    """Every finding in a Pydantic error, in our own words.

    Args:
        error: What validating raised.
        keys: The keys that each kind of mapping may have, by the name `kind_at` gives it.
        below: The path of what was validated.
    """
    details = error.errors(include_url=False)
    parents = {detail["loc"][:-1] for detail in details}
    return [
        _finding(detail, (*below, *detail["loc"]), keys)
        for detail in details
        if not _is_echo(detail, parents)
    ]


def _is_echo(detail: ErrorDetails, parents: set[Steps]) -> bool:
    """Whether an error only follows from another one that is shown."""
    if detail["type"] == "default_factory_not_called":
        return True
    return detail["type"] == "too_short" and detail["loc"] in parents


def _finding(detail: ErrorDetails, path: Steps, keys: Mapping[str, list[str]]) -> Finding:
    context = detail.get("ctx", {})
    if path[-1:] == ("[key]",):
        return Finding(
            path[:-1], context.get("message", detail["msg"]), context.get("hint"), at="key"
        )
    if detail["type"] in {PROBLEM, RULE}:
        return Finding(
            path,
            context["message"],
            context["hint"],
            column=context["column"],
            length=context["length"],
            rule=detail["type"] == RULE,
        )
    if detail["type"] == "extra_forbidden":
        return _unknown_key(path, keys)
    if detail["type"] == "missing":
        return _missing_key(path)
    return Finding(path, *_in_words(detail, name_of(path)))


def _unknown_key(path: Steps, keys: Mapping[str, list[str]]) -> Finding:
    *parent, key = path
    allowed = keys[kind_at(tuple(parent))]
    hint = nearest(str(key), allowed) or f"allowed here: {', '.join(allowed)}"
    return Finding(path, f'unknown key "{shown(key)}" in {name_of(tuple(parent))}', hint, at="key")


def _missing_key(path: Steps) -> Finding:
    *parent, key = path
    example = {
        "targcc": "targcc: 1",
        "project": "project: {name: acme-jobs}",
        "name": "name: acme-jobs",
    }
    hint = f'add "{example.get(str(key), f"{key}: …")}"'
    return Finding(path, f'{name_of(tuple(parent))} has no "{key}"', hint, at="key")


def _in_words(detail: ErrorDetails, name: str) -> tuple[str, str | None]:
    """Message and hint for an error of Pydantic's own."""
    value, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "literal_error":
            return _not_among(value, name, context["expected"])
        case "bool_type":
            return f"{name} must be true or false", _truth_meant(value)
        case "string_type" if _is_plain(value):
            return f"{name} must be text", f'put it in quotes: "{shown(value)}"'
        case "tuple_type" if _is_plain(value):
            return f"{name} must be a list", f"write [{shown(value)}]"
        case known if known in _WORDS:
            message, hint = _WORDS[known]
            return f"{name} {message.format(**context)}", hint
        case _:
            return f"{name}: {detail['msg']}", None


# Pydantic's error types, with the names of its contexts in braces.
_WORDS: dict[str, tuple[str, str | None]] = {
    "string_type": ("must be text", "one text"),
    "int_type": ("must be a whole number", None),
    "greater_than_equal": ("must be at least {ge}", None),
    "less_than_equal": ("must be at most {le}", None),
    "string_too_long": ("is longer than {max_length} characters", None),
    "too_long": ("is longer than {max_length} characters", None),
    "too_short": ("is empty", "name at least one, or remove the line"),
    "dict_type": ("must be a mapping", 'lines of "key: value", indented'),
    "model_type": ("must be a mapping", 'lines of "key: value", indented'),
    "tuple_type": ("must be a list", "write [one, another]"),
}


def _truth_meant(value: object) -> str | None:
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(str(value).lower())
    return f'did you mean "{meant}"?' if meant else None


def _not_among(value: object, name: str, expected: str) -> tuple[str, str]:
    allowed = expected.replace(" or ", ", ").replace("'", "").split(", ")
    hint = (
        nearest(str(value), allowed)
        or f"use {'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}"
    )
    return f'{name} cannot be "{shown(value)}"', hint


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping as it is; an empty one for anything else, which is reported where values are checked."""
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def shown(value: object) -> str:
    """A value as part of a message: short, on one line, as YAML writes it."""
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


_KINDS: dict[tuple[str | None, ...], str] = {
    (): "spec",
    ("queues", None): "queue",
    ("pools", None): "pool",
    ("calendars", None): "calendar",
    ("jobs", None): "job",
    ("flows", None): "flow",
    ("flows", None, "steps", None): "flow step",
    ("environments", None): "environment",
    ("environments", None, "defaults"): "environment defaults",
    ("environments", None, "queues", None): "environment queue",
    ("environments", None, "pools", None): "environment pool",
    ("environments", None, "jobs", None): "environment job",
    ("environments", None, "flows", None): "environment flow",
    ("alerts",): "project alerts",
    ("alerts", "quiet", None): "quiet",
    ("alerts", "escalation", None): "step",
    ("oncall", "people", None): "person",
    ("oncall", "rota", None): "shift",
}
"""Kinds of mappings by their paths; None stands for any key."""


def kind_at(path: Steps) -> str:
    """The kind of mapping at a path: `spec`, `project`, `queue`, `defaults`, `job`, `alerts`, `misfire`, or those of `_KINDS`."""
    for shape, kind in _KINDS.items():
        if len(shape) == len(path) and all(
            shape_step is None or shape_step == step
            for shape_step, step in zip(shape, path, strict=True)
        ):
            return kind
    return str(path[-1])


def name_of(path: Steps) -> str:  # noqa: PLR0911 - one line for each kind
    """What a message calls the value at a path: `retries`, `job DailyReport`, `alerts of job DailyReport`."""
    match path:
        case ():
            return "the spec"
        case ("queues" | "calendars" | "pools" as kind, name):
            return f"{kind[:-1]} {shown(name)}"
        case ("jobs", name):
            return f"job {shown(name)}"
        case ("flows", name):
            return f"flow {shown(name)}"
        case ("flows", flow, "steps", name):
            return f"step {shown(name)} of flow {shown(flow)}"
        case ("environments", name):
            return f"environment {shown(name)}"
        case ("environments", place, "jobs" | "queues" | "pools" | "flows" as kind, name):
            return f"{kind[:-1]} {shown(name)} of environment {shown(place)}"
        case ("jobs", name, "alerts" | "misfire" | "limit" as part):
            return f"{part} of job {shown(name)}"
        case (*_, str() as key, int()):
            return f"each {shown(key)}"
        case _:
            return shown(path[-1])


# Errors with their positions, as people see them.

MAX_PROBLEMS = 25
"""So many errors are shown in full."""

_WIDTH = 100
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True, order=True)
class Problem:
    """One error and where it is.

    Attributes:
        line: From 0.
        column: From 0, in characters.
        length: How many characters the carets mark; 0 shows no line.
        message: What is wrong.
        hint: What to do about it.
    """

    line: int
    column: int
    length: int
    message: str
    hint: str | None = None


class SpecErrors(InputError):  # noqa: N818 - it carries several errors
    """A spec is wrong (exit status 2).

    `message` is everything to show: each error with its place, its line, carets and advice, and how many there are.

    Attributes:
        filename: The file, as messages name it.
        problems: The errors, by their places.
    """

    code = "spec"
    prefix = ""

    def __init__(self, filename: str, text: str, problems: Iterable[Problem]) -> None:
        self.filename = filename
        self.problems = sorted(
            set(problems), key=lambda problem: (problem.line, problem.column, problem.message)
        )
        super().__init__(self._report(split_lines(text.removeprefix("\ufeff"))))

    def _report(self, lines: list[str]) -> str:
        report: list[str] = []
        for problem in self.problems[:MAX_PROBLEMS]:
            where = f"{self.filename}:{problem.line + 1}:{problem.column + 1}"
            report.append(f"{where}: error: {_printable(problem.message)}")
            report += _frame(lines, problem)
        hidden = len(self.problems) - MAX_PROBLEMS
        if hidden > 0:
            report.append(f"… and {hidden} more.")
        count = len(self.problems)
        report.append(f"{count} error{'' if count == 1 else 's'}, nothing was written.")
        return "\n".join(report)


def split_lines(text: str) -> list[str]:
    """The lines of a YAML file, without their endings, as YAML counts them."""
    return _LINE_BREAK.split(text)


def _frame(lines: list[str], problem: Problem) -> list[str]:
    """The line before, the line, and carets under what is wrong."""
    hint = _printable(problem.hint or "")
    if problem.length == 0 or problem.line >= len(lines):
        return [f"  {hint}"] if hint else []
    shift, line = _window(lines[problem.line], problem.column)
    column = problem.column - shift
    before = lines[problem.line - 1] if problem.line else ""
    margin = len(str(problem.line + 1)) + 3
    frame = [f"{problem.line:{margin}} | {_window(before, 0)[1]}"] if before.strip() else []
    frame.append(f"{problem.line + 1:{margin}} | {line}")
    spaces = " " * _columns(line[:column])
    carets = "^" * max(1, _columns(line[column : column + problem.length]))
    frame.append(f"{'':{margin}} | {spaces}{carets} {hint}".rstrip())
    return frame


def _window(line: str, column: int) -> tuple[int, str]:
    """As much of a long line as fits, and how many characters of it are left out in front."""
    shift = max(0, column - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown = line[shift : shift + _WIDTH]
    return shift, "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in shown)


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _printable(text: str) -> str:
    """A message in which nothing from a file moves the cursor or turns the writing direction."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )
