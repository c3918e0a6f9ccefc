"""The move from TaskManager, made from the rows of ``c_Job``: the steps, what stops with it, and SQL for the DBA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from targcc_scheduler.schedules.words import format_duration

from targcc_gen.sources.c_job import tables
from targcc_gen.sources.c_job.classic_rows import WORK, dropped
from targcc_gen.sources.c_job.tables import Shape, shape_of
from targcc_gen.sources.model import Import, ImportedJob, Move, MoveStep

GRANTS, BACKUP, ROLL_BACK = (
    f"legacy/{name}.sql" for name in ("1-grants", "2-backup", "9-roll-back")
)
_CARRIED = 1000
"""Runs of a job that ``targcc cutover back`` writes into the old log."""
_NAMED = 8


def move(result: Import) -> Move:
    """Return the steps of the move from TaskManager, runner by runner."""
    moving = _moving(result)
    return Move(
        tuple(_steps(moving, [job.key for job in result.second if not job.spec.paused])),
        f"when TaskManager is removed or {tables.TABLES.names[tables.JOB]} changes its columns. Until then targcc cutover back works at any"
        " time; mails that were sent and data that a run changed stay" + _carried(moving),
        tuple(_back(moving)),
        tuple(_stops(result)),
        scripts(result),
    )


def _moving(result: Import) -> list[ImportedJob]:
    """Return the active jobs that TaskManager starts."""
    return [job for job in result.jobs if job.old.id is not None and job.spec.has_schedule]


def _runners(jobs: Sequence[ImportedJob]) -> dict[str, int]:
    """Return the number of jobs of each runner, the runner with the fewest jobs first, rows without a runner last."""
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.old.runner] = counts.get(job.old.runner, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (not item[0], item[1], item[0])))


def _selected(runner: str) -> str:
    if not runner:
        return "--all"
    return f'--runner "{runner}"' if " " in runner else f"--runner {runner}"


def _steps(jobs: Sequence[ImportedJob], halves: Sequence[str]) -> Iterator[MoveStep]:
    runners = _runners(jobs)
    signed = "--signed legacy/decisions.csv"
    yield MoveStep(
        "Two weeks before",
        "developer",
        "Import all jobs paused, and deploy the project",
        (
            "targcc-gen import-legacy … --new DIR --paused",
            "targcc serve",
            "targcc owner import",
            "targcc cutover plan",
        ),
        "plan prints no stop",
    )
    yield MoveStep(
        "Two weeks before",
        "DBA",
        "Give the project's login its rights",
        (GRANTS, "targcc cutover rights"),
        "rights says no to none",
    )
    yield MoveStep(
        "A week before",
        "developer",
        "Compare the slots here with the runs there",
        ("targcc owner set --all shadow", "targcc shadow report --days 7"),
        "7 clean days, exit status 0",
    )
    yield MoveStep(
        "The day before",
        "team lead",
        "Have the owners sign each line (By, Date), and look at the plan of the night",
        ("legacy/decisions.csv", f"targcc cutover start --all {signed} --dry-run"),
        "no unsigned line is named",
    )
    yield MoveStep(
        "In the quiet window",
        "DBA",
        "Copy the tables",
        (BACKUP,),
        "both counts of each table are equal",
    )
    for runner, count in runners.items():
        yield MoveStep(
            "In the quiet window",
            "operator",
            f"Move {_count(count, 'job')} of {runner or 'TaskManager'}",
            (f"targcc cutover start {_selected(runner)} {signed}",),
            f"{count} times done. LEFT: it runs there; repeat the command",
        )
    if halves:
        resume = tuple(f"targcc job resume {key}" for key in halves)
        yield MoveStep(
            "Right after",
            "operator",
            "Resume second halves of schedules, which have no row of their own",
            resume,
            "targcc job list shows the next run of each",
        )
    yield MoveStep(
        "After each runner",
        "operator",
        "Look at both sides",
        ("targcc cutover status",),
        "no alarm, exit status 0",
    )
    yield MoveStep(
        "The morning after",
        "team lead",
        "Look at the overview and at the first day",
        ("targcc cutover status",),
        "each job shows runs, none failed",
    )
    yield MoveStep("A month later", "DBA", "Switch TaskManager off, drop the copies", (), "the list below is done")  # fmt: skip


def _back(jobs: Sequence[ImportedJob]) -> Iterator[MoveStep]:
    commands = tuple(f"targcc cutover back {_selected(runner)}" for runner in _runners(jobs))
    yield MoveStep(
        "At any time",
        "operator",
        "Give the jobs back, with their runs",
        commands,
        "done for each job. LEFT: it runs here; repeat the command",
    )
    yield MoveStep("Only if back cannot run", "DBA", "Stop all servers of the project, then restore the rows", (ROLL_BACK,), "its list names the rows that run at once; set NextRunTime of those that ran here")  # fmt: skip


def _carried(jobs: Sequence[ImportedJob]) -> str:
    """Return the time after which the old log misses runs of the most frequent job."""
    often = [job for job in jobs if job.spec.every is not None]
    if not often:
        return ""
    job = min(often, key=lambda each: each.spec.every or timedelta.max)
    assert job.spec.every is not None
    span = format_duration(job.spec.every * _CARRIED)
    return f". The old log gets the last {_CARRIED:,} runs of each job: {job.key} has as many in {span}"


# What ends with TaskManager.


def _stops(result: Import) -> Iterator[str]:
    names = [job.key for job in result.jobs if job.spec.blueprint == "not-ported"]
    if names:
        yield f"The work of {_named(names)}: not yet ported. Write it before the move."
    for job in result.jobs:
        if work := WORK.get(job.old.name):
            yield f"{job.old.name}: {work.note}."
    for rejection in result.rejected:
        if reason := dropped(rejection.name):
            yield f"{rejection.name}: {reason}."
    others = [
        item.name or f"{item.file}:{item.line}"
        for item in result.rejected
        if not dropped(item.name) and not item.deleted
    ]
    if others:
        yield f"Rejected rows: nothing runs {_named(others)} any more."
    if programs := [job.key for job in result.all_jobs if not job.old.managed]:
        yield f"Programs that start {_named(programs)} through c_Job: let them call POST /api/jobs/NAME/trigger."
    if any(rejection.name == "ScanJobs" for rejection in result.rejected):
        yield "Mails about missed jobs (ScanJobs): alerts on missed slots."
    yield "Screens and queries that read LastRunTime, NextRunTime or c_LoggedJob: they stand still."
    yield "Run now on an old screen: it makes the row active again. Take the right away, or tell its users."


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


# SQL for the DBA. Statements that all three databases know are written once.

_MADE = "-- Written anew by each import with --paused: edit a copy."
_COPY = "_before_targcc"
_CHANGED = {
    Shape.CLASSIC: ("Active", "NextRunTime", "LastRunTime", "enmJobStatus", "ChangedBy", "ChangedOn"),
    Shape.CRON: ("IsActive", "NextRun", "LastRun", "LastResult"),
}  # fmt: skip
"""The columns of a row that a cut-over changes: on and off, next run, last run, …, the mark."""
_MARK = {Shape.CLASSIC: "ChangedBy", Shape.CRON: "LastResult"}
_NAME = {Shape.CLASSIC: "lkpJob", Shape.CRON: "JobName"}
_NOW = {"mssql": "GETDATE()", "postgresql": "LOCALTIMESTAMP", "sqlite": "datetime('now', 'localtime')"}  # fmt: skip
_DATABASE_PARTS = 3


def scripts(result: Import) -> dict[str, str]:
    """Return the DBA's scripts by name: grants, a copy of the tables, and the roll-back. SQLite has no grants."""
    moving = _moving(result)
    shapes = [shape for job in moving if (shape := shape_of(job.row.values.keys())) is not None]
    if not shapes:
        return {}
    dialect = _dialect(result)
    made = {BACKUP: _backup(result, shapes[0], dialect), ROLL_BACK: _roll_back(moving, shapes[0], dialect)}  # fmt: skip
    if dialect != "sqlite":
        made = {GRANTS: _grants(moving, shapes[0], dialect), **made}
    return made


def _dialect(result: Import) -> str:
    kinds = {"PostgreSQL": "postgresql", "SQLite": "sqlite"}
    return next((kinds[file.kind] for file in result.files if file.kind in kinds), "mssql")


def _grants(jobs: Sequence[ImportedJob], shape: Shape, dialect: str) -> str:
    server = dialect == "mssql"
    user = "[targcc]" if server else "targcc"
    columns = ", ".join(_CHANGED[shape])
    lines = [
        _MADE,
        "-- Rights of the project's login in the old database. Replace targcc by its user.",
        f"GRANT SELECT ON c_Job TO {user};",
        (
            f"GRANT UPDATE ON c_Job ({columns}) TO {user};"
            if server
            else f"GRANT UPDATE ({columns}) ON c_Job TO {user};"
        ),
        f"GRANT SELECT, INSERT ON c_LoggedJob TO {user};",
    ]
    procedures = {job.spec.procedure: None for job in jobs if job.spec.procedure}
    for name in procedures:
        what = name if server else f"PROCEDURE {name}"
        line = f"GRANT EXECUTE ON {what} TO {user};"
        is_elsewhere = server and name.count(".") + 1 >= _DATABASE_PARTS
        lines.append(f"-- in that database, without its name: {line}" if is_elsewhere else line)
    return "\n".join(lines) + "\n"


def _backup(result: Import, shape: Shape, dialect: str) -> str:
    read = {table for file in result.files for table, count in file.counts.items() if count}
    if shape is Shape.CLASSIC:
        read |= {tables.RECIPIENT, tables.LOGGED_JOB}
    names = [
        tables.TABLES.names[table]
        for table in (tables.JOB, tables.RECIPIENT, tables.LOGGED_JOB, tables.USER)
        if table in read
    ]
    copies = [
        (
            f"SELECT * INTO {name}{_COPY} FROM {name};"  # noqa: S608 - a table of this module
            if dialect == "mssql"
            else f"CREATE TABLE {name}{_COPY} AS SELECT * FROM {name};"  # noqa: S608 - the same
        )
        for name in names
    ]
    looks = [
        f"SELECT '{name}' AS table_name, (SELECT COUNT(*) FROM {name}) AS now,"  # noqa: S608 - the same
        f" (SELECT COUNT(*) FROM {name}{_COPY}) AS copied;"
        for name in names
    ]
    head = f"{_MADE}\n-- Copies of the tables, for the roll-back. An existing copy is an error: the first copy counts."
    return "\n".join([head, *copies, *looks]) + "\n"


def _roll_back(jobs: Sequence[ImportedJob], shape: Shape, dialect: str) -> str:
    active, following, *_ = _CHANGED[shape]
    mark = _MARK[shape]
    keys = ", ".join(_key(job) for job in jobs)
    sets = ", ".join(
        f"{column} = (SELECT was.{column} FROM c_Job{_COPY} was WHERE was.ID = c_Job.ID)"  # noqa: S608 - the same
        for column in (active, mark)
    )
    return (
        f"{_MADE}\n"
        "-- Only if targcc cutover back cannot run. First stop all servers of the project: a job must not run on both sides.\n"
        f"UPDATE c_Job SET {sets} WHERE ID IN ({keys}) AND {active} = '0' AND {mark} LIKE 'targcc %';\n"
        "-- TaskManager runs these rows at once, also those that ran here meanwhile: set the time of those first.\n"
        f"SELECT ID, {_NAME[shape]}, {following} FROM c_Job WHERE ID IN ({keys}) AND {active} = '1'"
        f" AND {following} < {_NOW[dialect]};\n"
    )


def _key(job: ImportedJob) -> str:
    key = str(job.old.id)
    return key if key.isascii() and key.isdigit() else "'" + key.replace("'", "''") + "'"
