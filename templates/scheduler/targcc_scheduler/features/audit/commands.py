"""``targcc audit``: list, verify, export and adopt audit rows."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import click

from ...cli.common import Function, instant, opened, operator, run
from ...cli.completing import job_names
from ...cli.connect import connect, path
from ...cli.group import Commands
from ...cli.output import done, json_option, limit_option, print_json, print_table, shows, when
from ...core.humanize import count
from ...core.text import visible
from ...kernel.audit_sentences import rest, sentence

if TYPE_CHECKING:
    from ...kernel.queries.models import AuditEntry
    from .queries import Format
    from .schemas import VerdictOut


def filter_options(command: Function) -> Function:
    """Add the filter options to a command."""
    for option in (
        click.option("--until", type=instant, metavar="TIME", help="Only rows before this time."),
        click.option(
            "--since", type=instant, metavar="TIME", help="Only rows at or after this time."
        ),
        click.option("--action", help="Only rows with this action, such as trigger."),
        click.option("--actor", help="Only rows whose actor's name contains this text."),
        click.option("--job", shell_complete=job_names, help="Only rows about this job."),
    ):
        command = option(command)
    return command


@click.group("audit", cls=Commands, invoke_without_command=True)
@filter_options
@limit_option
@shows
def audit_group(*, limit: int, as_json: bool, **which: Any) -> None:
    """List, verify and export the audit: actor, action, time and origin.

    \b
    Example:
      targcc audit --job DailyReport
      targcc audit --actor dana --since 2026-11-01
    """
    if click.get_current_context().invoked_subcommand is None:
        run(_list(which, limit, as_json=as_json))


async def _list(which: dict[str, Any], limit: int, *, as_json: bool) -> None:
    async with connect() as api:
        entries: list[AuditEntry] = await api.rows(path("audit"), limit=limit, **which)
    if as_json:
        print_json(entries)
    elif not entries:
        click.echo("No entries yet.")
    else:
        print_table(
            ["WHEN", "ENTRY", "DETAIL", "FROM"],
            [
                [
                    when(entry.at, api.now),
                    sentence(entry),
                    rest(entry),
                    entry.remote or "",
                ]
                for entry in entries
            ],
        )


@audit_group.command("verify")
@click.option(
    "--head",
    default="",
    metavar="PLACE:HASH",
    help="Head from an earlier call. The chain must still contain it, which detects rows that were removed from the end.",
)
@shows
def verify(*, head: str, as_json: bool) -> None:
    """Verify the audit's hash chain. Exit status 1 and the first wrong row, if rows were changed.

    Store the printed head where people with write access to the database cannot change it.

    \b
    Example:
      targcc audit verify
      targcc audit verify --head 1204:5c1f…
    """

    async def work() -> None:
        async with connect() as api:
            verdict: VerdictOut = await api.get(path("audit", "verify"), head=head)
        if as_json:
            print_json(verdict)
        else:
            _say(verdict)
        if verdict.fault is not None:
            sys.exit(1)

    run(work())


def _say(verdict: VerdictOut) -> None:
    if verdict.fault is not None:
        click.echo(f"{verdict.fault.kind}: {verdict.fault.message}")
        click.echo(f"{count(verdict.rows, 'row')} before that are as they were written")
        return
    click.echo(f"{count(verdict.rows, 'row')} are as they were written, in their order")
    if verdict.unchained:
        click.echo(f"{count(verdict.unchained, 'row')} from before there was a chain: not verified")
    click.echo(f"head {verdict.head}")


@audit_group.command("export")
@filter_options
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="Format of the file.",
)
@click.option(
    "--output",
    "-o",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    help="File to write. Default: standard output.",
)
def export_audit(*, kind: Format, output: IO[str], **which: Any) -> None:
    """Export the audit to a file, newest row first. In CSV, an apostrophe before a cell prevents its evaluation as a formula.

    \b
    Example:
      targcc audit export --since 2026-10-01 --until 2027-01-01 -o audit.csv
      targcc audit export --format json --actor dana
    """

    async def work() -> None:
        async with connect() as api:
            async for text in api.text(path("audit", "export"), format=kind, **which):
                output.write(visible(text, lines=True))

    run(work())


@audit_group.command("adopt")
@click.confirmation_option(prompt="Have you looked at each of these rows?")
@json_option
def adopt(*, as_json: bool) -> None:
    """Append rows without a hash to the chain. A server of an earlier release wrote such rows during a deployment.

    \b
    Example:
      targcc audit adopt
    """
    from . import actions

    async def work() -> None:
        async with opened() as scheduler:
            ids = await actions.adopt(scheduler, operator())
        message = f"{count(len(ids), 'row')} taken into the chain"
        done(message, as_json=as_json, rows=len(ids))

    run(work())
