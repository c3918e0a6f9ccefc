"""What is wrong with a spec, before it is known where in the file that stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from targcc_gen.spec.value_errors import PROBLEM, RULE, nearest

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
    found, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "literal_error":
            return _not_among(found, name, context["expected"])
        case "bool_type":
            return f"{name} must be true or false", _truth_meant(found)
        case "string_type" if _is_plain(found):
            return f"{name} must be text", f'put it in quotes: "{shown(found)}"'
        case "tuple_type" if _is_plain(found):
            return f"{name} must be a list", f"write [{shown(found)}]"
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


def _truth_meant(found: object) -> str | None:
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(str(found).lower())
    return f'did you mean "{meant}"?' if meant else None


def _not_among(found: object, name: str, expected: str) -> tuple[str, str]:
    allowed = expected.replace(" or ", ", ").replace("'", "").split(", ")
    hint = (
        nearest(str(found), allowed)
        or f"use {'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}"
    )
    return f'{name} cannot be "{shown(found)}"', hint


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
            one is None or one == step for one, step in zip(shape, path, strict=True)
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
