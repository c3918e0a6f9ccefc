"""`targcc-gen import-legacy`: jobs, recipients and history of an old TARGCC database become a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from targcc_gen.legacy.convert import Import, Options
    from targcc_gen.legacy.inventory import Inventory
    from targcc_gen.legacy.parity import Difference
    from targcc_gen.legacy.project import Arrival

_BAR_FROM = 4_000_000  # bytes; smaller exports are read within a second


@click.command("import-legacy")
@click.argument("exports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--new", "new", type=click.Path(path_type=Path), help="Make a new project in this folder."
)
@click.option(
    "--into",
    "--project",
    "into",
    type=click.Path(path_type=Path),
    help="Add the jobs to the project in this folder.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help='The old server\'s time zone: "Israel Standard Time" (tzutil /g prints it) or Asia/Jerusalem.',
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
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="For TARGCC 4 exports: a stored procedure for each code of lkpJob.",
)
@click.option(
    "--alert-email",
    multiple=True,
    metavar="ADDRESS",
    help="Who gets the alerts of jobs whose recipients are not in the export. May be given more than once.",
)
@click.option(
    "--encoding", help="The files' encoding, such as cp1255; found by itself if not given."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.md|.html|.json",
    help="Write the inventory: each job's next runs, and what differs from the old server.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--diff", is_flag=True, help="Show the changes as a diff.")
@click.option("--json", "as_json", is_flag=True, help="Print how each row ended, for programs.")
def import_legacy(
    exports: tuple[Path, ...],
    *,
    new: Path | None,
    into: Path | None,
    timezone: str | None,
    report: Path | None,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Bring the jobs of an old TARGCC database over.

    EXPORTS are files (or folders) with c_Job, and c_JobAlertRecipient, c_LoggedJob and c_User where there are
    any: data scripts of SSMS, CSV, JSON, XML or Excel. Each row of c_Job ends as a job, as an inactive job
    (created paused) or as a rejected row with its reason.

    Without --new and --into nothing is written but the report.

    \b
    targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --report cutover.html
    targcc-gen import-legacy dump/*.sql --timezone "Israel Standard Time" --new acme-jobs
    """
    if new is not None and into is not None:
        raise click.UsageError("--new and --into exclude each other")
    _check_report(report)
    zone = _zone(timezone, ask=not as_json)
    run = _Run(exports, zone, new=new, into=into, writes=not dry_run, as_json=as_json, **choices)
    result, arrival, found = run.read()
    if report is not None:
        from targcc_gen.legacy.report import write_report

        write_report(report, result, found)
    if as_json:
        _print_json(result)
    else:
        from targcc_gen.legacy.listing import lines

        for line in lines(result, found, report=str(report) if report else None):
            click.echo(line)
    run.finish(arrival, show_diff=diff)


def _check_report(report: Path | None) -> None:
    from targcc_gen.legacy.report import FORMATS

    if report is not None and report.suffix.lower() not in FORMATS:
        raise click.BadParameter(
            f"{report} ends in none of {', '.join(FORMATS)}", param_hint="--report"
        )


def _zone(name: str | None, *, ask: bool) -> ZoneInfo:
    """The old server's zone; asked for on a terminal when it was not given."""
    from targcc_gen.errors import InputError
    from targcc_gen.legacy.zones import HINT, WHY, resolve_zone

    if name is None and ask and sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(f"{WHY}\n{HINT}", err=True)
        name = click.prompt("Time zone of the old server", err=True)
    if name is None:
        raise InputError("--timezone is missing. " + WHY, hint=HINT)
    return resolve_zone(name)


def _print_json(result: Import) -> None:
    import json

    from targcc_gen.legacy.report import outcome

    click.echo(json.dumps(outcome(result), indent=2, ensure_ascii=False))


class _Run:
    """One import, from the files to the project."""

    def __init__(
        self,
        exports: Sequence[Path],
        zone: ZoneInfo,
        *,
        new: Path | None,
        into: Path | None,
        writes: bool,
        as_json: bool,
        cron_dialect: str,
        procedure_map: Path | None,
        alert_email: tuple[str, ...],
        encoding: str | None,
    ) -> None:
        from datetime import UTC, datetime
        from tempfile import TemporaryDirectory

        from targcc_gen.legacy.convert import Options
        from targcc_gen.legacy.procedures import load_procedure_map

        self.exports, self.encoding = exports, encoding
        self.new, self.into = new, into
        self.target = new or into
        self.writes = writes and self.target is not None
        self.as_json = as_json
        self.options: Options = Options(
            zone,
            datetime.now(UTC).replace(microsecond=0),
            cron_dialect,
            alert_email,
            load_procedure_map(procedure_map) if procedure_map else {},
        )
        self.folder = TemporaryDirectory(prefix="targcc-") if self.writes else None
        self.result: Import | None = None

    def read(self) -> tuple[Import, Arrival | None, list[Difference]]:
        """Read everything and plan, without writing."""
        from targcc_gen.legacy.convert import convert
        from targcc_gen.legacy.project import join_project, new_project, read_project
        from targcc_gen.legacy.report import differences

        arrival = None
        if self.into is not None:
            spec, text = read_project(self.into)
            result = convert(self._inventory(), self.options, project=spec)
            arrival = join_project(result, self.into, spec, text)
        else:
            result = convert(self._inventory(), self.options)
            if self.new is not None:
                self._refuse_nothing(result)
                arrival = new_project(result, self.new)
        self.result = result
        return result, arrival, differences(result)

    def _refuse_nothing(self, result: Import) -> None:
        from targcc_gen.errors import InputError

        if not result.all_jobs:
            reasons = [f"{one.file}:{one.line}: {one.reason}" for one in result.rejected[:10]]
            raise InputError(
                "no row of c_Job can become a job:\n" + "\n".join(reasons),
                hint="Nothing was written.",
            )

    def _inventory(self) -> Inventory:
        from targcc_gen.legacy.inventory import read_exports

        spool = Path(self.folder.name) / "history.jsonl" if self.folder else None
        with _Bar(self.exports, hidden=self.as_json) as bar:
            return read_exports(
                self.exports,
                encoding=self.encoding,
                zone=self.options.zone.key,
                spool=spool,
                progress=bar.advance,
            )

    def finish(self, arrival: Arrival | None, *, show_diff: bool) -> None:
        """Print the plan, and carry it out unless it was only to be shown."""
        if arrival is None:
            return
        if show_diff and not self.as_json:
            click.echo(arrival.plan.diff(), nl=False)
        if not self.as_json:
            _print_plan(arrival)
        if not self.writes:
            return
        from targcc_gen.sync import apply

        apply(arrival.plan)
        self._write_history()
        if not self.as_json:
            self._print_next(arrival)

    def _write_history(self) -> None:
        from targcc_gen.legacy.project import HISTORY_FILE, write_project_history

        assert self.result is not None
        assert self.target is not None
        counts = write_project_history(self.result, self.target)
        if counts and not self.as_json:
            total = sum(counts.values())
            click.echo(
                f"history   {self.target / HISTORY_FILE}: {total:,} runs of {len(counts)} jobs"
            )

    def _print_next(self, arrival: Arrival) -> None:
        assert self.result is not None
        if self.new is not None:
            click.echo(f"\nCreated {self.new}. Next:\n\n  cd {self.new}")
        elif not arrival.plan.is_empty:
            click.echo("\nNext:\n")
        else:
            return
        if self.result.inventory.history.rows:
            from targcc_gen.legacy.project import HISTORY_FILE

            click.echo(f"  uv run targcc import-history {HISTORY_FILE.as_posix()}")
        click.echo("  uv run targcc serve")


def _print_plan(arrival: Arrival) -> None:
    changes = [change for change in arrival.plan.changes if change.writes]
    if not changes:
        click.echo("nothing to do: the project has all of these jobs")
    jobs = [change for change in changes if "/jobs/" in change.path]
    for change in changes:
        if change not in jobs and len(changes) < 40:  # noqa: PLR2004 - a screenful
            click.echo(f"{change.action.value:<9} {change.path:<50} {change.owner.shown}")
    if jobs:
        click.echo(f"create    {len(jobs)} files of jobs and their tests")
    if arrival.unchanged:
        click.echo(f"unchanged {len(arrival.unchanged)} jobs that the project has already")


class _Bar:
    """A progress bar on the terminal's error stream, for exports that take more than a moment."""

    def __init__(self, exports: Sequence[Path], *, hidden: bool) -> None:
        sizes = [path.stat().st_size for path in exports if path.is_file()]
        self.shown = not hidden and sum(sizes) > _BAR_FROM and sys.stderr.isatty()
        self.progress: Any = None
        self.task: Any = None
        self.name = ""

    def __enter__(self) -> _Bar:
        if self.shown:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
            self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.stop()

    def advance(self, name: str, count: int, size: int) -> None:
        """Move on by some bytes of a file."""
        if self.progress is None:
            return
        if name != self.name:
            self.name = name
            self.task = self.progress.add_task(f"read      {name}", total=size)
        self.progress.advance(self.task, count)
