"""The values of `after`, `unique`, `unique_scope` and `on_duplicate` of a job. Each is an annotated type that Pydantic checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from targcc_gen.spec.params import checked_name
from targcc_gen.spec.times import checked_duration, format_duration, parsed_duration
from targcc_gen.spec.value_errors import nearest, problem
from targcc_gen.spec.values import checked_key

INTERVALS = ("completion", "start")
"""What `after` says beside `every`; all else is the name of a job, or a list of them."""

TIMED = ("debounce", "throttle")
"""The words of `on_duplicate` that a duration follows."""


def parents(after: object) -> tuple[str, ...]:
    """The jobs that a value of `after` names, as it spells them; none where it speaks of `every`, or is wrong."""
    if isinstance(after, str):
        return () if after in INTERVALS else (after,)
    if isinstance(after, list | tuple):
        return tuple(one for one in after if isinstance(one, str))
    return ()


def follows(job: Mapping[str, Any]) -> bool:
    """Whether a job comes after others, also where it says so wrongly."""
    return job.get("after") is not None and job["after"] not in INTERVALS


def _after(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str) and value in INTERVALS:
        return value
    names = _texts(value)
    if names is None:
        hint = "write [ImportOrders]; or, with every, completion or start"
        raise problem("after is a job, or a list of jobs", hint=hint)
    return tuple(dict.fromkeys(map(checked_key, names)))


def _texts(value: object) -> list[str] | None:
    """A text, or a list of them that has some; None for anything else."""
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not several:
        return None
    texts = [one for one in several if isinstance(one, str)]
    return texts if len(texts) == len(several) else None


_NAME = {"type": "string", "pattern": r"^[\s_\-]*[A-Za-z][A-Za-z0-9_\-\s]*$"}

After = Annotated[
    # The words are those of `INTERVALS`.
    Literal["completion", "start"] | tuple[str, ...],
    PlainValidator(_after),
    WithJsonSchema(
        {
            "anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1}],
            "examples": ["ImportOrders", "completion"],
        }
    ),
]
"""With `every`, where intervals are counted from; else the keys of the jobs that a job comes after."""


def _unique(value: object) -> Literal[True] | tuple[str, ...]:
    if value is True:
        return True
    names = _texts(value)
    if names is None:
        hint = "write [customer_id]; true is all parameters"
        raise problem("unique is a parameter, a list of them, or true", hint=hint)
    return tuple(dict.fromkeys(map(checked_name, names)))


_PARAM = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}

UniqueBy = Annotated[
    Literal[True] | tuple[str, ...],
    PlainValidator(_unique),
    WithJsonSchema(
        {
            "anyOf": [_PARAM, {"type": "array", "items": _PARAM, "minItems": 1}, {"const": True}],
            "examples": ["customer_id", True],
        }
    ),
]
"""The parameters by which a run is unique; `true`: all of them."""

_RATE = r"[1-9]\d{0,8}/(s|min|h|d)"


def _rate(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_RATE, value):
        raise problem("this does not say how many in how long", hint="write 100/min, 5/s or 1000/h")
    return value


Rate = Annotated[
    str,
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "pattern": f"^{_RATE}$", "examples": ["100/min"]}),
]
"""How many may start in a second, a minute, an hour or a day."""

Scope: TypeAlias = Literal["queued", "running"] | timedelta
_SCOPES = ("queued", "running")


def _scope(value: object) -> str | timedelta:
    return value if isinstance(value, str) and value in _SCOPES else checked_duration(value)


UniqueScope = Annotated[
    Scope,
    PlainValidator(_scope),
    WithJsonSchema({"type": "string", "examples": ["queued", "running", "1h"]}),
]
"""Until a run starts, until it is over, or so long after it succeeded."""

_DUPLICATE = 'use skip, replace, "debounce 30s" or "throttle 1m"'


def _duplicate(value: object) -> str:
    if not isinstance(value, str):
        raise problem("on_duplicate is a word", hint=_DUPLICATE)
    word, space, span = value.partition(" ")
    if word in TIMED:
        if not span.strip():
            raise problem(f"{word} does not say how long", hint=f'write "{word} 30s"')
        column = len(word) + len(space) + len(span) - len(span.lstrip())
        return f"{word} {format_duration(parsed_duration(span.strip(), column))}"
    if value not in {"skip", "replace"}:
        hint = nearest(word, ["skip", "replace", *TIMED]) or _DUPLICATE
        raise problem(f'on_duplicate cannot be "{value}"', hint=hint)
    return value


OnDuplicate = Annotated[
    str,
    PlainValidator(_duplicate),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["skip", "replace"]},
                {"type": "string", "pattern": r"^(debounce|throttle)\s+\S"},
            ],
            "examples": ["debounce 30s"],
        }
    ),
]
"""What becomes of a second run with the same key."""
