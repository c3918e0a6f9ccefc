# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The form that runs a job: an input for each typed argument, and back from the form to values."""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from ..job import JobDefinition


@dataclass(frozen=True, slots=True)
class Field:
    """One input.

    Args:
        name: The argument.
        kind: ``text``, ``number``, ``checkbox``, ``date``, ``datetime-local``, ``password``, ``select`` or ``textarea``.
        value: What it shows first, as text; ``on`` checks a checkbox.
        required: Whether the job has no default for it.
        hint: How to write it.
        step: Of a number: ``1`` or ``any``.
        options: Of a select.
    """

    name: str
    kind: str
    value: str
    required: bool
    hint: str
    step: str = ""
    options: tuple[str, ...] = ()


def fields(definition: JobDefinition, given: Mapping[str, str] | None = None) -> list[Field]:
    """The inputs for a job's arguments.

    Args:
        given: What was typed before, to show it again.
    """
    if definition.parameters is None:
        return []
    return [
        _field(name, info, None if given is None else given.get(f"arg-{name}", ""), definition)
        for name, info in definition.parameters.model_fields.items()
    ]


def _field(name: str, info: FieldInfo, given: str | None, definition: JobDefinition) -> Field:
    secret = name in definition.signature.secrets
    kind, hint, step, options = _look(info.annotation, secret=secret)
    value = _shown(None if info.is_required() else info.get_default(call_default_factory=True))
    if secret:
        value, hint = "", hint if info.is_required() else "secret; empty takes the default"
    return Field(
        name=name,
        kind=kind,
        value=value if given is None or secret else given,
        required=info.is_required() and kind != "checkbox",
        hint=hint,
        step=step,
        options=options,
    )


def _look(annotation: Any, *, secret: bool) -> tuple[str, str, str, tuple[str, ...]]:
    """Kind, hint, step and options for a type."""
    plain = _without_none(annotation)
    if secret:
        return "password", "secret", "", ()
    if get_origin(plain) is Literal:
        return "select", "", "", tuple(str(value) for value in get_args(plain))
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return "select", "", "", tuple(str(member.value) for member in plain)
    if get_origin(plain) in {list, set, frozenset, tuple}:
        return "textarea", "one value a line", "", ()
    simple = {
        bool: ("checkbox", "", ""),
        int: ("number", "whole number", "1"),
        float: ("number", "number", "any"),
        date: ("date", "", ""),
        datetime: ("datetime-local", "", ""),
        str: ("text", "text", ""),
    }
    if plain in simple:
        return (*simple[plain], ())
    if get_origin(plain) is dict or plain in {dict, Any} or _is_model(plain):
        return "textarea", "JSON", "", ()
    return "text", getattr(plain, "__name__", str(plain)).lower(), "", ()


def _without_none(annotation: Any) -> Any:
    """The type without ``None`` and without what ``Annotated`` adds."""
    if get_origin(annotation) is typing.Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {typing.Union, types.UnionType}:
        rest = [one for one in get_args(annotation) if one is not type(None)]
        return _without_none(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _is_model(plain: Any) -> bool:
    return isinstance(plain, type) and issubclass(plain, pydantic.BaseModel)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="minutes")
    if isinstance(value, list | tuple | set | frozenset):
        return "\n".join(_shown(item) for item in value)
    if isinstance(value, dict | pydantic.BaseModel):
        return json.dumps(
            value if isinstance(value, dict) else value.model_dump(mode="json"), ensure_ascii=False
        )
    return str(value)


def values(definition: JobDefinition, form: Mapping[str, str]) -> dict[str, Any]:
    """The arguments that a form says; an input left empty counts as not given, so that the job's default holds.

    Raises:
        ValueError: an input that takes JSON holds something else.
    """
    found: dict[str, Any] = {}
    for field in fields(definition):
        text = form.get(f"arg-{field.name}", "")
        if field.kind == "checkbox":
            found[field.name] = bool(text)
        elif text.strip() == "" and not (field.required and field.kind == "text"):
            continue
        elif field.kind == "textarea":
            found[field.name] = _many(field, text)
        elif field.kind == "select":
            found[field.name] = _chosen(definition, field.name, text)
        else:
            found[field.name] = text
    return found


def _chosen(definition: JobDefinition, name: str, text: str) -> Any:
    """The value of a ``Literal`` that is written so; an enum reads its text by itself."""
    assert definition.parameters is not None
    kind = _without_none(definition.parameters.model_fields[name].annotation)
    known = {str(value): value for value in get_args(kind)}
    return known.get(text, text)


def _many(field: Field, text: str) -> Any:
    if field.hint != "JSON":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{field.name}: not JSON: {error.msg} at line {error.lineno}") from None
