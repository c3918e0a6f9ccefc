"""Looks after alerts that are not over, and sends what waits.

It has no clock of its own: the node's look for what is late wakes it when there is something to do, so a node without open alerts asks the
database nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...alerts import followups, told
from ...alerts.dispatcher import AlertSender
from ...alerts.message import Notice
from ...alerts.policy import Target
from ...core.actor import SYSTEM
from ...core.outage import OUTAGES, Outage
from ...jobs.definition import JobDefinition
from ...storage.alerts import outbox, threads
from ...storage.audit import audit
from ...storage.failures import concerns
from ...storage.transactions import Store

log = logging.getLogger("targcc.node.alerting.watch")

_DIGEST = "alert digest"
_DIGEST_GRACE = timedelta(hours=2)
"""A digest that no node was there for is sent so much later, and then no more."""
_FORGET = timedelta(days=30)


class AlertWatch:
    """Sends what follows alerts.

    Args:
        store: The database.
        sender: Who tells people.
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
        """See whether there is something to do.

        Args:
            noted: What is wrong: see :func:`~...storage.failures.concerns.noted`.
            now: The instant it is.
        """
        if concerns.ALERTS_GO_ON in noted or self._digest_is_due(now):
            self._noted = noted
            self._wake.set()

    def end(self) -> None:
        """Let :meth:`run` return when it has done what it is at."""
        self._ending = True
        self._wake.set()

    async def run(self) -> None:
        """Do what there is to do whenever :meth:`look` has seen some, until :meth:`end`."""
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
        """Say what is well again, take the next steps, make the digest, and send what is due."""
        if concerns.ALERTS_GO_ON in noted:
            async with self._store.read() as connection:
                rows = await threads.going_on(connection)
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
        """Since when it is over, and whether it waits for a person."""
        if row.Kind == "failure":
            over_at = await threads.failure_over_at(connection, row)
            return over_at, await threads.failure_waits(connection, row.Thread, now)
        subject = (row.About, concerns.NODE) if row.Kind == "node" else (row.JobName, row.About)
        return (None, True) if subject in noted else (now, False)

    async def _end(self, row: Any, over_at: datetime, now: datetime) -> None:
        """One of several nodes says that it is well again."""
        sender = self._sender
        notice = followups.recovered(
            row, over_at, self._definitions, sender.page, sender.policy.zone
        )
        async with self._store.write() as connection:
            if not await threads.end(connection, row):
                return
            seen = row.Kind == "node" and not await threads.node_is_up(connection, row.About, now)
            if seen or not sender.policy.recovered:  # a person took a lost node off the list
                return
            await audit(
                connection,
                SYSTEM,
                "alert-recovered",
                now,
                job_name=row.JobName,
                detail=notice.title,
            )
            targets = told.from_json(row.TargetsJson)
            urgent = "recovered" in sender.policy.urgent
            at_once = await sender.hold(connection, notice, targets, urgent=urgent)
            await self._put(connection, notice, at_once, now)

    async def _calm(self, row: Any) -> None:
        if row.EscalatesFrom is not None:
            async with self._store.write() as connection:
                await threads.calm(connection, row.Thread)

    def _step_is_due(self, row: Any, now: datetime) -> bool:
        steps = self._sender.policy.escalation
        if row.EscalatesFrom is None or row.Step >= len(steps):
            return False
        return bool(row.EscalatesFrom + steps[row.Step].after <= now)

    async def _escalate(self, row: Any, now: datetime) -> None:
        """One of several nodes tells the next ones."""
        sender = self._sender
        notice = followups.escalated(row, now, sender.page, sender.policy.zone)
        targets = sender.policy.resolve(sender.policy.escalation[row.Step].to, now)
        async with self._store.write() as connection:
            if await threads.escalate(connection, row):
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
            await threads.remove_old(connection, before)

    async def _put(
        self, connection: AsyncConnection, notice: Notice, targets: Iterable[Target], now: datetime
    ) -> None:
        """Leave a message to whichever node sends it; each recipient's mail is one."""
        letters = [
            self._sender.letter(notice, target, now, f"{notice.key}/{number}")
            for number, target in enumerate(told.grouped(targets))
        ]
        await outbox.put(connection, letters)

    def _digest_is_due(self, now: datetime) -> bool:
        digest = self._sender.policy.digest
        if digest is None:
            return False
        if self._digest_at is None:
            last = digest.slot_before(now)
            self._digest_at = last if now - last < _DIGEST_GRACE else digest.slot_after(now)
        return self._digest_at <= now

    async def _send_digest(self, now: datetime) -> None:
        """One of several nodes makes it."""
        from .digest import digest_of

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
            if await outbox.claim_slot(connection, _DIGEST, slot.astimezone(UTC), now):
                await self._put(connection, notice, targets, now)
        self._digest_at = digest.slot_after(max(now, slot))


def watch_of(
    store: Store, send: object, definitions: Mapping[str, JobDefinition]
) -> AlertWatch | None:
    """Who looks after the alerts that ``send`` tells people of; ``None``: it is somebody's own, or nobody is told."""
    return AlertWatch(store, send, definitions) if isinstance(send, AlertSender) else None
