"""``targcc doctor``: print problems of an installation and their remedies."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import click

from ...cli.common import refuse_server, run, settings
from ...cli.group import CliError
from ...cli.output import as_shown, print_json, shows
from ...db.transactions import Store
from ...kernel.counts import Difference
from ...kernel.counts import repair as repair_counts
from ...settings import Settings
from .checkup import checkup
from .findings import Finding

_COLOURS = {"fail": "red", "warn": "yellow", "ok": "green"}


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    show_default=True,
    help="Timeout of one database check.",
)
@click.option(
    "--connect",
    is_flag=True,
    help="Check a remote database server even when only a file of this repository names it.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="First correct the counts of batches that differ from their runs.",
)
@shows
def doctor(*, seconds: float, connect: bool, repair: bool, as_json: bool) -> None:
    """Diagnose problems and print their remedies, worst first.

    Checks settings, database, tables, permissions, locks, servers, clocks, job files, schedules, alerts and retention and counts. Nothing is changed without --repair: one write is
    tried and rolled back. Exit status 1 if a check failed (fail) or could not be made. Warnings (warn) do not count.

    \b
    Example:
      targcc doctor
      targcc doctor --json
      targcc doctor --repair
    """
    refuse_server()
    logging.getLogger().addHandler(logging.NullHandler())  # no log lines on the terminal
    try:
        corrected = run(_repair(settings())) if repair else []
        findings = run(checkup(settings(), seconds=seconds, connect=connect))
        findings += [Finding("ok", "repair", f"corrected: {item}") for item in corrected]
    except CliError as error:
        findings = [
            Finding("fail", "settings", line, "correct the environment, or .env")
            for line in error.message.splitlines()
        ]
    if as_json:
        print_json(findings)
    else:
        _print(findings)
    if any(finding.level == "fail" for finding in findings):
        sys.exit(1)


async def _repair(values: Settings) -> list[Difference]:
    store = Store(values.database_url)
    try:
        return await store.change(repair_counts)
    finally:
        await store.dispose()


def _print(findings: Sequence[Finding]) -> None:
    for finding in findings:
        level = click.style(f"{finding.level:<5}", fg=_COLOURS[finding.level])
        click.echo(f"{level} {finding.check}: {as_shown(finding.what, lines=True)}")
        for line in finding.advice.splitlines():
            click.echo(f"      {as_shown(line)}")
    failed, warned = (
        sum(finding.level == level for finding in findings) for level in ("fail", "warn")
    )
    if not failed and not warned:
        click.echo("All is well.")
    else:
        click.echo(f"{failed} wrong, {warned} worth a look.")
