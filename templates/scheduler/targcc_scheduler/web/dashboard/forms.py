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

from ...core.languages.catalogue import marked
from ...jobs.definition import JobDefinition
from ...jobs.files.file import File


@dataclass(frozen=True, slots=True)
class Field:
    """One input.

    Args:
        name: The argument.
        kind: ``text``, ``number``, ``checkbox``, ``date``, ``datetime-local``, ``password``, ``select``, ``textarea``, ``file`` or ``files``.
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
        definition: The job.
        given: What was typed before, to show it again.
    """
    if definition.parameters is None:
        return []
    return [
        _field(name, info, None if given is None else given.get(f"arg-{name}", ""), definition)
        for name, info in definition.parameters.model_fields.items()
    ]


def typed_of(definition: JobDefinition, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The arguments of a run as a form would hold them; secret ones are left out."""
    shown = {name: value for name, value in arguments.items() if value is not None}
    return {
        f"arg-{name}": _shown(value)
        for name, value in shown.items()
        if name not in definition.signature.secrets and name not in file_names(definition)
    }


def file_names(definition: JobDefinition) -> frozenset[str]:
    """The arguments that are files: a form sends them as parts of their own."""
    known = definition.parameters.model_fields if definition.parameters is not None else {}
    looks = {name: _look(_without_none(info.annotation)) for name, info in known.items()}
    return frozenset(name for name, look in looks.items() if look.kind in _FILES)


def _field(name: str, info: FieldInfo, given: str | None, definition: JobDefinition) -> Field:
    secret = name in definition.signature.secrets
    look = _Look("password", marked("secret")) if secret else _look(_without_none(info.annotation))
    changed = json.loads(definition.arguments_json)
    required = info.is_required() and name not in changed
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    value = _shown(changed.get(name, default)) if given is None else given
    return Field(
        name=name,
        kind=look.kind,
        value="" if secret or look.kind in _FILES else value,
        required=required and look.kind != "checkbox",
        hint=(
            marked("secret; empty takes the default")
            if secret and not info.is_required()
            else look.hint
        ),
        step=look.step,
        options=look.options,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """The kind of an input, for :class:`Field`."""

    kind: str
    hint: str = ""
    step: str = ""
    options: tuple[str, ...] = ()


_SIMPLE: dict[Any, _Look] = {
    bool: _Look("checkbox"),
    int: _Look("number", marked("whole number"), "1"),
    float: _Look("number", marked("number"), "any"),
    date: _Look("date"),
    datetime: _Look("datetime-local"),
    str: _Look("text", marked("text")),
    dict: _Look("textarea", "JSON"),
    list: _Look("textarea", marked("one value a line")),
    Any: _Look("textarea", "JSON"),
    File: _Look("file", marked("a file")),
}
_MANY_FILES = _Look("files", marked("one or more files"))
_FILES = {"file", "files"}


def _look(kind: Any) -> _Look:
    """The input for a type."""
    if options := _options(kind):
        return _Look("select", options=options)
    if get_origin(kind) in {list, set, frozenset, tuple}:
        return _MANY_FILES if get_args(kind)[:1] == (File,) else _SIMPLE[list]
    if get_origin(kind) is dict or (
        isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)
    ):
        return _SIMPLE[dict]
    return _SIMPLE.get(kind, _Look("text", getattr(kind, "__name__", str(kind)).lower()))


def _options(kind: Any) -> tuple[str, ...]:
    """The values to choose from, if the type names them."""
    if get_origin(kind) is Literal:
        return tuple(str(value) for value in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return tuple(str(member.value) for member in kind)
    return ()


def _without_none(annotation: Any) -> Any:
    """The type without ``None`` and without what ``Annotated`` adds."""
    if get_origin(annotation) is typing.Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {typing.Union, types.UnionType}:
        rest = [one for one in get_args(annotation) if one is not type(None)]
        return _without_none(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _shown(value: Any) -> str:
    """A default as the input shows it."""
    match value:
        case None | False:
            text = ""
        case True:
            text = "on"
        case enum.Enum():
            text = str(value.value)
        case datetime():
            text = value.replace(tzinfo=None).isoformat(timespec="minutes")
        case list() | tuple() | set() | frozenset():
            text = "\n".join(map(_shown, value))
        case dict():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case pydantic.BaseModel():
            text = value.model_dump_json()
        case _:
            text = str(value)
    return text


def values(definition: JobDefinition, form: Mapping[str, str]) -> dict[str, Any]:
    """The arguments that a form says, but files; an input left empty counts as not given, so that the job's default holds.

    Raises:
        ValueError: an input that takes JSON holds something else.
    """
    found: dict[str, Any] = {}
    for field in fields(definition):
        if field.kind in _FILES:
            continue
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
    """The value of a ``Literal`` with this text; other texts stay, since pydantic reads the members of an enum."""
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
    except (ValueError, RecursionError):  # numbers of thousands of digits, or as many brackets
        raise ValueError(f"{field.name}: not JSON that can be read") from None
