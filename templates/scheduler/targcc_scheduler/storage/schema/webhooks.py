"""The tables of outgoing webhooks and of what was sent to them."""

from __future__ import annotations

import sqlalchemy as sa

from .columns import BIG_ID, LONG, UtcDateTime, column, named, only_where, table, text

job_webhook = table(
    "c_JobWebhook",
    column("Id", sa.Integer, primary_key=True, autoincrement=True),
    column("Shown", text(200), nullable=False),
    column("SealedJson", LONG, nullable=False),
    column("Events", text(200), nullable=False),
    column("Jobs", text(1000), nullable=False),
    column("CreatedBy", text(100), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("DisabledAt", UtcDateTime),
    column("DisabledBy", text(100)),
    column("FailingSince", UtcDateTime),
)
"""One row for each address that is told of runs. ``SealedJson`` has the address and the secret, ``Shown`` the address without what is secret in it;
of a handler in the code it is empty, and ``Shown`` is its name. ``Events`` and ``Jobs`` are lists with blanks between, an empty one is all of them. ``FailingSince`` is when the first attempt failed since the last that did not.
"""

job_delivery = table(
    "c_JobDelivery",
    column("Id", BIG_ID, primary_key=True, autoincrement=True),
    column("WebhookId", sa.Integer, nullable=False),
    column("MessageId", text(50), nullable=False),
    column("Event", text(30), nullable=False),
    column("RunId", sa.BigInteger),
    column("Body", LONG, nullable=False),
    column("Status", text(10), nullable=False),
    column("Attempts", sa.Integer, nullable=False, server_default="0"),
    column("DueAt", UtcDateTime),
    column("Answer", text(200)),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("EndedAt", UtcDateTime),
    sa.UniqueConstraint(named("MessageId"), name=named("UQ_c_JobDelivery_MessageId")),
)
"""One row for each message to a webhook. ``DueAt`` is when it is sent next, NULL when it is not; while it is being sent, when others may try. ``MessageId``
is made of webhook, run and event, so there is one of each."""

only_where(
    sa.Index(named("IX_c_JobDelivery_DueAt"), job_delivery.c.DueAt),
    job_delivery.c.DueAt.is_not(None),
)
sa.Index(named("IX_c_JobDelivery_WebhookId_Id"), job_delivery.c.WebhookId, job_delivery.c.Id.desc())
