"""Staging for the executor: runs whose time has come wait for a worker from now on, or ask for room under their limit."""

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
from ..node_services import NodeServices
from .asking import ask_for_keys

T = TypeVar("T")


def terms_of(definition: JobDefinition) -> limits.Terms:
    """What a job says of its keys."""
    limit = definition.keyed_limit
    if limit is None:
        return limits.Terms()
    return limits.Terms(limit.running, limit.interval_ms, limit.burst)


async def stage_due(
    services: NodeServices, definitions: Mapping[str, JobDefinition], identity: Identity
) -> bool:
    """Stage what is due; runs of a limit are left to nodes that know of it. Whether there may be more of those."""
    now = services.clock.now()
    async with services.store.write_at_once() as connection:
        await stage.stage_due(connection, now)
    await ask_for_keys(services, definitions, identity)
    jobs = {job.name: terms_of(job) for job in definitions.values() if job.keyed_limit is not None}
    return bool(jobs) and await _change(
        services, lambda connection: limits.stage_some(connection, jobs, now)
    )


async def sweep(services: NodeServices, definitions: Mapping[str, JobDefinition]) -> None:
    """Let those go whom nobody has let go, such as after a new release has raised a limit; for a node of the release that decides."""
    jobs, now = {job.name: terms_of(job) for job in definitions.values()}, services.clock.now()
    await services.store.change(lambda connection: limits.renew(connection, jobs, now))
    await _change(services, lambda connection: limits.stage_some(connection, jobs, now))
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
