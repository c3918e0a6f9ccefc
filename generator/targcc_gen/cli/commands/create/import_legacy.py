"""`targcc-gen import-legacy`: jobs, recipients and history of an old TARGCC database become a project."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from targcc_gen.cli.options import FILE, scheduler_option

_DECISIONS = ("cron_dialect", "alert_email", "weekly", "polling", "runner_workers")


@click.command("import-legacy", short_help="Bring the jobs of an old c_Job table over.")
@click.argument("exports", nargs=-1, required=True, metavar="EXPORTS|URL")
@click.option("--new", metavar="DEST", type=FILE, help="Make a new project in this folder.")
@click.option("--into", "--project", metavar="DIR", type=FILE, help="Add the jobs to this project.")
@scheduler_option
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
    help="Everything arrives stopped, for a cut-over job by job: targcc cutover.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help='Zone of the old server: "Israel Standard Time", as tzutil /g prints it, or Asia/Jerusalem.',
)
@click.option(
    "--cron-dialect",
    type=click.Choice(["cronos", "ncrontab", "vixie", "quartz"]),
    default="cronos",
    show_default=True,
    help="How the old server read its cron texts.",
)
@click.option(
    "--procedure-map",
    type=FILE,
    metavar="FILE.yaml",
    help="For TARGCC 4: a stored procedure for each code of lkpJob.",
)
@click.option(
    "--alert-email",
    multiple=True,
    metavar="ADDRESS",
    help="Who gets the alerts of jobs whose recipients are not in the export; may be repeated.",
)
@click.option(
    "--weekly",
    type=click.Choice(["every-day", "as-meant", "repaired"]),
    default="every-day",
    show_default=True,
    help="For TARGCC 4, whose runner drops the weekday of Weekly: as it ran, as it was meant, or as a mended runner ran it.",
)
@click.option(
    "--polling",
    type=click.Choice(["minute", "next-run"]),
    default="minute",
    show_default=True,
    help="How TaskManager found rows with a cron text: it names the minute of the clock, or NextRun has passed.",
)
@click.option(
    "--runner-workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="For TARGCC 4, which ran one job at a time for each runner: how many of them may run at once here.",
)
@click.option(
    "--timeout",
    metavar="DURATION",
    default="30s",
    show_default=True,
    help="For a database: how long it may take to let us in, and to send the next rows.",
)
@click.option("--schema", help="For a database: the schema of c_Job.  [default: where it is found]")
@click.option("--encoding", help="Encoding of the files, such as cp1255.  [default: found out]")
@click.option(
    "--dates",
    type=click.Choice(["dmy", "mdy", "ymd"]),
    help="Order of dates such as 07/11/2016.  [default: as another date of the file shows, such as 25/12/2016]",
)
@click.option(
    "--report",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Write a report for the people who decide, as .html, .md or .json; may be repeated.",
)
@click.option(
    "--mine",
    metavar="JOB[.FIELD]",
    multiple=True,
    help="With --into, where both sides changed something: keep what is here. . is everything.",
)
@click.option(
    "--old",
    metavar="JOB[.FIELD]",
    multiple=True,
    help="With --into, where both sides changed something: take what the old server says.",
)
@click.option(
    "--source",
    metavar="NAME",
    help="With several old servers in one project: which one this export is of.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="The export has only some of the rows: those that are missing are not gone.",
)
@click.option(
    "--accept-rejected",
    is_flag=True,
    help="Rows that can be no job are all right: exit with 0, and remember them in the project.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and write nothing.")
@click.option("--diff", is_flag=True, help="Show the changes as a diff.")
@click.option("--json", "as_json", is_flag=True, help="Print how each row ended, for programs.")
def import_legacy(
    exports: tuple[str, ...],
    *,
    timeout: str,
    schema: str | None,
    timezone: str | None,
    procedure_map: Path | None,
    encoding: str | None,
    dates: str | None,
    **request: Any,
) -> None:
    """Bring the jobs of an old TARGCC database over.

    EXPORTS are files, or folders of them, with c_Job, and c_JobAlertRecipient, c_LoggedJob and c_User where there
    are any: data scripts of SSMS, CSV, JSON, XML or Excel. Each row of c_Job ends as a job, as an inactive job
    (created paused) or as a rejected row with its reason; with a rejected row the exit status is 1. Without --new and
    --into only the report is written. A later import --into the same project takes what changed there since.

    URL is the address of the database itself: mssql://user@server/database, postgresql://… or sqlite:///FILE. It is
    read in one read-only transaction. Its password may be in TARGCC_LEGACY_PASSWORD, and is shown nowhere.

    \b
    Example:
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --report cutover.html
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --paused
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --mode hybrid
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --scheduler package
      targcc-gen import-legacy mssql://reader@old-server/acme --timezone "Israel Standard Time" --report cutover.html
    """
    from datetime import UTC, datetime

    from targcc_gen.cli.commands.create.legacy.carrying_out import carry_out
    from targcc_gen.cli.commands.create.legacy.reading import How, read
    from targcc_gen.cli.commands.create.legacy.request import Asked, old_zone
    from targcc_gen.sources.c_job.procedures import load_procedure_map
    from targcc_gen.sources.c_job.source import CJobSource
    from targcc_gen.sources.model import Options

    decided = {key: request.pop(key) for key in _DECISIONS}
    asked = Asked(**request)
    asked.check()
    zone = old_zone(timezone, ask=not asked.as_json)
    now = datetime.now(UTC).replace(microsecond=0)
    procedures = load_procedure_map(procedure_map) if procedure_map else {}
    options = Options(zone, now, decided.pop("cron_dialect"), procedures=procedures, **decided)
    with tempfile.TemporaryDirectory(prefix="targcc-") as folder:
        source = CJobSource(Path(folder) / "history.jsonl" if asked.writes else None)
        how = How(encoding, dates, timeout, schema)
        files = read(exports, source, zone, how)
        carry_out(asked, lambda project: source.convert(files, options, project=project))
