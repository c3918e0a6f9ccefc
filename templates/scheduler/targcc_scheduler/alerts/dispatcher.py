"""The alerts about a job: which rule holds, whether the hour has room for one more, and sending it by each channel.

A row in ``c_JobAlert`` takes precedence over the job's decorator. Each alert is an audit row, so that every node counts the same
alerts of an hour; how many were not sent is said in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncEngine

from ..core.clock import Clock
from ..core.errors import AlertError, SecretError
from ..core.secrets import know, mask, resolve
from ..jobs.definition import AlertKind, JobDefinition
from ..settings import Settings
from ..storage import alerts as rows
from ..storage.dialects.base import WRITES
from .channels.base import Channel
from .channels.registry import standard_channels
from .events import AlertEvent
from .message import Notice, one_line
from .rules import AlertRule, addresses

log = logging.getLogger("targcc.alerts.dispatcher")
_TRIES = 3
_TIMEOUT_SECONDS = 15


class AlertSender:
    """Decides who is told about an event, and tells them.

    Args:
        engine: The scheduler's database.
        settings: The mail server, the address of the dashboard, who hears of jobs that name nobody.
        clock: The time, for counting an hour's alerts.
        channels: The channels by name. Default: mail, Slack, Teams and a plain webhook.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        settings: Settings,
        clock: Clock,
        channels: Mapping[str, Channel] | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._failed: set[str] = set()
        """The jobs of which this process could not send an alert since it last sent one."""
        self._channels = standard_channels(settings) if channels is None else channels

    async def __call__(self, event: AlertEvent) -> None:
        """Tell whoever wants to know. What goes wrong is logged and audited, and not raised."""
        try:
            await self._handle(event)
        except Exception:
            log.exception("the alert about %s could not be handled", event.definition.name)

    async def _handle(self, event: AlertEvent) -> None:
        rule = await self._rule(event.definition)
        kind = rule.kind_of(event) if rule is not None else None
        if rule is None or kind is None:
            return
        targets = rule.targets or self._general()
        if not targets:
            return
        allowed, held_back = await self._allow(rule.max_per_hour, kind, event)
        if not allowed:
            return
        notice = Notice.about(
            event,
            kind,
            self._url(event.run_id),
            held_back=held_back,
            slower_than_ms=rule.slower_than_ms if kind == "slow" else None,
        )
        await asyncio.gather(
            *(
                self._deliver(name, target, notice, event, from_code=rule.from_code)
                for name, target in targets.items()
            )
        )

    async def _rule(self, definition: JobDefinition) -> AlertRule | None:
        async with self._engine.connect() as connection:
            row = await rows.find_rule(connection, definition.name)
        if row is not None:
            return AlertRule.from_row(row)
        if definition.alerts is not None:
            return AlertRule.from_decorator(definition.alerts)
        return AlertRule() if self._settings.alert_email else None

    def _general(self) -> Mapping[str, str]:
        """Where alerts go of jobs that name nobody."""
        mail = addresses(self._settings.alert_email)
        return {"mail": mail} if mail else {}

    async def _allow(
        self, limit: int | None, kind: AlertKind, event: AlertEvent
    ) -> tuple[bool, int]:
        """Whether the hour has room for one more alert, and how many were not sent since the last one that was."""
        async with self._engine.execution_options(**WRITES).begin() as connection:
            return await rows.admit(
                connection,
                event.definition.name,
                kind,
                self._clock.now(),
                run_id=event.run_id,
                limit=limit,
                aliases=event.definition.aliases,
            )

    async def _deliver(
        self, channel: str, target: str, notice: Notice, event: AlertEvent, *, from_code: bool
    ) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self._send(channel, target, notice, from_code=from_code)
            except Exception as error:  # noqa: BLE001 - the scheduler goes on
                reason = _reason(error)
                if isinstance(error, SecretError):  # trying again changes nothing
                    break
                if attempt < _TRIES:
                    await asyncio.sleep(2**attempt / 4)
            else:
                await self._went_out(event.definition.name)
                return
        log.error("the %s alert about %s was not sent: %s", channel, event.definition.name, reason)
        self._failed.add(event.definition.name)
        async with self._engine.execution_options(**WRITES).begin() as connection:
            await rows.note_failure(
                connection,
                event.definition.name,
                self._clock.now(),
                run_id=event.run_id,
                detail=f"{channel}: {reason}",
            )

    async def _went_out(self, name: str) -> None:
        """Take back that an alert about the job did not go out; said once after each time it was."""
        if name not in self._failed:
            return
        self._failed.discard(name)
        async with self._engine.execution_options(**WRITES).begin() as connection:
            await rows.note_success(connection, name)

    async def _send(self, name: str, target: str, notice: Notice, *, from_code: bool) -> None:
        channel = self._channels.get(name)
        if channel is None:
            raise AlertError(f"there is no channel {name}: {', '.join(self._channels)}")
        address = resolve(target) if from_code else target
        if "://" in address:
            know(address)  # a webhook's address is a password
        await channel.send(notice, address)

    def _url(self, run_id: int | None) -> str:
        page = self._settings.dashboard_url
        return f"{page}/runs/{run_id}" if run_id is not None else page


def _reason(error: Exception) -> str:
    """What went wrong, without the address: a webhook's URL is a password."""
    if isinstance(error, AlertError | SecretError):
        return mask(str(error))
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return one_line(mask(f"the mail server answered {code} {message}"))[:300]
    return "nobody answers there" if "Connect" in type(error).__name__ else type(error).__name__
