"""The loop of notes: each node removes expired entries once a minute."""

from targcc_scheduler.kernel.feature import Background
from targcc_scheduler.kernel.node.loops import Every, NodeContext

from . import model

SECONDS = 60.0


def remove_expired(context: NodeContext) -> Background:
    """Return the task of a node that removes expired entries."""
    services = context.services

    async def once() -> None:
        async with services.store.write() as connection:
            await model.remove_expired(connection, services.clock.now())

    return Every(context, "removing expired entries of notes", once, SECONDS)
