"""Deliver events to webhooks and to handlers in the code.

A message is taken for a minute. A node that dies between sending it and saying so leaves it to be sent again after that, under the same id.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ...core.errors import SecretError
from ...core.loop_thread import LoopOnDemand
from ...core.masking import mask
from ...core.outage import OUTAGES, Outage
from ...core.secrets import know
from ...core.stored_values import exception_line
from ...kernel.audit import audit
from ...kernel.jobs.hooks import EVENTS, Handler, RunEvent
from ...kernel.node.identity import host_name
from ...kernel.worker.node_services import NodeServices
from ..alerts.message import node_event
from . import model
from .model import Delivery, Webhook
from .signing import opened, signed

# Calling the handlers in the code that hear of events, on a loop of their own.

log = logging.getLogger("targcc.node.chores.handlers")

MOST_SECONDS = 50.0
"""How long a handler may take; others may take its message ten seconds later."""
_INSTANTS = frozenset({"scheduled_for", "created_at", "started_at", "retry_at"})


class Handlers:
    """Calls the handlers of this process.

    Args:
        services: Database, clock, settings and hooks.
    """

    def __init__(self, services: NodeServices) -> None:
        self._services = services
        self._loop = LoopOnDemand("targcc-events")

    @property
    def names(self) -> Collection[str]:
        """The names of those that there are."""
        return self._services.hooks.handlers.keys()

    async def start(self) -> None:
        """Make them known to the database."""
        hooks = self._services.hooks
        hooks.listening = True
        if not hooks.handlers:
            return
        wanted = {name: events for name, (_, events) in hooks.handlers.items()}
        async with self._services.store.write() as connection:
            await model.make_known(connection, wanted, self._services.clock.now())

    async def close(self) -> None:
        """Call none any more."""
        self._services.hooks.listening = False
        await self._loop.stop(_nothing)

    async def call(self, one: Delivery, name: str) -> str | None:
        """Call a handler with what a message says; ``None`` if it has returned, else why it has not."""
        handler, _ = self._services.hooks.handlers[name]
        try:
            event = event_of(one, self._services.settings.dashboard_url)
            await self._loop.open().call(_within_time(handler, event))
        except TimeoutError as error:
            why = exception_line(error) if str(error) else f"took more than {MOST_SECONDS:g} s"
        except Exception as error:
            why = exception_line(error)
            log.warning("%s failed with run %s", name, one.run_id, exc_info=error)
        else:
            return None
        return mask(why)


def event_of(one: Delivery, page: str) -> RunEvent:
    """The event that a message tells of.

    Args:
        one: The message.
        page: Where the dashboard is.
    """
    body = json.loads(one.body)
    kind = EVENTS[one.event]
    values: dict[str, Any] = {
        name: _instant(value) if name in _INSTANTS else value
        for name, value in _known(body["data"], kind).items()
    }
    values["url"] = f"{page}/runs/{one.run_id}"
    at = datetime.fromisoformat(body["timestamp"])
    return kind(id=one.message_id, delivery=one.attempts + 1, at=at, **values)


def _known(data: Mapping[str, Any], kind: type[RunEvent]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


async def _nothing() -> None:
    """What is left is cancelled."""


async def _within_time(handler: Handler, event: RunEvent) -> None:
    async with asyncio.timeout(MOST_SECONDS):
        if inspect.iscoroutinefunction(handler):
            await handler(event)
        else:
            await asyncio.wrap_future(_in_thread(handler, event))


def _in_thread(handler: Handler, event: RunEvent) -> Future[None]:
    """Call a plain handler in a thread that keeps no process from ending."""
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()

    def work() -> None:
        try:
            handler(event)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=work, name=f"targcc-event {event.run_id}", daemon=True).start()
    return done


# Sending to webhooks, and to handlers in the code, what waits for it: a few at a time, again after growing waits, at least once.

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
                        from ..alerts.http_post import new_client

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
            return await model.take(
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
                await model.delivered(connection, one, "returned", now)
            else:
                await model.refused(connection, one, error, now, _next(one.attempts, now))

        await self._services.store.change(note)

    async def _send(self, client: Any, one: Delivery, hook: Webhook) -> None:
        from ..alerts.http_post import post_signed, reason

        body, status = one.body.encode(), None
        try:
            now = self._services.clock.now()
            url, using = opened(hook.sealed_json, now)
            for secret in (url, *using):
                know(secret)
            status = await post_signed(client, url, body, signed(using, one.message_id, body, now))
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
                await model.delivered(connection, one, answer, now)
                return
            await model.refused(connection, one, answer, now, again)
            if off:
                await model.disable(connection, hook.id, f"the scheduler: {answer}", now)
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
