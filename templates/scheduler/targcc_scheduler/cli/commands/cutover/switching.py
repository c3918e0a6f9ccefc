"""The switch: jobs come here from the old server, and go back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ....core import humanize
from ....core.errors import CutoverError
from ....core.outage import OUTAGES
from ....core.states import RunState
from ....cutover.handover import Handover, Outcome, tokens
from ....cutover.old.clock import OldClock
from ....cutover.old.log import named_columns
from ....cutover.old.scripts import DIALECTS, Scripts, heard
from ....cutover.old.server import OldServer
from ....cutover.old.shapes import CLASSIC, CRON
from ....cutover.returning import Returning
from ....cutover.taking import Taking
from ....scheduler import Scheduler
from ....storage.owners import rows
from ....storage.owners.values import Owner, Ownership
from ...common import Function, operator, run
from ...group import CliError
from ...output import as_shown, json_option, print_json, when
from .looking import both_sides, cutover_group

_FILE = click.Path(path_type=Path)
_SMOKE_SECONDS = 600.0
_BROKEN_OFF = (
    "This broke off: a job that was on its way may be off on both sides. Repeat the command, which goes on from there;"
    " targcc cutover status shows where each job is."
)


def _switch_options(command: Function) -> Function:
    """What ``start`` and ``back`` share."""
    options = [
        click.option("--runner", "runners", multiple=True, help="All jobs of this runner; may be repeated."),
        click.option("--job", "names", multiple=True, metavar="JOB", help="This job; may be repeated."),
        click.option("--all", "every", is_flag=True, help="All jobs, one runner after the other."),
        click.option("--reason", help="What the next person should know."),
        click.option("--dry-run", is_flag=True, help="Show what would be done, with the SQL, and change nothing."),
        click.option("--script", type=_FILE, metavar="FILE.sql", help="Write the SQL for the other side, for somebody to run."),
        click.option("--dialect", type=click.Choice(DIALECTS), default="mssql", show_default=True, help="With --script: for this database."),
        click.option("--shape", type=click.Choice(["classic", "cron"]), default="classic", show_default=True, help="With --script: which old table it is."),
        click.option("--said", type=_FILE, metavar="FILE", help="What that script printed: go on by it."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return json_option(command)


@cutover_group.command("start")
@click.option(
    "--smoke",
    multiple=True,
    metavar="JOB",
    help="Run this job once here after its switch, and wait; may be repeated.",
)
@_switch_options
def start(*, smoke: tuple[str, ...], **asked: Any) -> None:
    """Take jobs over from the old server: switched off there, then on here, next run included.

    A job that runs there right now is left as it is. May be repeated: it goes on where it was. Exit status 1 while jobs are left.

    \b
    Example:
      targcc cutover start --runner night --dry-run
      targcc cutover start --runner night --smoke DailyReport
    """
    if not run(_switch(Taking, asked, smoke)):
        raise click.exceptions.Exit(1)


@cutover_group.command("back")
@click.option(
    "--log-columns",
    metavar="NAMES",
    help="With --script and --shape cron: the columns of its c_LoggedJob, separated by commas, so that runs from here go into it.",
)
@_switch_options
def back(**asked: Any) -> None:
    """Give jobs back to the old server, with what ran here meanwhile.

    A job that runs or waits here, or is about to, is left as it is. May be repeated. Exit status 1 while jobs are left.

    \b
    Example:
      targcc cutover back --runner night
    """
    if not run(_switch(Returning, asked, ())):
        raise click.exceptions.Exit(1)


async def _switch(
    kind: type[Taking | Returning], asked: dict[str, Any], smoke: Sequence[str]
) -> bool:
    async with both_sides() as (scheduler, old):
        clock = OldClock.of(scheduler.settings)

        def make() -> Taking | Returning:
            return kind(scheduler, clock, operator(), old=old, reason=asked["reason"])

        if asked["said"] is not None:
            text = asked["said"].read_text(encoding="utf-8")
            outcomes = await make().finish(heard(text))
            return _print(outcomes, as_json=asked["as_json"])
        groups = _chosen(
            await scheduler.read(rows.load), scheduler.key_of, asked, to_new=kind is Taking
        )
        if asked["dry_run"]:
            await _show(make(), old, groups)
            return True
        if asked["script"] is not None:
            jobs = [one.job for group in groups.values() for one in group]
            return await _write(make(), jobs, asked)
        outcomes = []
        for runner, group in groups.items():
            if not asked["as_json"]:
                click.echo(f"{runner or 'the old server'}: {humanize.count(len(group), 'job')}")
            try:
                some = await _all(make(), [one.job for one in group])
            except (CutoverError, *OUTAGES):
                click.echo(_BROKEN_OFF, err=True)
                raise
            outcomes += some
            if not all(one.done for one in some):
                break  # the next runner comes when this one is done
        good = _print(outcomes, as_json=asked["as_json"])
        return await _smoke(scheduler, smoke, beside=asked["as_json"]) and good


async def _all(handover: Handover, jobs: Sequence[str]) -> list[Outcome]:
    if isinstance(handover, Taking):
        return await handover.take(jobs)
    assert isinstance(handover, Returning)
    return await handover.give_back(jobs)


def _chosen(
    owned: dict[str, Ownership],
    key_of: Callable[[str], str],
    asked: dict[str, Any],
    *,
    to_new: bool,
) -> dict[str, list[Ownership]]:
    """The jobs that are meant, by runner."""
    names = [key_of(name) for name in asked["names"]]
    if not (names or asked["runners"] or asked["every"]):
        raise CliError("say which jobs: --runner, --job or --all; targcc cutover plan shows them")
    if unknown := [name for name in names if name not in owned]:
        raise CliError(f"{', '.join(unknown)}: no job of the old server; targcc owner list")
    if unknown := sorted(set(asked["runners"]) - {one.runner for one in owned.values()}):
        raise CliError(f"no job has the runner {', '.join(unknown)}; targcc owner list shows them")
    chosen = [
        one
        for one in owned.values()
        if one.job in names
        or one.runner in asked["runners"]
        or (asked["every"] and (one.step is not None or (one.owner is not Owner.NEW) == to_new))
    ]
    groups: dict[str, list[Ownership]] = {}
    for one in sorted(chosen, key=lambda one: (one.runner or "", one.job)):
        groups.setdefault(one.runner or "", []).append(one)
    return groups


async def _show(
    handover: Taking | Returning, old: OldServer | None, groups: dict[str, list[Ownership]]
) -> None:
    """Say what would be done, with the SQL."""
    there = await asyncio.to_thread(old.rows) if old is not None else {}
    now = handover.scheduler.clock.now()
    for runner, group in groups.items():
        click.echo(f"{runner or 'the old server'}:")
        if isinstance(handover, Taking):
            for one in group:
                row = there.get(str(one.old_key))
                busy = "; it runs there right now and would be left" if row and row.running else ""
                following = f", from {when(row.next_run, now)}" if row and row.next_run else ""
                click.echo(
                    f"  {one.job} (row {one.old_key}, {one.owner}): switch it off there, run it here{following}{busy}"
                )
        else:
            for back in await handover.preview(group):
                name = next(one.job for one in group if one.old_key == back.key)
                following = f", next there {back.next_run}" if back.next_run else ""
                click.echo(
                    f"  {name} (row {back.key}): run it here no more, switch it on there{following},"
                    f" with {humanize.count(len(back.runs), 'run')} from here"
                )
        if old is not None:
            click.echo("\n" + await _sql(handover, old.scripts, group))
    click.echo("Nothing was changed.")


async def _sql(handover: Taking | Returning, scripts: Scripts, group: list[Ownership]) -> str:
    if isinstance(handover, Taking):
        rows = [(str(one.old_key), one.mark or "000000") for one in group]
        return scripts.text(scripts.off(rows), "each job gets a token of its own for 000000")
    return scripts.text(scripts.on(await handover.preview(group)), "back to the old server")


async def _write(handover: Taking | Returning, jobs: Sequence[str], asked: dict[str, Any]) -> bool:
    """Begin here, and write the script for the other side."""
    shape = CLASSIC if asked["shape"] == "classic" else CRON
    table = handover.scheduler.settings.legacy_table
    names = asked.get("log_columns")
    log = named_columns(names) if names and shape is CRON else None
    scripts = Scripts(asked["dialect"], table, shape, log)
    begun = await handover.begin(jobs)
    if begun:
        if isinstance(handover, Taking):
            text = scripts.text(
                scripts.off(tokens(begun)), "the new scheduler takes over", wait=True
            )
        else:
            returns = [await handover.return_of(one) for one in begun]
            text = scripts.text(scripts.on(returns, in_time=True), "back to the old server")
            if shape is CRON and log is None:
                click.echo(
                    "It does not carry what ran here: --log-columns names the columns of the old c_LoggedJob."
                )
        asked["script"].write_text(text, encoding="utf-8", newline="\n")
        click.echo(
            f"{asked['script']}: {humanize.count(len(begun), 'row')}. Run it there, keep what it prints, and go on"
            " with: --said FILE. Until then these jobs run on neither side once it has run."
        )
    return _print(handover.outcomes, as_json=asked["as_json"])


def _print(outcomes: Sequence[Outcome], *, as_json: bool) -> bool:
    if as_json:
        print_json(list(outcomes))
    else:
        for one in outcomes:
            click.echo(as_shown(f"{'done' if one.done else 'LEFT'}  {one.job}: {one.said}"))
    return all(one.done for one in outcomes)


async def _smoke(scheduler: Scheduler, jobs: Sequence[str], *, beside: bool) -> bool:
    """Run jobs once and wait for them; ``beside``: say so on stderr."""
    good = True
    for name in jobs:
        run_id = await scheduler.trigger(scheduler.key_of(name), by=operator())
        try:
            state = await scheduler.wait(run_id, _SMOKE_SECONDS)
        except TimeoutError as error:
            click.echo(as_shown(f"smoke {name}: {error}"), err=beside)
            good = False
        else:
            click.echo(f"smoke {name}: run {run_id} {humanize.STATE_WORDS[state]}", err=beside)
            good = good and state is RunState.SUCCEEDED
    return good
