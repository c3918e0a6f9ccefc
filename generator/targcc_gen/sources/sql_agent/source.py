"""SQL Server Agent as a source: jobs, steps, schedules and operators, from a script or from the tables of msdb."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.agent import (
    AgentSchedule,
    AgentScheduleError,
    Frequency,
    agent_starts,
    read_schedule,
)
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.database import is_address
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item, KnownTables, Remark, RemarkKind, Row, Unknown, Value
from targcc_gen.sources.c_job.companions import procedure_name
from targcc_gen.sources.c_job.tables import History
from targcc_gen.sources.drafts import Draft, Naming, Refused
from targcc_gen.sources.entries import NOT_PORTED, numbered, text_param
from targcc_gen.sources.model import (
    Import,
    ImportedJob,
    OldJob,
    Options,
    ReadingOptions,
    Rejection,
    SourceKind,
    Switch,
    Warnings,
)
from targcc_gen.sources.reading import read_documents, read_rows, without_entries
from targcc_gen.sources.sql_agent.branches import NoFlowError, Ways, flow_of
from targcc_gen.sources.sql_agent.schedules import translated
from targcc_gen.sources.sql_agent.script import Call, Reference, read_calls
from targcc_gen.spec import Param, Spec

# The tables of msdb.

JOBS, STEPS, LINKS = "sysjobs", "sysjobsteps", "sysjobschedules"
SCHEDULES, OPERATORS, HISTORY = "sysschedules", "sysoperators", "sysjobhistory"
_COLUMNS = {
    JOBS: "job_id name enabled description start_step_id notify_level_email notify_email_operator_id",
    STEPS: "job_id step_id step_name subsystem command cmdexec_success_code on_success_action on_success_step_id on_fail_action on_fail_step_id database_name retry_attempts"
    " retry_interval",
    LINKS: "schedule_id job_id next_run_date next_run_time",
    SCHEDULES: "schedule_id name enabled freq_type freq_interval freq_subday_type freq_subday_interval freq_relative_interval"
    " freq_recurrence_factor active_start_date active_end_date active_start_time active_end_time",
    OPERATORS: "id name enabled email_address",
    HISTORY: "instance_id job_id step_id step_name message run_status run_date run_time run_duration server",
}
TABLES = KnownTables(
    names={table: table for table in _COLUMNS},
    main=JOBS,
    signs={
        JOBS: frozenset({"notify_level_email", "start_step_id", "originating_server_id"}),
        STEPS: frozenset({"subsystem", "on_success_action", "cmdexec_success_code"}),
        LINKS: frozenset({"next_run_date", "next_run_time"}),
        SCHEDULES: frozenset({"freq_type", "freq_subday_type", "active_start_time"}),
        OPERATORS: frozenset({"email_address", "pager_address"}),
        HISTORY: frozenset({"run_date", "run_duration", "run_status"}),
    },
    identity="",
    columns=frozenset(" ".join(_COLUMNS.values()).split()),
)
_SCRIPT = re.compile(r"\bsp_add_job(?:step|schedule)?\b", re.IGNORECASE)
_ROWS = re.compile(r"\b(?:sysjobs|sysjobsteps|sysschedules)\b", re.IGNORECASE)


# Jobs, steps and schedules, wherever they come from.


@dataclass(slots=True)
class Step:
    """A step of a job; the attributes are the columns of ``sysjobsteps``."""

    number: int
    name: str
    subsystem: str
    command: str | None
    database: str = ""
    on_success: int = 1
    success_step: int = 0
    on_fail: int = 2
    fail_step: int = 0
    retries: int = 0
    retry_minutes: int = 0
    success_status: int = 0


@dataclass(slots=True)
class AgentJob:
    """A job of Agent.

    Attributes:
        row: The call or the row of the job.
        id: The id of the job in msdb; its name in a script.
        mail: The mail address of its operator.
        mail_level: ``notify_level_email``: 1 success, 2 failure, 3 both.
        problems: Reasons that the job cannot be read.
    """

    row: Row
    id: str
    name: str
    enabled: bool = True
    description: str = ""
    first_step: int = 1
    mail: str = ""
    mail_level: int = 0
    steps: list[Step] = field(default_factory=list)
    schedules: list[AgentSchedule] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _text(values: Mapping[str, Value], name: str) -> str:
    value = values.get(name)
    return "" if value is None or isinstance(value, Unknown) else str(value).strip()


def _integer(values: Mapping[str, Value], name: str, default: int = 0) -> int:
    try:
        return int(float(_text(values, name) or default))
    except (ValueError, OverflowError):
        return default


def _step(values: Mapping[str, Value], number: int) -> Step:
    command = values.get("command")
    return Step(
        _integer(values, "step_id", number) or number,
        _text(values, "step_name"),
        (_text(values, "subsystem") or "TSQL").upper(),
        None if command is None or isinstance(command, Unknown) else str(command),
        _text(values, "database_name"),
        _integer(values, "on_success_action", 1) or 1,
        _integer(values, "on_success_step_id"),
        _integer(values, "on_fail_action", 2) or 2,
        _integer(values, "on_fail_step_id"),
        max(_integer(values, "retry_attempts"), 0),
        max(_integer(values, "retry_interval"), 0),
        _integer(values, "cmdexec_success_code"),
    )


def _add_schedule(job: AgentJob, values: Mapping[str, Value], name: str) -> None:
    unknown = [
        column
        for column in _COLUMNS[SCHEDULES].split()
        if isinstance(values.get(column), Unknown)
        and not (column == "active_start_date" and not _counts_from_its_start(values))
    ]
    if unknown:
        job.problems.append(
            f'schedule "{name}": {unknown[0]} is known to the script only when it runs'
        )
        return
    known = {key: value for key, value in values.items() if not isinstance(value, Unknown)}
    try:
        job.schedules.append(read_schedule(known, name))
    except AgentScheduleError as error:
        job.problems.append(f'schedule "{name}": {error}')


def _counts_from_its_start(values: Mapping[str, Value]) -> bool:
    """Return whether the first day decides on which later days a schedule runs."""
    kind = _integer(values, "freq_type")
    step = "freq_interval" if kind == Frequency.DAILY else "freq_recurrence_factor"
    return kind == Frequency.ONCE or _integer(values, step, 1) > 1


# A script.


class _ScriptJobs:
    """The jobs that the calls of scripts make."""

    def __init__(self) -> None:
        self.jobs: dict[str, AgentJob] = {}
        self._by_reference: dict[str, str] = {}
        self._schedules: dict[str, tuple[str, Mapping[str, Value]]] = {}
        self.operators: dict[str, str] = {}
        self.lost: list[Rejection] = []

    def take(self, call: Call, file: str) -> None:
        values = call.values
        if call.procedure == "sp_add_job":
            self._add_job(call, file)
        elif call.procedure == "sp_add_operator":
            self.operators[_text(values, "name").casefold()] = _text(values, "email_address")
        elif call.procedure == "sp_add_schedule":
            name = _text(values, "schedule_name")
            for key in (name.casefold(), *map(str, self._references(call))):
                self._schedules[key] = name, values
        elif call.procedure != "sp_delete_job" and (job := self._job_of(call)) is not None:
            self._change(job, call)

    @staticmethod
    def _references(call: Call) -> list[str]:
        return [value for value in call.values.values() if isinstance(value, Reference)]

    def _add_job(self, call: Call, file: str) -> None:
        name = _text(call.values, "job_name")
        row = Row(JOBS, dict(call.values), file, call.line)
        if not name:
            reason = "its @job_name is known to the script only when it runs"
            self.lost.append(Rejection(file, call.line, reason))
            name = f"\0{file}:{call.line}"
        else:
            self.jobs[name.casefold()] = _job(row, name, name, call.values)
        for reference in self._references(call):
            self._by_reference[reference] = name.casefold()

    def _job_of(self, call: Call) -> AgentJob | None:
        identity = call.values.get("job_id")
        if isinstance(identity, Reference):
            return self.jobs.get(self._by_reference.get(identity, ""))
        return self.jobs.get(_text(call.values, "job_name").casefold())

    def _change(self, job: AgentJob, call: Call) -> None:
        values = call.values
        if call.procedure == "sp_add_jobstep":
            job.steps.append(_step(values, len(job.steps) + 1))
        elif call.procedure == "sp_add_jobschedule":
            _add_schedule(job, values, _text(values, "name"))
        elif call.procedure == "sp_attach_schedule":
            key = str(values.get("schedule_id") or _text(values, "schedule_name").casefold())
            if key in self._schedules:
                name, schedule = self._schedules[key]
                _add_schedule(job, schedule, name)
            else:
                job.problems.append("its schedule is not in the script")
        elif call.procedure == "sp_update_job":
            job.enabled = bool(_integer(values, "enabled", int(job.enabled)))
            job.first_step = _integer(values, "start_step_id", job.first_step)


def _job(row: Row, identity: str, name: str, values: Mapping[str, Value]) -> AgentJob:
    description = _text(values, "description")
    return AgentJob(
        row,
        identity,
        name,
        bool(_integer(values, "enabled", 1)),
        "" if description.startswith("No description available") else description,
        _integer(values, "start_step_id", 1) or 1,
        _text(values, "notify_email_operator_name").casefold(),
        _integer(values, "notify_level_email"),
    )


# The simulated runner.


class Agent:
    """The starts of SQL Server Agent.

    Args:
        zone: The zone of the server.
        schedules: The enabled schedules of each job, by the place of the job in the export.
    """

    model = (
        "Agent is simulated from Microsoft's description of sysschedules: it computes the next time by its server's clock and starts the job"
        " when the clock has reached that time. A time in the gap of spring runs right after it, and nothing runs in the repeated hour."
    )

    def __init__(self, zone: ZoneInfo, schedules: Mapping[str, list[AgentSchedule]]) -> None:
        self._zone = zone
        self._schedules = schedules

    def starts(self, job: ImportedJob, start: datetime, end: datetime) -> Iterable[datetime] | None:
        """Return the starts of a job in a period; None for a job that another job's end starts."""
        schedules = self._schedules.get(job.row.place)
        return None if schedules is None else agent_starts(schedules, self._zone, start, end)


# The source.

_QUESTIONS = [
    "Which login runs the steps afterwards? Agent ran T-SQL as the owner of the job, and programs as the account of the service or a proxy.",
    "Does anything else start these jobs (sp_start_job, alerts, a maintenance plan)? Such a start has no schedule.",
]
_ADVICE = [
    "After a downtime Agent starts nothing that it missed, so the jobs say misfire: {policy: skip}.",
    "A job that runs when its next time comes is not started again: overlap: skip. Timeouts: Agent stopped nothing.",
    "Retries wait the minutes of retry_interval before the first, and longer before each further one; Agent waited the same each time.",
]


class SqlAgent:
    """The source of SQL Server Agent.

    Args:
        spool: The file for the history; None: only count the history.
    """

    tables = TABLES

    def __init__(self, spool: Path | None = None) -> None:
        self._history = History(spool)
        self._script = _ScriptJobs()
        self._rows: dict[str, list[Row]] = {table: [] for table in _COLUMNS}
        self._unreadable: list[Remark] = []
        self._warnings = Warnings()

    def read(self, exports: Sequence[str], reading: ReadingOptions) -> list[ExportFile]:
        """Read scripts of jobs, exports of the tables of msdb, or msdb itself; see ``LegacySource``."""
        if any(map(is_address, exports)):
            return read_rows(exports, TABLES, self._take, reading)
        files = []
        tables: list[str] = []
        for document in read_documents(exports, reading, "script of Agent jobs"):
            if not _SCRIPT.search(document.text):
                tables.append(str(document.path))
                continue
            before = len(self._script.jobs) + len(self._script.lost)
            for call in read_calls(document.text, document.file.name):
                self._script.take(call, document.file.name)
            document.file.counts[JOBS] = len(self._script.jobs) + len(self._script.lost) - before
            files.append(document.file)
        if tables:
            files += read_rows(tables, TABLES, self._take, reading)
        if not sum(file.counts[JOBS] for file in files):
            raise without_entries(files, "job of SQL Server Agent", "In SSMS: select the jobs in Object Explorer Details, Script Job as, CREATE To.")  # fmt: skip
        return files

    def _take(self, item: Item) -> None:
        if isinstance(item, Row):
            if item.table == HISTORY:
                self._take_run(item)
            else:
                self._rows[item.table].append(item)
        elif isinstance(item, Remark):
            if item.kind is RemarkKind.UNREADABLE and item.table == JOBS:
                self._unreadable.append(item)
            else:
                self._warnings.add(item.place, item.text)

    def _take_run(self, row: Row) -> None:
        """Keep the outcome of a run: rows of step 0 that have ended, as a row of ``c_LoggedJob``."""
        status = _integer(row.values, "run_status", -1)
        if _integer(row.values, "step_id", -1) != 0 or status not in {0, 1, 3}:
            return
        date, clock = _integer(row.values, "run_date"), _integer(row.values, "run_time")
        duration = _integer(row.values, "run_duration")
        hours, rest = divmod(duration, 10000)
        minutes, seconds = divmod(rest, 100)
        values: dict[str, Value] = {
            "jobid": row.values.get("job_id"),
            "startedat": f"{date // 10000:04}-{date // 100 % 100:02}-{date % 100:02}T{clock // 10000:02}:{clock // 100 % 100:02}:{clock % 100:02}",
            "durationsec": hours * 3600 + minutes * 60 + seconds,
            "success": int(status == 1),
            "message": row.values.get("message"),
            "servername": row.values.get("server"),
        }
        self._history.add(row._replace(values=values, orders=frozenset({"ymd"})))

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        """Convert every job; see ``LegacySource``."""
        self._history.close()
        jobs = [*self._script.jobs.values(), *self._jobs_of_tables()]
        simulation: dict[str, list[AgentSchedule]] = {}
        result = Import(
            TABLES,
            files,
            options,
            self._history,
            self._warnings,
            questions=lambda _: _QUESTIONS,
            advice=lambda _: _ADVICE,
            simulation=Agent(options.zone, simulation),
        )
        result.rejected += self._script.lost
        result.rejected += [Rejection(item.file, item.line, item.text) for item in self._unreadable]
        databases = {
            step.database.casefold() for job in jobs for step in job.steps if step.database
        }
        drafts: list[Draft] = []
        for job in jobs:
            try:
                drafts += _Drafting(job, options, self._script.operators, several=len(databases) > 1).drafts()  # fmt: skip
            except Refused as refused:
                result.rejected.append(Rejection(job.row.file, job.row.line, str(refused), job.name, job.id))  # fmt: skip
                continue
            enabled = [each for each in job.schedules if each.enabled]
            simulation[job.row.place] = (enabled if job.enabled else []) or job.schedules
            result.switches[job.row.place] = _switch(job.name)
        Naming(drafts, options, project, result).add_jobs()
        return result

    def _jobs_of_tables(self) -> Iterator[AgentJob]:
        operators = {reader_rows.key(row, "id"): row for row in self._rows[OPERATORS]}
        schedules = {reader_rows.key(row, "schedule_id"): row for row in self._rows[SCHEDULES]}
        for row in self._rows[JOBS]:
            identity = reader_rows.key(row, "job_id") or ""
            job = _job(row, identity, _text(row.values, "name"), row.values)
            operator = operators.get(reader_rows.key(row, "notify_email_operator_id"))
            job.mail = _text(operator.values, "email_address") if operator else ""
            steps = [step for step in self._rows[STEPS] if reader_rows.key(step, "job_id") == identity]  # fmt: skip
            job.steps = [_step(step.values, place) for place, step in enumerate(steps, start=1)]
            for link in self._rows[LINKS]:
                schedule = schedules.get(reader_rows.key(link, "schedule_id"))
                if schedule is not None and reader_rows.key(link, "job_id") == identity:
                    _add_schedule(job, schedule.values, _text(schedule.values, "name"))
            yield job


def _switch(name: str) -> Switch:
    quoted = name.replace("'", "''")
    call = f"EXEC msdb.dbo.sp_update_job @job_name = N'{quoted}', @enabled = "
    return Switch(f"{call}0;", f"{call}1;", ".sql", "--")


# Drafts: the first step has the schedule, each further step comes after the step before it.

_NEXT_STEP, _QUIT_SUCCESS, _QUIT_FAILURE = 3, 1, 2
_TOKEN = re.compile(r"\$\((?:ESCAPE_\w+\()?[A-Z]{3,}\)?\)")
_CALL = re.compile(r"\s*(?:USE\s+\[?\w+\]?\s*;?\s*(?:GO\s+)?)?EXEC(?:UTE)?\s+(?P<name>[^\s;(@']+)\s*;?\s*(?:GO\s*)?", re.IGNORECASE)  # fmt: skip
_WIDEST = 60


class _Drafting:
    def __init__(
        self, job: AgentJob, options: Options, operators: Mapping[str, str], *, several: bool
    ) -> None:
        self._job = job
        self._options = options
        self._operators = operators
        self._several = several

    def drafts(self) -> list[Draft]:
        """Return the jobs of a job.

        Raises:
            Refused: The job cannot be read, or no few schedules name its times.
        """
        job = self._job
        if job.problems:
            raise Refused(job.problems[0])
        if not job.steps:
            raise Refused("it has no step: nothing would run")
        steps = sorted(job.steps, key=lambda step: step.number)
        schedules, active, notes = self._schedules()
        from_first = [step for step in steps if step.number >= job.first_step] or steps
        if len(from_first) > 1 and (not _is_chain(from_first) or len(schedules) > 1):
            return self._flow(steps, schedules, active=active, notes=notes)
        steps = from_first
        drafts = [
            self._draft(steps[0], place, {**fields, **self._life()}, active=active, notes=notes)
            for place, fields in enumerate(schedules)
        ]
        for before, step in pairwise(steps):
            name = f"{job.name}: {step.name or step.number}"
            values, warnings = self._work(step)
            fields = {**self._life(), **values}
            old = OldJob(name, f"{job.id}#{step.number}", f"after step {before.number}")
            draft = Draft(job.row, name, fields, active, old, tuple(warnings), drafts[-1].name)
            drafts.append(draft)
        return drafts

    def _schedules(self) -> tuple[list[dict[str, Any]], bool, list[str]]:
        """Return the schedules of the spec, whether the job runs, and notes. A job without a live schedule becomes a manual job."""
        job, options = self._job, self._options
        today = options.now.astimezone(options.zone)
        live = [each for each in job.schedules if each.last_day >= today.date()]
        live = [
            each
            for each in live
            if each.frequency is not Frequency.ONCE
            or datetime.combine(each.first_day, each.start) > today.replace(tzinfo=None)
        ]
        notes = [f'schedule "{each.name}" is over' for each in job.schedules if each not in live]
        enabled = [each for each in live if each.enabled]
        notes += [f'schedule "{each.name}" is disabled: left out' for each in live if enabled and not each.enabled]  # fmt: skip
        used = enabled or live
        fields = [each for schedule in used for each in translated(schedule)]
        notes += [
            f'schedule "{each.name}" begins on {each.first_day}: here it begins at once'
            for each in used
            if each.first_day > today.date() and each.frequency is not Frequency.ONCE
        ]
        if not fields:
            return [{"type": "manual"}], job.enabled and not job.schedules, notes
        return fields, job.enabled and bool(enabled), notes

    def _draft(
        self, step: Step, place: int, fields: dict[str, Any], *, active: bool, notes: list[str]
    ) -> Draft:
        job = self._job
        values, warnings = self._work(step)
        name, own_id = numbered(job.name, job.id, place)
        old = OldJob(name, own_id, "; ".join(each.name for each in job.schedules))
        return Draft(job.row, name, {**fields, **values}, active, old, (*notes, *warnings))

    def _flow(
        self, steps: list[Step], schedules: list[dict[str, Any]], *, active: bool, notes: list[str]
    ) -> list[Draft]:
        """Return a manual job for each step, and a flow for each schedule.

        Raises:
            Refused: No flow runs the steps as Agent does.
        """
        job = self._job
        ways = {step.number: _ways(step, place, steps) for place, step in enumerate(steps)}
        try:
            places = flow_of(ways, job.first_step if job.first_step in ways else steps[0].number)
        except NoFlowError as error:
            raise Refused(f"its steps make no flow: {error}. Steps: {_listed(steps)}") from None
        by_number = {step.number: step for step in steps}
        drafts, named = [], {}
        for number in places:
            step = by_number[number]
            values, warnings = self._work(step)
            name = named[number] = f"{job.name}: {step.name or number}"
            old = OldJob(name, f"{job.id}#{number}", f"step {number} of {job.name}")
            fields = {"type": "manual", **self._life("failure"), **values}
            drafts.append(
                Draft(job.row, name, fields, active=True, old=old, warnings=tuple(warnings))
            )
        flow_steps = tuple(
            (f"step{number}", named[number], tuple(f"step{each}" for each in place.after), place.on)
            for number, place in places.items()
        )
        texts = [*notes, *_ends_otherwise(ways, [by_number[number] for number in places])]
        if job.mail_level in _MAILS_SUCCESS:
            texts.append("its mail about a success is left out: a flow sends none")
        for place, schedule in enumerate(schedules):
            fields = {key: value for key, value in self._life().items() if key in _OF_A_FLOW}
            name, own_id = numbered(job.name, job.id, place)
            old = OldJob(name, own_id, "; ".join(each.name for each in job.schedules))
            values = {**fields, **schedule}
            drafts.append(Draft(job.row, name, values, active, old, tuple(texts), steps=flow_steps))
        return drafts

    def _life(self, *only: str) -> dict[str, Any]:
        """Return the fields that all jobs of an Agent job share; ``only`` names the events of its mails that count."""
        job = self._job
        fields: dict[str, Any] = {
            "retries": 0, "timeout": "none", "overlap": "skip", "misfire": {"policy": "skip"},
        }  # fmt: skip
        if job.description:
            fields["description"] = job.description[:1000]
        events = {1: ("success",), 2: ("failure",), 3: ("failure", "success")}.get(job.mail_level)
        address = job.mail if "@" in job.mail else self._operators.get(job.mail, "")
        addresses = tuple(part for part in re.split(r"[;,\s]+", address) if "@" in part)
        events = tuple(each for each in events or () if not only or each in only)
        if events and (addresses or self._options.alert_email):
            fields["alerts"] = {"on": events, "email": addresses or self._options.alert_email}
        return fields

    def _work(self, step: Step) -> tuple[dict[str, Any], list[str]]:
        """Return the work of a step as fields of the spec, and warnings."""
        warnings: list[str] = []
        fields: dict[str, Any] = {"retries": min(step.retries, 100)}
        if step.retries and step.retry_minutes:
            fields["backoff"] = f"{step.retry_minutes}m"
        command = step.command
        token = _TOKEN.search(command or "")
        if command is None or not command.strip() or token:
            why = (
                f"its command uses Agent's token {token[0]}"
                if token
                else "its command is not in the export"
            )
            warnings.append(f"{why}: {NOT_PORTED}")
            shown = " ".join((command or "").split())[:1000]
            return {**fields, "blueprint": "not-ported", "description": f"The old server ran: {shown}"}, warnings  # fmt: skip
        if step.subsystem == "TSQL":
            return {**fields, **self._sql(step, command, warnings)}, warnings
        if step.subsystem in {"CMDEXEC", "POWERSHELL", "SSIS"}:
            line = f"dtexec {command}" if step.subsystem == "SSIS" else command
            params = {"command": text_param(line)}
            if step.subsystem == "POWERSHELL":
                params["shell"] = text_param("powershell")
            if step.success_status:
                params["expected"] = str(Param("list[int]", [step.success_status], required=False))
            warnings.append(f"{step.subsystem} ran on the old server: run the worker of its queue where the program is")  # fmt: skip
            return {**fields, "blueprint": "command", "params": params}, warnings
        warnings.append(f"{step.subsystem} is a part of SQL Server: {NOT_PORTED}")
        return {**fields, "blueprint": "not-ported", "description": f"The old server ran: {command}"[:1000]}, warnings  # fmt: skip

    def _sql(self, step: Step, command: str, warnings: list[str]) -> dict[str, Any]:
        database = step.database if step.database.casefold() not in {"", "master"} else ""
        if database and not self._several:
            warnings.append(f"it ran in the database {database}: APP_DATABASE_URL has to name it")
        call = _CALL.fullmatch(command)
        name = procedure_name(call["name"]) if call else None
        if name is not None:
            parts = name.count(".") + 1
            if database and self._several and parts < 3:  # noqa: PLR2004 - database, schema, name
                name = f"[{database}].{name if parts == 2 else 'dbo.' + name}"  # noqa: PLR2004
            return {"blueprint": "stored-procedure", "procedure": name}
        if '"' in command:
            warnings.append("its text has double quotes: Agent read them as quotes of a text (QUOTED_IDENTIFIER OFF), here they quote names; write single quotes")  # fmt: skip
        text = f"USE [{database}]\nGO\n{command}" if database and self._several else command
        return {"blueprint": "sql", "params": {"statement": text_param(text)}}


def _is_chain(steps: Sequence[Step]) -> bool:
    """Return whether each step goes to the next on success, the last ends the job, and a failure ends the job as failed."""
    *others, last = steps
    return (
        all(step.on_success == _NEXT_STEP and step.on_fail == _QUIT_FAILURE for step in others)
        and last.on_success in {_QUIT_SUCCESS, _NEXT_STEP}
        and last.on_fail == _QUIT_FAILURE
    )


_OF_A_FLOW = ("overlap", "misfire", "description")
_MAILS_SUCCESS = (1, 3)
_GO_TO_STEP = 4


def _ways(step: Step, place: int, steps: Sequence[Step]) -> Ways:
    """Return the ways of a step; the last step ends the job where it goes to the next."""
    following = steps[place + 1].number if place + 1 < len(steps) else None

    def way(action: int, chosen: int) -> int | None:
        return {_NEXT_STEP: following, _GO_TO_STEP: chosen}.get(action)

    return Ways(way(step.on_success, step.success_step), way(step.on_fail, step.fail_step))


def _ends_otherwise(ways: Mapping[int, Ways], steps: Sequence[Step]) -> Iterator[str]:
    """Yield notes about ends of the job that a flow judges in another way than Agent."""
    quiet = [
        step
        for step in steps
        if step.on_fail != _QUIT_FAILURE
        and (ways[step.number].failure or step.on_fail == _QUIT_SUCCESS)
    ]
    if quiet:
        yield "a flow counts as failed when a step failed, also where Agent went on and ended the job well"
    if any(step.on_success == _QUIT_FAILURE for step in steps):
        yield "a step that succeeded and ended the job as failed there leaves the flow succeeded here"


def _listed(steps: Sequence[Step]) -> str:
    return "; ".join(
        f"{step.number} {step.name} (success {_action(step.on_success)}, failure {_action(step.on_fail)})"
        for step in steps
    )


def _action(number: int) -> str:
    return {1: "ends well", 2: "ends as failed", 3: "next step", 4: "another step"}.get(number, "?")


def recognizes(path: Path, head: str) -> bool:
    """Return whether a file is a script of Agent jobs, or an export of a table of msdb."""
    if _SCRIPT.search(head):
        return True
    return bool(_ROWS.search(path.stem) or re.search(r"\bINSERT\s+(?:INTO\s+)?\S*sysjobs\b", head, re.IGNORECASE))  # fmt: skip


SQL_AGENT = SourceKind("sql-agent", "SQL Server Agent", recognizes, SqlAgent, frozenset({"schema", "dates"}))  # fmt: skip
