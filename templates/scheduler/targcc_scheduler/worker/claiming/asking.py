"""Runs that ask for their keys: the code of their jobs says what these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.outage import is_held_up
from ...core.secrets import mask
from ...core.text import clean
from ...engine.handover import submission
from ...jobs.definition import JobDefinition
from ...storage.runs.refuse import refuse
from ...storage.runs.values import ClaimTerms, Identity, Misfit, NewRun
from ...storage.ties.consequences import Ready
from ...storage.ties.keys import asking
from ...storage.ties.keys.wanted import keys_of
from ..node_services import NodeServices
from .fitting import Fitting

_ROUNDS = 4
"""Looks after each other: whoever has got a key makes others wait for it."""
_MOST_HELD_UP = 5
"""Keys that transactions of others hold that are not over; then the next look tries again."""
_LONGEST_REASON = 300


async def ask_for_keys(
    services: NodeServices, definitions: Mapping[str, JobDefinition], identity: Identity
) -> None:
    """Let runs that are due ask for their keys: they go, or wait for their unique key."""
    for _ in range(_ROUNDS):
        now = services.clock.now()
        async with services.store.read() as connection:
            rows = await asking.look(connection, now, identity.fingerprint)
        if not rows:
            return
        runs, misfits = _with_keys(definitions, rows)
        await _refuse(services, misfits, identity, now)
        gone = await _take(services, runs)
        left = {run_id: run for run_id, run in runs.items() if run_id not in gone and run.unique}
        if not await _wait(services, left) and not gone:
            return


def _with_keys(
    definitions: Mapping[str, JobDefinition], rows: Sequence[Any]
) -> tuple[dict[int, NewRun], list[Misfit]]:
    """Runs with their keys, by their ids, and those of which this node cannot say what these are."""
    fitting = Fitting(definitions)
    runs: dict[int, NewRun] = {}
    misfits: list[Misfit] = []
    for row in rows:
        why = fitting.why_not(row.JobName, row.ArgumentsJson, row.Id)
        if why is None:
            try:
                runs[row.Id] = asking.asked(
                    row, keys_of(definitions[row.JobName], row.ArgumentsJson)
                )
            except Exception as error:  # noqa: BLE001 - a key function is the project's
                what = "; ".join(str(error).splitlines()) or type(error).__name__
                why = clean(mask(f"its keys cannot be made here: {what}"), _LONGEST_REASON)
        if why is not None:
            misfits.append(Misfit(row.Id, row.JobName, why))
    return runs, misfits


async def _refuse(
    services: NodeServices, misfits: Sequence[Misfit], identity: Identity, now: datetime
) -> None:
    """Leave runs to nodes that know them, as a claim does."""
    if misfits and identity.fingerprint:
        terms = ClaimTerms(server_id="", limits={}, poison_here=False, now=now, identity=identity)
        async with services.store.write() as connection:
            await refuse(connection, misfits, terms)


async def _take(services: NodeServices, runs: Mapping[int, NewRun]) -> set[int]:
    """Take keys for runs, together; one by one where a transaction of somebody else's holds one of them. The runs that have theirs."""
    gone = await _take_together(services, runs)
    if gone is not None:
        return gone
    gone, held_up = set(), set[str]()
    for run_id, run in runs.items():
        key = f"{run.job_name} {run.unique and run.unique.key}"
        if key not in held_up and len(held_up) < _MOST_HELD_UP:
            went = await _take_together(services, {run_id: run})
            held_up |= {key} if went is None else set()
            gone |= went or set()
    return gone


async def _take_together(services: NodeServices, runs: Mapping[int, NewRun]) -> set[int] | None:
    """The runs that have got their keys; ``None``: a transaction that is not over holds one."""
    wait_briefly = services.store.dialect.wait_briefly

    async def work(connection: AsyncConnection) -> list[Ready]:
        if wait_briefly is not None:
            await connection.execute(wait_briefly)
        ready = await asking.take(connection, runs, services.clock.now())
        await services.engine.submit(connection, [submission(run) for run in ready])
        return ready

    try:
        gone = await services.store.change(work) if runs else []
    except DBAPIError as error:
        if not is_held_up(error):
            raise
        return None
    if gone:
        services.engine.wake()
    return {run.run_id for run in gone}


async def _wait(services: NodeServices, runs: Mapping[int, NewRun]) -> int:
    """Let runs wait whose keys others have; how many."""

    async def work(connection: AsyncConnection) -> int:
        count, later = await asking.wait(connection, runs, services.clock.now())
        await services.engine.submit(connection, [submission(run) for run in later])
        return count

    return await services.store.change(work) if runs else 0
