"""``targcc override``: list, set and reset overrides, and show their code."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ...cli.commands.jobs import argument_options, arguments_of
from ...cli.common import instant, run
from ...cli.completing import job_names
from ...cli.connect import connect, path
from ...cli.group import CliError, Commands
from ...cli.output import as_shown, json_option, print_json, print_table, shows, when
from ...core.errors import OverrideError
from ...kernel.jobs.overrides import FIELDS

if TYPE_CHECKING:
    from ...web.api.schemas import JobDetailOut, OverrideOut
    from .schemas import CodeOut, OverrideIn, PreviewOut

_FIELD = click.Choice(FIELDS)


@click.group("override", cls=Commands)
def override_group() -> None:
    """Change options of a job without a deploy. Overrides are kept across deploys."""


@override_group.command("list")
@click.argument("name", required=False, shell_complete=job_names)
@shows
def list_overrides(name: str | None, *, as_json: bool) -> None:
    """List the overrides of a job, or of all jobs.

    \b
    Example:
      targcc override list
    """

    async def work() -> None:
        async with connect() as api:
            if name is None:
                address, field = path("overrides"), ""
            else:
                address, field = path("jobs", name, "overrides"), "overrides"
            overrides: list[OverrideOut] = await api.rows(address, field=field)
        if as_json:
            print_json(overrides)
        elif not overrides:
            click.echo("Nothing is changed: the code's values hold.")
        else:
            _print(overrides, api.now)

    run(work())


def _print(overrides: list[OverrideOut], now: datetime) -> None:
    print_table(
        ["JOB", "OPTION", "IS", "IN THE CODE", "BY", "SINCE", "UNTIL", "WHY"],
        [
            [
                override.job,
                override.field,
                (
                    f"(does not hold: {override.problem}) {override.shown}"
                    if override.problem
                    else override.shown
                ),
                override.code_shown,
                override.by,
                when(override.at, now),
                when(override.until, now) if override.until else "it is reset",
                override.reason,
            ]
            for override in overrides
        ],
    )


@override_group.command("set")
@click.argument("name", shell_complete=job_names)
@click.option(
    "--schedule", help='Schedule, such as "0 3 * * *", "every 15m", "every 1h after completion".'
)
@click.option("--timezone", help="Time zone of the schedule, such as Europe/London.")
@argument_options
@click.option("--queue", help="Queue of the job's runs.")
@click.option("--priority", help="Priority within the queue; higher runs first.")
@click.option("--retries", help="Maximum number of retries of a run.")
@click.option("--timeout", help="Time limit of an attempt, such as 5m, or none.")
@click.option("--reason", required=True, help="Reason, shown to other people.")
@click.option("--until", type=instant, metavar="TIME", help="End of the override.")
@click.option("--dry-run", is_flag=True, help="Show the effect without saving.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
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
    **options: Any,
) -> None:
    """Override options of a job on all servers.

    Existing runs keep their queue, priority and arguments.

    \b
    Example:
      targcc override set DailyReport --schedule "0 4 * * *" --reason "late data" --until 2d
      targcc override set DailyReport --arg days=14 --queue slow --reason "month end" --yes
    """
    given = arguments_of(pairs, arguments)
    wish = _wish(arguments=given or None, reason=reason, until=until, **options)

    async def work() -> None:
        address = path("jobs", name, "overrides")
        async with connect() as api:
            look = wish.model_copy(update={"dry_run": True})
            seen: PreviewOut = await api.post(address, body=look)
            if not as_json:
                _say(seen, api.now)
            if not dry_run:
                if not yes:
                    click.confirm("change it?", abort=True, err=True)
                seen = await api.post(address, body=wish)
            if as_json:
                now = await api.get(address)
                print_json({"preview": seen, "saved": seen.saved, **now})
            elif not dry_run:
                job: JobDetailOut = await api.get(path("jobs", name))
                click.echo(f"it holds; targcc override reset {job.name} takes it back")

    run(work())


def _wish(**options: Any) -> OverrideIn:
    from pydantic import ValidationError

    from .schemas import OverrideIn

    try:
        return OverrideIn(**options)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise CliError(f"--{first['loc'][0]}: {first['msg']}", code=OverrideError.code) from None


def _say(seen: PreviewOut, now: datetime) -> None:
    print_table(
        ["OPTION", "IN THE CODE", "NOW", "THEN"],
        [[change.field, change.code, change.now, change.then] for change in seen.changes],
    )
    if not seen.fires_then:
        return
    moves = seen.fires_now != seen.fires_then
    click.echo("Next slots of the job:" if moves else "No slot of the job moves:")
    for slot in seen.fires_then:
        moved = "" if slot in seen.fires_now else "  moved"
        shown = slot.isoformat(sep=" ", timespec="minutes")
        click.echo(as_shown(f"  {shown}  {when(slot, now)}{moved}"))


@override_group.command("reset")
@click.argument("name", shell_complete=job_names)
@click.argument("fields", nargs=-1, type=_FIELD)
@json_option
def reset_override(name: str, fields: tuple[str, ...], *, as_json: bool) -> None:
    """Remove overrides of a job: of some options, or of all. The values in the code apply again.

    \b
    Example:
      targcc override reset DailyReport schedule
    """

    async def work() -> None:
        async with connect() as api:
            gone = (await api.delete(path("jobs", name, "overrides"), field=fields)).reset
            job: JobDetailOut = await api.get(path("jobs", name))
        if as_json:
            print_json({"job": job.name, "reset": gone})
        elif gone:
            click.echo(f"the code's {', '.join(gone)} of {job.name} hold again")
        else:
            click.echo(f"nothing of {job.name} was changed")

    run(work())


@override_group.command("code")
@click.argument("name", shell_complete=job_names)
@shows
def show_code(name: str, *, as_json: bool) -> None:
    """Print the code with the same effect as the overrides of a job.

    \b
    Example:
      targcc override code DailyReport
    """

    async def work() -> None:
        async with connect() as api:
            lines: CodeOut = (await api.get(path("jobs", name, "overrides"))).code
        if as_json:
            print_json(lines)
            return
        for where, code in (
            ("targcc.yaml", lines.spec),
            ("or in @job(…)", lines.decorator),
            ("in execute(…)", lines.signature),
        ):
            if code:
                click.echo(f"# {where}")
                click.echo(as_shown("\n".join(code), lines=True))

    run(work())
