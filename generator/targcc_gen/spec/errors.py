"""Errors of a spec: of a single value, of a model, and with positions in the file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from targcc_gen.errors import InputError

# Codes of errors with a position, explained in `error_codes.toml`.

SYNTAX = "TG101"
"""The text is not YAML, or uses YAML that a spec does not allow."""
UNKNOWN_KEY = "TG102"
"""The key does not exist here."""
MISSING_KEY = "TG103"
"""A required key or its value is missing."""
WRONG_VALUE = "TG104"
"""The value has the wrong type or form."""
CONTRADICTION = "TG105"
"""The value does not fit another value of the spec."""
GIT_MARKERS = "TG106"
"""The text has lines that git could not merge."""
ENCODING = "TG107"
"""The bytes are not a text file in UTF-8, or too many."""
EXTENDS = "TG108"
"""The file cannot be extended."""
BLUEPRINTS = "TG404"
"""The folder or repository of blueprints cannot be used."""

# Errors of a value, carried by Pydantic.

PROBLEM: LiteralString = "targcc_problem"
"""The type of Pydantic errors about one value with a message of our own."""

RULE: LiteralString = "targcc_rule"
"""The type of Pydantic errors about several values, from `targcc_gen.spec.rules`."""


def problem(
    message: str,
    *,
    hint: str | None = None,
    column: int | None = None,
    length: int = 1,
    kind: LiteralString = PROBLEM,
) -> PydanticCustomError:
    """Build a Pydantic error with a message of our own.

    Args:
        message: The fault.
        hint: The advice.
        column: The first wrong character in the text of the value, from 0.
        length: The number of wrong characters.
        kind: The error's type.
    """
    context = {"message": message, "hint": hint, "column": column, "length": length}
    return PydanticCustomError(kind, "{message}", context)


def nearest(text: str, known: tuple[str, ...] | list[str]) -> str | None:
    """Return `did you mean "…"?` for the known word closest to `text`; None if no word is close."""
    from difflib import get_close_matches

    same = [word for word in known if word.casefold() == text.casefold()]
    close = same or get_close_matches(text, known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None


# Errors of a spec whose position is not known yet.

Steps = tuple[str | int, ...]
"""The keys and list positions that lead from the top of a spec to a value."""

MAX_SHOWN = 60
"""The most characters of a wrong value that a message repeats."""


@dataclass(frozen=True)
class Finding:
    """A fault in a spec.

    Attributes:
        path: The keys and list positions from the top of the spec to the value at fault.
        message: The fault.
        hint: The advice.
        at: Whether the key or its value is at fault.
        column: The first wrong character in the text of the value, from 0; None if the whole value is wrong.
        length: The number of wrong characters, if `column` is given.
        rule: Whether the fault is between several values, from `targcc_gen.spec.rules`.
        code: The code in the manual.
    """

    path: Steps
    message: str
    hint: str | None = None
    at: Literal["key", "value"] = "value"
    column: int | None = None
    length: int = 1
    rule: bool = False
    code: str = CONTRADICTION


def findings_of(
    error: ValidationError, keys: Mapping[str, list[str]], *, below: Steps = ()
) -> list[Finding]:
    """Translate a Pydantic error into findings with our own messages.

    Args:
        error: The error that validation raised.
        keys: The allowed keys of each kind of mapping; `kind_at` names the kinds.
        below: The path of the validated value in the spec.
    """
    details = error.errors(include_url=False)
    parents = {detail["loc"][:-1] for detail in details}
    return [
        _finding(detail, (*below, *detail["loc"]), keys)
        for detail in details
        if not _is_echo(detail, parents)
    ]


def _is_echo(detail: ErrorDetails, parents: set[Steps]) -> bool:
    """Whether an error only repeats another error in the list."""
    if detail["type"] == "default_factory_not_called":
        return True
    return detail["type"] == "too_short" and detail["loc"] in parents


def _finding(detail: ErrorDetails, path: Steps, keys: Mapping[str, list[str]]) -> Finding:
    context = detail.get("ctx", {})
    if path[-1:] == ("[key]",):
        return Finding(
            path[:-1],
            context.get("message", detail["msg"]),
            context.get("hint"),
            at="key",
            code=WRONG_VALUE,
        )
    if detail["type"] in {PROBLEM, RULE}:
        return Finding(
            path,
            context["message"],
            context["hint"],
            column=context["column"],
            length=context["length"],
            rule=detail["type"] == RULE,
            code=CONTRADICTION if detail["type"] == RULE else WRONG_VALUE,
        )
    if detail["type"] == "extra_forbidden":
        return _unknown_key(path, keys)
    if detail["type"] == "missing":
        return _missing_key(path)
    return Finding(path, *_in_words(detail, name_of(path)), code=WRONG_VALUE)


def _unknown_key(path: Steps, keys: Mapping[str, list[str]]) -> Finding:
    *parent, key = path
    allowed = keys[kind_at(tuple(parent))]
    hint = nearest(str(key), allowed) or f"allowed here: {', '.join(allowed)}"
    message = f'unknown key "{shown(key)}" in {name_of(tuple(parent))}'
    return Finding(path, message, hint, at="key", code=UNKNOWN_KEY)


def _missing_key(path: Steps) -> Finding:
    *parent, key = path
    example = {
        "targcc": "targcc: 1",
        "project": "project: {name: acme-jobs}",
        "name": "name: acme-jobs",
    }
    hint = f'add "{example.get(str(key), f"{key}: …")}"'
    message = f'{name_of(tuple(parent))} has no "{key}"'
    return Finding(path, message, hint, at="key", code=MISSING_KEY)


def _in_words(detail: ErrorDetails, name: str) -> tuple[str, str | None]:
    """Return message and hint for an error type of Pydantic."""
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


# Messages and hints by Pydantic's error type; braces name values of the error's context.
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
    """Return a mapping unchanged and an empty mapping for any other value; the check of values reports the wrong type."""
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def shown(value: object) -> str:
    """Return a value as part of a message: short, on one line, spelled as in YAML."""
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
"""Kinds of mappings by path; None stands for any key."""


def kind_at(path: Steps) -> str:
    """Return the kind of mapping at a path: a kind of `_KINDS`, else the last key, such as `project`, `alerts` or `misfire`."""
    for shape, kind in _KINDS.items():
        if len(shape) == len(path) and all(
            shape_step is None or shape_step == step
            for shape_step, step in zip(shape, path, strict=True)
        ):
            return kind
    return str(path[-1])


def name_of(path: Steps) -> str:  # noqa: PLR0911 - one line for each kind
    """Name the value at a path for a message: `retries`, `job DailyReport`, `alerts of job DailyReport`."""
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


# Errors with positions, as printed.

MAX_PROBLEMS = 25
"""The most errors shown in full."""

_WIDTH = 100
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True, order=True)
class Problem:
    """An error and its position.

    Attributes:
        line: From 0.
        column: From 0, in characters.
        length: The number of characters marked by carets; 0 shows no line.
        message: The fault.
        hint: The advice.
        code: The code in the manual.
    """

    line: int
    column: int
    length: int
    message: str
    hint: str | None = None
    code: str = SYNTAX


class SpecErrors(InputError):  # noqa: N818 - it carries several errors
    """A spec is wrong (exit status 2).

    `message` is the whole report: each error with position, line, carets and advice, and the number of errors.

    Attributes:
        filename: The file, as messages name it.
        problems: The errors, ordered by position.
    """

    kind = "spec"
    prefix = ""

    def __init__(self, filename: str, text: str, problems: Iterable[Problem]) -> None:
        self.filename = filename
        self.problems = sorted(
            set(problems), key=lambda problem: (problem.line, problem.column, problem.message)
        )
        self._lines = split_lines(text.removeprefix("\ufeff"))
        super().__init__(self._report(with_codes=False))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the printed errors, in the order of the report, each once."""
        return tuple(dict.fromkeys(problem.code for problem in self.problems[:MAX_PROBLEMS]))

    def report(self) -> str:
        """Return the report as printed, with the code of each error."""
        return self._report(with_codes=True)

    def _report(self, *, with_codes: bool) -> str:
        report: list[str] = []
        for problem in self.problems[:MAX_PROBLEMS]:
            where = f"{self.filename}:{problem.line + 1}:{problem.column + 1}"
            code = f"[{problem.code}]" if with_codes else ""
            report.append(f"{where}: error{code}: {_printable(problem.message)}")
            report += _frame(self._lines, problem)
        hidden = len(self.problems) - MAX_PROBLEMS
        if hidden > 0:
            report.append(f"… and {hidden} more.")
        count = len(self.problems)
        report.append(f"{count} error{'' if count == 1 else 's'}, nothing was written.")
        return "\n".join(report)


def split_lines(text: str) -> list[str]:
    """Split a YAML file into lines without line endings, at YAML's line breaks."""
    return _LINE_BREAK.split(text)


def _frame(lines: list[str], problem: Problem) -> list[str]:
    """Return the line before the error, the line with the error, and carets below the wrong part."""
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
    """Return the part of a long line that fits, and before that the number of characters left out in front."""
    shift = max(0, column - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown = line[shift : shift + _WIDTH]
    return shift, "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in shown)


def _columns(text: str) -> int:
    """Count the terminal columns that a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _printable(text: str) -> str:
    """Escape characters that would move the cursor or turn the writing direction."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )
