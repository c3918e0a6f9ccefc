"""``targcc migrate``, ``targcc queue`` and ``targcc prune``: tables, queues and old rows."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from ...core.humanize import duration, mib
from ..common import opened, operator, run, settings
from ..completing import queue_names
from ..connect import connect, path
from ..group import ChoiceError, Commands
from ..output import done, json_option, pause_options, print_json, print_table, progress_line, shows

if TYPE_CHECKING:
    from ...web.api.schema import DoneOut
    from ...web.api.schemas import QueueOut


SCRIPTS = ("sqlite", "postgresql", "mssql")


@click.command()
@click.option(
    "--sql",
    "dialect",
    type=click.Choice(SCRIPTS),
    help="Print the SQL that creates the tables in an empty database, and change nothing.",
)
@click.option(
    "--since",
    metavar="REVISION",
    help="With --sql: print the SQL that upgrades tables from this revision.",
)
@click.option(
    "--down",
    "revision",
    metavar="REVISION",
    help="Downgrade to this revision, for an older release. base removes all tables with their data.",
)
@click.option(
    "--roles",
    is_flag=True,
    help="With --sql mssql: print the SQL that creates roles with the rights of processes. Repeatable.",
)
@json_option
def migrate(
    *, dialect: str | None, since: str | None, revision: str | None, roles: bool, as_json: bool
) -> None:
    """Upgrade the database's tables to this release.

    Only tables whose names begin with c_ are changed. Their revision is stored in c_AlembicVersion.

    \b
    Example:
      targcc migrate
      targcc migrate --sql postgresql
      targcc migrate --sql postgresql --since 0001
      targcc migrate --sql mssql --roles
    """
    if roles:
        _print_roles(dialect, since)
        return
    if dialect is not None:
        _print_sql(dialect, since)
        return
    if since is not None:
        raise click.UsageError("--since goes with --sql")
    from ...db.migrations.upgrade import downgrade
    from ...schema_setup import migrate as bring_up_to_date

    chosen = settings()
    if revision is not None:
        downgrade(chosen.database_url, revision)
    version = revision or bring_up_to_date(chosen.database_url)
    if revision is None:
        run(_count(chosen.database_url))
    if as_json:
        print_json({"database": chosen.shown_database_url, "version": version})
    else:
        click.echo(f"{chosen.shown_database_url} is at version {version}")


def _print_sql(dialect: str, since: str | None) -> None:
    from ...db.migrations.upgrade import known_revisions, sql_script
    from ...schema_setup import feature_tables_sql

    known = known_revisions()
    if since is not None and since not in known:
        raise ChoiceError(f"there is no revision {since!r}: {', '.join(known)}")
    click.echo(sql_script(dialect, since or ""), nl=False)
    if since is None and (of_features := feature_tables_sql(dialect)):
        click.echo(f"\n{of_features.rstrip()}")


def _print_roles(dialect: str | None, since: str | None) -> None:
    from ...db.dialects.known import WITH_ROLES
    from ...schema_setup import roles_sql

    if dialect not in WITH_ROLES or since is not None:
        raise click.UsageError("--roles goes with --sql mssql, without --since")
    click.echo(roles_sql(), nl=False)


async def _count(url: str) -> None:
    """Count the rows of earlier releases, so that the statistics include the rows."""
    from ...db.transactions import Store
    from ...kernel.node.pruner import count_history

    store = Store(url)
    with progress_line() as say:
        try:
            await count_history(store, progress=lambda rows: say(f"counting {rows:,} rows"))
        finally:
            await store.dispose()


@click.group("queue", cls=Commands)
def queue_group() -> None:
    """List, pause and resume queues."""


@queue_group.command("list")
@shows
def list_queues(*, as_json: bool) -> None:
    """List the queues with their waiting and running runs.

    \b
    Example:
      targcc queue list
    """

    async def work() -> None:
        async with connect() as api:
            queues: list[QueueOut] = await api.rows(path("queues"))
        if as_json:
            print_json(queues)
            return
        print_table(
            ["QUEUE", "WAITING", "RUNNING", "AT MOST", "WILL RETRY", "SCHEDULED", "ORDER", "STATE"],
            [
                [
                    queue.name,
                    *map(
                        str,
                        (
                            queue.waiting,
                            queue.running,
                            queue.limit or "",
                            queue.retrying,
                            queue.scheduled,
                        ),
                    ),
                    _order(queue),
                    _state(queue),
                ]
                for queue in queues
            ],
        )

    run(work())


def _order(queue: QueueOut) -> str:
    """Describe a queue's order: its pool, and the priority gained by waiting."""
    parts = []
    if (pool := queue.pool) is not None:
        how = pool.order if pool.weight is None else f"weight {pool.weight}"
        parts.append(f"{how}, {pool.busy} of {pool.workers} workers of {pool.name}")
    if queue.aging_seconds is not None:
        parts.append(f"a point each {duration(queue.aging_seconds)}")
    return "; ".join(parts)


def _state(queue: QueueOut) -> str:
    if queue.paused is not None:
        return "paused"
    return "maintenance" if queue.maintenance_until is not None else "open"


@queue_group.command("pause")
@click.argument("name", shell_complete=queue_names)
@pause_options
@json_option
def pause_queue(name: str, *, reason: str | None, until: datetime | None, as_json: bool) -> None:
    """Pause a queue: servers claim no runs from it.

    \b
    Example:
      targcc queue pause critical --reason "the ledger is down" --until 2h
    """

    async def work() -> None:
        async with connect() as api:
            wish = {"reason": reason, "until": until}
            answer: DoneOut = await api.post(path("queues", name, "pause"), body=wish)
        done(answer.message, as_json=as_json, queue=name, paused=True)

    run(work())


@queue_group.command("resume")
@click.argument("name", shell_complete=queue_names)
@json_option
def resume_queue(name: str, *, as_json: bool) -> None:
    """Resume a queue: servers claim runs from it again.

    \b
    Example:
      targcc queue resume critical
    """

    async def work() -> None:
        async with connect() as api:
            answer: DoneOut = await api.post(path("queues", name, "resume"))
        done(answer.message, as_json=as_json, queue=name, paused=False)

    run(work())


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1),
    help="Remove runs that ended more than this many days ago. Default: TARGCC_HISTORY_DAYS.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    help="Number of runs to keep of each job, whatever their age. Default: TARGCC_HISTORY_KEEP.",
)
@json_option
def prune(*, days: int | None, keep: int | None, as_json: bool) -> None:
    """Remove old runs, history, audit rows and statistics. TARGCC_AUDIT_DAYS sets the age of audit rows.

    The command may be stopped at any time. The next call continues.

    \b
    Example:
      targcc prune --days 30 --keep 10
    """
    from ...db.dialects.sqlite_driver import WORTH_TELLING, vacuum_advice

    async def work() -> None:
        async with opened() as scheduler:
            with progress_line() as say:
                removed = await scheduler.prune(
                    days=days,
                    keep_last=keep,
                    by=operator(),
                    progress=lambda gone: say(f"removed {gone.total():,} rows"),
                )
            kept = await scheduler.read(scheduler.store.dialect.kept_bytes)
            file = scheduler.store.file
        if as_json:
            print_json(removed)
        else:
            click.echo("removed " + ", ".join(f"{n:,} {what}" for what, n in removed.items()))
            if kept >= WORTH_TELLING:
                advice = vacuum_advice(file, file.stat().st_size) if file is not None else ""
                click.echo(f"The file keeps {mib(kept)} that are unused; {advice}")

    run(work())
