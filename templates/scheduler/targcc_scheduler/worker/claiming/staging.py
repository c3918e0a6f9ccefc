"""Staging for the executor: runs whose time has come wait for a worker from now on, or ask for room under their limit."""

from __future__ import annotations

from collections.abc import Mapping

from ...engine.handover import submission
from ...jobs.definition import JobDefinition
from ...storage.runs import stage
from ...storage.runs.values import Identity
from ...storage.ties import limits
from ..node_services import NodeServices
from .asking import ask_for_keys


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
    if not jobs:
        return False
    async with services.store.write() as connection:
        ready, more = await limits.stage_some(connection, jobs, now)
        await services.engine.submit(connection, [submission(run) for run in ready])
    if ready:
        services.engine.wake()
    return more


async def sweep(services: NodeServices, definitions: Mapping[str, JobDefinition]) -> None:
    """Let those go whom nobody has let go; for a node of the release that decides."""
    jobs = {job.name: terms_of(job) for job in definitions.values()}
    async with services.store.write() as connection:
        ready = await limits.sweep(connection, jobs, services.clock.now())
        await services.engine.submit(connection, [submission(run) for run in ready])
    if ready:
        services.engine.wake()
