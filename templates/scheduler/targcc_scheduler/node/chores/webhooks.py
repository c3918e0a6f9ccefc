"""Sending to webhooks, and to handlers in the code, what waits for it: a few at a time, again after growing waits, at least once.

A message is taken for a minute. A node that dies between sending it and saying so leaves it to be sent again after that, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...alerts.events import node_event
from ...alerts.hooks.signing import opened, signed
from ...core.actor import SYSTEM
from ...core.errors import SecretError
from ...core.outage import OUTAGES, Outage
from ...core.secrets import know
from ...storage.audit import audit
from ...storage.webhooks import outbox, rows
from ...storage.webhooks.outbox import Delivery
from ...storage.webhooks.rows import Webhook
from ...worker.node_services import NodeServices
from ..identity import host_name
from .handlers import Handlers

log = logging.getLogger("targcc.node.chores.webhooks")

WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""The waits between attempts; a message that fails after the last one is given up, about three days after the first."""
TURNED_OFF_AFTER = timedelta(days=3)
"""A webhook whose message is given up is turned off if nothing has arrived for so long."""
TAKEN_FOR = timedelta(seconds=60)
_AT_ONCE, _AT_ONCE_EACH = 10, 3
_GONE = 410
_JITTER = 0.1


class Deliveries:
    """Sends what is due.

    Args:
        services: Database, clock, and who hears of a webhook that was turned off.
    """

    def __init__(self, services: NodeServices) -> None:
        self._services = services
        self._due = asyncio.Event()
        self._ending = False
        self._sending: dict[asyncio.Task[None], int] = {}
        self._handlers = Handlers(services)

    async def start(self) -> None:
        """Make the handlers of this process known: they hear of what happens from now on."""
        await self._handlers.start()

    def wake(self) -> None:
        """Something is due."""
        self._due.set()

    def end(self) -> None:
        """Let :meth:`run` return; what is being sent will be sent again."""
        self._ending = True
        self._due.set()

    async def run(self) -> None:
        """Send what is due whenever there is something, until it is told to end."""
        outage = Outage(log, "sending to webhooks")
        try:
            while not self._ending:
                await self._due.wait()
                self._due.clear()
                try:
                    await self.send_all()
                    outage.over()
                except OUTAGES as error:  # who looks for what is due wakes it again
                    outage.failed(error)
        finally:
            await self._handlers.close()

    async def send_all(self) -> None:
        """Send all that is due."""
        taken = await self._take()
        if not taken:
            return
        async with AsyncExitStack() as stack:
            client = None
            try:
                while (taken or self._sending) and not self._ending:
                    if client is None and not all(hook.in_code for _, hook in taken):
                        from ...alerts.hooks.sending import new_client

                        client = await stack.enter_async_context(new_client())
                    for one, hook in taken:
                        sends = (
                            self._call(one, hook) if hook.in_code else self._send(client, one, hook)
                        )
                        self._sending[asyncio.create_task(sends)] = hook.id
                    await self._until_one_is_sent()
                    taken = await self._take()
            finally:
                await self._stop_sending()

    async def _take(self) -> list[tuple[Delivery, Webhook]]:
        now, each = self._services.clock.now(), Counter(self._sending.values())
        busy = [hook for hook, count in each.items() if count >= _AT_ONCE_EACH]
        most = _AT_ONCE - len(self._sending)
        if most <= 0:
            return []
        async with self._services.store.write() as connection:
            return await outbox.take(
                connection,
                now,
                now + TAKEN_FOR,
                most=most,
                busy=busy,
                handlers=self._handlers.names,
            )

    async def _until_one_is_sent(self) -> None:
        """Wait for one of those that are being sent, or for something new that is due, or the end."""
        woken = asyncio.ensure_future(self._due.wait())
        await asyncio.wait({woken, *self._sending}, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        self._due.clear()
        for task in [one for one in self._sending if one.done()]:
            del self._sending[task]
            task.result()

    async def _stop_sending(self) -> None:
        tasks = list(self._sending)
        self._sending.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, one: Delivery, hook: Webhook) -> None:
        error = await self._handlers.call(one, hook.shown)
        now = self._services.clock.now()

        async def note(connection: AsyncConnection) -> None:
            if error is None:
                await outbox.delivered(connection, one, "returned", now)
            else:
                await outbox.refused(connection, one, error, now, _next(one.attempts, now))

        await self._services.store.change(note)

    async def _send(self, client: Any, one: Delivery, hook: Webhook) -> None:
        from ...alerts.hooks.sending import post, reason

        body, status = one.body.encode(), None
        try:
            now = self._services.clock.now()
            url, using = opened(hook.sealed_json, now)
            for secret in (url, *using):
                know(secret)
            status = await post(client, url, body, signed(using, one.message_id, body, now))
            answer = f"answered {status}"
        except SecretError as error:
            answer = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is sent again
            answer = reason(error)
        await self._note(one, hook, status, answer)

    async def _note(self, one: Delivery, hook: Webhook, status: int | None, answer: str) -> None:
        """Keep what came of an attempt; turn the webhook off if nothing arrives there any more."""
        services, now = self._services, self._services.clock.now()
        arrived = status is not None and 200 <= status < 300  # noqa: PLR2004 - HTTP's success
        again = None if status == _GONE else _next(one.attempts, now)
        since = hook.failing_since
        off = status == _GONE or (
            again is None and since is not None and now - since >= TURNED_OFF_AFTER
        )
        said = f"webhook {hook.id} ({hook.shown}) was turned off: {answer}"

        async def note(connection: AsyncConnection) -> None:
            if arrived:
                await outbox.delivered(connection, one, answer, now)
                return
            await outbox.refused(connection, one, answer, now, again)
            if off:
                await rows.disable(connection, hook.id, f"the scheduler: {answer}", now)
                await audit(connection, SYSTEM, "webhook off", now, detail=said)

        await services.store.change(note)
        if off and not arrived:
            log.error(said)
            services.notify(node_event(said, server=host_name()))


def _next(attempts: int, now: datetime) -> datetime | None:
    """When to try again after so many attempts before this one; ``None``: not any more."""
    if attempts >= len(WAITS):
        return None
    spread = 1 + random.uniform(-_JITTER, _JITTER)  # noqa: S311 - spreads the load, keeps no secret
    return now + WAITS[attempts] * spread
