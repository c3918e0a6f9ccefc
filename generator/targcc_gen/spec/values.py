"""Values of a spec, as annotated types that Pydantic checks: texts, names, addresses, calendars, dependencies."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictStr,
    WithJsonSchema,
)
from targcc_scheduler.features import FEATURES

from targcc_gen.errors import InputError
from targcc_gen.names import JobName, package_problem
from targcc_gen.spec.errors import nearest, problem
from targcc_gen.spec.params import checked_name
from targcc_gen.spec.times import (
    checked_duration,
    format_duration,
    from_cron_error,
    parsed_duration,
)

# Texts, names, addresses.


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
"""The version of the spec's format; only version 1 exists."""


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
"""A name that fits the `JobName` columns: at most 100 characters."""


# --- names ------------------------------------------------------------------------------------------------------------


_FEATURE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def _feature(name: str) -> str:
    if not _FEATURE.fullmatch(name) or keyword.iskeyword(name) or len(name) > _LONGEST_FEATURE:
        raise problem(
            f'"{name}" is no name of a feature',
            hint=f"write small letters, digits and _, up to {_LONGEST_FEATURE} characters: notes",
        )
    if name in TAKEN_FEATURES:
        raise problem(f'"{name}" is a name of the scheduler itself', hint=f"write my_{name}")
    return name


_LONGEST_FEATURE = 30
TAKEN_FEATURES = frozenset(FEATURES).union(
    [
        "account",
        "alert",
        "backfill",
        "batch",
        "bulk",
        "calendar",
        "chains",
        "completion",
        "concerns",
        "cutover",
        "dev",
        "docs",
        "explain",
        "flow",
        "frames",
        "heatmap",
        "help",
        "history",
        "inbox",
        "job",
        "jobs",
        "language",
        "limits",
        "live",
        "login",
        "logout",
        "maintenance",
        "migrate",
        "oncall",
        "override",
        "owner",
        "owners",
        "pages",
        "palette",
        "people",
        "profile",
        "prune",
        "queue",
        "queues",
        "release",
        "releases",
        "role",
        "run",
        "runs",
        "secret",
        "seen",
        "serve",
        "server",
        "servers",
        "session",
        "sessions",
        "shadow",
        "static",
        "system",
        "token",
        "tokens",
        "upcoming",
        "user",
        "users",
        "views",
        "webhook",
        "webhooks",
        "why",
        "worker",
    ]
)
"""Names of built-in features, commands, pages and folders of templates; a test compares them with the scheduler."""
FeatureName = Annotated[StrictStr, AfterValidator(_feature)]
"""The name of a feature of the project, which is its folder, its command and its page."""


def checked_key(text: object) -> str:
    """Turn a job's name in any spelling into the job's key.

    Raises:
        ValueError: A job cannot have this name.
    """
    if not isinstance(text, str):
        raise problem("a job's name is text", hint='for example "DailyReport"')
    try:
        return JobName.parse(text).key
    except InputError as error:
        raise problem(error.message, hint=error.hint) from error


JobKey = Annotated[str, BeforeValidator(checked_key)]
"""A job's name in any spelling; validation turns the name into the key, `DailyReport`."""

_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

# Import names that a generated project needs: the project's package must not hide these.
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
    """Return the import name of a distribution: `acme-jobs` gives `acme_jobs`."""
    return re.sub(r"[-_.]+", "_", distribution).lower()


def _queue_name(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,49}", text):
        raise problem(
            f'"{text}" is no name for a queue',
            hint="a letter, then up to 49 letters, digits, - or _",
        )
    return text


QueueName = Annotated[str, BeforeValidator(_queue_name)]

# The scheduler's pattern. A name with a leading "#" is refused: a temporary procedure exists in one connection only.
PROCEDURE_PART = r'(?:[^\W\d][\w@#$]*|\[(?:[^\]\0\r\n]|\]\])+\]|"(?:[^"\0\r\n]|"")+")'
PROCEDURE = re.compile(rf"{PROCEDURE_PART}(?:(?:\.{PROCEDURE_PART}){{0,3}}|\.\.{PROCEDURE_PART})")


def _procedure(text: str) -> str:
    if not PROCEDURE.fullmatch(text):
        raise problem(
            f'"{text}" is no name of a stored procedure',
            hint='write it like SP_DailyReport, dbo.SP_DailyReport or "[dbo].[Daily Report]"',
        )
    return text


Procedure = Annotated[StrictStr, AfterValidator(_procedure), Field(max_length=400)]


# --- alerts -----------------------------------------------------------------------------------------------------------

ALERT_EVENTS = ("failure", "success", "missed", "unknown", "late")
_SLOWER = re.compile(r"\s*slower\s+than\s+(?P<limit>.*\S)\s*", re.DOTALL)


def _event(value: object) -> str:
    allowed = 'use failure, success, missed, unknown, late or "slower than 5m"'
    if not isinstance(value, str):
        raise problem("an alert event is a word", hint=allowed)
    if value in ALERT_EVENTS:
        return value
    slower = _SLOWER.fullmatch(value)
    if slower is None:
        hint = nearest(value, [*ALERT_EVENTS, "slower than 5m"]) or allowed
        raise problem(f'no alert event "{value}"', hint=hint)
    return f"slower than {format_duration(parsed_duration(slower['limit'], slower.start('limit')))}"


def slower_than(events: tuple[str, ...]) -> timedelta | None:
    """Return the limit of the first `slower than 5m` in `events`; None without such an event."""
    for event in events:
        match = _SLOWER.fullmatch(event)
        if match:
            return checked_duration(match["limit"])
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
    if not re.fullmatch(_ADDRESS_OR_REFERENCE, text) or not text.isprintable():
        hint = (
            "copy it from the service, or give a reference: ${SLACK_URL}, file:/run/secrets/slack"
        )
        raise problem("a webhook's address begins with https://", hint=hint)
    if _LITERAL_SECRET.search(text):
        hint = (
            "keep it outside: write ${SLACK_URL} and set that variable, or file:/run/secrets/slack"
        )
        raise problem("this address is a secret: whoever reads it can post there", hint=hint)
    return text


_LITERAL_SECRET = re.compile(
    r"^https://(?:hooks\.slack\.com/|[^/?#]*webhook\.office\.com/|[^/?#]*\.logic\.azure\.com|discord(?:app)?\.com/api/webhooks/"
    r")|[?&](?:sig|token|key|code|secret|password|api_?key)="
    r"|/(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}(?:[/?#]|$)",
    re.IGNORECASE,
)
"""Addresses that are secrets: of a service with secret addresses, with a token in the query, or with a random part in the path."""


_ADDRESS_OR_REFERENCE = (
    r"https://[^\s/?#@\"<>\\]+(?:[/?#][^\s\"<>\\]*)?|\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:\S(?:.*\S)?"
)
WEBHOOK_PATTERN = r"^(https://|file:\S|\$\{[A-Za-z_][A-Za-z0-9_]*\}$)"
"""The JSON Schema's pattern of a webhook: an address, or a reference that the scheduler resolves when it sends an alert."""


Webhook = Annotated[StrictStr, AfterValidator(_webhook), Field(max_length=500)]


def _channel_name(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,49}", text):
        raise problem(
            f'"{text}" is no name for a channel',
            hint="a small letter, then letters, digits, - or _",
        )
    return text


ChannelName = Annotated[str, BeforeValidator(_channel_name)]
"""The name of an alert channel, as `other` uses the name."""


def _channel_place(text: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*", text):
        raise problem(
            f'"{text}" does not say where a class is', hint='write "acme_jobs.ntfy:NtfyChannel"'
        )
    return text


ChannelPlace = Annotated[StrictStr, AfterValidator(_channel_place), Field(max_length=200)]
"""The place of a class: `module:name`."""


# --- `keep` -----------------------------------------------------------------------------------------------------------

JobArgument = Literal[
    "schedule",
    "timezone",
    "display_name",
    "description",
    "name",
    "queue",
    "priority",
    "retries",
    "backoff",
    "timeout",
    "overlap",
    "misfire",
    "misfire_grace",
    "concurrency",
    "limit",
    "isolation",
    "memory_limit",
    "alerts",
    "calendar",
    "on_holiday",
    "unique",
    "unique_scope",
    "on_duplicate",
    "expires_in",
    "paused",
    "params",
    "procedure",
]
"""Values of `keep`: arguments of `@job(…)`. `schedule` stands for all arguments of the schedule, `params` for those of `execute`."""


# Calendars: their values and names.


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _one_or_more(item: dict[str, Any]) -> WithJsonSchema:
    """Return the JSON Schema of one text or a list of texts."""
    several = {"type": "array", "items": item, "minItems": 1}
    return WithJsonSchema({"anyOf": [item, several]})


def _read_by(reader: str) -> Callable[[str], str]:
    """Return a validator that checks a line with a reader of the scheduler's `calendar_entries`."""

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
"""The name of a calendar: a letter, then up to 49 letters, digits, - or _."""

OnHoliday = Literal["skip", "next", "previous"]
"""The treatment of a slot while a calendar is closed."""

CalendarNames = Annotated[
    tuple[CalendarName, ...],
    Field(min_length=1),
    BeforeValidator(_as_list),
    _one_or_more(_NAME),
]
"""Calendar names: one name or a list."""


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
"""Days off: dates, ranges, yearly dates, weekdays; each may have a name in parentheses."""

Dates = _lines("parse_date", ["2026-10-03"])
"""Dates."""

Blackouts = _lines("parse_blackout", ["22:00-23:30", "2026-12-24 18:00 to 2026-12-27 06:00"])
"""Times in which no job starts: daily times and single ranges."""

CalendarFile = Annotated[
    StrictStr,
    AfterValidator(_file),
    Field(max_length=200),
    WithJsonSchema({"type": "string", "maxLength": 200, "examples": ["calendars/holidays.ics"]}),
]
"""An iCalendar file, as a path inside the package."""


# Dependencies: values of `after`, `unique`, `unique_scope` and `on_duplicate`.

INTERVALS = ("completion", "start")
"""The words of `after` that go with `every`; any other value is a job's name or a list of names."""

TIMED = ("debounce", "throttle")
"""The words of `on_duplicate` that take a duration."""


def parents(after: object) -> tuple[str, ...]:
    """Return the jobs named in a value of `after`, as spelled there; empty for a word of `INTERVALS` or a wrong value."""
    if isinstance(after, str):
        return () if after in INTERVALS else (after,)
    if isinstance(after, list | tuple):
        return tuple(parent for parent in after if isinstance(parent, str))
    return ()


def follows(job: Mapping[str, Any]) -> bool:
    """Whether a job comes after other jobs, even if its `after` is wrong."""
    return job.get("after") is not None and job["after"] not in INTERVALS


def _after(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str) and value in INTERVALS:
        return value
    names = _texts(value)
    if names is None:
        hint = "write [ImportOrders]; or, with every, completion or start"
        raise problem("after is a job, or a list of jobs", hint=hint)
    return tuple(dict.fromkeys(map(checked_key, names)))


def _texts(value: object) -> list[str] | None:
    """Return one text or a non-empty list of texts as a list; None for any other value."""
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not several:
        return None
    texts = [text for text in several if isinstance(text, str)]
    return texts if len(texts) == len(several) else None


_PARAMETER_NAME = {"type": "string", "pattern": r"^[\s_\-]*[A-Za-z][A-Za-z0-9_\-\s]*$"}

After = Annotated[
    # The literals repeat `INTERVALS`.
    Literal["completion", "start"] | tuple[str, ...],
    PlainValidator(_after),
    WithJsonSchema(
        {
            "anyOf": [_PARAMETER_NAME, {"type": "array", "items": _PARAMETER_NAME, "minItems": 1}],
            "examples": ["ImportOrders", "completion"],
        }
    ),
]
"""With `every`, the start of each interval; otherwise the keys of the jobs that this job comes after."""


def _unique(value: object) -> Literal[True] | tuple[str, ...]:
    if value is True:
        return True
    names = _texts(value)
    if names is None:
        hint = "write [customer_id]; true is all parameters"
        raise problem("unique is a parameter, a list of them, or true", hint=hint)
    return tuple(dict.fromkeys(map(checked_name, names)))


_PARAM = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}

UniqueBy = Annotated[
    Literal[True] | tuple[str, ...],
    PlainValidator(_unique),
    WithJsonSchema(
        {
            "anyOf": [_PARAM, {"type": "array", "items": _PARAM, "minItems": 1}, {"const": True}],
            "examples": ["customer_id", True],
        }
    ),
]
"""The parameters by which a run is unique; `true`: all of them."""

_RATE = r"[1-9]\d{0,8}/(s|min|h|d)"


def _rate(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_RATE, value):
        raise problem("this does not say how many in how long", hint="write 100/min, 5/s or 1000/h")
    return value


Rate = Annotated[
    str,
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "pattern": f"^{_RATE}$", "examples": ["100/min"]}),
]
"""The number of starts in a second, a minute, an hour or a day."""

Scope: TypeAlias = Literal["queued", "running"] | timedelta
_SCOPES = ("queued", "running")


def _scope(value: object) -> str | timedelta:
    return value if isinstance(value, str) and value in _SCOPES else checked_duration(value)


UniqueScope = Annotated[
    Scope,
    PlainValidator(_scope),
    WithJsonSchema({"type": "string", "examples": ["queued", "running", "1h"]}),
]
"""The end of uniqueness: when the run starts, when the run is over, or a duration after the run succeeded."""

_DUPLICATE = 'use skip, replace, "debounce 30s" or "throttle 1m"'


def _duplicate(value: object) -> str:
    if not isinstance(value, str):
        raise problem("on_duplicate is a word", hint=_DUPLICATE)
    word, space, span = value.partition(" ")
    if word in TIMED:
        if not span.strip():
            raise problem(f"{word} does not say how long", hint=f'write "{word} 30s"')
        column = len(word) + len(space) + len(span) - len(span.lstrip())
        return f"{word} {format_duration(parsed_duration(span.strip(), column))}"
    if value not in {"skip", "replace"}:
        hint = nearest(word, ["skip", "replace", *TIMED]) or _DUPLICATE
        raise problem(f'on_duplicate cannot be "{value}"', hint=hint)
    return value


OnDuplicate = Annotated[
    str,
    PlainValidator(_duplicate),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["skip", "replace"]},
                {"type": "string", "pattern": r"^(debounce|throttle)\s+\S"},
            ],
            "examples": ["debounce 30s"],
        }
    ),
]
"""The treatment of a second run with the same key."""
