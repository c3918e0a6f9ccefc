"""Quartz and Quartz.NET: the tables QRTZ_, and ``quartz_jobs.xml``.

Sources: the table scripts and the XML schema of job scheduling data of Quartz and Quartz.NET. Times are milliseconds since 1970 (Quartz)
or ticks of 100 nanoseconds since year 1 (Quartz.NET), in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.cron import cron_runs, cronos_polling, read_cron_text
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import NOT_PORTED, RowEntrySource, numbered
from targcc_gen.sources.model import OldJob, Options, Rejection, SourceKind
from targcc_gen.sources.reading import Document
from targcc_gen.sources.schedules import cron_of, zone_named
from targcc_gen.sources.xml_files import Element, lines_of, named, parsed, tag, text_of

TRIGGERS, CRON, SIMPLE, DETAILS = (
    "qrtz_triggers", "qrtz_cron_triggers", "qrtz_simple_triggers", "qrtz_job_details",
)  # fmt: skip
TABLES = KnownTables(
    names={table: table.upper() for table in (TRIGGERS, CRON, SIMPLE, DETAILS)},
    main=TRIGGERS,
    signs={
        TRIGGERS: frozenset({"trigger_state", "trigger_type", "misfire_instr"}),
        CRON: frozenset({"cron_expression", "time_zone_id"}),
        SIMPLE: frozenset({"repeat_count", "repeat_interval"}),
        DETAILS: frozenset({"job_class_name", "is_durable"}),
    },
    columns=frozenset(
        [
            "sched_name",
            "trigger_name",
            "trigger_group",
            "job_name",
            "job_group",
            "description",
            "next_fire_time",
            "prev_fire_time",
            "priority",
            "trigger_state",
            "trigger_type",
            "start_time",
            "end_time",
            "calendar_name",
            "misfire_instr",
            "job_data",
            "cron_expression",
            "time_zone_id",
            "repeat_count",
            "repeat_interval",
            "times_triggered",
            "job_class_name",
            "is_durable",
            "is_nonconcurrent",
            "is_update_data",
            "requests_recovery",
        ]
    ),
)
_NAMESPACES = ("quartznet.sourceforge.net", "quartz-scheduler.org/xml")
_EPOCH_TICKS = 621_355_968_000_000_000
_TICKS = 10**15
"""A number above this is ticks: as milliseconds it would lie beyond the year 30,000."""
_PAUSED = {"PAUSED", "PAUSED_BLOCKED", "ERROR", "COMPLETE"}
_MISFIRE = {-1: "run_all", 2: "skip"}
_FOREVER = -1


@dataclass(frozen=True, slots=True)
class QuartzTrigger:
    """A trigger with its job.

    Attributes:
        row: The trigger.
        name: The name of its job; the name of the trigger, if the job has several.
        group: The group of the trigger.
        job: The class of the job.
        description: The description of the job.
        cron: The cron text; empty for a simple trigger.
        zone: The zone of the cron text.
        every: The interval of a simple trigger.
        count: How often a simple trigger repeats; -1 for ever.
        start: The first time; aware.
        end: The last time; aware.
        paused: Whether the trigger is paused, in error or complete.
        misfire: The number of the misfire instruction.
        nonconcurrent: Whether the job may not run twice at the same time.
        calendar: The name of the calendar of the trigger.
        problem: The reason that the trigger cannot be read.
    """

    row: Row
    name: str
    group: str = ""
    job: str = ""
    description: str = ""
    cron: str = ""
    zone: str = ""
    every: timedelta | None = None
    count: int = 0
    start: datetime | None = None
    end: datetime | None = None
    paused: bool = False
    misfire: int = 0
    nonconcurrent: bool = False
    calendar: str = ""
    problem: str = ""


def moment_of(number: int | None) -> datetime | None:
    """Return the time of a number of the tables: milliseconds, or ticks of .NET; None for 0 and NULL."""
    if not number or number < 0:
        return None
    seconds = (number - _EPOCH_TICKS) / 10**7 if number > _TICKS else number / 1000
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)
    except (ValueError, OverflowError, OSError):
        return None


# ``quartz_jobs.xml``.


def read_jobs(document: Document) -> Iterator[QuartzTrigger | Rejection]:
    """Yield the triggers of a file of job scheduling data.

    Raises:
        InputError: The file is no XML, or has a DOCTYPE.
    """
    root, file = parsed(document), document.file.name
    lines = lines_of(document, "trigger")
    jobs = {(text_of(each, "name"), text_of(each, "group")): each for each in named(root, "job")}
    triggers = named(root, "trigger")
    for place, trigger in enumerate(triggers):
        row = Row(TRIGGERS, {}, file, lines[place] if place < len(lines) else 1)
        kind = next((each for each in trigger if tag(each) in {"cron", "simple", "calendar-interval"}), None)  # fmt: skip
        if kind is None:
            yield Rejection(file, row.line, "is no trigger of Quartz")
            continue
        key = text_of(kind, "job-name"), text_of(kind, "job-group")
        job = jobs.get(key)
        if job is None:
            job = next((each for (name, _), each in jobs.items() if name == key[0]), None)
        several = sum(text_of(each, "job-name") == key[0] for item in triggers for each in item) > 1
        yield _of_xml(kind, job, row, text_of(kind, "name") if several else key[0])


def _of_xml(trigger: Element, job: Element | None, row: Row, name: str) -> QuartzTrigger:
    instruction = text_of(trigger, "misfire-instruction").lower()
    misfire = 2 if instruction == "donothing" else -1 if "ignore" in instruction else 0
    common: dict[str, Any] = {
        "group": text_of(trigger, "group"),
        "job": text_of(job, "job-type") or text_of(job, "job-class"),
        "description": text_of(job, "description"),
        "misfire": misfire,
        "calendar": text_of(trigger, "calendar-name"),
    }
    try:
        common["start"], common["end"] = (
            _xml_moment(text_of(trigger, part)) for part in ("start-time", "end-time")
        )
        if tag(trigger) == "cron":
            cron, zone = text_of(trigger, "cron-expression"), text_of(trigger, "time-zone")
            return QuartzTrigger(row, name, cron=cron, zone=zone, **common)
        if tag(trigger) == "calendar-interval":
            return QuartzTrigger(row, name, problem="its calendar interval counts from its last run", **common)  # fmt: skip
        every = timedelta(milliseconds=int(text_of(trigger, "repeat-interval") or 0))
        count = int(text_of(trigger, "repeat-count") or 0)
        return QuartzTrigger(row, name, every=every or None, count=count, **common)
    except (ValueError, OverflowError) as error:
        return QuartzTrigger(row, name, problem=str(error), job=str(common["job"]))


def _xml_moment(text: str) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# Schedules.


def _schedule(trigger: QuartzTrigger, zone: ZoneInfo) -> dict[str, Any]:
    if trigger.cron:
        return _cron(trigger, zone)
    if trigger.every is None or trigger.count == 0:
        return {"at": trigger.start} if trigger.start else {"type": "manual"}
    if trigger.count != _FOREVER:
        raise Refused(f"it repeats {trigger.count} times, which no schedule of this project does")
    if trigger.every < timedelta(seconds=1):
        raise Refused(f"its interval is {trigger.every}, and the least is a second")
    anchor = {"anchor": trigger.start} if trigger.start else {}
    return {"every": trigger.every, **anchor}


def _cron(trigger: QuartzTrigger, zone: ZoneInfo) -> dict[str, Any]:
    name = zone_named(trigger.zone) if trigger.zone else zone.key
    return {"cron": cron_of(trigger.cron, "quartz").normal, "timezone": name}


def _repeated(trigger: QuartzTrigger, start: datetime, end: datetime) -> Iterable[datetime] | None:
    if trigger.start is None:
        return None
    if trigger.every is None or trigger.count == 0:
        return [trigger.start] if start <= trigger.start < end else []
    turns = max(0, -((trigger.start - start) // trigger.every))
    first = trigger.start + turns * trigger.every
    count = max(0, -((first - end) // trigger.every))
    return [first + number * trigger.every for number in range(count)]


# The source.


class Quartz(RowEntrySource[QuartzTrigger]):
    """The source of Quartz and Quartz.NET."""

    tables = TABLES
    suffixes = (".xml",)
    hint = "Name the database, or export QRTZ_TRIGGERS, QRTZ_CRON_TRIGGERS, QRTZ_SIMPLE_TRIGGERS and QRTZ_JOB_DETAILS."
    questions = (
        "Which values did the job data maps hold? They are serialised in the tables and do not come over.",
        "Which calendars did the triggers have? Write them as calendars of this project: docs/calendars.md.",
    )
    advice = (
        "The smart policy of a cron trigger fires once for missed times: misfire: {policy: run_once}; DoNothing becomes skip.",
        "DisallowConcurrentExecution becomes overlap: queue, as Quartz lets the next start wait.",
    )

    model = (
        "Quartz is simulated from its documentation: weekdays from Sunday = 1, seconds first. At a clock change its cron triggers are assumed to"
        " run a time in a gap right after it, and a time of a repeated hour once. Intervals are elapsed time."
    )

    def is_document(self, path: Path) -> bool:
        """Return whether a file is job scheduling data in XML."""
        if path.suffix.lower() != ".xml":
            return False
        with path.open("rb") as file:
            head = file.read(4096).decode(errors="replace")
        return any(name in head for name in _NAMESPACES)

    def entries(self, documents: Sequence[Document]) -> Iterator[QuartzTrigger | Rejection]:
        """Yield the triggers of files."""
        for document in documents:
            yield from read_jobs(document)

    def entries_of_rows(self) -> Iterator[QuartzTrigger]:
        """Yield the triggers of the tables."""
        crons = {_key(row): row for row in self.rows[CRON]}
        simples = {_key(row): row for row in self.rows[SIMPLE]}
        jobs = {_job_key(row): row for row in self.rows[DETAILS]}
        named = [_job_key(row) for row in self.rows[TRIGGERS]]
        for row in self.rows[TRIGGERS]:
            yield _of_rows(
                row,
                crons.get(_key(row)),
                simples.get(_key(row)),
                jobs.get(_job_key(row)),
                several=named.count(_job_key(row)) > 1,
            )

    def starts(
        self, entry: QuartzTrigger, zone: ZoneInfo, start: datetime, end: datetime
    ) -> Iterable[datetime] | None:
        """Return the starts of a trigger; None for seconds other than 0, and for a manual job."""
        if not entry.cron:
            return _repeated(entry, start, end)
        text = read_cron_text(entry.cron, "quartz")
        if text.has_seconds:
            return None
        own_zone = ZoneInfo(zone_named(entry.zone)) if entry.zone else zone
        return cron_runs(text, own_zone, start, end, cronos_polling(entry.cron))

    def drafts(self, entry: QuartzTrigger, options: Options) -> Iterator[Draft]:
        """Yield the job of a trigger."""
        if entry.problem:
            raise Refused(entry.problem)
        over = (entry.end is not None and entry.end <= options.now) or (
            not entry.cron
            and entry.count == 0
            and entry.start is not None
            and entry.start <= options.now
        )
        fields: dict[str, Any] = {
            "blueprint": "not-ported",
            "description": (f"{entry.description} " if entry.description else "")
            + f"Quartz ran {entry.job or 'a job'}",
            "retries": 0,
            "timeout": "none",
        }
        fields |= {"type": "manual"} if over else _schedule(entry, options.zone)
        if "type" not in fields:
            fields["overlap"] = "queue" if entry.nonconcurrent else "allow"
            fields["misfire"] = {"policy": _MISFIRE.get(entry.misfire, "run_once")}
        warnings = [f"its class stays with Quartz: {NOT_PORTED}"]
        if entry.calendar:
            warnings.append(f"its calendar {entry.calendar} is left out: write it as a calendar of the project")  # fmt: skip
        if over:
            warnings.append("it is over: a manual job, created paused")
        name, own_id = numbered(entry.name, f"{entry.group}.{entry.name}", 0)
        old = OldJob(name, own_id, entry.cron or str(entry.every or entry.start or ""))
        active = not entry.paused and not over
        yield Draft(entry.row, name, fields, active, old, tuple(warnings))


def _key(row: Row) -> tuple[str | None, ...]:
    return tuple(reader_rows.text(row, part) for part in ("sched_name", "trigger_name", "trigger_group"))  # fmt: skip


def _job_key(row: Row) -> tuple[str | None, ...]:
    return tuple(reader_rows.text(row, part) for part in ("sched_name", "job_name", "job_group"))


def _of_rows(
    row: Row, cron: Row | None, simple: Row | None, job: Row | None, *, several: bool
) -> QuartzTrigger:
    def number(of: Row, column: str) -> int:
        return reader_rows.readable(reader_rows.integer, of, column) or 0

    kind = (reader_rows.text(row, "trigger_type") or "").upper()
    name = reader_rows.text(row, "trigger_name" if several else "job_name") or ""
    values: dict[str, Any] = {
        "group": reader_rows.text(row, "trigger_group") or "",
        "start": moment_of(number(row, "start_time")),
        "end": moment_of(number(row, "end_time")),
        "paused": (reader_rows.text(row, "trigger_state") or "").upper() in _PAUSED,
        "misfire": number(row, "misfire_instr"),
        "calendar": reader_rows.text(row, "calendar_name") or "",
    }
    if job is not None:
        values["job"] = reader_rows.text(job, "job_class_name") or ""
        values["description"] = reader_rows.text(job, "description") or ""
        values["nonconcurrent"] = bool(reader_rows.readable(reader_rows.flag, job, "is_nonconcurrent"))  # fmt: skip
    if cron is not None:
        values["cron"] = reader_rows.text(cron, "cron_expression") or ""
        values["zone"] = reader_rows.text(cron, "time_zone_id") or ""
    elif simple is not None:
        interval = number(simple, "repeat_interval")
        is_ticks = number(row, "start_time") > _TICKS
        values["count"] = number(simple, "repeat_count")
        try:
            values["every"] = timedelta(microseconds=interval / 10 if is_ticks else interval * 1000) or None  # fmt: skip
        except OverflowError:
            values["problem"] = f"its interval of {interval} is longer than the calendar"
    else:
        values["problem"] = f"it is a trigger of the type {kind or 'NULL'}, which is no cron and no simple trigger"  # fmt: skip
    return QuartzTrigger(row, name, **values)


def is_quartz(path: Path, head: str) -> bool:
    """Return whether a file is job scheduling data, or an export of the tables QRTZ_."""
    if any(name in head for name in _NAMESPACES):
        return True
    return re.search(r"\bqrtz_(?:\w+_)?triggers\b", f"{path.name} {head}", re.IGNORECASE) is not None  # fmt: skip


QUARTZ = SourceKind("quartz", "Quartz", is_quartz, Quartz, frozenset({"schema", "dates"}))
