"""``targcc alert``: whether alerts reach people, and which are not over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....alerts.dispatcher import AlertSender
from ....alerts.message import Notice
from ....alerts.policy import Target
from ....alerts.trial import Tried, shown_target, try_out
from ....scheduler import Scheduler
from ....storage.alerts import outbox, threads
from ....storage.audit import audit
from ....storage.failures.concerns import ALERT
from ....storage.tables import job_concern
from ...common import opened, operator, run
from ...group import CliError, Commands
from ...output import json_option, print_json, print_table, when


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
    if as_json:
        print_json(tried)
    else:
        rows = [[one.channel, one.to, one.reason or "sent"] for one in tried]
        print_table(["CHANNEL", "TO", "RESULT"], rows)
    if any(one.reason is not None for one in tried):
        raise click.exceptions.Exit(1)


@alert_group.command("list")
@json_option
def list_alerts(*, as_json: bool) -> None:
    """Show alerts that are not over, messages that wait, those that did not go out, and who is on call.

    \b
    Example:
      targcc alert list
    """

    async def work() -> tuple[dict[str, Any], datetime]:
        async with opened() as scheduler:
            now = scheduler.clock.now()
            rota = _sender(scheduler).policy.rota
            return {"on_call": rota.on_call(now), **await scheduler.read(_read)}, now

    found, now = run(work())
    if as_json:
        print_json(found)
    else:
        _print(found, now)


async def _read(db: AsyncConnection) -> dict[str, Any]:
    c = job_concern.c
    failed = sa.select(c.Subject, c.Since, c.Detail).where(c.Kind == ALERT).order_by(c.Since)
    return {
        "going_on": [
            {
                "since": row.FirstAt,
                "kind": row.Kind,
                "job": row.JobName,
                "times": row.Number,
                "steps_taken": row.Step,
                "title": row.Title,
            }
            for row in await threads.going_on(db)
        ],
        "waiting": [
            {
                "goes_at": row.DueAt,
                "channel": row.Channel,
                "to": shown_target(Target(row.Channel, row.Target)),
                "tries": row.Tries,
                "title": Notice.from_json(row.NoticeJson).title,
            }
            for row in await outbox.waiting(db)
        ],
        "failed": [
            {"since": row.Since, "job": row.Subject, "reason": row.Detail}
            for row in await db.execute(failed)
        ],
    }


def _print(found: dict[str, Any], now: datetime) -> None:
    if found["on_call"] is not None:
        click.echo(f"On call: {found['on_call']}")
    if found["going_on"]:
        print_table(
            ["NOT OVER SINCE", "TIMES", "STEPS", "ALERT"],
            [
                [
                    when(one["since"], now),
                    f"{one['times']:,}",
                    str(one["steps_taken"]),
                    one["title"],
                ]
                for one in found["going_on"]
            ],
        )
    if found["waiting"]:
        print_table(
            ["GOES", "CHANNEL", "TO", "TRIES", "MESSAGE"],
            [
                [
                    when(one["goes_at"], now),
                    one["channel"],
                    one["to"],
                    str(one["tries"]),
                    one["title"],
                ]
                for one in found["waiting"]
            ],
        )
    for one in found["failed"]:
        since = when(one["since"], now)
        click.echo(f"An alert about {one['job']} did not go out, {since}: {one['reason']}")
    if not (found["going_on"] or found["waiting"] or found["failed"]):
        click.echo("Every alert is over, and every message went out.")


def _sender(scheduler: Scheduler) -> AlertSender:
    return AlertSender(scheduler.store.engine, scheduler.settings, scheduler.clock)
