"""The commands that run, disable and enable a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from ..common import Function, opened, operator, run
from ..output import json_option, pause_options, print_json, wait_options, when
from .jobs import job_group, overviews
from .runs import follow, started
from .timeline.moving import job_trend

job_group.add_command(job_trend)


def argument_options(command: Function) -> Function:
    """``--arg`` and ``--arguments``, for :func:`arguments_of`."""
    pairs = click.option(
        "--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="An argument; may be repeated."
    )
    whole = click.option("--arguments", metavar="JSON", help="All arguments as one JSON object.")
    return pairs(whole(command))


@job_group.command("run")
@click.argument("name")
@argument_options
@click.option(
    "--like", type=int, metavar="RUN", help="With the arguments of this run; --arg changes some."
)
@wait_options
@json_option
def run_job(
    name: str,
    *,
    pairs: tuple[str, ...],
    arguments: str | None,
    like: int | None,
    wait: bool,
    timeout: timedelta | None,
    as_json: bool,
) -> None:
    """Run a job now.

    A server runs it. With --wait and no server up, this process does.

    \b
    Example:
      targcc job run DailyReport --wait
      targcc job run SendWelcome --arg user_id=42 --arg since=2026-01-31
      targcc job run SendWelcome --like 4711 --arg user_id=43
    """
    given = arguments_of(pairs, arguments)

    async def work() -> None:
        async with opened() as scheduler:
            definition = scheduler.find(name)
            before = await scheduler.arguments_of(definition, like) if like is not None else {}
            run_id = await scheduler.trigger(definition, before | given, by=operator())
            if not wait:
                started(scheduler, run_id, definition.display_name, as_json=as_json)
                return
        await follow(run_id, definition.queue, timeout, as_json=as_json)

    run(work())


def arguments_of(pairs: Sequence[str], text: str | None) -> dict[str, Any]:
    """The arguments that ``--arg`` and ``--arguments`` say."""
    found: dict[str, Any] = {}
    if text is not None:
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise click.BadParameter(
                f"not JSON: {error.msg} at column {error.colno}", param_hint="--arguments"
            ) from None
        if not isinstance(found, dict):
            raise click.BadParameter(
                'not an object such as {"user_id": 3}', param_hint="--arguments"
            )
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--arg")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    """Lists and objects as JSON; all else stays text, which the job's types then read."""
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


@job_group.command("disable")
@click.argument("name")
@pause_options
@json_option
def disable_job(name: str, *, reason: str | None, until: datetime | None, as_json: bool) -> None:
    """Let a job's slots pass; it can still be run by hand.

    \b
    Example:
      targcc job disable DailyReport --reason "moving house" --until 2026-12-31T08:00
    """

    async def work() -> None:
        async with opened() as scheduler:
            definition = scheduler.find(name)
            await scheduler.pause(definition, by=operator(), reason=reason, until=until)
            ends = f" until {when(until, scheduler.clock.now())}" if until is not None else ""
            _say(
                definition.name, f"{definition.name} is paused{ends}", paused=True, as_json=as_json
            )

    run(work())


@job_group.command("enable")
@click.argument("name")
@json_option
def enable_job(name: str, *, as_json: bool) -> None:
    """Let a job run by its schedule again.

    \b
    Example:
      targcc job enable DailyReport
    """

    async def work() -> None:
        async with opened() as scheduler:
            definition = scheduler.find(name)
            await scheduler.resume(definition, by=operator())
            job = (await overviews(scheduler, definition.name))[0]
            coming = when(job.next_run, scheduler.clock.now())
            said = f"{definition.name} runs again{f', next {coming}' if coming else ''}"
            _say(definition.name, said, paused=False, as_json=as_json)

    run(work())


def _say(name: str, message: str, *, paused: bool, as_json: bool) -> None:
    if as_json:
        print_json({"job": name, "paused": paused, "message": message})
    else:
        click.echo(message)
