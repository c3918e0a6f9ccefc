"""``targcc audit``: who did what; whether that is what was written; as a file."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from typing import IO, Any

import click

from ....core.humanize import count
from ....core.text import visible
from ....oncall import auditing
from ....queries.trail import entries
from ....queries.trail.entries import Filter
from ....queries.trail.export import Format, export
from ....queries.trail.verify import Verdict
from ....scheduler import Scheduler
from ...common import Function, instant, opened, operator, run
from ...group import Commands
from ...output import json_option, limit_option, print_json, print_table, when


def filter_options(command: Function) -> Function:
    """Which rows."""
    for option in (
        click.option("--until", type=instant, metavar="TIME", help="Only before then."),
        click.option("--since", type=instant, metavar="TIME", help="Only from then on."),
        click.option("--action", help="Only this, such as trigger."),
        click.option("--actor", help="Only of those whose name has this in it."),
        click.option("--job", help="Only about this job."),
    ):
        command = option(command)
    return command


@click.group("audit", cls=Commands, invoke_without_command=True)
@filter_options
@limit_option
@json_option
@click.pass_context
def audit_group(
    ctx: click.Context,
    /,
    *,
    limit: int,
    as_json: bool,
    **which: Any,
) -> None:
    """Show who did what, when, from where; verify and export that.

    \b
    Example:
      targcc audit --job DailyReport
      targcc audit --actor dana --since 2026-11-01
    """
    if ctx.invoked_subcommand is None:
        run(_list(which, limit, as_json=as_json))


async def _list(which: dict[str, Any], limit: int, *, as_json: bool) -> None:
    async with opened() as scheduler:
        wanted = _filter(scheduler, **which)
        found = await scheduler.read(lambda db: entries.audit(db, wanted, limit=limit))
        now = scheduler.clock.now()
    if as_json:
        print_json(found)
    elif not found:
        click.echo("Nobody has touched anything yet.")
    else:
        print_table(
            ["WHEN", "WHO", "DID", "JOB", "RUN", "DETAIL", "FROM"],
            [
                [
                    when(one.at, now),
                    one.actor,
                    one.action,
                    one.job or "",
                    str(one.run_id or ""),
                    one.detail or "",
                    one.remote or "",
                ]
                for one in found
            ],
        )


@audit_group.command("verify")
@click.option(
    "--head",
    default="",
    metavar="PLACE:HASH",
    help="What this command said some time ago: the chain has to hold it. Shows that its end was cut off.",
)
@json_option
def verify(*, head: str, as_json: bool) -> None:
    """Walk the audit's chain of hashes: exit status 1, and the first row that is wrong, if somebody has changed it.

    Note the head that it prints where nobody who can write to the database can change it.

    \b
    Example:
      targcc audit verify
      targcc audit verify --head 1204:5c1f…
    """

    async def work() -> None:
        async with opened() as scheduler:
            found = await auditing.verified(scheduler, head)
        if as_json:
            print_json(asdict(found) | {"head": str(found.head)})
        else:
            _say(found)
        if found.fault is not None:
            sys.exit(1)

    run(work())


def _say(found: Verdict) -> None:
    if found.fault is not None:
        click.echo(f"{found.fault.kind}: {found.fault.message}")
        click.echo(f"{count(found.rows, 'row')} before that are as they were written")
        return
    click.echo(f"{count(found.rows, 'row')} are as they were written, in their order")
    if found.unchained:
        click.echo(f"{count(found.unchained, 'row')} from before there was a chain: not verified")
    click.echo(f"head {found.head}")


@audit_group.command("export")
@filter_options
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="What to write.",
)
@click.option(
    "--output",
    "-o",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    help="The file. Default: standard output.",
)
def export_audit(*, kind: Format, output: IO[str], **which: Any) -> None:
    """Write the audit as a file, newest first. A cell of CSV that a spreadsheet would calculate begins with an apostrophe.

    \b
    Example:
      targcc audit export --since 2026-10-01 --until 2027-01-01 -o audit.csv
      targcc audit export --format json --actor dana
    """

    async def work() -> None:
        async with opened() as scheduler:
            wanted = _filter(scheduler, **which)
            async for text in export(scheduler.read, wanted, kind):
                output.write(visible(text, lines=True))

    run(work())


@audit_group.command("adopt")
@click.confirmation_option(prompt="Have you looked at each of these rows?")
def adopt() -> None:
    """Take rows without a hash into the chain, at its end: a node of an earlier release wrote them during a deployment.

    \b
    Example:
      targcc audit adopt
    """

    async def work() -> None:
        async with opened() as scheduler:
            ids = await auditing.adopt(scheduler, operator())
        click.echo(f"{count(len(ids), 'row')} taken into the chain")

    run(work())


def _filter(
    scheduler: Scheduler,
    *,
    job: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Filter:
    definition = scheduler.find(job) if job is not None else None
    jobs = (definition.name, *definition.aliases) if definition is not None else ()
    return Filter(jobs=jobs, actor=actor or "", action=action or "", since=since, until=until)
