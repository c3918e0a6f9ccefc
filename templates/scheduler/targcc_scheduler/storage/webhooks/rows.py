"""The rows of webhooks: made, listed, turned off and on, removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..tables import job_delivery, job_webhook

EVENTS = (
    RunState.SUCCEEDED,
    RunState.FAILED,
    RunState.CANCELLED,
    RunState.MISSED,
    RunState.SKIPPED,
)
"""The ends of runs of which people can be told, as a webhook calls them."""
IN_CODE = ""
"""Stands for the sealed address of a handler in the code, which has none."""
WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"
"""The states of a message."""
_c = job_webhook.c


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told of runs, or a handler in the code.

    Args:
        id: Its number.
        shown: The address, without what is secret in it; of a handler its name.
        events: Of which ends it is told; empty: of all.
        jobs: Of which jobs, as patterns such as ``Daily*``; empty: of all.
        created_by: Who made it.
        created_at: When.
        disabled_at: Since when it is off.
        disabled_by: Who turned it off, or why.
        failing_since: When the first attempt failed since the last that did not.
        sealed_json: The address and the secret, sealed.
    """

    id: int
    shown: str
    events: tuple[str, ...]
    jobs: tuple[str, ...]
    created_by: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_by: str | None
    failing_since: datetime | None
    sealed_json: str

    @property
    def in_code(self) -> bool:
        """Whether it is a handler in the code."""
        return self.sealed_json == IN_CODE

    def wants(self, event: str, job: str) -> bool:
        """Whether it is to be told of such an end of a run of this job."""
        fits = not self.jobs or any(fnmatchcase(job.lower(), one.lower()) for one in self.jobs)
        return fits and (not self.events or event in self.events)


def _of(row: Any) -> Webhook:
    return Webhook(
        id=row.Id,
        shown=row.Shown,
        events=tuple(row.Events.split()),
        jobs=tuple(row.Jobs.split()),
        created_by=row.CreatedBy,
        created_at=row.CreatedAt,
        disabled_at=row.DisabledAt,
        disabled_by=row.DisabledBy,
        failing_since=row.FailingSince,
        sealed_json=row.SealedJson,
    )


async def webhooks(connection: AsyncConnection) -> list[Webhook]:
    """All of them, in the order in which they were made."""
    return [_of(row) for row in await connection.execute(sa.select(job_webhook).order_by(_c.Id))]


async def find(connection: AsyncConnection, webhook_id: int) -> Webhook | None:
    """One of them."""
    row = (
        await connection.execute(sa.select(job_webhook).where(_c.Id == webhook_id))
    ).one_or_none()
    return None if row is None else _of(row)


async def add(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """Keep a new one; its number."""
    made = await connection.execute(job_webhook.insert().values(values))
    key = made.inserted_primary_key
    assert key is not None
    return int(key[0])


async def disable(connection: AsyncConnection, webhook_id: int, by: str, now: datetime) -> None:
    """Turn one off: what waits to be sent to it is given up."""
    d = job_delivery.c  # before the webhook, as whoever has sent one does
    waiting = sa.update(job_delivery).where(d.WebhookId == webhook_id, d.DueAt.is_not(None))
    ended = {"DueAt": None, "Status": FAILED, "EndedAt": now, "Answer": "the webhook is off"}
    await connection.execute(waiting.values(ended))
    off = {"DisabledAt": now, "DisabledBy": by[:100]}
    await connection.execute(sa.update(job_webhook).where(_c.Id == webhook_id).values(off))


async def enable(connection: AsyncConnection, webhook_id: int) -> None:
    """Turn one on."""
    on = {"DisabledAt": None, "DisabledBy": None, "FailingSince": None}
    await connection.execute(sa.update(job_webhook).where(_c.Id == webhook_id).values(on))


async def reseal(connection: AsyncConnection, webhook_id: int, sealed_json: str) -> None:
    """Keep another secret of one."""
    sealed = sa.update(job_webhook).where(_c.Id == webhook_id).values(SealedJson=sealed_json)
    await connection.execute(sealed)


async def remove(connection: AsyncConnection, webhook_id: int) -> None:
    """Remove one, with what was sent to it."""
    mine = job_delivery.c.WebhookId == webhook_id
    await connection.execute(sa.delete(job_delivery).where(mine))
    await connection.execute(sa.delete(job_webhook).where(_c.Id == webhook_id))
