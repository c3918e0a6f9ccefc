"""Celery beat: ``beat_schedule`` in Python code, and the tables of django-celery-beat.

Source of the rules: Celery's guide of periodic tasks. All five fields of ``crontab`` have to match; an interval counts from the last start.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.errors import ExportError
from targcc_gen.old_runners.cron import cron_runs, cronos_polling, read_cron_text
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import RowEntrySource
from targcc_gen.sources.model import OldJob, Options, Rejection, SourceKind, Switch
from targcc_gen.sources.reading import Document
from targcc_gen.sources.schedules import cron_of, zone_named

# Entries.

TASK, CRONTAB, INTERVAL = (
    "django_celery_beat_periodictask",
    "django_celery_beat_crontabschedule",
    "django_celery_beat_intervalschedule",
)
CLOCKED = "django_celery_beat_clockedschedule"
TABLES = KnownTables(
    names={table: table for table in (TASK, CRONTAB, INTERVAL, CLOCKED)},
    main=TASK,
    signs={
        TASK: frozenset({"task", "crontab_id", "interval_id", "one_off"}),
        CRONTAB: frozenset({"minute", "hour", "day_of_week", "month_of_year"}),
        INTERVAL: frozenset({"every", "period"}),
        CLOCKED: frozenset({"clocked_time"}),
    },
    columns=frozenset(
        [
            "id",
            "name",
            "task",
            "args",
            "kwargs",
            "queue",
            "enabled",
            "one_off",
            "crontab_id",
            "interval_id",
            "solar_id",
            "clocked_id",
            "description",
            "minute",
            "hour",
            "day_of_week",
            "day_of_month",
            "month_of_year",
            "timezone",
            "every",
            "period",
            "clocked_time",
            "last_run_at",
            "total_run_count",
        ]
    ),
    dates=frozenset({"clocked_time", "last_run_at"}),
)
_ASSIGNED = re.compile(r"\b(?:beat_schedule|CELERY_?BEAT_SCHEDULE)\b")
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_PERIODS = {"microseconds", "seconds", "minutes", "hours", "days", "weeks"}


@dataclass(frozen=True, slots=True)
class Periodic:
    """A periodic task.

    Attributes:
        row: The entry, with its file and line.
        name: The name of the entry.
        task: The name of the task.
        call: The arguments, as Python writes them.
        cron: The five fields of a crontab schedule, in the order of cron.
        every: The interval.
        at: The time of a single run; aware.
        zone: The zone of the schedule.
        queue: The queue.
        enabled: Whether beat starts the task.
        problem: The reason that the entry cannot be read.
        in_table: Whether the entry is a row of django-celery-beat.
    """

    row: Row
    name: str
    task: str
    call: str = ""
    cron: str = ""
    every: timedelta | None = None
    at: datetime | None = None
    zone: str = "UTC"
    queue: str = ""
    enabled: bool = True
    problem: str = ""
    in_table: bool = False


# ``beat_schedule`` in code, which is read without running the module.


def read_code(document: Document) -> Iterator[Periodic | Rejection]:
    """Yield the entries of the dictionaries that a module assigns to ``beat_schedule``.

    Raises:
        InputError: The file is no Python.
    """
    try:
        tree = ast.parse(document.text)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise ExportError(f"{document.file.name}:{line}: not Python: {error}") from None
    zone = next(_zones(tree), "UTC")
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(_ASSIGNED.fullmatch(_name(target)) for target in targets):
                for key, value in zip(node.value.keys, node.value.values, strict=True):
                    yield _entry(key, value, document.file.name, zone)


def _zones(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            _name(target) in {"timezone", "CELERY_TIMEZONE"} for target in node.targets
        ):
            value = _literal(node.value)
            if isinstance(value, str):
                yield value


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""  # fmt: skip


def _literal(node: ast.expr | None) -> Any:
    """Return the value of a literal; None for any other expression."""
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return None


def _entry(key: ast.expr | None, value: ast.expr, file: str, zone: str) -> Periodic | Rejection:
    name, line = _literal(key), value.lineno if key is None else key.lineno
    row = Row(TASK, {}, file, line)
    if not isinstance(name, str) or not isinstance(value, ast.Dict):
        shown = ast.unparse(value)[:60]
        return Rejection(file, line, f"{shown} is no entry that can be read without running the code")  # fmt: skip
    values = {_literal(part): item for part, item in zip(value.keys, value.values, strict=True)}
    task = _literal(values.get("task"))
    options = _literal(values.get("options"))
    queue = str(options.get("queue") or "") if isinstance(options, dict) else ""
    parts = [ast.unparse(values[part]) for part in ("args", "kwargs") if part in values]
    common: dict[str, Any] = {"call": ", ".join(parts), "queue": queue, "zone": zone}
    schedule = values.get("schedule")
    if not isinstance(task, str) or schedule is None:
        return Periodic(row, name, str(task or name), problem="it has no task or no schedule")
    try:
        return Periodic(row, name, task, **{**common, **_schedule(schedule)})
    except Refused as refused:
        return Periodic(row, name, task, problem=str(refused))


def _schedule(node: ast.expr) -> dict[str, Any]:
    """Return the schedule of an entry, as attributes of ``Periodic``.

    Raises:
        Refused: The schedule cannot be read without running the code, or is no time.
    """
    number, shown = _literal(node), ast.unparse(node)[:80]
    if isinstance(number, int | float) and number > 0:
        return {"every": _interval_of(shown, seconds=number)}
    kind = _name(node.func) if isinstance(node, ast.Call) else ""
    if kind == "solar":
        raise Refused(f"{shown} follows the sun, which no clock does")
    if not isinstance(node, ast.Call) or kind not in {"crontab", "timedelta", "schedule"}:
        raise Refused(f"{shown} is no schedule that can be read without running the code")
    if kind == "schedule":
        intervals = [k.value for k in node.keywords if k.arg == "run_every"] or node.args
        return _schedule(intervals[0] if intervals else ast.Constant(None))
    given = [_literal(argument) for argument in node.args]
    named = {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    if None in given or None in named.values():
        raise Refused(f"{shown} is no schedule that can be read without running the code")
    if kind == "crontab":
        order = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        fields = {**dict(zip(order, given, strict=False)), **named}
        return {"cron": " ".join(_field(fields.get(each, "*")) for each in _FIELDS)}
    return {"every": _interval_of(shown, *given, **named)}


def _interval_of(shown: str, *given: Any, **named: Any) -> timedelta:
    try:
        return timedelta(*given, **named)
    except (TypeError, OverflowError):
        raise Refused(f"{shown} is no interval") from None


def _field(value: Any) -> str:
    if isinstance(value, list | tuple | set):
        return ",".join(str(item) for item in value)
    return str(value).replace(" ", "")


# The source.


class CeleryBeat(RowEntrySource[Periodic]):
    """The source of Celery beat."""

    tables = TABLES
    suffixes = (".py",)
    entry = "entry of beat_schedule that can be read without running the code"
    hint = "Name the module that assigns beat_schedule, or export the tables of django-celery-beat."
    questions = (
        "Does each job call the function of its task, or write its work anew? Celery's task files stay as they are.",
        "Which tasks does the application send itself (delay, apply_async)? Only periodic tasks come over.",
    )
    advice = (
        "Retries: beat sends a task once; autoretry_for is in the code of the task. The jobs say retries: 0.",
        "Overlap: beat sends a task while its last run goes on, so the jobs say overlap: allow.",
    )

    model = (
        "beat is simulated from Celery's guide: all fields of crontab have to match. It computes the next time by the clock of the schedule's"
        " zone; what it does at a clock change is a fault of its own in several versions and is not copied: a time in a gap is assumed to run"
        " right after it, and a time of a repeated hour once."
    )

    def is_document(self, path: Path) -> bool:
        """Return whether a file is Python, or a folder."""
        return path.suffix == ".py" or path.is_dir()

    def entries(self, documents: Sequence[Document]) -> Iterator[Periodic | Rejection]:
        """Yield the entries of all modules."""
        for document in documents:
            yield from read_code(document)

    def entries_of_rows(self) -> Iterator[Periodic]:
        """Yield the rows of django-celery-beat."""
        crontabs = {reader_rows.key(row, "id"): row for row in self.rows[CRONTAB]}
        intervals = {reader_rows.key(row, "id"): row for row in self.rows[INTERVAL]}
        clocks = {reader_rows.key(row, "id"): row for row in self.rows[CLOCKED]}
        for row in self.rows[TASK]:
            name = reader_rows.text(row, "name") or ""
            task = reader_rows.text(row, "task") or ""
            if task == "celery.backend_cleanup":
                continue
            values: dict[str, Any] = {
                "call": _call(row),
                "queue": reader_rows.text(row, "queue") or "",
                "enabled": bool(reader_rows.readable(reader_rows.flag, row, "enabled")),
                "in_table": True,
            }
            if crontab := crontabs.get(reader_rows.key(row, "crontab_id")):
                values["cron"] = " ".join(_field(reader_rows.text(crontab, each) or "*") for each in _FIELDS)  # fmt: skip
                values["zone"] = reader_rows.text(crontab, "timezone") or "UTC"
            elif interval := intervals.get(reader_rows.key(row, "interval_id")):
                values |= _interval(interval)
            elif clock := clocks.get(reader_rows.key(row, "clocked_id")):
                moment = reader_rows.readable(reader_rows.moment, clock, "clocked_time")
                values["at"] = moment.replace(tzinfo=UTC) if moment else None
            elif reader_rows.key(row, "solar_id"):
                values["problem"] = "its schedule follows the sun, which no clock does"
            else:
                values["problem"] = "its schedule is not in the export"
            yield Periodic(row, name, task, **values)

    def starts(
        self, entry: Periodic, _zone: ZoneInfo, start: datetime, end: datetime
    ) -> Iterator[datetime] | None:
        """Return the starts of an entry; None for an interval, which counts from the last start."""
        if not entry.cron:
            return None
        text, zone = read_cron_text(entry.cron, "cronos"), ZoneInfo(zone_named(entry.zone))
        return cron_runs(text, zone, start, end, cronos_polling(entry.cron))

    def switch(self, entry: Periodic) -> Switch | None:
        """Return the statements for a row of django-celery-beat; None for code."""
        if not entry.in_table:
            return None
        quoted = entry.name.replace("'", "''")
        off, on = (f"UPDATE {TASK} SET enabled = {word} WHERE name = '{quoted}';" for word in ("false", "true"))  # noqa: S608  # fmt: skip
        return Switch(off, on, ".sql", "--")

    def drafts(self, entry: Periodic, options: Options) -> Iterator[Draft]:
        """Yield the job of an entry."""
        if entry.problem:
            raise Refused(entry.problem)
        fields: dict[str, Any] = {
            "blueprint": "not-ported",
            "description": f"Celery ran {entry.task}({entry.call})"[:1000],
            "retries": 0,
            "timeout": "none",
        }
        if entry.cron:
            cron_of(entry.cron)
            fields |= {
                "cron": entry.cron,
                "timezone": zone_named(entry.zone),
                "overlap": "allow",
                "misfire": {"policy": "run_once"},
            }
        elif entry.every is not None:
            if entry.every < timedelta(seconds=1):
                raise Refused(f"its interval is {entry.every}, and the least is a second")
            fields |= {"every": entry.every, "after": "start"}
        elif entry.at is not None and entry.at > options.now:
            fields["at"] = entry.at
        else:
            fields["type"] = "manual"
        warning = 'the code of its task stays with Celery: its job fails with "not yet ported" until it calls that code'
        text = entry.cron or str(entry.every or entry.at or "")
        old = OldJob(entry.name, entry.name, text, runner=entry.queue)
        active = entry.enabled and "type" not in fields
        yield Draft(entry.row, entry.name, fields, active, old, (warning,))


def _call(row: Row) -> str:
    texts = []
    for column, mark in (("args", "*"), ("kwargs", "**")):
        try:
            value = json.loads(reader_rows.text(row, column) or "null")
        except ValueError:
            value = None
        if value:
            texts.append(f"{mark}{value!r}")
    return ", ".join(texts)


def _interval(row: Row) -> dict[str, Any]:
    count = reader_rows.readable(reader_rows.integer, row, "every") or 0
    period = (reader_rows.text(row, "period") or "").lower()
    if count <= 0 or period not in _PERIODS:
        return {"problem": f"its interval is {count} {period}"}
    try:
        return {"every": timedelta(**{period: count})}
    except OverflowError:
        return {"problem": f"its interval is {count} {period}"}


def is_beat(path: Path, head: str) -> bool:
    """Return whether a file assigns ``beat_schedule``, or is an export of django-celery-beat."""
    if path.suffix == ".py":
        return bool(_ASSIGNED.search(head))
    return TASK in path.stem.lower() or re.search(rf"\b{TASK}\b", head) is not None


CELERY = SourceKind("celery", "Celery beat", is_beat, CeleryBeat, frozenset({"schema", "dates"}))
