"""Deliver events to webhooks and to handlers in the code.

A claim on a message lasts a minute. If a node dies between sending and recording, the message is sent again after the claim expires,
under the same id.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
from ...kernel.alert_events import node_event
from ...kernel.audit import audit
from ...kernel.jobs.hooks import EVENTS, Handler, RunEvent
from ...kernel.node.loops import NodeContext
from ...kernel.node.nodes import host_name
from ...kernel.worker.node_services import NodeServices
from . import model
from .model import Delivery, Webhook
from .signing import opened, signed

# Call handlers in the code, on a separate event loop.

log = logging.getLogger("targcc.events.loops")

MOST_SECONDS = 50.0
"""Timeout of a handler in seconds. The claim on the message ends ten seconds later."""
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
        """Return the names of this process's handlers."""
        return self._services.hooks.handlers.keys()

    async def start(self) -> None:
        """Register the handlers in the database."""
        hooks = self._services.hooks
        hooks.listening = True
        if not hooks.handlers:
            return
        wanted = {name: events for name, (_, events) in hooks.handlers.items()}
        async with self._services.store.write() as connection:
            await model.make_known(connection, wanted, self._services.clock.now())

    async def close(self) -> None:
        """Stop the handlers' event loop; running handlers are cancelled."""
        self._services.hooks.listening = False
        await self._loop.stop(_nothing)

    async def call(self, delivery: Delivery, name: str) -> str | None:
        """Call a handler with the event of a message. Return ``None`` on success, or the masked error."""
        handler, _ = self._services.hooks.handlers[name]
        try:
            event = event_of(delivery, self._services.settings.dashboard_url)
            await self._loop.open().call(_within_time(handler, event))
        except TimeoutError as error:
            why = exception_line(error) if str(error) else f"took more than {MOST_SECONDS:g} s"
        except Exception as error:
            why = exception_line(error)
            log.warning("%s failed with run %s", name, delivery.run_id, exc_info=error)
        else:
            return None
        return mask(why)


def event_of(delivery: Delivery, page: str) -> RunEvent:
    """Build the event of a message.

    Args:
        delivery: The message.
        page: Dashboard address.
    """
    body = json.loads(delivery.body)
    kind = EVENTS[delivery.event]
    values: dict[str, Any] = {
        name: _instant(value) if name in _INSTANTS else value
        for name, value in _known(body["data"], kind).items()
    }
    values["url"] = f"{page}/runs/{delivery.run_id}"
    at = datetime.fromisoformat(body["timestamp"])
    return kind(id=delivery.message_id, delivery=delivery.attempts + 1, at=at, **values)


def _known(data: Mapping[str, Any], kind: type[RunEvent]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


async def _nothing() -> None:
    """Do nothing before the loop stops: stopping cancels running handlers."""


async def _within_time(handler: Handler, event: RunEvent) -> None:
    async with asyncio.timeout(MOST_SECONDS):
        if inspect.iscoroutinefunction(handler):
            await handler(event)
        else:
            await asyncio.wrap_future(_in_thread(handler, event))


def _in_thread(handler: Handler, event: RunEvent) -> Future[None]:
    """Call a plain handler in a daemon thread, which does not delay the end of the process."""
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


# Deliver due messages to webhooks and handlers: a few at a time, at least once, with growing delays between attempts.

WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Delays between attempts. After the last attempt, about three days after the first, the message fails for good."""
TURNED_OFF_AFTER = timedelta(days=3)
"""A message that fails for good disables the webhook, if deliveries have failed for at least this time."""
TAKEN_FOR = timedelta(seconds=60)
_AT_ONCE, _AT_ONCE_EACH = 10, 3
_GONE = 410
_JITTER = 0.1
HELD = "held: this process calls no webhooks (TARGCC_SEND_WEBHOOKS)"
"""The answer of a message that was not sent."""


class Deliveries:
    """Delivers due messages.

    Args:
        services: Database, clock, hooks, and the alert queue for disabled webhooks.
    """

    def __init__(self, services: NodeServices) -> None:
        self._services = services
        self._due = asyncio.Event()
        self._ending = False
        self._sending: dict[asyncio.Task[None], int] = {}
        self._handlers = Handlers(services)

    async def note(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Insert messages about ended runs, in the transaction that takes note of the runs."""
        services = self._services
        now, page = services.clock.now(), services.settings.dashboard_url
        await model.fill(connection, run_ids, now=now, page=page)

    async def start(self) -> None:
        """Register the handlers of this process for events from now on."""
        await self._handlers.start()

    def wake(self) -> None:
        """Wake :meth:`run`: a message is due."""
        self._due.set()

    def end(self) -> None:
        """Let :meth:`run` return. Unfinished deliveries are sent again after their claims expire."""
        self._ending = True
        self._due.set()

    async def run(self) -> None:
        """Deliver due messages after each :meth:`wake`, until :meth:`end`."""
        outage = Outage(log, "sending to webhooks")
        try:
            while not self._ending:
                await self._due.wait()
                self._due.clear()
                try:
                    await self.send_all()
                    outage.over()
                except OUTAGES as error:  # the next check for due messages wakes this loop again
                    outage.failed(error)
        finally:
            await self._handlers.close()

    async def send_all(self) -> None:
        """Deliver all due messages."""
        taken = await self._take()
        if not taken:
            return
        async with AsyncExitStack() as stack:
            client = None
            try:
                while (taken or self._sending) and not self._ending:
                    if client is None and any(map(self._calls_out, taken)):
                        from ...core.http_post import new_client

                        client = await stack.enter_async_context(new_client())
                    for delivery, hook in taken:
                        if hook.in_code:
                            sends = self._call(delivery, hook)
                        elif self._services.settings.send_webhooks:
                            sends = self._send(client, delivery, hook)
                        else:
                            sends = self._hold(delivery, hook)
                        self._sending[asyncio.create_task(sends)] = hook.id
                    await self._until_one_is_sent()
                    taken = await self._take()
            finally:
                await self._stop_sending()

    def _calls_out(self, message: tuple[Delivery, Webhook]) -> bool:
        return not message[1].in_code and self._services.settings.send_webhooks

    async def _hold(self, delivery: Delivery, hook: Webhook) -> None:
        """Record a message as held and name it in the log."""
        now = self._services.clock.now()
        await self._services.store.change(
            lambda connection: model.hold(connection, delivery, HELD, now)
        )
        log.warning(
            "webhook %s (%s) not called about run %s (%s): %s",
            *(hook.id, hook.shown, delivery.run_id, delivery.event, HELD),
        )

    async def _take(self) -> list[tuple[Delivery, Webhook]]:
        now, counts = self._services.clock.now(), Counter(self._sending.values())
        busy = [hook for hook, count in counts.items() if count >= _AT_ONCE_EACH]
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
        """Wait until a delivery finishes or :meth:`wake` or :meth:`end` is called, and collect finished deliveries."""
        woken = asyncio.ensure_future(self._due.wait())
        await asyncio.wait({woken, *self._sending}, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        self._due.clear()
        for task in [delivery_task for delivery_task in self._sending if delivery_task.done()]:
            del self._sending[task]
            task.result()

    async def _stop_sending(self) -> None:
        tasks = list(self._sending)
        self._sending.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, delivery: Delivery, hook: Webhook) -> None:
        error = await self._handlers.call(delivery, hook.shown)
        now = self._services.clock.now()

        async def note(connection: AsyncConnection) -> None:
            if error is None:
                await model.delivered(connection, delivery, "returned", now)
            else:
                await model.refused(connection, delivery, error, now, _next(delivery.attempts, now))

        await self._services.store.change(note)

    async def _send(self, client: Any, delivery: Delivery, hook: Webhook) -> None:
        from ...core.http_post import post_signed, reason

        body, status = delivery.body.encode(), None
        try:
            now = self._services.clock.now()
            url, using = opened(hook.sealed_json, now)
            for secret in (url, *using):
                know(secret)
            status = await post_signed(
                client, url, body, signed(using, delivery.message_id, body, now)
            )
            answer = f"answered {status}"
        except SecretError as error:
            answer = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is sent again
            answer = reason(error)
        await self._note(delivery, hook, status, answer)

    async def _note(
        self, delivery: Delivery, hook: Webhook, status: int | None, answer: str
    ) -> None:
        """Record the result of an attempt.

        Disable the webhook on status 410, or when the last attempt fails and deliveries have failed for :data:`TURNED_OFF_AFTER`.
        """
        services, now = self._services, self._services.clock.now()
        arrived = status is not None and 200 <= status < 300  # noqa: PLR2004 - HTTP's success
        again = None if status == _GONE else _next(delivery.attempts, now)
        since = hook.failing_since
        off = status == _GONE or (
            again is None and since is not None and now - since >= TURNED_OFF_AFTER
        )
        error_text = f"webhook {hook.id} ({hook.shown}) was turned off: {answer}"

        async def note(connection: AsyncConnection) -> None:
            if arrived:
                await model.delivered(connection, delivery, answer, now)
                return
            await model.refused(connection, delivery, answer, now, again)
            if off:
                await model.disable(connection, hook.id, f"the scheduler: {answer}", now)
                await audit(connection, SYSTEM, "webhook off", now, detail=error_text)

        await services.store.change(note)
        if off and not arrived:
            log.error(error_text)
            services.notify(node_event(error_text, server=host_name()))


def webhooks(context: NodeContext) -> Deliveries:
    """Return the loop that delivers messages."""
    deliveries = Deliveries(context.services)
    context.at_start.append(deliveries.start)
    context.ended_runs.append(deliveries)
    return deliveries


def _next(attempts: int, now: datetime) -> datetime | None:
    """Return the time of the next attempt, or ``None`` after the last attempt.

    Args:
        attempts: Number of attempts before this attempt.
        now: The current time.
    """
    if attempts >= len(WAITS):
        return None
    spread = 1 + random.uniform(-_JITTER, _JITTER)  # noqa: S311 - spreads the load, keeps no secret
    return now + WAITS[attempts] * spread
