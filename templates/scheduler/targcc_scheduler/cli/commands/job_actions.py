"""The commands that run, disable and enable a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, get_args

import click

from ...storage.runs.values import On
from ...web.api.schemas.base import DoneOut, PauseIn
from ...web.api.schemas.jobs import JobDetailOut, TriggerIn
from ...web.api.schemas.runs import StartedOut
from ..api.completing import job_names
from ..api.reach import path, reached
from ..common import Function, run
from ..output import done, json_option, pause_options, wait_options, when
from .files.sending import files_among, send
from .jobs import job_group
from .runs import started
from .timeline.moving import job_trend

job_group.add_command(job_trend)


def argument_options(command: Function) -> Function:
    """``--arg`` and ``--arguments``, for :func:`arguments_of`."""
    pairs = click.option(
        "--arg",
        "pairs",
        multiple=True,
        metavar="NAME=VALUE",
        help="An argument; may be repeated. NAME=@PATH where the job takes a file.",
    )
    whole = click.option("--arguments", metavar="JSON", help="All arguments as one JSON object.")
    return pairs(whole(command))


@job_group.command("run")
@click.argument("name", shell_complete=job_names)
@argument_options
@click.option(
    "--like", type=int, metavar="RUN", help="With the arguments of this run; --arg changes some."
)
@click.option(
    "--expires-in", metavar="DURATION", help="Cancel it if it has not begun after so long."
)
@click.option(
    "--idempotency-key", metavar="KEY", help="A name of yours: repeated, it starts nothing more."
)
@click.option(
    "--after", type=int, multiple=True, metavar="RUN", help="Wait for this run; may be repeated."
)
@click.option(
    "--on",
    type=click.Choice(get_args(On)),
    default="success",
    show_default=True,
    help="How the runs of --after have to end.",
)
@click.option("--any", "any_of", is_flag=True, help="One of them is enough.")
@click.option(
    "--or-wait",
    is_flag=True,
    help="If they end otherwise wait for a retry, instead of being cancelled.",
)
@wait_options
@json_option
def run_job(
    name: str,
    *,
    pairs: tuple[str, ...],
    arguments: str | None,
    like: int | None,
    expires_in: str | None,
    idempotency_key: str | None,
    after: tuple[int, ...],
    on: On,
    any_of: bool,
    or_wait: bool,
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
      targcc job run ImportOrders --arg report=@orders.csv
      targcc job run CleanUp --after 4711 --on failure
    """
    given = arguments_of(pairs, arguments)

    async def work() -> None:
        async with reached() as api:
            files = await files_among(api, name, given)
            wish = TriggerIn(
                arguments=given,
                like=like,
                expires_in=expires_in,
                idempotency_key=idempotency_key,
                after=after,
                on=on,
                quorum="any" if any_of else "all",
                otherwise="wait" if or_wait else "discard",
            )
            if files:
                begun = await send(api, name, wish, files)
            else:
                begun = await api.post(path("jobs", name, "trigger"), StartedOut, wish)
        await started(begun, wait=wait, patience=timeout, as_json=as_json)

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
    given: set[str] = set()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--arg")
        if name in given:
            raise click.BadParameter(f"{name} is given twice", param_hint="--arg")
        given.add(name)
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
@click.argument("name", shell_complete=job_names)
@pause_options
@json_option
def disable_job(name: str, *, reason: str | None, until: datetime | None, as_json: bool) -> None:
    """Let a job's slots pass; it can still be run by hand.

    \b
    Example:
      targcc job disable DailyReport --reason "moving house" --until 2026-12-31T08:00
      targcc job pause DailyReport --until 2h
    """

    async def work() -> None:
        async with reached() as api:
            wish = PauseIn(reason=reason, until=until)
            await api.post(path("jobs", name, "pause"), DoneOut, wish)
            job = await api.get(path("jobs", name), JobDetailOut)
        ends = f" until {when(until, api.now)}" if until is not None else ""
        done(f"{job.name} is paused{ends}", as_json=as_json, job=job.name, paused=True)

    run(work())


@job_group.command("enable")
@click.argument("name", shell_complete=job_names)
@json_option
def enable_job(name: str, *, as_json: bool) -> None:
    """Let a job run by its schedule again.

    \b
    Example:
      targcc job enable DailyReport
      targcc job resume DailyReport
    """

    async def work() -> None:
        async with reached() as api:
            await api.post(path("jobs", name, "resume"), DoneOut)
            job = await api.get(path("jobs", name), JobDetailOut)
        coming = when(job.next_run, api.now)
        said = f"{job.name} runs again{f', next {coming}' if coming else ''}"
        done(said, as_json=as_json, job=job.name, paused=False)

    run(work())


job_group.add_command(disable_job, "pause")
job_group.add_command(enable_job, "resume")
