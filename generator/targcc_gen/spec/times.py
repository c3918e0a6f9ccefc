"""The values of a spec that tell time: durations, instants, zones, cron expressions.

Each is an annotated type that Pydantic checks. `targcc_scheduler.schedules` is imported only when there is something to parse.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, StrictStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from targcc_gen.spec.value_errors import problem

if TYPE_CHECKING:
    from targcc_scheduler.schedules import CronError


def checked_duration(value: object) -> timedelta:
    """A duration as Pydantic checks it: a `timedelta`, or its text."""
    if isinstance(value, timedelta):
        return _positive(value)
    if not isinstance(value, str):
        raise problem("a duration needs a unit", hint='write it like "90s", "15m", "1h30m" or "2d"')
    return parsed_duration(value)


def parsed_duration(text: str, column: int = 0) -> timedelta:
    """The duration that begins at a column of a value."""
    from targcc_scheduler.schedules import CronError, parse_duration

    try:
        return _positive(parse_duration(text))
    except CronError as error:
        error.column += column
        raise _from_cron(error) from error


def _positive(value: timedelta) -> timedelta:
    if value < timedelta(milliseconds=1):
        raise problem("a duration must be longer than nothing", hint='for example "15m"')
    return value


def _from_cron(error: CronError) -> PydanticCustomError:
    """A `CronError` in Pydantic's hands, with its column kept."""
    return problem(
        error.message,
        hint=error.allowed or None,
        column=error.column - 1,
        length=error.length,
    )


def format_duration(value: timedelta | str) -> str:
    """`timedelta(minutes=90)` as a spec writes it, `1h30m`; `none` stays as it is."""
    from targcc_scheduler import schedules

    return value if isinstance(value, str) else schedules.format_duration(value)


_DURATION_SCHEMA: dict[str, Any] = {"type": "string", "examples": ["90s", "15m", "1h30m", "2d"]}

Duration = Annotated[
    timedelta,
    BeforeValidator(checked_duration),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""A length of time, written `90s`, `15m`, `1h30m` or `2d`."""


def _time_limit(value: object) -> timedelta | str:
    return value if value == "none" and isinstance(value, str) else checked_duration(value)


TimeLimit = Annotated[
    timedelta | Literal["none"], PlainValidator(_time_limit), WithJsonSchema(_DURATION_SCHEMA)
]
"""A duration, or `none` for a job that may take as long as it likes although others may not."""


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
"""A date and time; without an offset it is on the clock of the job's zone."""


def _zone(name: str) -> str:
    from targcc_scheduler.schedules import CronError, parse_zone

    try:
        parse_zone(name)
    except CronError as error:
        raise _from_cron(error) from error
    return name


Zone = Annotated[StrictStr, AfterValidator(_zone)]
"""The name of a time zone in the IANA database."""


def _cron(text: str) -> str:
    from targcc_scheduler.schedules import CronError, CronSchedule

    try:
        CronSchedule.parse(text)
    except CronError as error:
        raise _from_cron(error) from error
    return text


Cron = Annotated[StrictStr, AfterValidator(_cron)]
"""A cron expression as Cronos reads it: five fields, or six with seconds first."""
