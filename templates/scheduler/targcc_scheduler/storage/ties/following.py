"""Making runs that wait for others."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownRun
from ...core.states import RunState
from ..dialects import known
from ..dialects.counting import changed
from ..runs.values import After, NewRun, Settlement
from ..tables import job_link, job_run
from . import links
from .tie import Tie

Parent = tuple[str, int]
"""Kind and id of what a run waits for."""
Outcomes = Mapping[Parent, str | None]


@dataclass(frozen=True, slots=True)
class _Link:
    """A link that is not written yet; named as the columns of ``c_JobLink``."""

    ParentKind: str
    ParentId: int
    Condition: str
    Quorum: str
    Otherwise: str
    Outcome: str | None


async def outcomes(connection: AsyncConnection, runs: Sequence[NewRun]) -> Outcomes:
    """How what runs are to wait for has ended so far. From here on it does not end before this transaction is over.

    Raises:
        UnknownRun: something that a run is to wait for does not exist.
    """
    wanted: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        for kind, parent_id in run.after.parents if run.after is not None else ():
            wanted[kind].add(parent_id)
    found: dict[Parent, str | None] = {}
    for kind in sorted(wanted, reverse=True):  # runs before batches
        if kind == links.JOB:
            found |= {(kind, parent_id): None for parent_id in wanted[kind]}
            continue
        states = await links.outcomes_of(connection, kind, sorted(wanted[kind]))
        for missing in sorted(wanted[kind] - states.keys()):
            raise UnknownRun(f"there is no {kind} {missing}, so that nothing can wait for it")
        found |= {(kind, parent_id): state for parent_id, state in states.items()}
    return found


def prepared(run: NewRun, known_outcomes: Outcomes) -> NewRun:
    """A run as it is to be created: one whose parents are over as it asks does not wait for them."""
    if run.after is None:
        return run
    ties = run.ties | Tie.FOLLOWS
    decided = links.verdict(_links(run.after, known_outcomes))
    if decided == "goes":
        return replace(run, ties=ties)
    kinds = ", ".join(f"{kind} {one}" for kind, one in run.after.parents if kind != links.JOB)
    note = f"after {kinds}, {run.note}"
    return replace(run, ties=ties, state=RunState.AWAITING, note=note)


async def tie(
    connection: AsyncConnection,
    created: Sequence[tuple[int, NewRun]],
    known_outcomes: Outcomes,
    now: datetime,
) -> list[Settlement]:
    """Write what new runs wait for; those that are discarded at once, as their parents ended otherwise, are settled."""
    rows = [
        {
            "ChildId": run_id,
            "ParentKind": link.ParentKind,
            "ParentId": link.ParentId,
            "Condition": link.Condition,
            "Quorum": link.Quorum,
            "Otherwise": link.Otherwise,
            "Outcome": link.Outcome,
        }
        for run_id, run in created
        if run.after is not None
        for link in _links(run.after, known_outcomes)
    ]
    if rows:
        await connection.execute(sa.insert(job_link), rows)
    dropped = {
        run_id: _links(run.after, known_outcomes)
        for run_id, run in created
        if run.after is not None and is_discarded(run.after, known_outcomes)
    }
    if not dropped:
        return []
    among = known.of(connection).among(job_run.c.Id, sorted(dropped))
    found = await connection.execute(sa.select(job_run).where(among).order_by(job_run.c.Id))
    return await links.discard(connection, found.all(), dropped, now)


def is_discarded(after: After, known_outcomes: Outcomes) -> bool:
    """Whether what a run is to wait for has ended otherwise."""
    return links.verdict(_links(after, known_outcomes)) == "discarded"


def _links(after: After, known_outcomes: Outcomes) -> list[_Link]:
    return [
        _Link(
            kind,
            parent_id,
            after.on,
            after.quorum,
            after.otherwise,
            known_outcomes[kind, parent_id],
        )
        for kind, parent_id in sorted(set(after.parents))
    ]


def place_of(job: str) -> Parent:
    """What stands for a run of a job that does not exist yet."""
    return links.JOB, zlib.crc32(job.encode())


async def joined(
    connection: AsyncConnection, child: NewRun, parent: NewRun, parent_id: int
) -> bool:
    """Let a run of a job that follows several jobs wait for this run of one of them; whether there is such a run already.

    There is at most one that still waits for a run of another job; a newer run of the same job takes the place of an older one.
    """
    await known.of(connection).lock_job(connection, f"after/{child.job_name}")
    open_ = sa.exists().where(
        job_link.c.ChildId == job_run.c.Id, job_link.c.ParentKind == links.JOB
    )
    waiting = await connection.scalar(
        sa.select(job_run.c.Id)
        .where(job_run.c.JobName == child.job_name, job_run.c.State == RunState.AWAITING, open_)
        .order_by(job_run.c.Id)
        .limit(1)
        .with_for_update()
    )
    if waiting is None:
        return False
    kind, place = place_of(parent.job_name)
    older = sa.select(job_run.c.Id).where(job_run.c.JobName == parent.job_name)
    same_job = sa.or_(
        sa.and_(job_link.c.ParentKind == kind, job_link.c.ParentId == place),
        sa.and_(job_link.c.ParentKind == links.RUN, job_link.c.ParentId.in_(older)),
    )
    replaced = sa.update(job_link).where(job_link.c.ChildId == waiting, same_job)
    to = {"ParentKind": links.RUN, "ParentId": parent_id, "Outcome": None}
    return await changed(connection, replaced.values(to)) > 0
