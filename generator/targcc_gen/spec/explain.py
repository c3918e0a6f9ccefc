"""Explain a key of the spec: the value, and the place that sets it (the spec, an extended file, an environment, the default)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from targcc_gen.errors import InputError, UnknownKeyError
from targcc_gen.names import JobName
from targcc_gen.spec.dump import shown_default
from targcc_gen.spec.errors import nearest
from targcc_gen.spec.models import FlowSpec, JobSpec, Spec
from targcc_gen.spec.nodes import Node
from targcc_gen.spec.parts import (
    AlertsSpec,
    CalendarSpec,
    DefaultsSpec,
    EnvironmentJob,
    MisfireSpec,
    PoolSpec,
    ProjectSpec,
    QueueSpec,
)
from targcc_gen.spec.shared import Layer

Steps = tuple[str, ...]

_BY_DEFAULT = "the default"
_JOB_KEY = len(("jobs", "Daily", "timeout"))
_NAMED: dict[str, type[BaseModel]] = {
    "jobs": JobSpec,
    "queues": QueueSpec,
    "pools": PoolSpec,
    "calendars": CalendarSpec,
    "flows": FlowSpec,
}
"""The sections with named entries, and the model of an entry."""
_IN_DEFAULTS = frozenset(DefaultsSpec.model_fields)


@dataclass(frozen=True)
class Setting:
    """A value and its origin.

    Attributes:
        value: The value, as in YAML.
        origin: `targcc.yaml:12`, or `the default`.
    """

    value: Any
    origin: str


def explain(
    path: str, spec: Spec, layers: Sequence[Layer], environment: str | None
) -> list[Setting]:
    """Return all values given for a key, the effective value first.

    Args:
        path: The key's path, such as `jobs.Daily.timeout`.
        spec: The spec, merged with the files it extends.
        layers: The files, the nearest first.
        environment: The environment in which the project runs; None for no environment of the spec.

    Raises:
        InputError: The key or the environment does not exist.
    """
    if environment is not None and environment not in spec.environments:
        known = list(spec.environments)
        hint = nearest(environment, known) or f"it has {', '.join(known) or 'none'}"
        raise UnknownKeyError(f"no environment {environment}", hint=hint)
    steps = _known(tuple(path.split(".")), spec)
    settings = [
        setting
        for wanted in _places(steps, environment)
        for layer in layers
        if (setting := _setting(layer, wanted)) is not None
    ]
    default = _default(steps)
    if default is not None or not settings:
        settings.append(Setting(default, _BY_DEFAULT))
    return settings


def _places(steps: Steps, environment: str | None) -> Iterator[Steps]:
    """Yield the paths at which a value may be given, the strongest first."""
    place_steps: Steps = () if environment is None else ("environments", environment)
    is_job = steps[0] == "jobs"
    if place_steps and steps[0] in {"defaults", "queues", "pools", "flows", "jobs"}:
        yield (*place_steps, *steps)
    yield steps
    if is_job and steps[-1] in _IN_DEFAULTS and len(steps) == _JOB_KEY:
        if place_steps:
            yield (*place_steps, "defaults", steps[-1])
        yield ("defaults", steps[-1])
    if is_job and steps[-1] == "timezone":
        yield ("project", "timezone")


def _setting(layer: Layer, steps: Steps) -> Setting | None:
    node, name = layer.root, layer.root
    for depth, step in enumerate(steps):
        entry = _entry(node, step, is_job=depth > 0 and steps[depth - 1] in {"jobs", "flows"})
        if entry is None:
            return None
        name, node = entry
    return Setting(node.data(), f"{layer.name}:{name.start.line + 1}")


def _entry(node: Node, step: str, *, is_job: bool) -> tuple[Node, Node] | None:
    if not is_job:
        return node.entries.get(step)
    entries = (entry for key, entry in node.entries.items() if _key(key) == _key(step))
    return next(entries, None)


def _key(written: str) -> str:
    try:
        return JobName.parse(written).key.casefold()
    except InputError:
        return written


def _known(steps: Steps, spec: Spec) -> Steps:
    """Return the steps with a name spelled as in the spec.

    Raises:
        InputError: The key does not exist.
    """
    models: dict[str, type[BaseModel]] = {"project": ProjectSpec, "defaults": DefaultsSpec}
    first, *rest = steps
    if first not in Spec.model_fields:
        raise _no_key(first, list(Spec.model_fields))
    if first in models:
        _check_keys(rest, models[first])
    elif first in _NAMED and rest:
        known = list(getattr(spec, first))
        name = next((candidate for candidate in known if _key(candidate) == _key(rest[0])), None)
        if name is None:
            raise _no_key(rest[0], known, f"{first[:-1]} ")
        _check_keys(rest[1:], _NAMED[first])
        return (first, name, *rest[1:])
    return steps


def _check_keys(keys: Sequence[str], model: type[BaseModel]) -> None:
    if keys and keys[0] not in model.model_fields:
        raise _no_key(keys[0], list(model.model_fields))


def _no_key(key: str, known: list[str], kind: str = "") -> InputError:
    return UnknownKeyError(
        f"no {kind or 'key '}{key}", hint=nearest(key, known) or f"there is {', '.join(known)}"
    )


def _default(steps: Steps) -> Any:
    """Return the default value of a key; None without a default."""
    parts: dict[str, type[BaseModel]] = {
        "alerts": AlertsSpec, "misfire": MisfireSpec, "project": ProjectSpec,
        "defaults": DefaultsSpec, **_NAMED,
    }  # fmt: skip
    *above, key = steps
    holders = [parts[step] for step in above if step in parts]
    holder: type[BaseModel] = holders[-1] if holders else Spec
    if key in _IN_DEFAULTS and holder is JobSpec and key in EnvironmentJob.model_fields:
        holder = DefaultsSpec
    field = holder.model_fields.get(key)
    if field is None or field.is_required() or field.default_factory is not None:
        return None
    return shown_default(field.default) or None
