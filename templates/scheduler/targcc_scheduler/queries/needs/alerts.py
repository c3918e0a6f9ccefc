"""Alerts that are not over, messages that wait, and alerts that did not go out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.secrets import MASK
from ...storage.alerts import outbox, threads
from ...storage.failures.concerns import ALERT
from ...storage.tables import job_concern


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """Something of which people were told, and which is not well again.

    Args:
        since: When they were told first.
        kind: ``failure``, ``late`` or ``node``.
        job: The job.
        times: How often it has happened since.
        steps_taken: How many steps of the escalation are done.
        title: What the alert said.
    """

    since: datetime
    kind: str
    job: str
    times: int
    steps_taken: int
    title: str


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message that is to go out.

    Args:
        goes_at: When.
        channel: The way.
        to: To whom, without what is secret of it.
        tries: How often it could not be sent.
        title: What it says.
    """

    goes_at: datetime
    channel: str
    to: str
    tries: int
    title: str


@dataclass(frozen=True, slots=True)
class FailedAlert:
    """An alert that did not go out: about which job, since when, and why."""

    since: datetime
    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class AlertsNow:
    """How alerts are."""

    going_on: tuple[OpenAlert, ...]
    waiting: tuple[WaitingMessage, ...]
    failed: tuple[FailedAlert, ...]

    @property
    def any(self) -> bool:
        """Whether there is one of any kind."""
        return bool(self.going_on or self.waiting or self.failed)


async def alerts_now(connection: AsyncConnection) -> AlertsNow:
    """How alerts are, the oldest first."""
    c = job_concern.c
    failed = sa.select(c.Since, c.Subject, c.Detail).where(c.Kind == ALERT).order_by(c.Since)
    return AlertsNow(
        tuple(
            OpenAlert(row.FirstAt, row.Kind, row.JobName, row.Number, row.Step, row.Title)
            for row in await threads.going_on(connection)
        ),
        tuple(
            WaitingMessage(
                row.DueAt,
                row.Channel,
                shown_address(row.Target),
                row.Tries,
                json.loads(row.NoticeJson)["title"],
            )
            for row in await outbox.waiting(connection)
        ),
        tuple(FailedAlert(*row) for row in await connection.execute(failed)),
    )


def shown_address(address: str) -> str:
    """A recipient as people may see it: of a webhook's address the host, since the rest is a password."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}/{MASK}"
