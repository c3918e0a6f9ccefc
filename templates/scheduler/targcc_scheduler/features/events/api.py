"""API of webhooks and their messages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ...web.api.common import PROBLEMS, Admin, Limit, Operator, SchedulerOf, link_older, tried
from ...web.api.schema import DoneOut
from ...web.api_route import ApiRoute
from ...web.authentication import actor
from ...web.idempotency import HEADER
from ...web.problems import Problem
from . import actions, model
from .schemas import DeliveryMadeOut, DeliveryOut, WebhookIn, WebhookMadeOut, WebhookOut

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS, tags=["webhooks"])


@router.get("/webhooks")
async def list_webhooks(_: Operator, scheduler: SchedulerOf) -> list[WebhookOut]:
    """List the webhooks."""
    return [WebhookOut.model_validate(webhook) for webhook in await scheduler.read(model.webhooks)]


@router.post("/webhooks")
async def create_webhook(
    request: Request, principal: Admin, scheduler: SchedulerOf, body: WebhookIn
) -> WebhookMadeOut:
    """Create a webhook for runs that end from now on. The response holds the signing secret; for this reason it is not stored for an `Idempotency-Key`."""
    _without_key(request)
    by = actor(request, principal)
    made = await tried(actions.create(scheduler, body.url, body.events, body.jobs, by))
    return WebhookMadeOut(id=made.id, secret=made.secret, message=f"webhook {made.id} is on")


@router.post("/webhooks/{webhook_id}/rotate")
async def rotate_webhook(
    webhook_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> WebhookMadeOut:
    """Replace the signing secret of a webhook. For 24 hours, each message has two signatures: with the new secret and with the old secret."""
    _without_key(request)
    made = await tried(actions.rotate(scheduler, webhook_id, actor(request, principal)))
    message = f"webhook {made.id} has a new secret; the old one signs too for 24 hours"
    return WebhookMadeOut(id=made.id, secret=made.secret, message=message)


def _without_key(request: Request) -> None:
    if HEADER in request.headers:
        raise Problem(
            422,
            "Not with a key",
            f"the answer holds a secret, which is not stored as {HEADER} would need: list the webhooks first",
        )


@router.delete("/webhooks/{webhook_id}")
async def delete_webhook(
    webhook_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> DoneOut:
    """Delete a webhook with its messages."""
    await tried(actions.remove(scheduler, webhook_id, actor(request, principal)))
    return DoneOut(message=f"webhook {webhook_id} is removed")


@router.post("/webhooks/{webhook_id}/disable")
async def disable_webhook(
    webhook_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> DoneOut:
    """Disable a webhook. Waiting messages are dropped."""
    await tried(actions.disable(scheduler, webhook_id, actor(request, principal)))
    return DoneOut(message=f"webhook {webhook_id} is off")


@router.post("/webhooks/{webhook_id}/enable")
async def enable_webhook(
    webhook_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> DoneOut:
    """Enable a webhook, for runs that end from now on."""
    await tried(actions.enable(scheduler, webhook_id, actor(request, principal)))
    return DoneOut(message=f"webhook {webhook_id} is on")


@router.post("/webhooks/{webhook_id}/test")
async def test_webhook(
    webhook_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> DeliveryMadeOut:
    """Send a test message of the type `run.test` to a webhook."""
    made = await tried(actions.test(scheduler, webhook_id, actor(request, principal)))
    return DeliveryMadeOut(delivery_id=made, message=f"message {made} will be sent")


@router.get("/webhooks/{webhook_id}/deliveries")
async def list_deliveries(
    webhook_id: int,
    request: Request,
    response: Response,
    _: Operator,
    scheduler: SchedulerOf,
    *,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(description="Only messages with a lower id.")] = None,
) -> list[DeliveryOut]:
    """List the messages to a webhook, newest first. The header `Link` names the next page."""
    if await scheduler.read(lambda db: model.find(db, webhook_id)) is None:
        raise Problem(404, "No such webhook", f"there is no webhook {webhook_id}")
    rows = await scheduler.read(lambda db: model.deliveries(db, webhook_id, limit, cursor))
    link_older(request, response, rows, limit)
    return [DeliveryOut.model_validate(row) for row in rows]


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")
async def redeliver(
    webhook_id: int, delivery_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> DoneOut:
    """Send a message again with the same message id."""
    by = actor(request, principal)
    await tried(actions.redeliver(scheduler, webhook_id, delivery_id, by))
    return DoneOut(message=f"message {delivery_id} will be sent again")
