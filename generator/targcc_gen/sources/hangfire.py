"""Hangfire: recurring and scheduled jobs in its tables on SQL Server and PostgreSQL.

Sources: the schema of Hangfire.SqlServer and Hangfire.PostgreSql, and Hangfire's documentation of recurring jobs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.cron import cron_runs, cronos_polling, read_cron_text
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import NOT_PORTED, RowEntrySource
from targcc_gen.sources.model import OldJob, Options, Rejection, SourceKind
from targcc_gen.sources.schedules import cron_of, zone_named

HASH, JOB, STATE = "hash", "job", "state"
TABLES = KnownTables(
    names={HASH: "Hash", JOB: "Job", STATE: "State"},
    main=HASH,
    signs={
        HASH: frozenset({"field", "expireat"}),
        JOB: frozenset({"invocationdata", "statename"}),
        STATE: frozenset({"jobid", "reason", "data"}),
    },
    columns=frozenset(
        [
            "id",
            "key",
            "field",
            "value",
            "expireat",
            "invocationdata",
            "arguments",
            "statename",
            "stateid",
            "createdat",
            "jobid",
            "name",
            "reason",
            "data",
        ]
    ),
    dates=frozenset({"expireat", "createdat"}),
)
_PREFIX = "recurring-job:"
_WAITING = {"scheduled", "enqueued", "awaiting"}
_RETRIES = 10
"""AutomaticRetry of Hangfire: ten attempts after the first, unless an attribute in the code says otherwise."""


@dataclass(frozen=True, slots=True)
class HangfireJob:
    """A recurring job, or a job that waits.

    Attributes:
        row: The first row of the job.
        id: The id of the recurring job, or the number of the waiting job.
        call: The method with its arguments.
        cron: The cron text of a recurring job.
        zone: Its zone, an IANA or a Windows name.
        queue: Its queue.
        state: The state of a waiting job.
        at: The time of a scheduled job; aware.
        problem: The reason that the job cannot be read.
    """

    row: Row
    id: str
    call: str = ""
    cron: str = ""
    zone: str = "UTC"
    queue: str = ""
    state: str = ""
    at: datetime | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """The name of the job: the id, or the method of a waiting job."""
        return self.id if not self.state else f"{self.call.partition('(')[0].rpartition('.')[2] or 'Job'} {self.id}"  # fmt: skip


def call_of(text: str | None, arguments: str | None = None) -> str:
    """Return a call as ``Namespace.Type.Method(arguments)`` from Hangfire's JSON, of any version.

    Raises:
        ValueError: The text is no job.
    """
    data = json.loads(text or "")
    if not isinstance(data, dict):
        raise ValueError(text)  # noqa: TRY004 - one exception says "no job"
    kind = data.get("Type") or data.get("t")
    method = data.get("Method") or data.get("m")
    values = data.get("Arguments") or data.get("a") or arguments or "[]"
    if not isinstance(kind, str) or not isinstance(method, str):
        raise ValueError(text)  # noqa: TRY004
    values = json.loads(values) if isinstance(values, str) else values
    shown = ", ".join(str(value) for value in values) if isinstance(values, list) else ""
    return f"{kind.partition(',')[0]}.{method}({shown})"


class Hangfire(RowEntrySource[HangfireJob]):
    """The source of Hangfire."""

    tables = TABLES
    hint = "Name the database: mssql://user@server/database --schema HangFire, or export the tables Hash, Job and State."
    questions = (
        "Which methods have [AutomaticRetry] or [DisableConcurrentExecution]? The tables do not say; the jobs have ten retries and may overlap.",
        "Which jobs does the application create itself (BackgroundJob.Enqueue)? Those that wait now come over; later ones need a call here.",
    )
    advice = (
        "Retries: Hangfire tries a failed job ten more times, so the jobs say retries: 10.",
        "After a downtime Hangfire starts a missed recurring job once: misfire: {policy: run_once}.",
    )

    model = (
        "Hangfire is simulated from the rules of Cronos, by which it reads a cron text: by intervals (*, / or - as minute or hour) it follows the"
        " clock; a fixed time in a gap runs right after it, and a fixed time of a repeated hour once."
    )

    def entries_of_rows(self) -> Iterator[HangfireJob | Rejection]:
        """Yield the recurring jobs, then the jobs that wait."""
        fields: dict[str, dict[str, Row]] = defaultdict(dict)
        for row in self.rows[HASH]:
            key = reader_rows.text(row, "key") or ""
            if key.startswith(_PREFIX):
                fields[key.removeprefix(_PREFIX)][(reader_rows.text(row, "field") or "").lower()] = row  # fmt: skip
        for identity, rows in fields.items():
            yield _recurring(identity, rows)
        times = {
            reader_rows.key(row, "jobid"): row
            for row in self.rows[STATE]
            if (reader_rows.text(row, "name") or "").lower() == "scheduled"
        }
        for row in self.rows[JOB]:
            state = (reader_rows.text(row, "statename") or "").lower()
            if state in _WAITING:
                yield _waiting(row, state, times.get(reader_rows.key(row, "id")))

    def starts(
        self, entry: HangfireJob, _zone: ZoneInfo, start: datetime, end: datetime
    ) -> Iterator[datetime] | None:
        """Return the starts of a recurring job; None for a job that waits, and for seconds other than 0."""
        if not entry.cron:
            return None
        text = read_cron_text(entry.cron, "cronos")
        if text.has_seconds:
            return None
        zone = ZoneInfo(zone_named(entry.zone))
        return cron_runs(text, zone, start, end, cronos_polling(entry.cron))

    def drafts(self, entry: HangfireJob, options: Options) -> Iterator[Draft]:
        """Yield the job."""
        if entry.problem:
            raise Refused(entry.problem)
        fields: dict[str, Any] = {
            "blueprint": "not-ported",
            "description": f"Hangfire called {entry.call}"[:1000],
            "retries": _RETRIES,
            "timeout": "none",
        }
        active = True
        if entry.state:
            if entry.at is not None and entry.at > options.now:
                fields["at"] = entry.at
            else:
                fields["type"], active = "manual", False
        else:
            cron_of(entry.cron)
            fields |= {
                "cron": entry.cron,
                "timezone": zone_named(entry.zone),
                "overlap": "allow",
                "misfire": {"policy": "run_once", "grace": "none"},
            }
        old = OldJob(entry.name, entry.id, entry.cron or entry.state, runner=entry.queue)
        warning = f"the code of its method stays in .NET: {NOT_PORTED}"
        yield Draft(entry.row, entry.name, fields, active, old, (warning,))


def _recurring(identity: str, rows: Mapping[str, Row]) -> HangfireJob:
    first = min(rows.values(), key=lambda row: row.line)

    def value(name: str) -> str:
        return (reader_rows.text(rows[name], "value") or "") if name in rows else ""

    try:
        call = call_of(value("job"))
    except ValueError:
        return HangfireJob(first, identity, problem="its field Job is no job of Hangfire")
    return HangfireJob(
        first, identity, call, value("cron"), value("timezoneid") or "UTC", value("queue")
    )


def _waiting(row: Row, state: str, scheduled: Row | None) -> HangfireJob:
    identity = reader_rows.key(row, "id") or ""
    try:
        call = call_of(reader_rows.text(row, "invocationdata"), reader_rows.text(row, "arguments"))
        data = json.loads((reader_rows.text(scheduled, "data") if scheduled else None) or "{}")
        at = _moment(str(data.get("EnqueueAt") or ""))
    except (ValueError, AttributeError, OverflowError, OSError):
        return HangfireJob(row, identity, state=state, problem="it is no job of Hangfire")
    return HangfireJob(row, identity, call, state=state, at=at)


def _moment(text: str) -> datetime | None:
    """Read a time of Hangfire: ISO 8601 in UTC, or milliseconds since 1970."""
    if not text:
        return None
    if text.isdigit():
        return datetime.fromtimestamp(int(text) / 1000, UTC).replace(microsecond=0)
    moment = datetime.fromisoformat(text[:19])
    return moment.replace(tzinfo=UTC)


def is_hangfire(path: Path, head: str) -> bool:
    """Return whether a file is an export of Hangfire's tables."""
    return _PREFIX in head or "hangfire" in path.name.lower()


HANGFIRE = SourceKind("hangfire", "Hangfire", is_hangfire, Hangfire, frozenset({"schema", "dates"}))
