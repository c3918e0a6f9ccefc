"""`targcc-gen import-legacy`: jobs, recipients and history of an old TARGCC database become a project."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from targcc_gen.importing.project import Arrival
    from targcc_gen.readers.exports import ExportFile
    from targcc_gen.sources.base import LegacySource
    from targcc_gen.sources.model import Import
    from targcc_gen.spec import Spec

_FILE = click.Path(path_type=Path)
_MANY_FILES = 30


@dataclass(frozen=True)
class _Request:
    """What was asked for, beyond the files and how to read them."""

    new: Path | None
    into: Path | None
    mode: str
    report: Path | None
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


@click.command("import-legacy", short_help="Bring the jobs of an old c_Job table over.")
@click.argument("exports", nargs=-1, required=True, type=_FILE)
@click.option("--new", metavar="DEST", type=_FILE, help="Make a new project in this folder.")
@click.option(
    "--into", "--project", metavar="DIR", type=_FILE, help="Add the jobs to this project."
)
@click.option(
    "--mode",
    type=click.Choice(["import", "hybrid"]),
    default="import",
    show_default=True,
    help="import: rows become jobs of the project. hybrid: rows stay in c_Job, and the project runs them from there.",
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
    type=_FILE,
    metavar="FILE.yaml",
    help="For TARGCC 4: a stored procedure for each code of lkpJob.",
)
@click.option(
    "--alert-email",
    multiple=True,
    metavar="ADDRESS",
    help="Who gets the alerts of jobs whose recipients are not in the export; may be repeated.",
)
@click.option("--encoding", help="Encoding of the files, such as cp1255.  [default: found out]")
@click.option(
    "--report",
    type=_FILE,
    metavar="FILE",
    help="Write a report with each job's next runs, as .md, .html or .json.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and write nothing.")
@click.option("--diff", is_flag=True, help="Show the changes as a diff.")
@click.option("--json", "as_json", is_flag=True, help="Print how each row ended, for programs.")
def import_legacy(
    exports: tuple[Path, ...],
    *,
    timezone: str | None,
    cron_dialect: str,
    procedure_map: Path | None,
    alert_email: tuple[str, ...],
    encoding: str | None,
    **request: Any,
) -> None:
    """Bring the jobs of an old TARGCC database over.

    EXPORTS are files, or folders of them, with c_Job, and c_JobAlertRecipient, c_LoggedJob and c_User where there
    are any: data scripts of SSMS, CSV, JSON, XML or Excel. Each row of c_Job ends as a job, as an inactive job
    (created paused) or as a rejected row with its reason. Without --new and --into only the report is written.

    \b
    Example:
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --report cutover.html
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs
      targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs --mode hybrid
    """
    from datetime import UTC, datetime

    from targcc_gen.sources.c_job.procedures import load_procedure_map
    from targcc_gen.sources.c_job.source import CJobSource
    from targcc_gen.sources.model import Options

    asked = _Request(**request)
    _check(asked)
    zone = _zone(timezone, ask=not asked.as_json)
    now = datetime.now(UTC).replace(microsecond=0)
    procedures = load_procedure_map(procedure_map) if procedure_map else {}
    options = Options(zone, now, cron_dialect, alert_email, procedures)
    with tempfile.TemporaryDirectory(prefix="targcc-") as folder:
        source = CJobSource(Path(folder) / "history.jsonl" if asked.writes else None)
        files = _read(exports, source, encoding, zone)
        _carry_out(asked, lambda project: source.convert(files, options, project=project))


def _check(asked: _Request) -> None:
    from targcc_gen.report.document import FORMATS

    if asked.new is not None and asked.into is not None:
        raise click.UsageError("--new and --into exclude each other")
    if asked.report is not None and asked.report.suffix.lower() not in FORMATS:
        raise click.UsageError(f"--report {asked.report}: it must end in {', '.join(FORMATS)}")


def _zone(name: str | None, *, ask: bool) -> ZoneInfo:
    """The old server's zone; asked for on a terminal when it was not given."""
    from targcc_gen.sources.zones.zones import HINT, WHY, resolve_zone

    if name is None and ask and sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(f"{WHY}\n{HINT}", err=True)
        name = click.prompt("Time zone of the old server", err=True)
    if name is None:
        raise InputError("--timezone is missing. " + WHY, hint=HINT)
    return resolve_zone(name)


def _read(
    exports: tuple[Path, ...], source: LegacySource, encoding: str | None, zone: ZoneInfo
) -> list[ExportFile]:
    from targcc_gen.cli.output.progress import Bar
    from targcc_gen.readers.exports import read_exports

    total = sum(path.stat().st_size for path in exports if path.is_file())
    done = 0
    with Bar("Reading") as bar:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar(min(done, total), total)

        return read_exports(
            exports, source.tables, source.take, encoding=encoding, zone=zone.key, progress=advance
        )


def _carry_out(asked: _Request, convert: Callable[[Spec | None], Import]) -> None:
    """Convert, report, and write what was asked for.

    Args:
        asked: What was asked for.
        convert: Brings every row to its end, for the project that the jobs join, if they do.
    """
    from targcc_gen.parity.compare import differences
    from targcc_gen.report.document import write_report

    result, arrival = _planned(asked, convert)
    found = differences(result)
    if asked.report is not None:
        write_report(asked.report, result, found)
    if asked.as_json:
        _print_json(result)
    else:
        from targcc_gen.report.summary import lines

        report = str(asked.report) if asked.report else None
        for line in lines(result, found, report=report, hybrid=asked.hybrid):
            click.echo(line)
    if arrival is None:
        return
    if not asked.as_json:
        _show(arrival, diff=asked.diff)
    if arrival.plan.conflicts:
        from targcc_gen.cli.options import Writing
        from targcc_gen.cli.output.show import UnsettledError

        raise UnsettledError(arrival.plan, Writing(), written=False)
    if asked.writes:
        _write(asked, result, arrival)


def _planned(
    asked: _Request, convert: Callable[[Spec | None], Import]
) -> tuple[Import, Arrival | None]:
    """The end of every row, and what it takes to write the project."""
    from targcc_gen.importing.hybrid import check_mode, join_hybrid_project, new_hybrid_project

    if asked.into is not None:
        from targcc_gen.cli.project import open_project
        from targcc_gen.importing.project import join_project

        project = open_project(asked.into)
        result = convert(project.spec)
        if asked.hybrid:
            return result, join_hybrid_project(result, project.root, project.text)
        return result, join_project(result, project.root, project.spec, project.text)
    result = convert(None)
    if asked.hybrid:
        check_mode(result)
    if asked.new is None:
        return result, None
    from targcc_gen.cli.output.progress import rendered
    from targcc_gen.importing.project import new_project

    plan = new_hybrid_project if asked.hybrid else new_project
    return result, plan(result, asked.new, rendered)


def _print_json(result: Import) -> None:
    import json

    from targcc_gen.report.document import outcome

    click.echo(json.dumps(outcome(result), indent=2, ensure_ascii=False))


def _show(arrival: Arrival, *, diff: bool) -> None:
    from targcc_gen.cli.output.show import show_diff, show_plan

    created = [change for change in arrival.plan.changes if change.writes]
    if len(created) <= _MANY_FILES or arrival.plan.conflicts:
        show_plan(arrival.plan, diff=diff)
    else:
        jobs = sum("/jobs/" in change.path and "__init__" not in change.path for change in created)
        count = f"{jobs} of them jobs and their tests" if jobs else "none of them a job"
        click.echo(f"create    {len(created)} files, {count}")
        if diff:
            show_diff(arrival.plan)
    if arrival.unchanged:
        click.echo(f"unchanged {len(arrival.unchanged)} jobs that the project has already")


def _write(asked: _Request, result: Import, arrival: Arrival) -> None:
    from targcc_gen.importing.history import HISTORY_FILE, write_project_history
    from targcc_gen.sync import apply

    assert asked.target is not None
    apply(arrival.plan)
    counts = write_project_history(result, asked.target)
    if asked.as_json:
        return
    if counts:
        where = asked.target / HISTORY_FILE
        click.echo(f"history   {where}: {sum(counts.values()):,} runs of {len(counts)} jobs")
    if arrival.plan.is_empty and not counts:
        return
    head = f"Created {asked.new}. Next:" if asked.new else "Next:"
    folder = str(asked.target)
    click.echo(f"\n{head}\n\n  cd " + (f'"{folder}"' if " " in folder else folder))
    if counts:
        click.echo(f"  uv run targcc import-history {HISTORY_FILE.as_posix()}")
    if asked.hybrid:
        click.echo(
            "  cp .env.example .env        # and say in it where c_Job is: TARGCC_LEGACY_URL"
        )
        click.echo("  uv run --extra mssql targcc serve")
    else:
        click.echo("  uv run targcc serve")
