"""Deliver alerts: choose recipients, send, retry, resolve, test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core import humanize
from ...core.clock import Clock
from ...core.errors import AlertError, SecretError
from ...core.masking import mask
from ...core.secrets import know, resolve
from ...db.dialects.base import WRITES
from ...kernel.alert_events import AlertEvent
from ...kernel.jobs.definition import AlertKind, JobDefinition
from ...project import current
from ...settings import Settings
from . import model
from .channels import Channel, make_channels
from .message import (
    Notice,
    NoticeKind,
    as_json,
    grouped,
    one_line,
    pages_of,
    thread_of,
    together,
)
from .policy import AlertPolicy, Recipients, Target
from .rules import AlertRule, addresses

# Deliver one message to one recipient through the target's channel.

_TRIES = 3
_TIMEOUT_SECONDS = 15


class Sender:
    """Sends messages through channels.

    Args:
        channels: The channels by name.
    """

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self.channels = channels

    async def bring(self, notice: Notice, target: Target, tries: int | None = None) -> str | None:
        """Send a message, with retries.

        Args:
            notice: The message.
            target: The recipient.
            tries: Maximum tries; default :data:`_TRIES`.

        Returns:
            ``None`` on success, or channel and reason of the failure. The reason holds no address: an address may be a password.
        """
        reason = ""
        tries = _TRIES if tries is None else tries
        for attempt in range(1, tries + 1):
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self._send(notice, target)
            except Exception as error:  # noqa: BLE001 - the scheduler goes on
                reason = _reason(error)
                if isinstance(error, SecretError):  # a retry cannot succeed
                    break
                if attempt < tries:
                    await asyncio.sleep(2**attempt / 4)
            else:
                return None
        return f"{target.channel}: {reason}"

    async def _send(self, notice: Notice, target: Target) -> None:
        channel = self.channels.get(target.channel)
        if channel is None:
            raise AlertError(f"there is no channel {target.channel}: {', '.join(self.channels)}")
        address = resolve(target.address) if target.from_code else target.address
        if "://" in address:
            know(address)  # a webhook's address is a password
        await channel.send(notice, address)


def _reason(error: Exception) -> str:
    """Describe an error without the address: a webhook's URL is a password."""
    if isinstance(error, AlertError | SecretError):
        return mask(str(error))
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return one_line(mask(f"the mail server answered {code} {message}"))
    return "nobody answers there" if "Connect" in type(error).__name__ else type(error).__name__


# Notices that follow an alert: recovery and escalation.

_NODE = "node"


def recovered(
    row: Any, at: datetime, definitions: Mapping[str, JobDefinition], page: str, zone: ZoneInfo
) -> Notice:
    """Build the recovery notice of an alert.

    Args:
        row: The alert's row in ``c_JobAlertThread``.
        at: Recovery time.
        definitions: The jobs, for display names.
        page: Dashboard address.
        zone: Time zone for times in the notice.
    """
    name = _name(row, definitions)
    span = _span(row.FirstAt, at, zone)
    if row.Kind == _NODE:
        title = f"Server {name} is up again, {span}"
    elif row.Kind == "late":
        title = f"{name} is on time again, {span}"
    else:
        title = f"{name} works again after {humanize.count(row.Number, 'failure')}, {span}"
    return _notice(
        row,
        "recovered",
        title,
        at,
        page=page,
        zone=zone,
        key=f"recovered-{row.FirstAt.timestamp():.0f}",
    )


def escalated(row: Any, now: datetime, page: str, zone: ZoneInfo) -> Notice:
    """Build the escalation notice of an open alert. Arguments as for :func:`recovered`; ``now`` is the current time."""
    title = f"Nobody has taken this up: {row.Title}"
    return _notice(
        row,
        "escalation",
        title,
        now,
        page=page,
        zone=zone,
        key=f"step-{row.EscalatesFrom.timestamp():.0f}-{row.Step + 1}",
    )


def _notice(
    row: Any, kind: NoticeKind, title: str, at: datetime, *, page: str, zone: ZoneInfo, key: str
) -> Notice:
    facts = [("Job", row.JobName)] if row.Kind != _NODE else []
    facts += [
        ("Alert", row.Title),
        ("First", humanize.full(row.FirstAt, zone)),
        ("Last", humanize.full(row.LastAt, zone)),
        ("Times", f"{row.Number}"),
    ]
    links = pages_of(
        page,
        job=row.JobName if row.Kind != _NODE else None,
        run_id=row.LastRunId,
        cause=row.Thread if row.Kind == "failure" else None,
    )
    return Notice(
        kind=kind,
        job=row.JobName,
        run_id=row.LastRunId,
        title=one_line(title),
        facts=tuple(facts),
        message="" if kind == "recovered" else "It is not acknowledged, nor assigned to anybody.",
        details="",
        url=links[0][1],
        links=links,
        thread=row.Thread,
        key=f"{row.Thread}-{key}",
        at=at,
    )


def _name(row: Any, definitions: Mapping[str, JobDefinition]) -> str:
    if row.Kind == _NODE:
        return str(row.About)
    job = definitions.get(row.JobName)
    return job.display_name if job is not None else str(row.JobName)


def _span(first: datetime, last: datetime, zone: ZoneInfo) -> str:
    begin, end = first.astimezone(zone), last.astimezone(zone)
    if begin.date() == end.date():
        return f"{begin:%H:%M}-{end:%H:%M}"
    return f"{begin.day} {begin:%b %H:%M} - {end.day} {end:%b %H:%M}"


# The alert sender: choose the rule, check the hourly limit, send now or hold until quiet hours end.
#
# A row in ``c_JobAlert`` takes precedence over the job's decorator. Each alert is an audit row, so every node counts the same
# alerts per hour. The next sent alert states how many alerts were suppressed.

log = logging.getLogger("targcc.alerts.delivery")
_HELD = "held/"


class AlertSender:
    """Chooses the recipients of an event and sends the alert.

    Args:
        engine: The scheduler's database.
        settings: Mail server, dashboard address, default mail recipients (``alert_email``).
        clock: Current time, for the hourly limit.
        channels: The channels by name. Default: mail, Slack, Teams, webhook, and the project's own channels.
        policy: Quiet hours, escalation, on-call rota. Default: the project's policy.
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
        """Jobs whose latest alert from this process could not be sent."""
        if channels is None:
            channels = make_channels(settings, self.policy.channels)
        self.courier = Sender(channels)

    async def __call__(self, event: AlertEvent) -> None:
        """Send the alerts of an event. Failures are logged and audited, not raised."""
        try:
            await self._handle(event)
        except Exception:
            log.exception("the alert about %s could not be handled", event.definition.name)

    async def rule(self, definition: JobDefinition) -> AlertRule | None:
        """Return the alert rule of a job, or ``None`` if the job has no recipients.

        The order is: row of ``c_JobAlert``, decorator, default recipients.
        """
        async with self.engine.connect() as connection:
            row = await model.find_rule(connection, definition.name)
        if row is not None:
            return AlertRule.from_row(row)
        if definition.alerts is not None:
            return AlertRule.from_decorator(definition.alerts)
        general = self._general()
        return AlertRule() if general.targets or general.oncall else None

    def recipients(self, rule: AlertRule, now: datetime) -> tuple[Target, ...]:
        """Return the recipients of a rule, or the project's default recipients if the rule names none."""
        named = rule.to.targets or rule.to.oncall
        return self.policy.resolve(rule.to if named else self._general(), now)

    def everybody(self) -> tuple[Target, ...]:
        """Return all recipients in the project's policy and settings."""
        return tuple(dict.fromkeys((*self._general().targets, *self.policy.everybody)))

    def _general(self) -> Recipients:
        """Return the default recipients, for jobs without recipients."""
        mails = [Target("mail", address) for address in addresses(self._settings.alert_email)]
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
        """Apply the hourly limit. Returns as :func:`.model.admit`."""
        return await model.admit(
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
        targets: Sequence[Target],
        *,
        urgent: bool,
    ) -> None:
        """Record an occurrence, for alerts that can recover or escalate."""
        about = event.kind == "failure" or bool(event.about)
        if notice.kind not in {"failure", "late", "node"} or not about:
            return
        happened = model.Happened(
            thread=notice.thread,
            kind=notice.kind,
            job=event.definition.name,
            about=event.about,
            title=notice.title,
            run_id=event.run_id,
            targets_json=as_json(targets) if targets else None,
            escalates=urgent and bool(self.policy.escalation),
        )
        await model.note(connection, happened, self.clock.now())

    async def hold(
        self,
        connection: AsyncConnection,
        notice: Notice,
        targets: Iterable[Target],
        *,
        urgent: bool,
    ) -> tuple[Target, ...]:
        """Put messages to recipients in quiet hours into the outbox. Urgent notices are not held.

        Returns:
            The recipients to notify now.
        """
        now, waits = self.clock.now(), []
        for target in targets:
            until = None if urgent else self.policy.quiet_until(target, now)
            if until is not None:
                waits.append((target, until))
        letters = [
            self.letter(notice, target, until, f"{_HELD}{notice.key}/{number}")
            for number, (target, until) in enumerate(waits)
        ]
        await model.put(connection, letters)
        later = {target for target, _ in waits}
        return tuple(target for target in targets if target not in later)

    def letter(self, notice: Notice, target: Target, due: datetime, key: str) -> model.Letter:
        """Build the outbox message of a notice to one recipient."""
        return model.Letter(
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
        """Send a message to recipients.

        Returns:
            Reasons of failed deliveries; empty if all succeeded. The reasons are also logged and audited.
        """
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
                await model.note_failure(connection, notice.job, now, run_id=run_id, detail=reason)
        if not reasons:
            await self._went_out(notice.job)
        return reasons

    async def _went_out(self, name: str) -> None:
        """Remove the failed-alert issue of a job, if this process recorded the issue."""
        if name not in self._failed:
            return
        self._failed.discard(name)
        async with self.engine.execution_options(**WRITES).begin() as connection:
            await model.note_success(connection, name)

    async def send_due(self) -> int:
        """Send due messages from the outbox and return their count. See :func:`.model.claim`."""
        async with self.engine.connect() as connection:
            if not await model.any_due(connection, self.clock.now()):
                return 0
        async with self.engine.execution_options(**WRITES).begin() as connection:
            rows = await model.claim(connection, uuid4().hex, self.clock.now())
        sent = 0
        for target, batch in _batches(rows):
            notices = [Notice.from_json(row.NoticeJson) for row in batch]
            key = f"held-{batch[0].Id}-{batch[-1].Id}-{len(batch)}"
            notice = notices[0] if len(notices) == 1 else together(notices, self.page, key)
            failed = await self.tell(notice, [target])
            async with self.engine.execution_options(**WRITES).begin() as connection:
                if failed:
                    if not await model.try_later(connection, batch, self.clock.now()):
                        log.error("a message about %s is given up: %s", notice.job, failed[0])
                else:
                    await model.sent(connection, [row.Id for row in batch])
                    sent += 1
        return sent


def _batches(rows: Sequence[Any]) -> Iterable[tuple[Target, list[Any]]]:
    """Group held notices by recipient; send every other notice alone."""
    batches: dict[tuple[Target, int | None], list[Any]] = {}
    for row in rows:
        target = Target(row.Channel, row.Target, row.FromCode)
        alone = None if row.NoticeKey.startswith(_HELD) else row.Id
        batches.setdefault((target, alone), []).append(row)
    return [(target, batch) for (target, _), batch in batches.items()]


# Test messages through each channel.


@dataclass(frozen=True, slots=True)
class Tried:
    """Result of a test message.

    Args:
        target: Recipient and channel.
        reason: Reason of a failure; ``None`` if the message was sent.
    """

    target: Target
    reason: str | None


async def try_out(
    sender: AlertSender, job: JobDefinition | None, channels: Collection[str], by: str
) -> Sequence[Tried]:
    """Send a test message once to each possible recipient of alerts.

    Args:
        sender: Provides rules and channels.
        job: Test this job's recipients; ``None`` for the project's recipients.
        channels: Restrict the test to these channels; empty for all channels.
        by: Name of the requesting person, shown in the message.
    """
    now = sender.clock.now()
    if job is None:
        targets = sender.everybody()
    else:
        rule = await sender.rule(job)
        targets = sender.recipients(rule, now) if rule is not None else ()
    wanted = [
        recipient for recipient in grouped(targets) if not channels or recipient.channel in channels
    ]
    name = job.name if job is not None else "Test"
    shown = job.display_name if job is not None else "every job that names nobody"
    notice = Notice(
        kind="test",
        job=name,
        run_id=None,
        title=one_line(f"[Test] This is how an alert about {shown} arrives"),
        facts=(("Job", name), ("Asked for by", by)),
        message="Nothing has happened: somebody tries whether alerts arrive.",
        details="",
        url=sender.page,
        links=pages_of(sender.page, job=job.name if job is not None else None),
        thread="test",
        at=now,
    )
    reasons = await asyncio.gather(
        *(sender.courier.bring(notice, target, tries=1) for target in wanted)
    )
    return [
        Tried(target, reason and reason.partition(": ")[2])
        for target, reason in zip(wanted, reasons, strict=True)
    ]
