"""Telling people about runs: by mail, Slack and Teams, outside the job's path.

A row in ``c_JobAlert`` goes before what the job's decorator says. Each alert is an audit row, so that an hour's alerts can be counted
by every node and seen by everybody; what was held back is said in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from email.message import EmailMessage
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from ..core.clock import Clock
from ..core.errors import AlertError
from ..jobs.definition import JobDefinition
from ..settings import Settings
from ..storage import alerts as rows
from ..storage.dialects.base import WRITES
from .events import AlertEvent, AlertKind
from .message import Notice, one_line
from .rules import AlertRule, split_addresses

log = logging.getLogger("targcc.alerts.dispatcher")
_TRIES = 3
_TIMEOUT_SECONDS = 15


class AlertSender:
    """Decides who is told about an event, and tells them.

    Args:
        engine: The scheduler's database.
        settings: The mail server, the address of the dashboard, who hears of jobs that name nobody.
        clock: The time, for counting an hour's alerts.
    """

    def __init__(self, engine: AsyncEngine, settings: Settings, clock: Clock) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock

    async def __call__(self, event: AlertEvent) -> None:
        """Tell whoever wants to know. Never raises: what goes wrong is logged and audited."""
        try:
            await self._handle(event)
        except Exception:
            log.exception("the alert about %s could not be handled", event.definition.name)

    async def _handle(self, event: AlertEvent) -> None:
        rule = await self._rule(event.definition)
        kind = rule.kind_of(event) if rule is not None else None
        if rule is None or kind is None:
            return
        channels = self._channels(rule)
        if not channels:
            return
        allowed, held_back = await self._allow(
            event.definition.name, rule.max_per_hour, kind, event
        )
        if not allowed:
            return
        notice = Notice.about(
            event,
            kind,
            self._run_url(event.run_id),
            held_back=held_back,
            slower_than_ms=rule.slower_than_ms if kind == "slow" else None,
        )
        await asyncio.gather(
            *(self._deliver(name, send, notice, event) for name, send in channels.items())
        )

    async def _rule(self, definition: JobDefinition) -> AlertRule | None:
        async with self._engine.connect() as connection:
            row = await rows.find_rule(connection, definition.name)
        if row is not None:
            return AlertRule.from_row(row)
        if definition.alerts is not None:
            return AlertRule.from_decorator(definition.alerts)
        return AlertRule() if self._settings.alert_email else None

    def _channels(self, rule: AlertRule) -> dict[str, Callable[[Notice], Awaitable[None]]]:
        channels: dict[str, Callable[[Notice], Awaitable[None]]] = {}
        slack, teams, email = rule.slack, rule.teams, rule.email
        if not (slack or teams or email):
            email = split_addresses(self._settings.alert_email)
        if email:
            channels["mail"] = lambda notice: self._send_mail(notice, email)
        if slack:
            channels["slack"] = lambda notice: _post(slack, notice.for_slack())
        if teams:
            channels["teams"] = lambda notice: _post(teams, notice.for_teams())
        return channels

    async def _allow(
        self, name: str, limit: int | None, kind: AlertKind, event: AlertEvent
    ) -> tuple[bool, int]:
        """Whether the hour has room for one more, and how many were held back since the last one that went out."""
        async with self._engine.execution_options(**WRITES).begin() as connection:
            return await rows.admit(
                connection, name, kind, self._clock.now(), run_id=event.run_id, limit=limit
            )

    async def _deliver(
        self,
        channel: str,
        send: Callable[[Notice], Awaitable[None]],
        notice: Notice,
        event: AlertEvent,
    ) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await send(notice)
            except Exception as error:  # noqa: BLE001 - the scheduler goes on
                reason = _reason(error)
                if attempt < _TRIES:
                    await asyncio.sleep(2**attempt / 4)
            else:
                return
        log.error("the %s alert about %s was not sent: %s", channel, event.definition.name, reason)
        async with self._engine.execution_options(**WRITES).begin() as connection:
            await rows.note_failure(
                connection,
                event.definition.name,
                self._clock.now(),
                run_id=event.run_id,
                detail=f"{channel}: {reason}",
            )

    async def _send_mail(self, notice: Notice, recipients: tuple[str, ...]) -> None:
        import aiosmtplib

        settings = self._settings
        if not settings.smtp_host:
            raise AlertError("no mail server: set TARGCC_SMTP_HOST")
        message = EmailMessage()
        message["From"] = settings.smtp_from
        message["To"] = ", ".join(recipients)
        message["Subject"] = notice.title
        message.set_content(notice.as_text())
        await aiosmtplib.send(
            message,
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_user or None,
            password=settings.smtp_password.get_secret_value() or None,
            use_tls=settings.smtp_tls == "tls",
            start_tls={"starttls": True, "auto": None}.get(settings.smtp_tls, False),
            timeout=_TIMEOUT_SECONDS,
        )

    def _run_url(self, run_id: int | None) -> str:
        settings = self._settings
        base = (settings.base_url or f"http://{settings.host}:{settings.port}").rstrip("/")
        path = settings.dashboard_path.rstrip("/")
        return f"{base}{path}/runs/{run_id}" if run_id is not None else f"{base}{path}"


_posting: ContextVar[bool] = ContextVar("posting", default=False)
# httpx logs the address of each request, and a webhook's address is its password.
logging.getLogger("httpx").addFilter(lambda _: not _posting.get())


async def _post(url: str, body: dict[str, Any]) -> None:
    import httpx

    _posting.set(True)  # for this task only
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
        answer = await client.post(url, json=body)
    if not answer.is_success:  # Teams' workflows answer 202, Slack 200
        raise AlertError(f"the webhook answered {answer.status_code}")


def _reason(error: Exception) -> str:
    """What went wrong, without the address: a webhook's URL is its password."""
    if isinstance(error, AlertError):
        return str(error)
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return one_line(f"the mail server answered {code} {message}")[:300]
    return "nobody answers there" if "Connect" in type(error).__name__ else type(error).__name__
