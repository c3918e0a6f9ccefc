"""The single values of a calendar, and the names of calendars. Each is an annotated type that Pydantic checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, WithJsonSchema

from targcc_gen.spec.times import from_cron_error
from targcc_gen.spec.value_errors import problem
from targcc_gen.spec.values import QueueName, Text


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _one_or_more(item: dict[str, Any]) -> WithJsonSchema:
    """One text, or a list of them."""
    several = {"type": "array", "items": item, "minItems": 1}
    return WithJsonSchema({"anyOf": [item, several]})


def _read_by(reader: str) -> Callable[[str], str]:
    """Check a line with one of the scheduler's own readers."""

    def check(text: str) -> str:
        from targcc_scheduler.schedules import calendar_entries
        from targcc_scheduler.schedules.errors import CronError

        try:
            getattr(calendar_entries, reader)(text)
        except CronError as error:
            raise from_cron_error(error) from error
        return text

    return check


def _file(text: str) -> str:
    parts = text.split("/")
    if not text.endswith(".ics") or any(part in {"", ".", ".."} or "\\" in part for part in parts):
        raise problem(
            f'"{text}" is no calendar file inside the package',
            hint='for example "calendars/holidays.ics": it comes along with the code',
        )
    return text


_TEXT = {"type": "string"}
_NAME = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,49}$"}

CalendarName = QueueName
"""A letter, then up to 49 letters, digits, - or _."""

OnHoliday = Literal["skip", "next", "previous"]
"""What becomes of a slot when a calendar is closed."""

CalendarNames = Annotated[
    tuple[CalendarName, ...],
    Field(min_length=1),
    BeforeValidator(_as_list),
    _one_or_more(_NAME),
]
"""One name, or a list of them."""


def _lines(reader: str, examples: list[str]) -> Any:
    line = Annotated[Text, AfterValidator(_read_by(reader))]
    return Annotated[
        tuple[line, ...],
        BeforeValidator(_as_list),
        _one_or_more({**_TEXT, "examples": examples}),
    ]


DaysOff = _lines(
    "parse_days",
    [
        "2026-09-21 (Yom Kippur)",
        "2026-12-24 to 2027-01-02",
        "12-25",
        "saturday",
        "second tuesday",
        "last friday of december",
    ],
)
"""Dates, ranges, dates of each year, weekdays; each with a name in parentheses, if it has one."""

Dates = _lines("parse_date", ["2026-10-03"])
"""Dates."""

Blackouts = _lines("parse_blackout", ["22:00-23:30", "2026-12-24 18:00 to 2026-12-27 06:00"])
"""Times of each day, and single ranges, in which nothing starts."""

CalendarFile = Annotated[
    StrictStr,
    AfterValidator(_file),
    Field(max_length=200),
    WithJsonSchema({"type": "string", "maxLength": 200, "examples": ["calendars/holidays.ics"]}),
]
"""An iCalendar file, as a path inside the package."""
