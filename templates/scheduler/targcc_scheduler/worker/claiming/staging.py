"""Staging for the executor: runs whose time has come wait for a worker from now on, or ask for their keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ...engine.handover import submission
from ...jobs.definition import JobDefinition
from ...storage.runs import stage
from ...storage.runs.values import Identity
from ...storage.ties import limits
from ...storage.ties.consequences import Ready
from ...storage.ties.limit_keys.terms import Terms
from ..node_services import NodeServices
from .asking import ask_for_keys

T = TypeVar("T")


def terms_of(definitions: Mapping[str, JobDefinition]) -> dict[str, Terms]:
    """What the jobs that have a limit by key say of it."""
    return {
        job.name: Terms(limit.running, limit.interval_ms, limit.burst)
        for job in definitions.values()
        if (limit := job.keyed_limit) is not None
    }


async def stage_due(
    services: NodeServices, definitions: Mapping[str, JobDefinition], identity: Identity
) -> None:
    """Stage what is due, and let those ask for their keys that do so."""
    async with services.store.write_at_once() as connection:
        # Not before: what others wrote while this waited for its turn would have a later date.
        await stage.stage_due(connection, services.clock.now())
    await ask_for_keys(services, definitions, identity)


async def sweep(services: NodeServices, definitions: Mapping[str, JobDefinition]) -> None:
    """Let those go whom nobody has let go, such as after a new release has raised a limit; for a node of the release that decides."""
    jobs, now = dict.fromkeys(definitions, Terms()) | terms_of(definitions), services.clock.now()
    await services.store.change(lambda connection: limits.renew(connection, jobs, now))
    after: str | None = ""
    while after is not None:
        step = partial(limits.admit_waiting, after=after, now=now)
        after = await _change(services, step)


async def _change(
    services: NodeServices,
    work: Callable[[AsyncConnection], Awaitable[tuple[Sequence[Ready], T]]],
) -> T:
    """Let runs go, and tell the engine of them, in one transaction; what else came of it."""

    async def submitted(connection: AsyncConnection) -> tuple[bool, T]:
        ready, more = await work(connection)
        await services.engine.submit(connection, [submission(run) for run in ready])
        return bool(ready), more

    some, more = await services.store.change(submitted)
    if some:
        services.engine.wake()
    return more
