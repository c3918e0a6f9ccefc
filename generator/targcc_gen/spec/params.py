"""Parameters of a job: `user_id: int`, or with a default value, `since: "date = 2026-01-01"`."""

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
_MAX_DIGITS = 4000  # Python refuses to read integers of more than 4300 digits


@dataclass(frozen=True)
class Param:
    """A typed argument of a job's `execute`.

    Attributes:
        type: A type of `PARAM_TYPES`.
        default: The default value, already of the type; None without a default.
        required: Whether the caller must give a value.
    """

    type: str
    default: Any = None
    required: bool = True

    @classmethod
    def parse(cls, text: str) -> Param:
        """Read a parameter's text, such as `int` or `date = 2026-01-01`.

        Raises:
            ValueError: The type is unknown, or the default is not a value of the type.
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
        """Return the text that `parse` reads back."""
        return self.type if self.required else f"{self.type} = {_default_text(self.default)}"


def _text(text: str) -> str:
    """Read a text: bare, in double quotes as JSON, or in single quotes without escapes."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1]
    elif text.startswith('"'):
        value = json.loads(text)
        if not isinstance(value, str):
            raise ValueError(text)
        text = value
    text.encode()  # raises ValueError on a lone surrogate
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
    """Read JSON; refuse `NaN` and infinities, because no database's JSON has them."""
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
"""The types of parameters."""

PARAM_EXAMPLES = {kind: example for kind, (_, example) in _READERS.items()}
"""By type, a parameter with a default value as a spec writes it."""


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
    if isinstance(value, date):  # a datetime is a date
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


# Reserved names: the first line by `scheduler.enqueue(job, user_id=42)` and `scheduler.schedule(…)`, the second by `execute`,
# the third by `run_job` in a test.
_TAKEN = (
    *("by", "connection", "queue", "priority", "delay", "at"),
    *("job", "self", "ctx"),
    *("scheduled_for", "attempt", "steps", "cancelled"),
)


def checked_name(value: object) -> str:
    """Check the name of a parameter and return the name.

    Raises:
        ValueError: A job's `execute` cannot have a parameter of this name.
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
    if value in _TAKEN or value.startswith(
        "model_"
    ):  # arguments are checked by a pydantic model, which reserves `model_`
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
