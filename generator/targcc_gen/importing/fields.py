"""Three versions of a job, field by field: as the old server said it last time, as it is here, as the old server says it now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.spec import build_job

SCHEDULE = "schedule"
_SCHEDULE_KEYS = ("cron", "every", "anchor", "after", "at", "type")
_NESTED = ("alerts", "misfire")
NAMES = ("name", "display_name")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that says something else: what it was, and what it is on each side. None: nothing is said.

    ``before`` is None too where no earlier import is known.
    """

    field: str
    before: Any
    mine: Any
    old: Any


@dataclass(frozen=True, slots=True)
class Merged:
    """Three versions in one.

    Attributes:
        values: The job by the keys of the spec; conflicts have what is here.
        taken: What the old server changed.
        kept: What was changed here.
        conflicts: What both changed, each in its own way.
    """

    values: dict[str, Any]
    taken: tuple[FieldChange, ...]
    kept: tuple[FieldChange, ...]
    conflicts: tuple[FieldChange, ...]


Choose = Callable[[str], str | None]
"""For a field: ``mine``, ``old``, or None where nobody chose."""


def merge(
    base: Mapping[str, Any] | None,
    mine: Mapping[str, Any],
    old: Mapping[str, Any],
    choose: Choose,
    insist: Choose = lambda _: None,
) -> Merged:
    """Merge three versions of a job.

    Args:
        base: What the last import made of the row; None where there was none.
        mine: The job as the project has it.
        old: What this import makes of the row.
        choose: The side a person chose for what both changed.
        insist: The side a person chose by the job's or the field's name, which counts for what one side changed too.
    """
    was = None if base is None else split(base)
    here, there = split(mine), split(old)
    result = dict(here)
    taken, kept, conflicts = [], [], []
    for name in dict.fromkeys([*(was or {}), *here, *there]):
        change = FieldChange(name, (was or {}).get(name), here.get(name), there.get(name))
        if same(name, change.mine, change.old):
            continue
        side = insist(name)
        if side is None and was is not None and same(name, change.before, change.old):
            side = "mine"
        if side is None and was is not None and same(name, change.before, change.mine):
            side = "old"
        side = side or choose(name)
        if side is None:
            conflicts.append(change)
        elif side == "mine":
            kept.append(change)
        else:
            taken.append(change)
            result.pop(name, None)
            if change.old is not None:
                result[name] = change.old
    return Merged(joined(result), tuple(taken), tuple(kept), tuple(conflicts))


def split(values: Mapping[str, Any]) -> dict[str, Any]:
    """A job's values by field: what says when it runs is one, and each part of ``alerts`` and ``misfire``."""
    fields: dict[str, Any] = {}
    schedule = {key: values[key] for key in _SCHEDULE_KEYS if key in values}
    if schedule:
        fields[SCHEDULE] = schedule
    for key, value in values.items():
        if key in _NESTED and isinstance(value, Mapping):
            fields |= {f"{key}.{part}": one for part, one in value.items()}
        elif key not in _SCHEDULE_KEYS:
            fields[key] = value
    return fields


def joined(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of ``split``."""
    values: dict[str, Any] = dict(fields.get(SCHEDULE, {}))
    for name, value in fields.items():
        outer, dot, part = name.partition(".")
        if dot:
            values.setdefault(outer, {})[part] = value
        elif name != SCHEDULE:
            values[name] = value
    return values


def same(name: str, one: Any, other: Any) -> bool:
    """Whether two values of a field mean the same: also intervals that are counted from anchors a few of them apart."""
    return bool(one == other) or (name == SCHEDULE and _same_grid(one, other))


def _same_grid(one: Any, other: Any) -> bool:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    if (
        one.keys() != other.keys()
        or set(one) != {"every", "anchor"}
        or one["every"] != other["every"]
    ):
        return False
    try:
        first, second = (build_job("Job", dict(values)) for values in (one, other))
    except InputError:
        return False
    assert first.anchor is not None
    assert second.anchor is not None
    assert first.every is not None
    if (first.anchor.tzinfo is None) != (second.anchor.tzinfo is None):
        return False
    return not (second.anchor - first.anchor) % first.every


def shown(value: Any) -> str:
    """A field's value on one line, as a spec would say it."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
