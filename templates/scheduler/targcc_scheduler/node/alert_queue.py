"""Alerts on their way to people: outside the path of jobs, several at once, and what waits is sent before the node stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..alerts.events import AlertEvent
from ..core.states import RunState
from ..jobs.definition import JobDefinition, stand_in
from ..storage.runs.values import Settlement

log = logging.getLogger("targcc.node.alert_queue")

AT_ONCE = 4
"""So that a mail server which does not answer holds up no other alert."""
_MOST_WAITING = 10_000
_LAST_SECONDS = 10.0

Notify = Callable[[AlertEvent], Awaitable[None]]
_KINDS: dict[RunState, Any] = {RunState.FAILED: "failure", RunState.SUCCEEDED: "success"}


class AlertQueue:
    """Makes alert events of settled runs, whoever settled them, and hands all events to who tells people.

    Args:
        send: Tells people; ``None``: nobody is told.
        definitions: The jobs.
    """

    def __init__(self, send: Notify | None, definitions: Mapping[str, JobDefinition]) -> None:
        self.alerted: frozenset[str] = frozenset()
        """The jobs that have a row in ``c_JobAlert``."""
        self.send = send
        self._definitions = definitions
        self._events: asyncio.Queue[AlertEvent] = asyncio.Queue(maxsize=_MOST_WAITING)

    def settled(self, settlement: Settlement) -> None:
        """A run was settled: by a worker, or by the rescue of what a lost worker left."""
        claim = settlement.claim
        definition = self._definitions.get(claim.job_name) or stand_in(claim.job_name, claim.queue)
        if (event := event_of(settlement, definition)) is not None:
            self.put(event)

    def put(self, event: AlertEvent) -> None:
        """Something happened that somebody may want to know."""
        if self.send is None or not self._may_interest(event):
            return
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            name = event.definition.name
            log.warning("too many alerts wait: one about %s is dropped", name)

    async def run(self) -> None:
        """Send one after the other, until cancelled."""
        while True:
            await self._send_one(await self._events.get())

    async def send_rest(self) -> None:
        """Send what waits; what takes too long is dropped."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                while not self._events.empty():
                    await self._send_one(self._events.get_nowait())
        except TimeoutError:
            log.warning("while stopping: %d alerts were not sent in time", self._events.qsize() + 1)

    def _may_interest(self, event: AlertEvent) -> bool:
        """Most runs succeed and nobody asked to hear of it; the sender need not look that up each time."""
        job = event.definition
        return event.kind != "success" or job.alerts is not None or job.name in self.alerted

    async def _send_one(self, event: AlertEvent) -> None:
        if self.send is None:
            return
        try:
            await self.send(event)
        except Exception:
            log.exception("an alert about %s could not be sent", event.definition.name)


def event_of(settlement: Settlement, definition: JobDefinition) -> AlertEvent | None:
    """What a settled run means to people; ``None`` when it is not over, or nothing to tell of."""
    kind, attempt = _KINDS.get(settlement.state), settlement.attempt
    if kind is None:
        return None
    return AlertEvent(
        kind=kind,
        definition=definition,
        run_id=settlement.claim.run_id,
        message=settlement.message or "",
        details=(attempt.stack_trace if attempt else None) or "",
        attempt=settlement.claim.attempt,
        scheduled_for=settlement.claim.scheduled_for,
        duration_ms=attempt.duration_ms if attempt else None,
        server=attempt.server if attempt else "",
    )
