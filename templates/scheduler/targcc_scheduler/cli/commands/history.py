"""``targcc history``: how the history is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import sqlalchemy as sa

from ...core.humanize import count, duration
from ...doctor.findings import mib
from ...storage.audit import audit_plainly
from ...storage.engines import sync_engine
from ...storage.partitions import convert, months
from ..common import operator, settings
from ..group import CliError, Commands
from ..output import print_json, print_table, progress_line, shows


@click.group("history", cls=Commands)
def history_group() -> None:
    """Look at how the history is kept, and keep it by month."""


@history_group.command("show")
@shows
def show(*, as_json: bool) -> None:
    """Show the parts of the history.

    \b
    Example:
      targcc history show
    """
    with sync_engine(settings().database_url) as engine, engine.connect() as connection:
        found = months.partitions(connection)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("The history is in one table, c_LoggedJob.")
    else:
        print_table(
            ["TABLE", "FROM", "UNTIL", "ROWS", "SIZE"],
            [
                [one.name, _day(one.since), _day(one.until), f"~{one.rows:,}", mib(one.size)]
                for one in found
            ],
        )


def _day(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant.astimezone(UTC):%Y-%m-%d}"


@history_group.command("partition")
@click.option("--undo", is_flag=True, help="Keep it in one table again.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it takes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def partition(*, undo: bool, dry_run: bool, yes: bool) -> None:
    """Keep the history by month (PostgreSQL), so that old months go as a whole.

    Nodes may work meanwhile. Nothing is copied: what is there becomes one part, and each month to come has its own. The table is locked for a
    moment, at the end. --undo copies the rows into one table, which needs room for it.

    \b
    Example:
      targcc history partition --dry-run
      targcc history partition
    """
    chosen = settings()
    with sync_engine(chosen.database_url) as engine:
        with engine.connect() as connection:
            plan = convert.plan(connection, back=undo)
        click.echo(_in_words(plan, undo=undo))
        if dry_run:
            return
        if plan.obstacles:
            raise CliError("nothing was changed")
        if not yes:
            click.confirm("Go on?", abort=True)
        with progress_line() as say:
            if undo:
                convert.to_one_table(engine, say)
            else:
                convert.to_months(engine, datetime.now(UTC), say)
        _audit(engine, "history in one table" if undo else "history by month")
    click.echo(f"The history is kept {'in one table' if undo else 'by month'} now.")


def _audit(engine: sa.Engine, action: str) -> None:
    with engine.begin() as connection:
        audit_plainly(connection, operator(), action, datetime.now(UTC), detail=months.TABLE)


def _in_words(plan: convert.Plan, *, undo: bool) -> str:
    how = "copies" if undo else "takes over as one part"
    rows = f"c_LoggedJob has about {count(plan.rows, 'row')} ({mib(plan.size)})."
    what = f"This {how} all of it and takes about {duration(plan.seconds)}; nodes go on working, and wait for a moment at the end."
    lines = [f"{rows} {what}"]
    if undo:
        lines.append(f"Until it is done the database needs about {mib(plan.size)} more.")
    lines += [
        f"In the way: {one}. Remove it, and make it again afterwards." for one in plan.obstacles
    ]
    return "\n".join(lines)
