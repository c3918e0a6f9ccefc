"""The alerts about a job: which rule holds, whether the hour has room for one more, who hears of it now and who after quiet hours.

A row in ``c_JobAlert`` takes precedence over the job's decorator. Each alert is an audit row, so that every node counts the same
alerts of an hour; how many were not sent is said in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..core.clock import Clock
from ..jobs.definition import AlertKind, JobDefinition
from ..project import current
from ..settings import Settings
from ..storage.alerts import admission, outbox, threads
from ..storage.dialects.base import WRITES
from .channels.base import Channel
from .channels.registry import make_channels
from .courier import Courier
from .events import AlertEvent, thread_of
from .message import Notice, together
from .policy import AlertPolicy, Recipients, Target
from .rules import AlertRule, addresses
from .told import as_json, grouped

log = logging.getLogger("targcc.alerts.dispatcher")
_HELD = "held/"


class AlertSender:
    """Decides who is told about an event, and tells them.

    Args:
        engine: The scheduler's database.
        settings: The mail server, the address of the dashboard, who hears of jobs that name nobody.
        clock: The time, for counting an hour's alerts.
        channels: The channels by name. Default: mail, Slack, Teams and a plain webhook, and the project's own.
        policy: Quiet hours, escalation, who is on call. Default: what the project says.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        settings: Settings,
        clock: Clock,
        channels: Mapping[str, Channel] | None = None,
        policy: AlertPolicy | None = None,
    ) -> None:
        self.engine = engine
        self.page = settings.dashboard_url
        self.clock = clock
        self.policy = AlertPolicy.of(current()) if policy is None else policy
        self._settings = settings
        self._failed: set[str] = set()
        """The jobs of which this process could not send an alert since it last sent one."""
        if channels is None:
            channels = make_channels(settings, self.policy.channels)
        self.courier = Courier(channels)

    async def __call__(self, event: AlertEvent) -> None:
        """Tell whoever wants to know. What goes wrong is logged and audited, and not raised."""
        try:
            await self._handle(event)
        except Exception:
            log.exception("the alert about %s could not be handled", event.definition.name)

    async def rule(self, definition: JobDefinition) -> AlertRule | None:
        """The rule that holds for a job; ``None``: nobody is told."""
        async with self.engine.connect() as connection:
            row = await admission.find_rule(connection, definition.name)
        if row is not None:
            return AlertRule.from_row(row)
        if definition.alerts is not None:
            return AlertRule.from_decorator(definition.alerts)
        general = self._general()
        return AlertRule() if general.targets or general.oncall else None

    def recipients(self, rule: AlertRule, now: datetime) -> tuple[Target, ...]:
        """Who is told by a rule; those of the project, if it names nobody."""
        named = rule.to.targets or rule.to.oncall
        return self.policy.resolve(rule.to if named else self._general(), now)

    def everybody(self) -> tuple[Target, ...]:
        """Every recipient that the project as a whole names."""
        return tuple(dict.fromkeys((*self._general().targets, *self.policy.everybody)))

    def _general(self) -> Recipients:
        """Where alerts go of jobs that name nobody."""
        mails = [Target("mail", one) for one in addresses(self._settings.alert_email)]
        general = self.policy.general
        return Recipients((*mails, *general.targets), oncall=general.oncall)

    async def _handle(self, event: AlertEvent) -> None:
        rule = await self.rule(event.definition)
        kind = rule.kind_of(event) if rule is not None else None
        if rule is None or kind is None:
            return
        now = self.clock.now()
        targets = self.recipients(rule, now)
        if not targets:
            return
        urgent = kind in self.policy.urgent if rule.urgent is None else rule.urgent
        thread = thread_of(event, kind)
        async with self.engine.execution_options(**WRITES).begin() as connection:
            allowed, held_back = await self._allow(connection, rule.max_per_hour, kind, event, now)
            notice = Notice.about(
                event,
                kind,
                self.page,
                held_back=held_back,
                slower_than_ms=rule.slower_than_ms if kind == "slow" else None,
                thread=thread,
                at=now,
            )
            await self._count(connection, event, notice, targets if allowed else (), urgent=urgent)
            if allowed:
                targets = await self.hold(connection, notice, targets, urgent=urgent)
        if allowed:
            await self.tell(notice, targets, run_id=event.run_id)

    async def _allow(
        self,
        connection: AsyncConnection,
        limit: int | None,
        kind: AlertKind,
        event: AlertEvent,
        now: datetime,
    ) -> tuple[bool, int]:
        """Whether the hour has room for one more alert, and how many were not sent since the last one that was."""
        return await admission.admit(
            connection,
            event.definition.name,
            kind,
            now,
            run_id=event.run_id,
            limit=limit,
            aliases=event.definition.aliases,
        )

    async def _count(
        self,
        connection: AsyncConnection,
        event: AlertEvent,
        notice: Notice,
        told: Sequence[Target],
        *,
        urgent: bool,
    ) -> None:
        """Keep what may be well again one day, so that people are told of that, or others are told when it is not."""
        about = event.kind == "failure" or bool(event.about)
        if notice.kind not in {"failure", "late", "node"} or not about:
            return
        happened = threads.Happened(
            thread=notice.thread,
            kind=notice.kind,
            job=event.definition.name,
            about=event.about,
            title=notice.title,
            run_id=event.run_id,
            targets_json=as_json(told) if told else None,
            escalates=urgent and bool(self.policy.escalation),
        )
        await threads.note(connection, happened, self.clock.now())

    async def hold(
        self,
        connection: AsyncConnection,
        notice: Notice,
        targets: Iterable[Target],
        *,
        urgent: bool,
    ) -> tuple[Target, ...]:
        """Write down what waits for the end of somebody's quiet hours; the recipients that need not wait."""
        now, waits = self.clock.now(), []
        for target in targets:
            until = None if urgent else self.policy.quiet_until(target, now)
            if until is not None:
                waits.append((target, until))
        letters = [
            self.letter(notice, target, until, f"{_HELD}{notice.key}/{number}")
            for number, (target, until) in enumerate(waits)
        ]
        await outbox.put(connection, letters)
        later = {target for target, _ in waits}
        return tuple(target for target in targets if target not in later)

    def letter(self, notice: Notice, target: Target, due: datetime, key: str) -> outbox.Letter:
        """A message for one recipient, to be sent later, or by whichever node comes first."""
        return outbox.Letter(
            key=key,
            job=notice.job,
            channel=target.channel,
            target=target.address,
            from_code=target.from_code,
            notice_json=notice.to_json(),
            due_at=due,
        )

    async def tell(
        self, notice: Notice, targets: Sequence[Target], *, run_id: int | None = None
    ) -> list[str]:
        """Send a message to recipients; why it did not reach some, which is logged and audited too."""
        brought = await asyncio.gather(
            *(self.courier.bring(notice, target) for target in grouped(targets))
        )
        reasons = [reason for reason in brought if reason is not None]
        for reason in reasons:
            channel, _, why = reason.partition(": ")
            log.error("the %s alert about %s was not sent: %s", channel, notice.job, why)
            self._failed.add(notice.job)
            async with self.engine.execution_options(**WRITES).begin() as connection:
                now = self.clock.now()
                await admission.note_failure(
                    connection, notice.job, now, run_id=run_id, detail=reason
                )
        if not reasons:
            await self._went_out(notice.job)
        return reasons

    async def _went_out(self, name: str) -> None:
        """Take back that an alert about the job did not go out; said once after each time it was."""
        if name not in self._failed:
            return
        self._failed.discard(name)
        async with self.engine.execution_options(**WRITES).begin() as connection:
            await admission.note_success(connection, name)

    async def send_due(self) -> int:
        """Send what is due of what was held, or is for any node to send; how many messages that were. See :mod:`~..storage.alerts.outbox`."""
        async with self.engine.connect() as connection:
            if not await outbox.any_due(connection, self.clock.now()):
                return 0
        async with self.engine.execution_options(**WRITES).begin() as connection:
            rows = await outbox.claim(connection, uuid4().hex, self.clock.now())
        sent = 0
        for target, mine in _batches(rows):
            notices = [Notice.from_json(row.NoticeJson) for row in mine]
            key = f"held-{mine[0].Id}-{mine[-1].Id}-{len(mine)}"
            notice = notices[0] if len(notices) == 1 else together(notices, self.page, key)
            failed = await self.tell(notice, [target])
            async with self.engine.execution_options(**WRITES).begin() as connection:
                if failed:
                    if not await outbox.try_later(connection, mine, self.clock.now()):
                        log.error("a message about %s is given up: %s", notice.job, failed[0])
                else:
                    await outbox.sent(connection, [row.Id for row in mine])
                    sent += 1
        return sent


def _batches(rows: Sequence[Any]) -> Iterable[tuple[Target, list[Any]]]:
    """What goes in one message: all that was held for a recipient; each of the others is one of its own."""
    found: dict[tuple[Target, int | None], list[Any]] = {}
    for row in rows:
        target = Target(row.Channel, row.Target, row.FromCode)
        alone = None if row.NoticeKey.startswith(_HELD) else row.Id
        found.setdefault((target, alone), []).append(row)
    return [(target, mine) for (target, _), mine in found.items()]
