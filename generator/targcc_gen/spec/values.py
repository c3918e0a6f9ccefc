"""The single values of a spec: durations, time zones, cron expressions, addresses, parameters.

Each is an annotated type that Pydantic checks. `targcc_scheduler.schedules` is imported only when there is something to parse.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, LiteralString

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictStr,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from targcc_gen.errors import InputError
from targcc_gen.names import JobName, package_problem

if TYPE_CHECKING:
    from targcc_scheduler.schedules import CronError

PROBLEM: LiteralString = "targcc_problem"
"""The type of the Pydantic errors that carry our own words about one value."""

RULE: LiteralString = "targcc_rule"
"""The type of those about several values, from `targcc_gen.spec.rules`."""


def problem(
    message: str,
    *,
    hint: str | None = None,
    column: int | None = None,
    length: int = 1,
    kind: LiteralString = PROBLEM,
) -> PydanticCustomError:
    """A Pydantic error in our own words.

    Args:
        message: What is wrong.
        hint: What to do about it.
        column: Where in the text of the value the wrong part begins, from 0.
        length: How many characters are wrong.
        kind: The error's type.
    """
    context = {"message": message, "hint": hint, "column": column, "length": length}
    return PydanticCustomError(kind, "{message}", context)


def nearest(text: str, known: tuple[str, ...] | list[str]) -> str | None:
    """`did you mean "…"?` for the known word most like `text`, or None."""
    from difflib import get_close_matches

    same = [word for word in known if word.casefold() == text.casefold()]
    close = same or get_close_matches(text, known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None


def _version(value: object) -> int:
    if type(value) is int and value > 1:
        raise problem(
            f"this spec has version {value}; this targcc-gen reads version 1",
            hint="upgrade targcc-gen",
        )
    if type(value) is not int or value != 1:
        raise problem("targcc is the version of this file's format", hint='write "targcc: 1"')
    return value


Version = Annotated[Literal[1], BeforeValidator(_version)]
"""The version of the format: there is one."""


# --- text -------------------------------------------------------------------------------------------------------------


def _storable(text: str) -> str:
    if "\0" in text:
        raise problem("a NUL character cannot be stored", hint="remove \\0")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise problem("half of a surrogate pair is no character", hint="write the character itself")
    return text


def _one_line(text: str) -> str:
    for column, character in enumerate(text):
        if not character.isprintable():
            shown = f"U+{ord(character):04X}"
            raise problem(
                f"{shown} has no place in a name", hint="one line of plain text", column=column
            )
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise problem("the text is blank", hint="write something, or remove the line")
    return text


Text = Annotated[StrictStr, AfterValidator(_storable)]
"""Any Unicode text that a database can keep."""

Title = Annotated[Text, AfterValidator(_not_blank), Field(max_length=200)]

StableName = Annotated[
    Text, AfterValidator(_not_blank), AfterValidator(_one_line), Field(max_length=100)
]
"""What the `JobName` columns hold: 100 characters."""


# --- durations and instants -------------------------------------------------------------------------------------------


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return _positive(value)
    if not isinstance(value, str):
        raise problem("a duration needs a unit", hint='write it like "90s", "15m", "1h30m" or "2d"')
    return _parsed_duration(value)


def _parsed_duration(text: str, column: int = 0) -> timedelta:
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
    BeforeValidator(_duration),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""A length of time, written `90s`, `15m`, `1h30m` or `2d`."""


def _time_limit(value: object) -> timedelta | str:
    return value if value == "none" and isinstance(value, str) else _duration(value)


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


# --- names ------------------------------------------------------------------------------------------------------------


def _job_key(text: object) -> str:
    if not isinstance(text, str):
        raise problem("a job's name is text", hint='for example "DailyReport"')
    try:
        return JobName.parse(text).key
    except InputError as error:
        raise problem(error.message, hint=error.hint) from error


JobKey = Annotated[str, BeforeValidator(_job_key)]
"""A job's key in one of its spellings; checked values are in the first, `DailyReport`."""

_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

# Import names of what a generated project itself needs: its package must not hide them.
_DEPENDENCIES = frozenset(
    "aiosmtplib aiosqlite alembic anyio apprise argon2 click croniter dishka fastapi greenlet httpx jinja2"  # noqa: SIM905 - as a list it takes thirty lines
    " migrations mssql_python procrastinate prometheus_client psutil psycopg pydantic pydantic_core"
    " pydantic_settings pytest rich sqlalchemy starlette structlog targcc targcc_gen tests uvicorn".split()
)


def _distribution(text: str) -> str:
    if not _DISTRIBUTION.fullmatch(text):
        raise problem(
            f'"{text}" is no name for a Python distribution',
            hint="letters, digits, and -, _ or . between them",
        )
    return text


def _package(text: str) -> str:
    wrong = package_problem(text)
    if wrong is None and text.lower() in _DEPENDENCIES:
        wrong = "would hide a package of that name which the project needs"
    if wrong:
        raise problem(f'package "{text}" {wrong}', hint='choose another, for example "acme_jobs"')
    return text


Distribution = Annotated[StrictStr, AfterValidator(_distribution), Field(max_length=100)]
Package = Annotated[StrictStr, AfterValidator(_package), Field(max_length=100)]


def _folder(text: str) -> str:
    parts = text.split("/")
    if text != "." and not all(
        re.fullmatch(r"\w[\w .-]*", part) and part[-1] not in " ." for part in parts
    ):
        raise problem(
            f'"{text}" is no folder inside the project',
            hint='for example "src"; the project itself is "."',
        )
    return text


Folder = Annotated[StrictStr, AfterValidator(_folder), Field(max_length=200)]
"""A folder of the project, with `/` between its parts; `.` is the project itself."""


def package_of(distribution: str) -> str:
    """The import name that goes with a distribution: `acme-jobs` gives `acme_jobs`."""
    return re.sub(r"[-_.]+", "_", distribution).lower()


def _queue_name(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,49}", text):
        raise problem(
            f'"{text}" is no name for a queue',
            hint="a letter, then up to 49 letters, digits, - or _",
        )
    return text


QueueName = Annotated[str, BeforeValidator(_queue_name)]

_PROCEDURE_PART = r'(?:[^\W\d][\w@#$]*|[#@][\w@#$]+|\[(?:[^\]\0\r\n]|\]\])+\]|"(?:[^"\0\r\n]|"")+")'
_PROCEDURE = re.compile(rf"{_PROCEDURE_PART}(?:\.{_PROCEDURE_PART}){{0,3}}")


def _procedure(text: str) -> str:
    if not _PROCEDURE.fullmatch(text):
        raise problem(
            f'"{text}" is no name of a stored procedure',
            hint='write it like SP_DailyReport, dbo.SP_DailyReport or "[dbo].[Daily Report]"',
        )
    return text


Procedure = Annotated[StrictStr, AfterValidator(_procedure), Field(max_length=400)]


# --- alerts -----------------------------------------------------------------------------------------------------------

ALERT_EVENTS = ("failure", "success", "missed")
_SLOWER = re.compile(r"\s*slower\s+than\s+(?P<limit>.*\S)\s*", re.DOTALL)


def _event(value: object) -> str:
    allowed = 'use failure, success, missed or "slower than 5m"'
    if not isinstance(value, str):
        raise problem("an alert event is a word", hint=allowed)
    if value in ALERT_EVENTS:
        return value
    slower = _SLOWER.fullmatch(value)
    if slower is None:
        hint = nearest(value, [*ALERT_EVENTS, "slower than 5m"]) or allowed
        raise problem(f'no alert event "{value}"', hint=hint)
    return (
        f"slower than {format_duration(_parsed_duration(slower['limit'], slower.start('limit')))}"
    )


def slower_than(events: tuple[str, ...]) -> timedelta | None:
    """The limit in `slower than 5m`, if it is among `events`."""
    for event in events:
        match = _SLOWER.fullmatch(event)
        if match:
            return _duration(match["limit"])
    return None


AlertEvent = Annotated[
    str,
    BeforeValidator(_event),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(ALERT_EVENTS)},
                {
                    "type": "string",
                    "pattern": r"^\s*slower\s+than\s+\S",
                    "examples": ["slower than 5m"],
                },
            ]
        }
    ),
]


def _email(text: str) -> str:
    if (
        not re.fullmatch(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+", text)
        or not text.isprintable()
    ):
        raise problem(f'"{text}" is no mail address', hint='write it like "ops@example.com"')
    return text


Email = Annotated[StrictStr, AfterValidator(_email), Field(max_length=254)]


def _webhook(text: str) -> str:
    if (
        not re.fullmatch(r"https://[^\s/?#@\"<>\\]+(?:[/?#][^\s\"<>\\]*)?", text)
        or not text.isprintable()
    ):
        raise problem("a webhook's address begins with https://", hint="copy it from the service")
    return text


Webhook = Annotated[StrictStr, AfterValidator(_webhook), Field(max_length=500)]
