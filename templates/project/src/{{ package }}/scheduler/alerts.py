# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Telling people about runs: by mail, Slack and Teams, outside the job's path.

A row in ``c_JobAlert`` goes before what the job's decorator says. Each alert is an audit row, so that an hour's alerts can be counted
by every node and seen by everybody; what was held back is said in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .clock import Clock
from .cron import format_duration
from .database import WRITES
from .job import Alerts, JobDefinition
from .settings import Settings
from .tables import job_alert, job_audit

log = logging.getLogger(__name__)

AlertKind = Literal["failure", "success", "slow", "missed"]

_TRIES = 3
_TIMEOUT_SECONDS = 15
_DETAILS_LENGTH = 2_500  # Slack refuses a block of more than 3,000 characters
_VERBS = {"failure": "failed", "success": "succeeded", "slow": "was slow", "missed": "was missed"}
_COLORS = {"failure": "attention", "success": "good", "slow": "warning", "missed": "warning"}


@dataclass(frozen=True)
class AlertEvent:
    """Something happened that somebody may want to know.

    Args:
        kind: What happened.
        definition: The job.
        run_id: The run; ``None`` when there is none.
        message: One line: the result, or the last line of the error.
        details: The traceback, if there is one.
        attempt: The attempt that ended the run.
        scheduled_for: The slot.
        duration_ms: How long the last attempt took.
        server: The node it ran on.
    """

    kind: AlertKind
    definition: JobDefinition
    run_id: int | None
    message: str
    details: str = ""
    attempt: int = 1
    scheduled_for: datetime | None = None
    duration_ms: int | None = None
    server: str = ""


@dataclass(frozen=True)
class AlertRule:
    """Who is told about one job, and when; ``slower_than_ms`` is milliseconds."""

    on_failure: bool = True
    on_success: bool = False
    on_missed: bool = False
    slower_than_ms: int | None = None
    email: tuple[str, ...] = ()
    slack: str | None = None
    teams: str | None = None
    max_per_hour: int | None = None

    @classmethod
    def from_decorator(cls, alerts: Alerts) -> AlertRule:
        """The rule that ``@job(alerts=…)`` says."""
        slower = alerts.slower_than
        return cls(
            on_failure="failure" in alerts.on,
            on_success="success" in alerts.on,
            on_missed="missed" in alerts.on,
            slower_than_ms=None if slower is None else round(slower.total_seconds() * 1000),
            email=alerts.email,
            slack=alerts.slack,
            teams=alerts.teams,
            max_per_hour=alerts.max_per_hour,
        )

    @classmethod
    def from_row(cls, row: Any) -> AlertRule:
        """The rule that a row of ``c_JobAlert`` says; whoever hears of failures hears of missed slots too."""
        return cls(
            on_failure=row.AlertOnFailure,
            on_success=row.AlertOnSuccess,
            on_missed=row.AlertOnFailure,
            slower_than_ms=row.AlertOnDurationExceeds,
            email=split_addresses(row.EmailRecipients or ""),
            slack=row.SlackWebhook or None,
            teams=row.TeamsWebhook or None,
            max_per_hour=row.MaxAlertsPerHour,
        )

    def kind_of(self, event: AlertEvent) -> AlertKind | None:
        """What to tell about the event; ``None``: nothing. A failure or a success may be told as slow only."""
        wanted = {
            "failure": self.on_failure,
            "success": self.on_success,
            "missed": self.on_missed,
            "slow": self.slower_than_ms is not None,
        }
        if wanted[event.kind]:
            return event.kind
        slow = self.slower_than_ms is not None and (event.duration_ms or 0) > self.slower_than_ms
        return "slow" if slow else None


def split_addresses(text: str) -> tuple[str, ...]:
    """The addresses in a text that separates them by commas or semicolons."""
    return tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())


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
            row = (
                await connection.execute(
                    sa.select(job_alert).where(job_alert.c.JobName == definition.name)
                )
            ).first()
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
        now = self._clock.now()
        async with self._engine.execution_options(**WRITES).begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(
                    sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"alert {name}")))
                )
            sent = await _count(connection, name, "alert", since=now - timedelta(hours=1))
            allowed = limit is None or sent < limit
            held_back = await _held_back(connection, name) if allowed else 0
            await connection.execute(
                sa.insert(job_audit).values(
                    At=now,
                    Actor="System",
                    Action="alert" if allowed else "alert-held-back",
                    JobName=name,
                    RunId=event.run_id,
                    Detail=kind,
                )
            )
            if allowed:
                await connection.execute(
                    sa.update(job_alert)
                    .where(job_alert.c.JobName == name)
                    .values(LastAlertSent=now)
                )
        return allowed, held_back

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
            await connection.execute(
                sa.insert(job_audit).values(
                    At=self._clock.now(),
                    Actor="System",
                    Action="alert-failed",
                    JobName=event.definition.name,
                    RunId=event.run_id,
                    Detail=f"{channel}: {reason}",
                )
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


class AlertError(Exception):
    """An alert cannot be sent; the text holds no secret."""


@dataclass(frozen=True)
class Notice:
    """What is said, before it takes the form of a channel."""

    title: str
    facts: tuple[tuple[str, str], ...]
    message: str
    details: str
    url: str
    color: str

    @classmethod
    def about(
        cls,
        event: AlertEvent,
        kind: AlertKind,
        url: str,
        *,
        held_back: int,
        slower_than_ms: int | None,
    ) -> Notice:
        """The notice for an event.

        Args:
            event: What happened.
            kind: What is told about it.
            url: The run on the dashboard.
            held_back: How many alerts about this job were not sent since the last one.
            slower_than_ms: The time it was to stay within, in an alert that says it did not.
        """
        facts = [("Job", event.definition.name)]
        if event.run_id is not None:
            facts.append(("Run", f"{event.run_id}, attempt {event.attempt}"))
        if event.scheduled_for is not None:
            facts.append(("Scheduled for", event.scheduled_for.isoformat(" ", "seconds")))
        if event.duration_ms is not None:
            facts.append(("Took", _duration(event.duration_ms)))
        if slower_than_ms is not None:
            facts.append(("Expected", f"at most {_duration(slower_than_ms)}"))
        if event.server:
            facts.append(("Server", event.server))
        if held_back:
            facts.append(("Not sent", f"{held_back} alerts before this one (limit per hour)"))
        return cls(
            title=_one_line(f"{event.definition.display_name} {_VERBS[kind]}"),
            facts=tuple(facts),
            message=event.message,
            details=event.details[-_DETAILS_LENGTH:],
            url=url,
            color=_COLORS[kind],
        )

    def as_text(self) -> str:
        """Plain text, for mail."""
        width = max(len(name) for name, _ in self.facts)
        lines = [self.message, "", *(f"{name:<{width}}  {value}" for name, value in self.facts)]
        lines += ["", self.url]
        if self.details:
            lines += ["", self.details]
        return "\n".join(lines) + "\n"

    def for_slack(self) -> dict[str, Any]:
        """Slack's blocks, with the title as fallback."""
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": self.title[:150]}},
        ]
        if self.message:
            text = {"type": "plain_text", "text": self.message[:_DETAILS_LENGTH]}
            blocks.append({"type": "section", "text": text})
        fields = [
            {"type": "mrkdwn", "text": f"*{name}*\n{_escape(value)}"} for name, value in self.facts
        ]
        blocks.append({"type": "section", "fields": fields})
        if self.details:
            quoted = _escape(self.details).replace("```", "'''")[-_DETAILS_LENGTH:]
            code = f"```{quoted}```"
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": code}})
        link = f"<{self.url}|Open the run>"
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": link}]})
        return {"text": self.title, "blocks": blocks}

    def for_teams(self) -> dict[str, Any]:
        """A message with an Adaptive Card, as a Power Automate workflow takes it."""
        body: list[dict[str, Any]] = [
            {
                "type": "TextBlock",
                "text": self.title,
                "weight": "Bolder",
                "size": "Medium",
                "color": self.color,
                "wrap": True,
            },
            {"type": "TextBlock", "text": self.message or " ", "wrap": True},
            {
                "type": "FactSet",
                "facts": [{"title": name, "value": value} for name, value in self.facts],
            },
        ]
        if self.details:
            body.append(
                {"type": "TextBlock", "text": self.details, "fontType": "Monospace", "wrap": True}
            )
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": body,
            "actions": [{"type": "Action.OpenUrl", "title": "Open the run", "url": self.url}],
        }
        attachment = {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": card,
        }
        return {"type": "message", "attachments": [attachment]}


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


async def _count(connection: AsyncConnection, name: str, action: str, *, since: datetime) -> int:
    query = (
        sa.select(sa.func.count())
        .select_from(job_audit)
        .where(job_audit.c.JobName == name, job_audit.c.Action == action, job_audit.c.At > since)
    )
    return int((await connection.execute(query)).scalar_one())


async def _held_back(connection: AsyncConnection, name: str) -> int:
    last = (
        sa.select(sa.func.coalesce(sa.func.max(job_audit.c.Id), 0))
        .where(job_audit.c.JobName == name, job_audit.c.Action == "alert")
        .scalar_subquery()
    )
    query = (
        sa.select(sa.func.count())
        .select_from(job_audit)
        .where(
            job_audit.c.JobName == name,
            job_audit.c.Action == "alert-held-back",
            job_audit.c.Id > last,
        )
    )
    return int((await connection.execute(query)).scalar_one())


def _reason(error: Exception) -> str:
    """What went wrong, without the address: a webhook's URL is its password."""
    if isinstance(error, AlertError):
        return str(error)
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return _one_line(f"the mail server answered {code} {message}")[:300]
    return "nobody answers there" if "Connect" in type(error).__name__ else type(error).__name__


def _duration(milliseconds: int) -> str:
    return format_duration(timedelta(milliseconds=milliseconds))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
