"""Background work of alerts: queue, watch, digest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ...core.outage import OUTAGES, Outage
from ...core.states import RunState
from ...db.transactions import Store
from ...kernel import error_groups
from ...kernel.alert_events import AlertEvent, Notify
from ...kernel.audit import audit
from ...kernel.jobs.definition import JobDefinition, stand_in
from ...kernel.node.loops import NodeContext, WhenSeen
from ...kernel.poller import PollResult
from ...kernel.runs.values import Settlement
from . import delivery, message, model
from .delivery import AlertSender
from .message import Notice
from .policy import Target

# The queue for alert events. Sending several events at once happens outside the path of runs. On shutdown the node sends queued events.

log = logging.getLogger("targcc.alerts.loops")

_MOST_WAITING = 10_000
_LAST_SECONDS = 10.0

_KINDS: dict[RunState, Any] = {RunState.FAILED: "failure", RunState.SUCCEEDED: "success"}


class AlertQueue:
    """Queues alert events about settled runs and nodes, and passes the events to the alert sender.

    Args:
        send: Sends the alerts of an event.
        definitions: The jobs.
    """

    def __init__(self, send: Notify, definitions: Mapping[str, JobDefinition]) -> None:
        self.alerted: frozenset[str] = frozenset()
        """The jobs that have a row in ``c_JobAlert``."""
        self._send = send
        self._definitions = definitions
        self._events: asyncio.Queue[AlertEvent | None] = asyncio.Queue(maxsize=_MOST_WAITING)
        self._senders = 0
        self._ending = False

    def settled(self, settlement: Settlement) -> None:
        """Queue the event of a settled run, whether a worker or the rescue after a lost worker settled the run."""
        kind, claim = _KINDS.get(settlement.state), settlement.claim
        definition = self._definitions.get(claim.job_name) or stand_in(claim.job_name, claim.queue)
        if kind is not None and self._may_have_recipients(kind, definition):
            self._queue(event_of(settlement, definition, kind))

    def put(self, event: AlertEvent) -> None:
        """Queue an event about a job or a node."""
        if self._may_have_recipients(event.kind, event.definition):
            self._queue(event)

    def _queue(self, event: AlertEvent) -> None:
        """Queue an event. If the queue is full, the event is dropped and logged."""
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            name = event.definition.name
            log.warning("too many alerts wait: one about %s is dropped", name)

    async def run(self) -> None:
        """Send queued events one after another, until :meth:`end`.

        Several tasks send at the same time, so that a mail server without an answer delays no other alert.
        """
        self._senders += 1
        try:
            while not self._ending and (event := await self._events.get()) is not None:
                await self._send_one(event)
        finally:
            self._senders -= 1

    def end(self) -> None:
        """Let :meth:`run` return after the current event."""
        self._ending = True
        with contextlib.suppress(asyncio.QueueFull):  # then each sender has an event
            for _ in range(self._senders):
                self._events.put_nowait(None)  # wakes a sender

    async def send_rest(self) -> None:
        """Send the queued events within ten seconds; drop the events that remain."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                while not self._events.empty():
                    if (event := self._events.get_nowait()) is not None:
                        await self._send_one(event)
        except TimeoutError:
            log.warning("while stopping: %d alerts were not sent in time", self._events.qsize() + 1)

    def _may_have_recipients(self, kind: str, job: JobDefinition) -> bool:
        """Return whether events of a kind about a job may have recipients.

        A success without an alert rule has none. Most runs are such successes, so this check spares an event and the sender a query.
        """
        return kind != "success" or job.alerts is not None or job.name in self.alerted

    async def _send_one(self, event: AlertEvent) -> None:
        try:
            await self._send(event)
        except Exception:
            log.exception("an alert about %s could not be sent", event.definition.name)


def event_of(settlement: Settlement, definition: JobDefinition, kind: Any) -> AlertEvent:
    """Build the alert event of a run that failed for good or succeeded."""
    attempt = settlement.attempt
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


async def _send_nothing(_event: AlertEvent) -> None:
    """Send no alert."""


def sender_of(context: NodeContext) -> Notify:
    """Return the sender of a node's alerts, or the application's receiver of alert events."""
    services = context.services
    if not services.settings.send_alerts:
        return _send_nothing
    return context.notify or AlertSender(services.store.engine, services.settings, services.clock)


def queue_of(context: NodeContext) -> AlertQueue:
    """Return the queue of a node, which hears of events and of settled runs."""
    queue = AlertQueue(context.shared(sender_of), context.definitions)
    context.alert_events.receivers.append(queue.put)
    context.settled.append(queue.settled)
    context.at_stop.append(queue.send_rest)
    return queue


def alert_queue(context: NodeContext) -> AlertQueue:
    """Return the loop that sends alerts."""
    return context.shared(queue_of)


class AlertRules(WhenSeen):
    """Follows which jobs have alert rules.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        self._queue = context.shared(queue_of)
        self._store = context.services.store
        self._seen = self._read = object()
        within = context.services.settings.heartbeat_seconds
        super().__init__(context, "reading alert rules", self._differs, self.once, within)

    def _differs(self, seen: PollResult) -> bool:
        self._seen = seen.marks["alerts"]
        return self._seen != self._read

    async def once(self) -> None:
        """Read the names of the jobs."""
        mark = self._seen
        async with self._store.read() as connection:
            self._queue.alerted = await model.alerted_jobs(connection)
        self._read = mark


# The watch over open alerts: recovery, escalation, digest, outbox.
#
# The watch has no timer. The node's maintenance loop wakes the watch when open alerts, outbox messages or a digest are due.
# A node without open alerts sends no further queries.

_DIGEST = "alert digest"
_DIGEST_GRACE = timedelta(hours=2)
"""Maximum delay of a digest: a node that starts later skips the slot."""
_FORGET = timedelta(days=30)


class AlertWatch:
    """Sends recovery notices, escalations, digests and outbox messages.

    Args:
        store: The database.
        sender: Sends alerts.
        definitions: The jobs.
    """

    def __init__(
        self, store: Store, sender: AlertSender, definitions: Mapping[str, JobDefinition]
    ) -> None:
        self._store = store
        self._sender = sender
        self._definitions = definitions
        self._noted: AbstractSet[tuple[str, str]] = frozenset()
        self._wake = asyncio.Event()
        self._digest_at: datetime | None = None
        self._ending = False

    def look(self, noted: AbstractSet[tuple[str, str]], now: datetime) -> None:
        """Wake :meth:`run` if alerts are open or a digest is due.

        Args:
            noted: Recorded issues as pairs of subject and kind: see :func:`~..triage.error_groups.noted`.
            now: The current time.
        """
        if error_groups.ALERTS_GO_ON in noted or self._digest_is_due(now):
            self._noted = noted
            self._wake.set()

    def end(self) -> None:
        """Let :meth:`run` return after its current pass."""
        self._ending = True
        self._wake.set()

    async def run(self) -> None:
        """Run :meth:`once` whenever :meth:`look` wakes the watch, until :meth:`end`."""
        outage = Outage(log, "what follows alerts")
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._ending:
                return
            try:
                await self.once(self._noted, self._sender.clock.now())
                outage.over()
            except OUTAGES as error:
                outage.failed(error)

    async def once(self, noted: AbstractSet[tuple[str, str]], now: datetime) -> None:
        """Send recovery notices, take escalation steps, create the digest, and send due messages."""
        if error_groups.ALERTS_GO_ON in noted:
            async with self._store.read() as connection:
                rows = await model.going_on(connection)
                standing = [
                    (row, *await self._standing(connection, row, noted, now)) for row in rows
                ]
            for row, over_at, waits in standing:
                if over_at is not None:
                    await self._end(row, over_at, now)
                elif row.LastAt < now - _FORGET:
                    await self._forget(now - _FORGET)
                elif not waits:
                    await self._calm(row)
                elif self._step_is_due(row, now):
                    await self._escalate(row, now)
        if self._digest_is_due(now):
            await self._send_digest(now)
        await self._sender.send_due()

    async def _standing(
        self,
        connection: AsyncConnection,
        row: Any,
        noted: AbstractSet[tuple[str, str]],
        now: datetime,
    ) -> tuple[datetime | None, bool]:
        """Return when the alert recovered (``None`` while open), and whether the alert still needs attention."""
        if row.Kind == "failure":
            over_at = await model.failure_over_at(connection, row)
            return over_at, await model.failure_waits(connection, row.Thread, now)
        subject = (row.About, error_groups.NODE) if row.Kind == "node" else (row.JobName, row.About)
        return (None, True) if subject in noted else (now, False)

    async def _end(self, row: Any, over_at: datetime, now: datetime) -> None:
        """Delete the alert and send a recovery notice. Only the node that deletes the row sends."""
        sender = self._sender
        notice = delivery.recovered(
            row, over_at, self._definitions, sender.page, sender.policy.zone
        )
        async with self._store.write() as connection:
            if not await model.end(connection, row):
                return
            seen = row.Kind == "node" and not await model.node_is_up(connection, row.About, now)
            if seen or not sender.policy.recovered:  # somebody removed the lost node
                return
            await audit(
                connection,
                SYSTEM,
                "alert-recovered",
                now,
                job_name=row.JobName,
                detail=notice.title,
            )
            targets = message.from_json(row.TargetsJson)
            urgent = "recovered" in sender.policy.urgent
            at_once = await sender.hold(connection, notice, targets, urgent=urgent)
            await self._put(connection, notice, at_once, now)

    async def _calm(self, row: Any) -> None:
        if row.EscalatesFrom is not None:
            async with self._store.write() as connection:
                await model.calm(connection, row.Thread)

    def _step_is_due(self, row: Any, now: datetime) -> bool:
        steps = self._sender.policy.escalation
        if row.EscalatesFrom is None or row.Step >= len(steps):
            return False
        return bool(row.EscalatesFrom + steps[row.Step].after <= now)

    async def _escalate(self, row: Any, now: datetime) -> None:
        """Take an escalation step and notify the step's recipients. Only the node that changes the row notifies."""
        sender = self._sender
        notice = delivery.escalated(row, now, sender.page, sender.policy.zone)
        targets = sender.policy.resolve(sender.policy.escalation[row.Step].to, now)
        async with self._store.write() as connection:
            if await model.escalate(connection, row):
                await audit(
                    connection,
                    SYSTEM,
                    "alert-escalated",
                    now,
                    job_name=row.JobName,
                    detail=notice.title,
                )
                await self._put(connection, notice, targets, now)

    async def _forget(self, before: datetime) -> None:
        async with self._store.write() as connection:
            await model.remove_old(connection, before)

    async def _put(
        self, connection: AsyncConnection, notice: Notice, targets: Iterable[Target], now: datetime
    ) -> None:
        """Put a notice into the outbox, with a message per target. All mail addresses share a message."""
        letters = [
            self._sender.letter(notice, target, now, f"{notice.key}/{number}")
            for number, target in enumerate(message.grouped(targets))
        ]
        await model.put(connection, letters)

    def _digest_is_due(self, now: datetime) -> bool:
        digest = self._sender.policy.digest
        if digest is None:
            return False
        if self._digest_at is None:
            last = digest.slot_before(now)
            self._digest_at = last if now - last < _DIGEST_GRACE else digest.slot_after(now)
        return self._digest_at <= now

    async def _send_digest(self, now: datetime) -> None:
        """Build the digest and write outbox messages. Only the node that claims the slot writes."""
        from .digest import digest_of  # reads most tables: not for a worker without a digest

        sender, digest, slot = self._sender, self._sender.policy.digest, self._digest_at
        if digest is None or slot is None:
            return
        since = digest.slot_before(slot - timedelta(seconds=1))
        targets = sender.policy.resolve(digest.to, now)
        async with self._store.read() as connection:
            notice = await digest_of(
                connection,
                list(self._definitions.values()),
                (since, now),
                page=sender.page,
                zone=digest.hours.zone,
            )
        async with self._store.write() as connection:
            if await model.claim_slot(connection, _DIGEST, slot.astimezone(UTC), now):
                await self._put(connection, notice, targets, now)
        self._digest_at = digest.slot_after(max(now, slot))


def alert_watch(context: NodeContext) -> AlertWatch | None:
    """Return the loop that follows open alerts; ``None`` if the application receives the events."""
    sender = context.shared(sender_of)
    if not isinstance(sender, AlertSender):
        return None
    watch = AlertWatch(context.services.store, sender, context.definitions)
    context.issues.append(watch.look)
    return watch
