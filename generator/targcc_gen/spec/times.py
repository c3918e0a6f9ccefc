"""Times in a spec: durations, instants, zones, cron expressions.

Each type is an annotated type that Pydantic checks. `targcc_scheduler.schedules` is imported only when there is a value to parse.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, StrictStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from targcc_gen.spec.errors import problem

if TYPE_CHECKING:
    from targcc_scheduler.schedules.cron import CronSchedule
    from targcc_scheduler.schedules.errors import CronError


def checked_duration(value: object) -> timedelta:
    """Check a `timedelta` or the text of a duration, and return the duration."""
    if isinstance(value, timedelta):
        return _positive(value)
    if not isinstance(value, str):
        raise problem("a duration needs a unit", hint='write it like "90s", "15m", "1h30m" or "2d"')
    return parsed_duration(value)


def parsed_duration(text: str, column: int = 0) -> timedelta:
    """Parse the text of a duration.

    Args:
        text: The duration, such as `1h30m`.
        column: The column at which `text` begins in the whole value; errors count from the start of the value.
    """
    from targcc_scheduler.schedules.errors import CronError
    from targcc_scheduler.schedules.words import parse_duration

    try:
        return _positive(parse_duration(text))
    except CronError as error:
        error.column += column
        raise from_cron_error(error) from error


def _positive(value: timedelta) -> timedelta:
    if value < timedelta(milliseconds=1):
        raise problem("a duration must be longer than nothing", hint='for example "15m"')
    return value


def from_cron_error(error: CronError) -> PydanticCustomError:
    """Turn a `CronError` into a Pydantic error with the same column."""
    return problem(
        error.message,
        hint=error.allowed or None,
        column=error.column - 1,
        length=error.length,
    )


def format_duration(value: timedelta | str) -> str:
    """Write a duration as in a spec: `timedelta(minutes=90)` becomes `1h30m`. `none` stays `none`."""
    from targcc_scheduler import schedules

    return value if isinstance(value, str) else schedules.format_duration(value)


_DURATION_SCHEMA: dict[str, Any] = {"type": "string", "examples": ["90s", "15m", "1h30m", "2d"]}

Duration = Annotated[
    timedelta,
    BeforeValidator(checked_duration),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""A length of time, written `90s`, `15m`, `1h30m` or `2d`."""


def _point(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(days=1) or value % timedelta(seconds=1):
        raise problem("aging is whole seconds, from 1s to 1d", hint='for example "5m"')
    return value


Aging = Annotated[
    timedelta,
    BeforeValidator(checked_duration),
    AfterValidator(_point),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""A length of time that counts as one point of priority."""


def _interval(value: object) -> timedelta:
    interval = checked_duration(value)
    if interval < timedelta(seconds=1):
        raise problem("an interval is one second at least", hint='for example "every: 1s"')
    return interval


Interval = Annotated[timedelta, BeforeValidator(_interval), WithJsonSchema(_DURATION_SCHEMA)]
"""The interval between runs, written as a `Duration`; at least one second."""


def _time_limit(value: object) -> timedelta | str:
    return value if value == "none" and isinstance(value, str) else checked_duration(value)


TimeLimit = Annotated[
    timedelta | Literal["none"], PlainValidator(_time_limit), WithJsonSchema(_DURATION_SCHEMA)
]
"""A duration, or `none` to lift the default time limit for one job."""


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    example = 'write it like "2026-12-31T02:00"'
    if not isinstance(value, str):
        raise problem("this is no date and time", hint=example)
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise problem(f'"{value}" is no date and time', hint=example) from None


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*[0-9]{4}", "examples": ["2026-12-31T02:00"]}
    ),
]
"""A date and time; without an offset, in the time zone of the job."""


def _zone(name: str) -> str:
    from targcc_scheduler.schedules.errors import CronError
    from targcc_scheduler.schedules.zones import parse_zone

    try:
        return parse_zone(name).key
    except CronError as error:
        raise from_cron_error(error) from error


Zone = Annotated[StrictStr, AfterValidator(_zone)]
"""The IANA name of a time zone. A Windows name, such as `Israel Standard Time`, becomes the IANA name."""


@lru_cache(maxsize=16_384)
def cron_schedule(text: str) -> CronSchedule:
    """Parse a cron expression. Cached, because a command reads each expression several times.

    Raises:
        CronError: The text is not a cron expression.
    """
    from targcc_scheduler.schedules.cron import CronSchedule

    return CronSchedule.parse(text)


def _cron(text: str) -> str:
    from targcc_scheduler.schedules.errors import CronError

    try:
        cron_schedule(text)
    except CronError as error:
        raise from_cron_error(error) from error
    return text


Cron = Annotated[StrictStr, AfterValidator(_cron)]
"""A cron expression in the dialect of Cronos: five fields, or six with seconds first."""


_TIME_OF_DAY = r"([01]?\d|2[0-3]):[0-5]\d"
_AT_LEAST = re.compile(r"(?P<count>[1-9]\d{0,5}) success(?:es)? in (?P<span>\S+)")


def _time_of_day(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_TIME_OF_DAY, value):
        raise problem("no time of the day", hint='write it in quotes, like "06:00"')
    return value


TimeOfDay = Annotated[
    str,
    BeforeValidator(_time_of_day),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME_OF_DAY}$", "examples": ["06:00"]}),
]
"""A time of the day, written `"06:00"`; without quotes YAML reads a number of minutes."""


def _at_least(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    match = _AT_LEAST.fullmatch(text)
    if match is None:
        raise problem("it is not said how often in how long", hint='write "1 success in 26h"')
    parsed_duration(match["span"], match.start("span"))
    return text


AtLeast = Annotated[
    str,
    BeforeValidator(_at_least),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*[1-9]\d{0,5}\s+success(es)?\s+in\s+\S+\s*$",
            "examples": ["1 success in 26h"],
        }
    ),
]
"""The number of successes expected within a duration, such as `1 success in 26h`."""
