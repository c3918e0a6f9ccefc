"""Manage webhooks: create, test, disable, enable, rotate, remove, redeliver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.errors import UnknownWebhook, WebhookError
from ...core.languages import Localized
from ...core.masking import MASK
from ...core.secrets import know
from ...kernel.audit import audit
from ...project import current
from ...scheduler import Scheduler
from . import model
from .model import EVENTS, Webhook
from .signing import new_secret, rotated, sealed

_LONGEST_URL, _LONGEST_JOBS = 2_000, 1_000


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A new webhook and its secret. The secret is shown only once."""

    id: int
    secret: str


async def create(
    scheduler: Scheduler, url: str, events: Sequence[str], jobs: Sequence[str], by: Actor
) -> NewWebhook:
    """Create a webhook for events from now on.

    Args:
        scheduler: The scheduler.
        url: An http or https address.
        events: Events such as ``failed``; empty for all events.
        jobs: Job names or patterns such as ``Daily*``; empty for all jobs.
        by: Author of the change, for the audit.

    Raises:
        WebhookError: the address or an event is invalid, or the job patterns are too long.
    """
    shown = _shown(url)
    wanted, patterns = [name.lower() for name in events], [
        part for name in jobs for part in name.split()
    ]
    unknown = next((name for name in wanted if name not in EVENTS), None)
    if unknown is not None:
        raise WebhookError(f"there is no event {unknown!r}: {', '.join(EVENTS)}")
    if len(" ".join(patterns)) > _LONGEST_JOBS:
        raise WebhookError(Localized("those are too many jobs: use patterns such as Daily*"))
    know(url)
    secret, now = new_secret(), scheduler.clock.now()
    values = {
        "Shown": shown,
        "SealedJson": sealed(url, secret),
        "Events": " ".join(dict.fromkeys(wanted)),
        "Jobs": " ".join(patterns),
        "CreatedBy": str(by)[:100],
        "CreatedAt": now,
    }

    async def work(db: AsyncConnection) -> int:
        made = await model.add(db, values)
        await audit(db, by, "create webhook", now, detail=f"webhook {made}: {shown}")
        return made

    return NewWebhook(await scheduler.change(work), secret)


def _shown(url: str) -> str:
    """Check an address, and return the address without its secret parts.

    Raises:
        WebhookError: the address is invalid.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # the error's message may hold a part of a password
        raise WebhookError(
            Localized("that is no address such as https://example.com/hook")
        ) from None
    fits = url.isprintable() and " " not in url and len(url) <= _LONGEST_URL
    if parts.scheme not in {"http", "https"} or not host or not fits:
        raise WebhookError(
            Localized("an address begins with https:// or http://, and names a host")
        )
    where = f"[{host}]" if ":" in host else host
    where += f":{port}" if port is not None else ""
    hides = parts.path.strip("/") or parts.query or parts.username
    return f"{parts.scheme}://{where}/{MASK if hides else ''}"[:200]


async def disable(scheduler: Scheduler, webhook_id: int, by: Actor) -> None:
    """Disable a webhook. Its waiting messages fail.

    Raises:
        UnknownWebhook: no webhook has this number.
    """

    async def work(db: AsyncConnection) -> None:
        now, hook = scheduler.clock.now(), await _found(db, webhook_id)
        await model.disable(db, webhook_id, str(by), now)
        await audit(db, by, "disable webhook", now, detail=_named(hook))

    await scheduler.change(work)


async def enable(scheduler: Scheduler, webhook_id: int, by: Actor) -> None:
    """Enable a webhook. Raises as :func:`disable`."""

    async def work(db: AsyncConnection) -> None:
        hook = await _found(db, webhook_id)
        await model.enable(db, webhook_id)
        await audit(db, by, "enable webhook", scheduler.clock.now(), detail=_named(hook))

    await scheduler.change(work)


async def rotate(scheduler: Scheduler, webhook_id: int, by: Actor) -> NewWebhook:
    """Replace a webhook's secret. For 24 hours, messages are signed with both the new and the old secret.

    Raises:
        UnknownWebhook: no webhook has this number.
        SecretError: this process lacks the key that encrypted the old secret.
    """
    secret, now = new_secret(), scheduler.clock.now()

    async def work(db: AsyncConnection) -> None:
        hook = await _found(db, webhook_id)
        await model.reseal(db, webhook_id, rotated(hook.sealed_json, secret, now))
        await audit(db, by, "rotate webhook", now, detail=_named(hook))

    await scheduler.change(work)
    return NewWebhook(webhook_id, secret)


async def remove(scheduler: Scheduler, webhook_id: int, by: Actor) -> None:
    """Remove a webhook and its messages. Raises as :func:`disable`.

    A removed handler in the code is registered again when a node with this handler starts.
    """

    async def work(db: AsyncConnection) -> None:
        hook = await _found(db, webhook_id)
        await model.remove(db, webhook_id)
        await audit(db, by, "delete webhook", scheduler.clock.now(), detail=_named(hook))

    await scheduler.change(work)


async def test(scheduler: Scheduler, webhook_id: int, by: Actor) -> int:
    """Queue a test message, which is about no run, and return its number.

    Raises:
        UnknownWebhook: no webhook has this number.
        WebhookError: the webhook is disabled, or is a handler in the code.
    """

    async def work(db: AsyncConnection) -> int:
        now, hook = scheduler.clock.now(), await _used(db, webhook_id)
        if hook.in_code:
            raise WebhookError(f"{hook.shown} is a handler in the code: it hears of runs only")
        data = {"project": current().name, "by": str(by)}
        made = await model.put(db, model.message(hook, model.TEST, now, data))
        await audit(db, by, "test webhook", now, detail=_named(hook))
        return made

    return await scheduler.change(work)


async def redeliver(scheduler: Scheduler, webhook_id: int, delivery_id: int, by: Actor) -> None:
    """Queue a message again under the same id.

    Raises:
        UnknownWebhook: the webhook has no such message, or no webhook has this number.
        WebhookError: the webhook is disabled.
    """

    async def work(db: AsyncConnection) -> None:
        now, hook = scheduler.clock.now(), await _used(db, webhook_id)
        if not await model.redeliver(db, webhook_id, delivery_id, now):
            raise UnknownWebhook(f"there is no message {delivery_id} to webhook {webhook_id}")
        await audit(db, by, "redeliver", now, detail=f"{_named(hook)}, message {delivery_id}")

    await scheduler.change(work)


async def _found(db: AsyncConnection, webhook_id: int) -> Webhook:
    hook = await model.find(db, webhook_id)
    if hook is None:
        raise UnknownWebhook(f"there is no webhook {webhook_id}")
    return hook


async def _used(db: AsyncConnection, webhook_id: int) -> Webhook:
    hook = await _found(db, webhook_id)
    if hook.disabled_at is not None:
        raise WebhookError(f"webhook {webhook_id} is off: enable it first")
    return hook


def _named(hook: Webhook) -> str:
    return f"webhook {hook.id}: {hook.shown}"
