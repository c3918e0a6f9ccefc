"""`targcc-gen import-legacy`: turn the jobs of an old TARGCC database, or of another scheduler, into a project."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from targcc_gen.cli.options import FILE, database_option, scheduler_option
from targcc_gen.errors import NoTableError, ZoneError
from targcc_gen.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from targcc_scheduler.core.sign_off import Decision

    from targcc_gen.importing.changes import Arrival, Request
    from targcc_gen.readers.exports import ExportFile
    from targcc_gen.sources.model import Import, LegacySource, ReadingOptions, SourceKind
    from targcc_gen.spec import Spec


# The command.

_KINDS = (
    "c-job",
    "sql-agent",
    "task-scheduler",
    "hangfire",
    "quartz",
    "systemd",
    "kubernetes",
    "celery",
    "crontab",
)
_DECISIONS = ("cron_dialect", "alert_email", "weekly", "polling", "runner_workers")


@click.command("import-legacy", short_help="Import the jobs of c_Job or another scheduler.")
@click.argument("exports", nargs=-1, required=True, metavar="EXPORTS|URL")
@click.option("--new", metavar="DEST", type=FILE, help="Create a new project in this folder.")
@click.option("--into", "--project", metavar="DIR", type=FILE, help="Add the jobs to this project.")
@scheduler_option
@database_option
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    help="Kind of old scheduler.  [default: recognized from the files]",
)
@click.option(
    "--mode",
    type=click.Choice(["import", "hybrid"]),
    default="import",
    show_default=True,
    help="import: rows become jobs of the project. hybrid: rows stay in c_Job, and the project runs them from there.",
)
@click.option(
    "--paused",
    is_flag=True,
    help="Create all jobs paused, for a cut-over job by job with targcc cutover.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help='Time zone of the old server: "Israel Standard Time", as printed by tzutil /g, or Asia/Jerusalem.',
)
@click.option(
    "--cron-dialect",
    type=click.Choice(["cronos", "ncrontab", "vixie", "quartz"]),
    default="cronos",
    show_default=True,
    help="Cron dialect of the old server.",
)
@click.option(
    "--procedure-map",
    type=FILE,
    metavar="FILE.yaml",
    help="For TARGCC 4: stored procedure of a code of lkpJob.",
)
@click.option(
    "--alert-email",
    multiple=True,
    metavar="ADDRESS",
    help="Recipient of alerts for jobs whose recipients are not in the export. May be repeated.",
)
@click.option(
    "--weekly",
    type=click.Choice(["every-day", "as-meant", "repaired"]),
    default="every-day",
    show_default=True,
    help="For TARGCC 4, whose runner drops the weekday of Weekly: use the times as run, as meant, or as run by a mended runner.",
)
@click.option(
    "--polling",
    type=click.Choice(["minute", "next-run"]),
    default="minute",
    show_default=True,
    help="Rule of TaskManager to select rows with a cron text: by the minute of the clock, or by a passed NextRun.",
)
@click.option(
    "--runner-workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="For TARGCC 4, which ran one job at a time per runner: number of jobs of a runner that may run at once.",
)
@click.option(
    "--timeout",
    metavar="DURATION",
    default="30s",
    show_default=True,
    help="For a database: timeout of the connection and of each read.",
)
@click.option("--schema", help="For a database: schema of c_Job.  [default: detected]")
@click.option("--encoding", help="Encoding of the files, such as cp1255.  [default: detected]")
@click.option(
    "--dates",
    type=click.Choice(["dmy", "mdy", "ymd"]),
    help="Order of dates such as 07/11/2016.  [default: detected from an unambiguous date, such as 25/12/2016]",
)
@click.option(
    "--report",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Write a report for decision makers, as .html, .md or .json. May be repeated.",
)
@click.option(
    "--mine",
    metavar="JOB[.FIELD]",
    multiple=True,
    help="With --into, on a conflict: keep the project's value. . selects all conflicts.",
)
@click.option(
    "--old",
    metavar="JOB[.FIELD]",
    multiple=True,
    help="With --into, on a conflict: take the old server's value.",
)
@click.option(
    "--source",
    metavar="NAME",
    help="With several old servers in one project: name of this export's server.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="The export is partial: missing rows do not count as deleted.",
)
@click.option(
    "--accept-rejected",
    is_flag=True,
    help="Accept rejected rows: exit status 0, and record the rows in the project.",
)
@click.option("--dry-run", is_flag=True, help="Show the changes without writing.")
@click.option("--diff", is_flag=True, help="Show the changes as a diff.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result of each row as JSON for programs."
)
def import_legacy(
    exports: tuple[str, ...],
    *,
    timeout: str,
    schema: str | None,
    timezone: str | None,
    kind: str | None,
    procedure_map: Path | None,
    encoding: str | None,
    dates: str | None,
    **request: Any,
) -> None:
    """Import the jobs of an old TARGCC database, or of another scheduler.

    EXPORTS are files or folders with the tables c_Job and, if present, c_JobAlertRecipient, c_LoggedJob and c_User, as
    data scripts of SSMS, CSV, JSON, XML or Excel. Each row of c_Job becomes a job, an inactive job
    (created paused) or a rejected row with a reason. With a rejected row, the exit status is 1. Without --new and
    --into, only the report is written. A later import --into the same project applies the changes since.

    Other schedulers are recognized from the files: SQL Server Agent, Windows Task Scheduler, crontabs, Hangfire, Quartz,
    Kubernetes, systemd and Celery beat. --kind decides, and names the kind of a database.

    URL is the address of the database: mssql://user@server/database, postgresql://… or sqlite:///FILE. The database is
    read in one read-only transaction. The password may be in TARGCC_LEGACY_PASSWORD and is not shown.

    \b
    Example:
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --report cutover.html
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --paused
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --mode hybrid
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --scheduler package
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --database mssql
      targcc-gen import-legacy /etc/cron.d --timezone Europe/London --new ops-jobs
      targcc-gen import-legacy mssql://reader@old-server/acme --timezone "Israel Standard Time" --report cutover.html
    """
    from datetime import UTC, datetime

    from targcc_gen.sources.c_job.companions import load_procedure_map
    from targcc_gen.sources.model import Options, ReadingOptions

    decided = {key: request.pop(key) for key in _DECISIONS}
    asked = ImportRequest(**request)
    asked.check()
    old = chosen_kind(exports, kind)
    zone = old_zone(timezone, ask=not asked.as_json)
    now = datetime.now(UTC).replace(microsecond=0)
    procedures = load_procedure_map(procedure_map) if procedure_map else {}
    options = Options(zone, now, decided.pop("cron_dialect"), procedures=procedures, **decided)
    reading = ReadingOptions(zone, encoding, dates, _seconds(timeout), schema)
    with tempfile.TemporaryDirectory(prefix="targcc-") as folder:
        source = old.open(Path(folder) / "history.jsonl" if asked.writes else None)
        try:
            files = read_old_jobs(exports, source, reading)
        except NoTableError as error:
            raise _with_kinds(error) if kind is None and old.name == _KINDS[0] else error from None
        carry_out_import(asked, lambda project: source.convert(files, options, project=project))


# Carry the import out, from its rows to a written project.


def carry_out_import(request: ImportRequest, convert: Callable[[Spec | None], Import]) -> None:
    """Convert the rows, write the reports, and write the project.

    Args:
        request: The options of the command.
        convert: Converts every row; receives the spec of the project that the jobs join, else None.
    """
    from targcc_gen.cli import import_output
    from targcc_gen.evidence.model import Weighed
    from targcc_gen.evidence.weigh import weigh
    from targcc_gen.parity.compare import differences
    from targcc_gen.report.decisions import decisions
    from targcc_gen.report.document import write_report
    from targcc_gen.report.verdicts import unsettled

    weighed = Weighed()

    def weighing(project: Spec | None) -> Import:
        nonlocal weighed
        result = convert(project)
        weighed = weigh(result, choose=not request.hybrid)
        return result

    result, arrival = _planned(request, weighing)
    unsettled_rows = unsettled(differences(result), weighed)
    for path in request.report:
        write_report(path, result, unsettled_rows, weighed, moves=not request.hybrid)
    if request.as_json:
        import_output.print_json(result, arrival)
    else:
        from targcc_gen.report.summary import lines

        report = ", ".join(map(str, request.report))
        for line in lines(
            result, unsettled_rows, weighed, report=report or None, hybrid=request.hybrid
        ):
            click.echo(visible(line, lines=True))
        if arrival is not None:
            import_output.show(arrival, diff=request.diff)
    if arrival is not None:
        import_output.refuse_conflicts(arrival)
        if request.writes:
            asked = decisions(result, unsettled_rows, weighed) if request.paused else {}
            _write(request, result, arrival, asked)
    import_output.refuse_rejected(result, arrival, accepted=request.accept_rejected)


def _planned(
    asked: ImportRequest, convert: Callable[[Spec | None], Import]
) -> tuple[Import, Arrival | None]:
    """Convert every row, and plan the changes of the project; the plan is None if no project is named."""
    from targcc_gen.importing.project import check_mode, join_hybrid_project, new_hybrid_project

    if asked.into is not None:
        from targcc_gen.cli.project import open_project
        from targcc_gen.importing.joining import join_project

        project = open_project(asked.into, writes=not asked.dry_run)
        result = convert(project.spec)
        if asked.hybrid:
            return result, join_hybrid_project(result, project.root, project.text)
        request = asked.joining()
        return result, join_project(result, project.root, project.spec, project.text, request)
    result = convert(None)
    if asked.hybrid:
        check_mode(result)
    if asked.new is None:
        return result, None
    from targcc_gen.cli.progress import rendered

    if asked.hybrid:
        return result, new_hybrid_project(result, asked.new, rendered, asked.joining())
    from targcc_gen.importing.project import new_project

    return result, new_project(result, asked.new, rendered, asked.joining())


def _write(
    request: ImportRequest,
    result: Import,
    arrival: Arrival,
    asked: Mapping[str, Sequence[Decision]],
) -> None:
    from targcc_gen.importing.cutover import (
        CUTOVER_FILE,
        DECISIONS_FILE,
        HISTORY_FILE,
        named_already,
        signed_already,
        write_cutover,
        write_decisions,
        write_project_history,
        write_scripts,
        write_switches,
    )
    from targcc_gen.sync import apply

    assert request.target is not None
    named = named_already(request.target) if request.paused else []
    zone = result.options.zone.key
    signed = signed_already(request.target, zone) if request.paused else {}
    apply(arrival.plan)
    counts = write_project_history(result, request.target)
    switches = write_switches(result, request.target) if request.paused else []
    scripts = write_scripts(result, request.target) if request.paused else []
    moving = (
        write_cutover(result, request.target, named, asked)
        if request.paused and not result.switches
        else 0
    )
    unsigned = write_decisions(request.target, signed) if moving else 0
    if request.as_json:
        return
    if counts:
        where = request.target / HISTORY_FILE
        click.echo(f"history   {where}: {sum(counts.values()):,} runs of {len(counts)} jobs")
    if moving:
        click.echo(
            f"cutover   {request.target / CUTOVER_FILE}: {moving} jobs that the old server runs"
        )
    if unsigned:
        click.echo(f"decide    {request.target / DECISIONS_FILE}: {unsigned} lines to sign")
    for path in scripts:
        click.echo(
            f"script    {path}: for the DBA of the old database; the report's runbook says when"
        )
    for path in switches:
        click.echo(f"switch    {path}: run it on the old server when the jobs move")
    if store := _store(request, result):
        click.echo(f"store     {store}")
    if arrival.plan.is_empty and not counts:
        return
    from targcc_gen.cli.import_output import next_steps
    from targcc_gen.importing.project import database_of

    head = f"Created {request.new}. Next:" if request.new else "Next:"
    click.echo(f"\n{head}\n")
    steps = next_steps(
        arrival,
        request.target,
        HISTORY_FILE if counts else None,
        hybrid=database_of(result) if request.hybrid else "",
        database=request.database,
        moving=bool(moving),
        halves=_halves(result, arrival) if request.paused else (),
    )
    for line in steps:
        click.echo(f"  {line}")


def _store(request: ImportRequest, result: Import) -> str:
    """Return where a new project keeps its runs, if the old jobs are on SQL Server; else an empty text."""
    from targcc_gen.importing.project import database_of

    if request.new is None or result.switches or database_of(result) != "mssql":
        return ""
    if request.database == "mssql":
        return "runs and history go to SQL Server, to the database of TARGCC_DATABASE_URL; migrations/database.mssql.sql creates one"
    if request.database is None:
        return "runs and history go to a file of SQLite; --database mssql keeps them on SQL Server"
    return ""


def _halves(result: Import, arrival: Arrival) -> Iterator[str]:
    """Yield new jobs that are the second half of a row's schedule; the old server has no row to hand over for such a job."""
    from targcc_gen.importing.changes import Kind

    added = {row.key for row in arrival.having(Kind.ADDED)}
    for job in result.second:
        if not job.spec.paused and (job.key in added or not arrival.rows):
            yield job.key


# Read the old jobs from files, or from the database.


def read_old_jobs(
    exports: tuple[str, ...], source: LegacySource, reading: ReadingOptions
) -> list[ExportFile]:
    """Read all exports by their source, with a progress bar.

    Raises:
        InputError: An export cannot be read.
    """
    from dataclasses import replace

    from targcc_gen.cli.progress import Bar

    with Bar("Reading") as bar:
        return source.read(exports, replace(reading, progress=bar))


def _with_kinds(error: NoTableError) -> NoTableError:
    """Return the error about exports without jobs, with the kinds that ``--kind`` takes."""
    hint = f"{error.hint or ''} --kind names another scheduler: {', '.join(_KINDS[1:])}.".strip()
    return NoTableError(str(error), hint=hint)


def _seconds(timeout: str) -> float:
    from targcc_scheduler.schedules.errors import CronError
    from targcc_scheduler.schedules.words import parse_duration

    try:
        seconds = parse_duration(timeout).total_seconds()
    except CronError as error:
        raise click.UsageError(f"--timeout: {error}") from None
    if seconds < 1:
        raise click.UsageError(f"--timeout {timeout}: a second is the least")
    return seconds


def chosen_kind(exports: tuple[str, ...], name: str | None) -> SourceKind:
    """Return the kind of old scheduler: the named kind, else the kind that recognizes the exports.

    Raises:
        UsageError: Options of another kind are given.
        InputError: The exports are of several kinds.
    """
    from targcc_gen.sources.kinds import C_JOB, kind_named, recognized

    kind = recognized(exports) if name is None else kind_named(name)
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "")
        if parameter.name in C_JOB.options - kind.options and given is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{parameter.opts[0]} has no use for {kind.title}")
    return kind


# The request: checked options of the command.


@dataclass(frozen=True)
class ImportRequest:
    """The options of the command, beyond the files and how to read them."""

    new: Path | None
    into: Path | None
    scheduler: str | None
    database: str | None
    mode: str
    paused: bool
    report: tuple[Path, ...]
    mine: tuple[str, ...]
    old: tuple[str, ...]
    source: str | None
    partial: bool
    accept_rejected: bool
    dry_run: bool
    diff: bool
    as_json: bool

    @property
    def hybrid(self) -> bool:
        """Whether the rows stay in c_Job."""
        return self.mode == "hybrid"

    @property
    def target(self) -> Path | None:
        """The project's folder."""
        return self.new or self.into

    @property
    def writes(self) -> bool:
        """Whether a project is written."""
        return self.target is not None and not self.dry_run

    def joining(self) -> Request:
        """Return the choices between both sides, and the options for new rows."""
        from targcc_gen.importing.changes import Choices, Request

        choices = Choices.of(self.mine, self.old)
        return Request(
            choices,
            self.source,
            self.partial,
            self.accept_rejected,
            self.paused,
            self.scheduler,
            self.database,
        )

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UsageError: Options exclude each other, or have an unusable value.
        """
        from targcc_gen.report.document import FORMATS

        if self.new is not None and self.into is not None:
            raise click.UsageError("--new and --into exclude each other")
        for option, value in (("scheduler", self.scheduler), ("database", self.database)):
            if value is not None and self.new is None:
                raise click.UsageError(f"--{option} is of a new project: --new DEST")
        if self.paused and self.hybrid:
            raise click.UsageError(
                "--paused and --mode hybrid exclude each other: its rows stay there"
            )
        for report in self.report:
            if report.suffix.lower() not in FORMATS:
                raise click.UsageError(f"--report {report}: it must end in {', '.join(FORMATS)}")
        if self.source is not None and not (self.source.strip() and self.source.isprintable()):
            raise click.UsageError("--source needs a name, such as the old server's")


def old_zone(name: str | None, *, ask: bool) -> ZoneInfo:
    """Return the old server's time zone; without `--timezone`, ask on a terminal."""
    from targcc_gen.sources.zones import HINT, WHY, resolve_zone

    if name is None and ask and sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(f"{WHY}\n{HINT}", err=True)
        name = click.prompt("Time zone of the old server", err=True)
    if name is None:
        raise ZoneError("--timezone is missing. " + WHY, hint=HINT)
    return resolve_zone(name)
