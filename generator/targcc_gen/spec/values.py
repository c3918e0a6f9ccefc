"""The single values of a spec but times: texts, names, addresses. Each is an annotated type that Pydantic checks."""

from __future__ import annotations

import keyword
import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictStr,
    WithJsonSchema,
)

from targcc_gen.errors import InputError
from targcc_gen.names import JobName, package_problem
from targcc_gen.spec.times import checked_duration, format_duration, parsed_duration
from targcc_gen.spec.value_errors import nearest, problem


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


# --- names ------------------------------------------------------------------------------------------------------------


_FEATURE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def _feature(name: str) -> str:
    if not _FEATURE.fullmatch(name) or keyword.iskeyword(name) or len(name) > _LONGEST_FEATURE:
        raise problem(
            f'"{name}" is no name of a feature',
            hint=f"write small letters, digits and _, up to {_LONGEST_FEATURE} characters: notes",
        )
    if name in _TAKEN_FEATURES:
        raise problem(f'"{name}" is a name of the scheduler itself', hint=f"write my_{name}")
    return name


_LONGEST_FEATURE = 30
_TAKEN_FEATURES = frozenset(
    {"accounts", "alerts", "audit", "batches", "calendars", "doctor", "events", "flows", "legacy"}
    | {"overrides", "search", "timeline", "triage"}
    | {"job", "jobs", "run", "runs", "queue", "queues", "limit", "limits", "system", "server"}
    | {"serve", "worker", "migrate", "release", "docs", "prune", "secret", "profile", "completion"}
    | {"user", "token", "role", "session", "override", "owner", "shadow", "cutover", "flow"}
    | {"batch", "upcoming", "heatmap", "inbox", "why", "bulk", "backfill", "calendar"}
    | {"maintenance", "webhook", "alert", "pages", "frames", "overview", "login", "help", "static"}
)
"""Names of built-in features, commands, pages and folders of templates; a test compares them with the scheduler."""
FeatureName = Annotated[StrictStr, AfterValidator(_feature)]
"""The name of a feature of the project, which is its folder, its command and its page."""


def checked_key(text: object) -> str:
    """The key of a job, in one of its spellings.

    Raises:
        ValueError: It is no name that a job can have.
    """
    if not isinstance(text, str):
        raise problem("a job's name is text", hint='for example "DailyReport"')
    try:
        return JobName.parse(text).key
    except InputError as error:
        raise problem(error.message, hint=error.hint) from error


JobKey = Annotated[str, BeforeValidator(checked_key)]
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

# As the scheduler reads them; a name that begins with "#" is of one connection, which no job has for itself.
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
    """The limit in `slower than 5m`, if it is among `events`."""
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
"""An address that itself lets in: of a service that works so, with a token in it, or with a part that nobody can guess."""


_ADDRESS_OR_REFERENCE = (
    r"https://[^\s/?#@\"<>\\]+(?:[/?#][^\s\"<>\\]*)?|\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:\S(?:.*\S)?"
)
WEBHOOK_PATTERN = r"^(https://|file:\S|\$\{[A-Za-z_][A-Za-z0-9_]*\}$)"
"""How the JSON Schema tells an address, or a reference that the scheduler looks up when it sends an alert."""


Webhook = Annotated[StrictStr, AfterValidator(_webhook), Field(max_length=500)]


def _channel_name(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,49}", text):
        raise problem(
            f'"{text}" is no name for a channel',
            hint="a small letter, then letters, digits, - or _",
        )
    return text


ChannelName = Annotated[str, BeforeValidator(_channel_name)]
"""How rules call a channel of alerts."""


def _channel_place(text: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*", text):
        raise problem(
            f'"{text}" does not say where a class is', hint='write "acme_jobs.ntfy:NtfyChannel"'
        )
    return text


ChannelPlace = Annotated[StrictStr, AfterValidator(_channel_place), Field(max_length=200)]
"""A module and a name in it."""


# --- what the code keeps ----------------------------------------------------------------------------------------------

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
"""What the code may keep: arguments of `@job(…)`, of which `schedule` is all that say when it runs, and those of `execute`."""
