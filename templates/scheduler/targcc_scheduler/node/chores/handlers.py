"""Calling the handlers in the code that hear of events, on a loop of their own."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import fields
from datetime import datetime
from typing import Any

from ...core.kept.texts import exception_line
from ...core.loop_thread import LoopOnDemand
from ...core.secrets import mask
from ...jobs.hooks.events import EVENTS, Handler, RunEvent
from ...storage.webhooks import handlers
from ...storage.webhooks.outbox import Delivery
from ...worker.node_services import NodeServices

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
            await handlers.make_known(connection, wanted, self._services.clock.now())

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
