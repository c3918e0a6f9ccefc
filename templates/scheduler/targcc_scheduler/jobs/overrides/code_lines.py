"""What to write so that the code says what people have changed: lines of targcc.yaml, of ``@job`` and of ``execute``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..definition import JobDefinition
from .schedule_text import options_of
from .values import Override

_CRON = "cron"


@dataclass(frozen=True, slots=True)
class CodeLines:
    """What to write where.

    Args:
        spec: Lines of targcc.yaml.
        decorator: Arguments of ``@job(…)``, one a line.
        signature: Parameters of ``execute``, one a line.
    """

    spec: tuple[str, ...]
    decorator: tuple[str, ...]
    signature: tuple[str, ...]


def code_lines(job: JobDefinition) -> CodeLines:
    """The lines that make the code say what holds; none for what does not fit the code."""
    held = [one for one in job.overrides if not one.problem]
    options = {name: value for one in held for name, value in _options(one).items()}
    parameters = dict(_parameters(job)) if any(one.field == "arguments" for one in held) else {}
    return CodeLines(
        tuple(_spec(job, options, parameters)),
        tuple(_argument(name, value) for name, value in options.items()),
        tuple(f"{name}: {kind} = {value!r}" for name, (kind, value, _) in parameters.items()),
    )


def _options(one: Override) -> dict[str, Any]:
    """Options as the spec names them; only the decorator has the cron expression without a name."""
    if one.field == "arguments":
        return {}
    if one.field != "schedule":
        return {one.field: one.value}
    found = options_of(one.value)
    return {_CRON if name == "schedule" else name: value for name, value in found.items()}


def _parameters(job: JobDefinition) -> Iterator[tuple[str, tuple[str, Any, Any]]]:
    """The changed parameters: their type as it is written, and their value, also as JSON has it."""
    kept: dict[str, Any] = json.loads(job.arguments_json)
    values = job.signature.only(kept).load(job.arguments_json)
    written = inspect.signature(job.function).parameters
    for name, value in values.items():
        yield name, (_type(written[name].annotation), value, kept[name])


def _type(annotation: Any) -> str:
    """As the spec names it, and a module that imports it: ``date``, not ``datetime.date``."""
    if isinstance(annotation, str):
        return annotation
    plain = isinstance(annotation, type)
    return annotation.__name__ if plain else inspect.formatannotation(annotation)


def _spec(
    job: JobDefinition, options: dict[str, Any], parameters: dict[str, tuple[str, Any, Any]]
) -> Iterator[str]:
    if not options and not parameters:
        return
    yield "jobs:"
    yield f"  {job.key}:"
    for name, value in options.items():
        yield f"    {name}: {json.dumps(value, ensure_ascii=False)}"
    if parameters:
        yield "    params:"
    for name, (kind, _, value) in parameters.items():
        default = json.dumps(value, ensure_ascii=False)
        plain = isinstance(value, str) and not kind.startswith("str")  # a date, say
        text = f"{kind} = {value if plain else default}"
        yield f"      {name}: {json.dumps(text, ensure_ascii=False)}"


def _argument(name: str, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"{text}," if name == _CRON else f"{name}={text},"
