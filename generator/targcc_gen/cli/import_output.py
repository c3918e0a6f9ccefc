"""Print the result of an import as text or JSON, and choose the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from targcc_gen.cli import json_output
from targcc_gen.errors import CheckFailed, ConflictError
from targcc_gen.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from targcc_gen.importing.changes import Arrival, RowChange
    from targcc_gen.sources.model import Import

_MANY_FILES = 30
_MANY_ADDED = 12
_WIDEST = 40
_COLORS = {"added": "green", "changed": "cyan", "conflict": "red", "removed": "magenta"}


class UndecidedError(ConflictError):
    """Rows or files changed on both sides; the listing above the error names each conflict."""

    code = "TG508"
    prefix = ""


class RejectedError(CheckFailed):
    """Rows were rejected; the listing above the error names each row."""

    code = "TG509"
    kind = "rejected"

    prefix = ""


def print_json(result: Import, arrival: Arrival | None) -> None:
    """Print the outcome of each row as JSON, with the changes in the project that the jobs join."""
    from targcc_gen.report.content import outcome

    data = outcome(result)
    if arrival is not None and arrival.rows:
        data["changes"] = [row.to_json() for row in arrival.rows]
    json_output.print_json(data)


def show(arrival: Arrival, *, diff: bool) -> None:
    """Print the change of each row, then of each file."""
    from targcc_gen.cli.plans import show_diff, show_plan

    _show_rows(arrival)
    created = [change for change in arrival.plan.changes if change.writes]
    if len(created) <= _MANY_FILES or arrival.plan.conflicts:
        show_plan(arrival.plan, diff=diff)
    else:
        jobs = sum(_is_of_a_job(change.path) for change in created)
        count = f"{jobs} of them jobs and their tests" if jobs else "none of them a job"
        click.echo(f"create    {len(created)} files, {count}")
        if diff:
            show_diff(arrival.plan)


def _is_of_a_job(path: str) -> bool:
    """Whether a file is a job's module or test; the vendored scheduler has a folder called jobs too."""
    folders = path.split("/")[:-1]
    return folders[-1:] == ["jobs"] and "scheduler" not in folders and "__init__" not in path


def _show_rows(arrival: Arrival) -> None:
    from targcc_gen.importing.changes import Kind

    rows = [row for row in arrival.rows if row.kind is not Kind.UNCHANGED]
    if len(added := arrival.having(Kind.ADDED)) > _MANY_ADDED:
        rows = [row for row in rows if row not in added]
        click.echo(f"{_kind(added[0])} {len(added)} jobs")
    width = min(_WIDEST, max((len(row.key) for row in rows), default=0))
    for row in sorted(rows, key=lambda row: row.kind is Kind.CONFLICT):
        words = visible(f"{row.key:<{width}}  {row.words()}")
        click.echo(f"{_kind(row)} {words}".rstrip())
    if unchanged := arrival.having(Kind.UNCHANGED):
        count = len(unchanged)
        jobs = "1 job" if count == 1 else f"{count} jobs"
        click.echo(f"unchanged {jobs} that the project has already")


def _kind(row: RowChange) -> str:
    name = f"{row.kind.value:<9}"
    color = _COLORS.get(row.kind.value)
    return click.style(name, fg=color) if color else name


def refuse_conflicts(arrival: Arrival) -> None:
    """Refuse to write while conflicts are open.

    Raises:
        ConflictError: Rows or files were changed on both sides.
    """
    if count := len(arrival.conflicts):
        what = "1 conflict" if count == 1 else f"{count} conflicts"
        raise UndecidedError(
            f"{what}: nothing was written. Choose with --mine JOB[.FIELD] or --old JOB[.FIELD]; . is everything."
        )
    if blocked := arrival.plan.conflicts:
        files = "1 file" if len(blocked) == 1 else f"{len(blocked)} files"
        what = "--mine JOB keeps what you wrote, --old JOB takes what the old server says"
        if not all(row.settleable for row in blocked) or any(row.before is None for row in blocked):
            what = "Move what is in the way, then run it again"
        raise UndecidedError(f"{files} in conflict: nothing was written. {what}.")


def refuse_rejected(result: Import, arrival: Arrival | None, *, accepted: bool) -> None:
    """Fail because of rejected rows, unless the user accepted the rows in this run or an earlier run.

    Raises:
        CheckFailed: Rows were rejected and not accepted.
    """
    count = len(result.rejected) - (arrival.accepted if arrival else 0)
    if accepted or count <= 0:
        return
    rows = "1 row was" if count == 1 else f"{count} rows were"
    raise RejectedError(
        f"{rows} rejected, as listed above: no job of this project does that work. --accept-rejected says that this is right."
    )


def next_steps(
    arrival: Arrival,
    root: Path,
    history: Path | None,
    *,
    hybrid: str,
    database: str | None = None,
    moving: bool = False,
    halves: Iterable[str] = (),
) -> Iterator[str]:
    """Yield the commands to type next.

    Args:
        arrival: The written changes.
        root: The project's folder.
        history: The file with past runs, if there are any.
        hybrid: The kind of the old database, if the rows stay in ``c_Job``; else empty.
        database: The database of a new project's scheduler; None: the default, or no new project.
        moving: Whether jobs come over one by one.
        halves: Jobs without a row of their own that wait until the job of the row's other half has come over.
    """
    from targcc_gen.importing.changes import Kind

    folder = str(root)
    yield "cd " + (f'"{folder}"' if " " in folder else folder)
    on_server = database not in {None, "sqlite"}
    if on_server and not hybrid:
        yield "cp .env.example .env        # and name the scheduler's database in it: TARGCC_DATABASE_URL"
    if history is not None:
        yield f"uv run targcc import-history {history.as_posix()}"
    # `paused` sets only the first state of a job. A job that the scheduler knows already is paused by command.
    for kind, verb in ((Kind.SWITCHED_OFF, "pause"), (Kind.SWITCHED_ON, "resume")):
        for row in arrival.having(kind):
            yield f"uv run targcc job {verb} {row.key}"
    if hybrid:
        also = " and TARGCC_DATABASE_URL" if on_server else ""
        yield f"cp .env.example .env        # and say in it where c_Job is: TARGCC_LEGACY_URL{also}"
        yield f"uv run --extra {hybrid} targcc serve"
    else:
        yield "uv run targcc serve"
    if moving:
        yield "uv run targcc owner import  # then: targcc cutover plan"
    for key in halves:
        yield f"uv run targcc job resume {key}  # once the job of its other days has come over"
