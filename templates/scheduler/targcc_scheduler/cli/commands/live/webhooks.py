"""``targcc webhook``: programs elsewhere that are told of runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import click

from ....core.actor import Actor
from ....oncall import webhooks
from ....scheduler import Scheduler
from ....storage.webhooks import outbox, rows
from ....storage.webhooks.rows import EVENTS
from ...common import opened, operator, run
from ...group import CliError, Commands
from ...output import json_option, limit_option, print_json, print_table, when

_ID = click.argument("webhook_id", metavar="ID", type=int)


@click.group("webhook", cls=Commands)
def webhook_group() -> None:
    """Tell programs elsewhere of runs that ended: signed, and again until they take it."""


@webhook_group.command("create")
@click.argument("url")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([*EVENTS], case_sensitive=False),
    help="Of runs that ended so; may be repeated. Default: of all.",
)
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="PATTERN",
    help="Of this job, or of those that a pattern names; may be repeated. Default: of all.",
)
@json_option
def create(url: str, *, events: tuple[str, ...], jobs: tuple[str, ...], as_json: bool) -> None:
    """Tell URL of runs from now on, and print the secret that its messages are signed with.

    \b
    Example:
      targcc webhook create https://example.com/hooks/jobs --event failed --job 'Daily*'
    """

    async def work() -> webhooks.NewWebhook:
        async with opened() as scheduler:
            return await webhooks.create(scheduler, url, events, jobs, operator())

    made = run(work())
    if as_json:
        click.echo(f'{{"id": {made.id}, "secret": "{made.secret}"}}')
        return
    click.echo(f"webhook {made.id} is on: targcc webhook test {made.id}")
    click.echo(f"secret  {made.secret}  (it is not shown again)")


@webhook_group.command("list")
@json_option
def list_webhooks(*, as_json: bool) -> None:
    """Show the webhooks, and how it goes with each.

    \b
    Example:
      targcc webhook list
    """

    async def work() -> None:
        async with opened() as scheduler:
            found, now = await scheduler.read(rows.webhooks), scheduler.clock.now()
        if as_json:
            print_json([_without_secret(asdict(one)) for one in found])
        elif not found:
            click.echo("There is no webhook.")
        else:
            print_table(
                ["ID", "ADDRESS", "EVENTS", "JOBS", "STATE", "MADE"],
                [
                    [
                        str(one.id),
                        one.shown,
                        ", ".join(one.events) or "all",
                        ", ".join(one.jobs) or "all",
                        webhooks.state_of(one, now),
                        when(one.created_at, now),
                    ]
                    for one in found
                ],
            )

    run(work())


def _without_secret(values: dict[str, Any]) -> dict[str, Any]:
    values["address"] = values.pop("shown")
    del values["sealed_json"]
    return values


@webhook_group.command("deliveries")
@_ID
@limit_option
@json_option
def deliveries(webhook_id: int, *, limit: int, as_json: bool) -> None:
    """Show the messages to a webhook, newest first, and what came of each.

    \b
    Example:
      targcc webhook deliveries 1 --limit 50
    """

    async def work() -> None:
        async with opened() as scheduler:
            if await scheduler.read(lambda db: rows.find(db, webhook_id)) is None:
                raise CliError(f"there is no webhook {webhook_id}")
            found = await scheduler.read(lambda db: outbox.deliveries(db, webhook_id, limit))
            now = scheduler.clock.now()
        if as_json:
            print_json(found)
        elif not found:
            click.echo("Nothing was sent yet.")
        else:
            print_table(
                ["ID", "EVENT", "RUN", "STATUS", "ATTEMPTS", "ANSWER", "MADE", "NEXT"],
                [
                    [
                        str(one.id),
                        one.event,
                        str(one.run_id or ""),
                        one.status,
                        str(one.attempts),
                        one.answer or "",
                        when(one.created_at, now),
                        when(one.due_at, now),
                    ]
                    for one in found
                ],
            )

    run(work())


@webhook_group.command("test")
@_ID
def test(webhook_id: int) -> None:
    """Send a message of the type run.test, which is about no run.

    \b
    Example:
      targcc webhook test 1
    """
    made = _do(lambda scheduler, by: webhooks.test(scheduler, webhook_id, by))
    click.echo(f"a worker sends message {made}: targcc webhook deliveries {webhook_id}")


@webhook_group.command("redeliver")
@_ID
@click.argument("delivery_id", metavar="MESSAGE", type=int)
def redeliver(webhook_id: int, delivery_id: int) -> None:
    """Send a message again, under the same id.

    \b
    Example:
      targcc webhook redeliver 1 42
    """
    _do(lambda scheduler, by: webhooks.redeliver(scheduler, webhook_id, delivery_id, by))
    click.echo(f"message {delivery_id} will be sent again")


@webhook_group.command("disable")
@_ID
def disable(webhook_id: int) -> None:
    """Send nothing to a webhook; what waits is given up.

    \b
    Example:
      targcc webhook disable 1
    """
    _do(lambda scheduler, by: webhooks.disable(scheduler, webhook_id, by))
    click.echo(f"webhook {webhook_id} is off")


@webhook_group.command("enable")
@_ID
def enable(webhook_id: int) -> None:
    """Tell a webhook of runs that end from now on.

    \b
    Example:
      targcc webhook enable 1
    """
    _do(lambda scheduler, by: webhooks.enable(scheduler, webhook_id, by))
    click.echo(f"webhook {webhook_id} is on")


@webhook_group.command("delete")
@_ID
def delete(webhook_id: int) -> None:
    """Remove a webhook, with what was sent to it.

    \b
    Example:
      targcc webhook delete 1
    """
    _do(lambda scheduler, by: webhooks.remove(scheduler, webhook_id, by))
    click.echo(f"webhook {webhook_id} is removed")


def _do(action: Callable[[Scheduler, Actor], Awaitable[Any]]) -> Any:
    """Do something with a webhook as the user of this terminal; what came of it."""

    async def work() -> Any:
        async with opened() as scheduler:
            return await action(scheduler, operator())

    return run(work())
