"""A job's parameters: `user_id: int`, or with a default value, `since: "date = 2026-01-01"`."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema

from targcc_gen.spec.errors import nearest, problem

_Kind = TypeVar("_Kind")

_MAX_NAME = 100
_MAX_DIGITS = 4000  # Python itself refuses to read integers beyond 4300


@dataclass(frozen=True)
class Param:
    """One typed argument of a job's `execute`.

    Attributes:
        type: One of `PARAM_TYPES`.
        default: The default value, of that type; None when there is none.
        required: Whether whoever starts the job must give a value.
    """

    type: str
    default: Any = None
    required: bool = True

    @classmethod
    def parse(cls, text: str) -> Param:
        """Read `int` or `date = 2026-01-01`.

        Raises:
            ValueError: The type is unknown or the default is none of its values.
        """
        name, equals, default = text.partition("=")
        kind = re.sub(r"\s*([\[\]])\s*", r"\1", name.strip())
        if kind not in PARAM_TYPES:
            hint = nearest(kind, list(PARAM_TYPES)) or f"use one of {', '.join(PARAM_TYPES)}"
            raise problem(f'no parameter type "{name.strip()}"', hint=hint)
        if not equals:
            return cls(kind)
        return cls(kind, _default(kind, default.strip()), required=False)

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        return self.type if self.required else f"{self.type} = {_default_text(self.default)}"


def _text(text: str) -> str:
    """A text as it stands, or in quotes: in double ones as JSON has it, in single ones to the letter."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1]
    elif text.startswith('"'):
        value = json.loads(text)
        if not isinstance(value, str):
            raise ValueError(text)
        text = value
    text.encode()  # a lone surrogate is no text
    if "\0" in text:
        raise ValueError(text)
    return text


def _integer(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]+", text) or len(text) > _MAX_DIGITS:
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", text):
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _texts(text: str) -> list[str]:
    return [_item(item, str) for item in _json_list(text)]


def _integers(text: str) -> list[int]:
    return [_item(item, int) for item in _json_list(text)]


def _json_list(text: str) -> list[Any]:
    value = _json(text)
    if not isinstance(value, list):
        raise ValueError(text)  # noqa: TRY004 - one exception type says "no value of this type"
    return value


def _item(item: object, kind: type[_Kind]) -> _Kind:
    if type(item) is not kind:
        raise ValueError(item)
    return item


def _mapping(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise ValueError(text)  # noqa: TRY004 - one exception type says "no value of this type"
    return value


def _json(text: str) -> Any:
    """JSON without `NaN` and infinities, which no database's JSON has."""
    value = json.loads(text, parse_constant=_truth)
    _text(json.dumps(value, ensure_ascii=False, allow_nan=False).replace('"', ""))
    return value


_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "str": (_text, "str = hello"),
    "int": (_integer, "int = 10"),
    "float": (_number, "float = 0.5"),
    "bool": (_truth, "bool = true"),
    "date": (date.fromisoformat, "date = 2026-01-01"),
    "datetime": (datetime.fromisoformat, "datetime = 2026-01-01T02:00"),
    "uuid": (UUID, "uuid = 123e4567-e89b-12d3-a456-426614174000"),
    "list[str]": (_texts, 'list[str] = ["a", "b"]'),
    "list[int]": (_integers, "list[int] = [1, 2]"),
    "dict": (_mapping, 'dict = {"a": 1}'),
}

PARAM_TYPES = tuple(_READERS)
"""The types a parameter can have."""

PARAM_EXAMPLES = {kind: example for kind, (_, example) in _READERS.items()}
"""A parameter of each type with a default value, as a spec writes it."""


def _default(kind: str, text: str) -> Any:
    read, example = _READERS[kind]
    try:
        return read(text)
    except (ValueError, KeyError, RecursionError):
        raise problem(f'"{text}" is no {kind}', hint=f'write it like "{example}"') from None


def _default_text(value: Any) -> str:
    if isinstance(value, str):
        quoted = value.startswith('"') or value[:1] == value[-1:] == "'"
        plain = value == value.strip() and not quoted and value.isprintable()
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _param(value: object) -> Param:
    if isinstance(value, Param):
        return value
    if not isinstance(value, str):
        raise problem(
            "a parameter's type is missing", hint='write it like "int" or "date = 2026-01-01"'
        )
    return Param.parse(value)


# `scheduler.enqueue(job, user_id=42)` and `scheduler.schedule(…)` take these names themselves, `execute` the next three, and
# `run_job` in a test the last four.
_TAKEN = (
    *("by", "connection", "queue", "priority", "delay", "at"),
    *("job", "self", "ctx"),
    *("scheduled_for", "attempt", "steps", "cancelled"),
)


def checked_name(value: object) -> str:
    """A parameter's name.

    Raises:
        ValueError: It is none that a job's `execute` can have.
    """
    if (
        not isinstance(value, str)
        or not re.fullmatch(r"[a-z][a-z0-9_]*", value)
        or len(value) > _MAX_NAME
    ):
        raise problem(
            f'"{value}" is no name for a parameter',
            hint="lower-case letters, digits and _, beginning with a letter",
        )
    if keyword.iskeyword(value):
        raise problem(
            f'parameter "{value}" is a Python keyword', hint=f'for example "{value}_value"'
        )
    if value in _TAKEN or value.startswith("model_"):  # pydantic's, by which arguments are checked
        raise problem(
            f'parameter "{value}" is a name the scheduler uses itself',
            hint=f'for example "{value}_value"',
        )
    return value


ParamName = Annotated[str, BeforeValidator(checked_name)]

ParamSpec = Annotated[
    Param,
    BeforeValidator(_param),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*(str|int|float|bool|date|datetime|uuid|list\s*\[\s*(str|int)\s*\]|dict)\s*(=|$)",
            "examples": ["int", "date = 2026-01-01"],
        }
    ),
]
