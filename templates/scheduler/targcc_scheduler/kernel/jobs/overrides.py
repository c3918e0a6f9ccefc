"""Options that can be overridden, and the stored value of an override."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ...core.errors import OverrideError
from ...schedules.cron import CronSchedule
from ...schedules.errors import CronError
from ...schedules.words import format_duration, parse_duration
from ...schedules.zones import parse_zone

# Parse the text form of a schedule, as in pages and ``c_JobSchedule``, into options of ``@job``.

_EVERY = re.compile(
    r"every (?P<every>\S+)(?: after (?P<after>completion|start)| from (?P<anchor>\S+))?"
)
_ONCE = re.compile(r"once at (?P<at>\S+)")


def options_of(text: str) -> dict[str, Any]:
    """Parse a schedule's text into options: ``schedule`` (a cron expression), ``every`` with ``after`` or ``anchor``, or ``at``.

    Raises:
        CronError: the cron expression or the duration cannot be read.
    """
    if match := _EVERY.fullmatch(text):
        parse_duration(match["every"])
        return {name: value for name, value in match.groupdict().items() if value is not None}
    if match := _ONCE.fullmatch(text):
        return {"at": match["at"]}
    CronSchedule.parse(text)
    return {"schedule": text}


# Overrides: the allowed options, and their stored values.

MOST_PRIORITY = 1000
"""Largest priority, as in targcc.yaml: an override can be moved into that file."""
_MOST_RETRIES = 1000


@dataclass(frozen=True, slots=True)
class Override:
    """An option of a job that a person has changed.

    Args:
        job: The job's name.
        field: The option, one of :data:`FIELDS`.
        value_json: The value as JSON; see :func:`read_value`.
        by: Author.
        at: Time of the change.
        reason: Reason for the change.
        until: End of the override; ``None`` until a reset.
        problem: Why the override has no effect: the value does not fit the job's code any more. Empty for an effective override.
    """

    job: str
    field: str
    value_json: str
    by: str
    at: datetime
    reason: str
    until: datetime | None = None
    problem: str = ""

    @property
    def value(self) -> Any:
        """Return the value: a text, a number, or a mapping of arguments."""
        return json.loads(self.value_json)

    @property
    def shown(self) -> str:
        """Return the value as text for people."""
        value = self.value
        if isinstance(value, dict):
            return ", ".join(
                f"{name}={json.dumps(argument, ensure_ascii=False)}"
                for name, argument in value.items()
            )
        return str(value)

    def with_problem(self, problem: str) -> Override:
        """Return a copy that has no effect, with the reason."""
        return replace(self, problem=problem)


def read_value(field: str, given: Any) -> Any:
    """Check an option's value from a form or from JSON, and return the value to store.

    Args:
        field: The option.
        given: ``schedule``: a cron expression, ``every 15m``, ``every 1h after completion``, ``every 1d from 2026-01-01T02:00`` or ``once at
            2026-12-31T08:00``. ``timezone``, ``queue``: a name. ``priority``, ``retries``: a whole number. ``timeout``: a duration or
            ``none``. ``arguments``: a mapping, or its JSON.

    Raises:
        OverrideError: the value is invalid, or the option does not exist.
    """
    if field not in _READERS:
        raise OverrideError(f"{field!r} cannot be overridden: {', '.join(_READERS)} can")
    try:
        return _READERS[field](given)
    except (CronError, ValueError) as error:
        raise OverrideError(f"{field}: {error}") from None


def _schedule(given: Any) -> str:
    text = " ".join(str(given).split())
    options_of(text)
    return text


def _zone(given: Any) -> str:
    return parse_zone(str(given)).key


def _queue(given: Any) -> str:
    if not str(given).strip():
        raise ValueError("a queue has a name")
    return str(given).strip()


def _number(low: int, high: int) -> Callable[[Any], int]:
    def read(given: Any) -> int:
        try:
            number = int(str(given))
        except ValueError:
            raise ValueError(f"{given!r} is no whole number") from None
        if not low <= number <= high:
            raise ValueError(f"a number from {low} to {high}, not {number}")
        return number

    return read


def _timeout(given: Any) -> str:
    text = str(given).strip()
    return text if text == "none" else format_duration(parse_duration(text))


def _arguments(given: Any) -> dict[str, Any]:
    arguments = json.loads(given) if isinstance(given, str) else given
    if not isinstance(arguments, Mapping) or not arguments:
        raise ValueError('an object such as {"days": 3}')
    return dict(arguments)


_READERS: dict[str, Callable[[Any], Any]] = {
    "schedule": _schedule,
    "timezone": _zone,
    "arguments": _arguments,
    "queue": _queue,
    "priority": _number(-MOST_PRIORITY, MOST_PRIORITY),
    "retries": _number(0, _MOST_RETRIES),
    "timeout": _timeout,
}
FIELDS = tuple(_READERS)
"""The options that can be overridden."""
