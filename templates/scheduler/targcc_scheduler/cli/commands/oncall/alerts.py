"""``targcc alert``: whether alerts reach people, and which are not over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from ....alerts.dispatcher import AlertSender
from ....alerts.trial import Tried, try_out
from ....queries.needs.alerts import AlertsNow, alerts_now, shown_address
from ....scheduler import Scheduler
from ....storage.audit import audit
from ...common import opened, operator, run
from ...group import CliError, Commands
from ...output import json_option, print_json, print_table, shows, when


@click.group("alert", cls=Commands)
def alert_group() -> None:
    """See whether alerts reach people, and which are not over."""


@alert_group.command("test")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="CHANNEL",
    help="Only by this one: email, slack, teams, webhook, or one of your own. May be repeated.",
)
@click.option("--job", "name", metavar="NAME", help="To those who hear of this job.")
@json_option
def try_alerts(*, channels: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """Send a message that is marked as a test to everybody whom alerts could reach, and say what became of each.

    Exit status 1 when one did not go out.

    \b
    Example:
      targcc alert test
      targcc alert test --channel slack --job DailyReport
    """

    async def work() -> Sequence[Tried]:
        async with opened() as scheduler:
            job = scheduler.definitions[scheduler.key_of(name)] if name is not None else None
            wanted = {"mail" if one == "email" else one for one in channels}
            by = operator()
            tried = await scheduler.call(try_out(_sender(scheduler), job, wanted, str(by)))

            async def note(db: AsyncConnection) -> None:
                failed = sum(one.reason is not None for one in tried)
                said = f"{len(tried)} messages, {failed} did not go out"
                await audit(
                    db,
                    by,
                    "alert-test",
                    scheduler.clock.now(),
                    job_name=job.name if job else None,
                    detail=said,
                )

            if tried:
                await scheduler.change(note)
        return tried

    tried = run(work())
    if not tried:
        raise CliError(
            "there is nobody to tell: set TARGCC_ALERT_EMAIL, or alerts in targcc.yaml, or name a job"
        )
    said = [
        {
            "channel": one.target.channel,
            "to": shown_address(one.target.address),
            "reason": one.reason,
        }
        for one in tried
    ]
    if as_json:
        print_json(said)
    else:
        rows = [[one["channel"] or "", one["to"] or "", one["reason"] or "sent"] for one in said]
        print_table(["CHANNEL", "TO", "RESULT"], rows)
    if any(one.reason is not None for one in tried):
        raise click.exceptions.Exit(1)


@alert_group.command("list")
@shows
def list_alerts(*, as_json: bool) -> None:
    """Show alerts that are not over, messages that wait, those that did not go out, and who is on call.

    \b
    Example:
      targcc alert list
    """

    async def work() -> tuple[AlertsNow, str | None, datetime]:
        async with opened() as scheduler:
            now = scheduler.clock.now()
            on_call = _sender(scheduler).policy.rota.on_call(now)
            return await scheduler.read(alerts_now), on_call, now

    found, on_call, now = run(work())
    if as_json:
        print_json({"on_call": on_call, **asdict(found)})
        return
    if on_call is not None:
        click.echo(f"On call: {on_call}")
    _print(found, now)


def _print(found: AlertsNow, now: datetime) -> None:
    if found.going_on:
        print_table(
            ["NOT OVER SINCE", "TIMES", "STEPS", "ALERT"],
            [
                [when(one.since, now), f"{one.times:,}", str(one.steps_taken), one.title]
                for one in found.going_on
            ],
        )
    if found.waiting:
        print_table(
            ["GOES", "CHANNEL", "TO", "TRIES", "MESSAGE"],
            [
                [when(one.goes_at, now), one.channel, one.to, str(one.tries), one.title]
                for one in found.waiting
            ],
        )
    for one in found.failed:
        since = when(one.since, now)
        click.echo(f"An alert about {one.job} did not go out, {since}: {one.reason}")
    if not found.any:
        click.echo("Every alert is over, and every message went out.")


def _sender(scheduler: Scheduler) -> AlertSender:
    return AlertSender(scheduler.store.engine, scheduler.settings, scheduler.clock)
