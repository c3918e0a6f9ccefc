"""``targcc webhook``: manage webhooks and their messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ...cli.common import run
from ...cli.completing import job_names
from ...cli.connect import connect, path
from ...cli.group import Commands
from ...cli.output import done, json_option, limit_option, print_json, print_table, shows, when
from ...core import humanize

if TYPE_CHECKING:
    from ...web.api.schema import DoneOut
    from .schemas import DeliveryMadeOut, DeliveryOut, WebhookMadeOut, WebhookOut

EVENTS = ("succeeded", "failed", "cancelled", "missed", "skipped")
_ID = click.argument("webhook_id", metavar="ID", type=int)


@click.group("webhook", cls=Commands)
def webhook_group() -> None:
    """Manage webhooks: signed HTTP messages about ended runs, repeated until accepted."""


@webhook_group.command("create")
@click.argument("url")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(EVENTS, case_sensitive=False),
    help="Only runs with this outcome. May be repeated. Default: all outcomes.",
)
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="PATTERN",
    shell_complete=job_names,
    help="Only runs of this job, or of jobs that match a pattern. May be repeated. Default: all jobs.",
)
@json_option
def create(url: str, *, events: tuple[str, ...], jobs: tuple[str, ...], as_json: bool) -> None:
    """Create a webhook that sends ended runs to URL, and print its signing secret.

    \b
    Example:
      targcc webhook create https://example.com/hooks/jobs --event failed --job 'Daily*'
    """

    async def work() -> WebhookMadeOut:
        async with connect() as api:
            wish = {"url": url, "events": events, "jobs": jobs}
            answer: WebhookMadeOut = await api.post(path("webhooks"), body=wish)
        return answer

    made = run(work())
    _say(made, f"webhook {made.id} is on: targcc webhook test {made.id}", as_json=as_json)


@webhook_group.command("rotate")
@_ID
@json_option
def rotate(webhook_id: int, *, as_json: bool) -> None:
    """Replace the signing secret of a webhook, and print the new secret. The old secret also signs for 24 hours.

    \b
    Example:
      targcc webhook rotate 1
    """

    async def work() -> WebhookMadeOut:
        async with connect() as api:
            answer: WebhookMadeOut = await api.post(path("webhooks", webhook_id, "rotate"))
        return answer

    made = run(work())
    _say(made, made.message, as_json=as_json)


def _say(made: WebhookMadeOut, message: str, *, as_json: bool) -> None:
    if as_json:
        # print_json would mask the secret.
        click.echo(json.dumps({"id": made.id, "secret": made.secret}))
        return
    click.echo(message)
    click.echo(f"secret  {made.secret}  (it is not shown again)")


@webhook_group.command("list")
@shows
def list_webhooks(*, as_json: bool) -> None:
    """List the webhooks with their delivery state.

    \b
    Example:
      targcc webhook list
    """

    async def work() -> None:
        async with connect() as api:
            webhooks: list[WebhookOut] = await api.rows(path("webhooks"))
        if as_json:
            print_json(webhooks)
        elif not webhooks:
            click.echo("No webhooks yet. Create one: targcc webhook create https://…")
        else:
            print_table(
                ["ID", "ADDRESS", "EVENTS", "JOBS", "STATE", "MADE"],
                [
                    [
                        str(webhook.id),
                        webhook.address,
                        ", ".join(webhook.events) or "all",
                        ", ".join(webhook.jobs) or "all",
                        humanize.webhook_state(webhook.disabled_by, webhook.failing_since, api.now),
                        when(webhook.created_at, api.now),
                    ]
                    for webhook in webhooks
                ],
            )

    run(work())


@webhook_group.command("deliveries")
@_ID
@limit_option
@shows
def deliveries(webhook_id: int, *, limit: int, as_json: bool) -> None:
    """List the messages to a webhook with their results, newest first.

    \b
    Example:
      targcc webhook deliveries 1 --limit 50
    """

    async def work() -> None:
        async with connect() as api:
            address = path("webhooks", webhook_id, "deliveries")
            messages: list[DeliveryOut] = await api.rows(address, limit=limit)
        if as_json:
            print_json(messages)
        elif not messages:
            click.echo("Nothing was sent yet.")
        else:
            print_table(
                ["ID", "EVENT", "RUN", "STATUS", "ATTEMPTS", "ANSWER", "MADE", "NEXT"],
                [
                    [
                        str(message.id),
                        message.event,
                        str(message.run_id or ""),
                        message.status,
                        str(message.attempts),
                        message.answer or "",
                        when(message.created_at, api.now),
                        when(message.due_at, api.now),
                    ]
                    for message in messages
                ],
            )

    run(work())


@webhook_group.command("test")
@_ID
@json_option
def test(webhook_id: int, *, as_json: bool) -> None:
    """Send a test message of the type run.test to a webhook.

    \b
    Example:
      targcc webhook test 1
    """

    async def work() -> None:
        async with connect() as api:
            made: DeliveryMadeOut = await api.post(path("webhooks", webhook_id, "test"))
        message = (
            f"a worker sends message {made.delivery_id}: targcc webhook deliveries {webhook_id}"
        )
        done(message, as_json=as_json, webhook=webhook_id, delivery=made.delivery_id)

    run(work())


@webhook_group.command("redeliver")
@_ID
@click.argument("delivery_id", metavar="MESSAGE", type=int)
@json_option
def redeliver(webhook_id: int, delivery_id: int, *, as_json: bool) -> None:
    """Send a message again with the same message id.

    \b
    Example:
      targcc webhook redeliver 1 42
    """
    _do(webhook_id, "deliveries", delivery_id, "redeliver", as_json=as_json)


@webhook_group.command("disable")
@_ID
@json_option
def disable(webhook_id: int, *, as_json: bool) -> None:
    """Disable a webhook. Waiting messages are dropped.

    \b
    Example:
      targcc webhook disable 1
    """
    _do(webhook_id, "disable", as_json=as_json)


@webhook_group.command("enable")
@_ID
@json_option
def enable(webhook_id: int, *, as_json: bool) -> None:
    """Enable a webhook, for runs that end from now on.

    \b
    Example:
      targcc webhook enable 1
    """
    _do(webhook_id, "enable", as_json=as_json)


@webhook_group.command("delete")
@_ID
@json_option
def delete(webhook_id: int, *, as_json: bool) -> None:
    """Delete a webhook with its messages.

    \b
    Example:
      targcc webhook delete 1
    """

    async def work() -> None:
        async with connect() as api:
            response: DoneOut = await api.delete(path("webhooks", webhook_id))
        done(response.message, as_json=as_json, webhook=webhook_id)

    run(work())


def _do(webhook_id: int, *what: object, as_json: bool) -> None:
    """Post to a path below a webhook, and print the response's message."""

    async def work() -> None:
        async with connect() as api:
            response: DoneOut = await api.post(path("webhooks", webhook_id, *what))
        done(response.message, as_json=as_json, webhook=webhook_id)

    run(work())
