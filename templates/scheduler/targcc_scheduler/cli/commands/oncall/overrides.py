"""``targcc override``: options of a job, changed while it is deployed."""

from __future__ import annotations

from datetime import datetime

import click

from ....jobs.definition import JobDefinition
from ....jobs.overrides.code_lines import code_lines
from ....jobs.overrides.effective import shown
from ....jobs.overrides.values import FIELDS
from ....oncall import overriding
from ....oncall.overriding import Preview, Wish
from ....web.api.schemas.overrides import all_of, overrides_out
from ...common import instant, opened, operator, run
from ...group import Commands
from ...output import as_shown, json_option, print_json, print_table, when
from ..job_actions import argument_options, arguments_of

_FIELD = click.Choice(FIELDS)


@click.group("override", cls=Commands)
def override_group() -> None:
    """Change options of a job without a deploy; it survives the next one."""


@override_group.command("list")
@click.argument("name", required=False)
@json_option
def list_overrides(name: str | None, *, as_json: bool) -> None:
    """Show what people have changed: of a job, or of all.

    \b
    Example:
      targcc override list
    """

    async def work() -> None:
        async with opened() as scheduler:
            jobs = [scheduler.find(name)] if name else list(scheduler.definitions.values())
            now = scheduler.clock.now()
        if as_json:
            print_json([one for job in jobs for one in overrides_out(job)])
        elif not any(job.overrides for job in jobs):
            click.echo("Nothing is changed: the code's values hold.")
        else:
            _print(jobs, now)

    run(work())


def _print(jobs: list[JobDefinition], now: datetime) -> None:
    print_table(
        ["JOB", "OPTION", "IS", "IN THE CODE", "BY", "SINCE", "UNTIL", "WHY"],
        [
            [
                one.job,
                one.field,
                f"(does not hold: {one.problem}) {one.shown}" if one.problem else one.shown,
                shown(job.coded, one.field),
                one.by,
                when(one.at, now),
                when(one.until, now) if one.until else "it is reset",
                one.reason,
            ]
            for job in jobs
            for one in job.overrides
        ],
    )


@override_group.command("set")
@click.argument("name")
@click.option("--schedule", help='Such as "0 3 * * *", "every 15m", "every 1h after completion".')
@click.option("--timezone", help="The zone of its schedule, such as Europe/London.")
@argument_options
@click.option("--queue", help="The queue of its runs.")
@click.option("--priority", help="Higher goes first within a queue.")
@click.option("--retries", help="How many times a failure is tried again.")
@click.option("--timeout", help="How long an attempt may take, such as 5m, or none.")
@click.option("--reason", required=True, help="What the next person should know.")
@click.option(
    "--until", type=instant, metavar="TIME", help="When the code's values hold again by themselves."
)
@click.option("--dry-run", is_flag=True, help="Show what it would do and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def set_override(
    name: str,
    *,
    pairs: tuple[str, ...],
    arguments: str | None,
    reason: str,
    until: datetime | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Let other values hold for a job than the code's, on all servers.

    Runs that wait already keep their queue, priority and arguments.

    \b
    Example:
      targcc override set DailyReport --schedule "0 4 * * *" --reason "late data" --until 2d
      targcc override set DailyReport --arg days=14 --queue slow --reason "month end" --yes
    """
    given = arguments_of(pairs, arguments)
    values = {field: value for field, value in options.items() if value is not None}
    wish = Wish(values | ({"arguments": given} if given else {}), reason, until)

    async def work() -> None:
        async with opened() as scheduler:
            job = scheduler.find(name)
            seen = overriding.preview(scheduler, job, wish)
            if not as_json:
                _say(seen, scheduler.clock.now())
            if not dry_run:
                if not yes:
                    click.confirm("change it?", abort=True, err=True)
                job = await overriding.override(scheduler, job, wish, operator())
        if as_json:
            print_json({"preview": seen, "saved": not dry_run, **all_of(job).model_dump()})
        elif not dry_run:
            click.echo(f"it holds; targcc override reset {job.name} takes it back")

    run(work())


def _say(seen: Preview, now: datetime) -> None:
    print_table(
        ["OPTION", "IN THE CODE", "NOW", "THEN"],
        [[one.field, one.code, one.now, one.then] for one in seen.changes],
    )
    if not seen.fires_then:
        return
    click.echo("Next slots of the job:" if seen.moves else "No slot of the job moves:")
    for slot in seen.fires_then:
        moved = "" if slot in seen.fires_now else "  moved"
        shown = slot.isoformat(sep=" ", timespec="minutes")
        click.echo(as_shown(f"  {shown}  {when(slot, now)}{moved}"))


@override_group.command("reset")
@click.argument("name")
@click.argument("fields", nargs=-1, type=_FIELD)
@json_option
def reset_override(name: str, fields: tuple[str, ...], *, as_json: bool) -> None:
    """Let the code's values of a job hold again: of some options, or of all.

    \b
    Example:
      targcc override reset DailyReport schedule
    """

    async def work() -> None:
        async with opened() as scheduler:
            job = scheduler.find(name)
            gone = await overriding.reset(scheduler, job, fields, operator())
        if as_json:
            print_json({"job": job.name, "reset": gone})
        elif gone:
            click.echo(f"the code's {', '.join(gone)} of {job.name} hold again")
        else:
            click.echo(f"nothing of {job.name} was changed")

    run(work())


@override_group.command("code")
@click.argument("name")
@json_option
def show_code(name: str, *, as_json: bool) -> None:
    """Show the lines that make the code say what holds now.

    \b
    Example:
      targcc override code DailyReport
    """

    async def work() -> None:
        async with opened() as scheduler:
            job = scheduler.find(name)
        lines = code_lines(job)
        if as_json:
            print_json(lines)
            return
        for where, said in (
            ("targcc.yaml", lines.spec),
            ("or in @job(…)", lines.decorator),
            ("in execute(…)", lines.signature),
        ):
            if said:
                click.echo(f"# {where}")
                click.echo(as_shown("\n".join(said), lines=True))

    run(work())
