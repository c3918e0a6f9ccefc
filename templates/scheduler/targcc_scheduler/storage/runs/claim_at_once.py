"""Claim at once: entries of an engine's queue are taken and their runs become a node's in one statement that commits by itself.

It is the claim of ``claim.py`` for *plain* runs: those of jobs and queues without a limit, or with room under a key for which nobody waits, that have not cost workers or expired, that are this server's, and of which the node knows that
it can perform them. Nothing has to be decided about them that a condition cannot say, so that one round trip does what takes four in a
transaction. An entry of any other run that waits stays as it is, for a claim in a transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import WAITING, RunState
from ..dialects.frequent import FrequentStatement
from ..dialects.listed import is_among, listed
from ..owners.rows import IS_OURS
from ..tables import job_run
from ..ties.keys.marks import has_its_keys
from ..ties.limit_keys.at_once import terms_of, with_room
from .candidates import IS_DUE, NEEDS_NO_ROOM, NOT_EXPIRED
from .claim import BECOMES_RUNNING, CLAIMED, HAS_PLACE, claim_of, parameters_of, require_place
from .transition import is_in_state, transition
from .values import POISON_AFTER, Claim, ClaimTerms


@dataclass(frozen=True, eq=False)
class Entries:
    """An engine's own queue in this database.

    Args:
        next_ones: Says which entries are next, and locks them: their ``entry``, ``run_id`` and ``priority``, the most urgent first. One that stands
            for many runs has no ``run_id``, and is the last.
        table: The table of entries; its key is ``id``.
    """

    next_ones: sa.TextClause
    table: sa.TableClause


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a claim at once.

    Args:
        claims: The runs that are the node's now, the most urgent first.
        count: How many entries were looked at.
        rest: Whether there are some of runs that are not plain.
        bundle: Whether the next one stands for many runs, and has to be opened.
    """

    claims: list[Claim]
    count: int
    rest: bool
    bundle: bool = False


_IS_PLAIN = (
    is_among(job_run.c.JobName, listed("plain", sa.Text)),
    job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    IS_OURS,
    NOT_EXPIRED,
)
"""That a run is plain; its parameter ``plain`` names the jobs."""


async def claim_at_once(
    connection: AsyncConnection,
    entries: Entries,
    asked: Mapping[str, Any],
    terms: ClaimTerms,
    plain: Collection[str],
    *,
    keyed: bool,
) -> Taken:
    """Take the entries that are next and claim their runs, if they are plain; whether their arguments fit is for the caller to see.

    Args:
        connection: A connection that commits by itself.
        entries: The engine's queue.
        asked: The parameters of its ``next_ones``.
        terms: Who claims them.
        plain: The jobs that have no limit, or one by key, and that this node knows.
        keyed: Whether one of them has: else nobody looks at keys.

    Raises:
        NodeUnknown: this node was declared lost, or is being drained; nothing was taken.
    """
    parameters = {**asked, **parameters_of(terms, POISON_AFTER - 1), "plain": plain}
    if keyed:
        parameters["terms"] = terms_of(terms.keyed)
    rows = await _statement(entries, keyed=keyed).all(connection, parameters)
    seen = rows[0]
    count = seen.looked_at
    if not count:
        await require_place(connection, terms.server_id)
    runs = {row.Id: row for row in rows if row.Id is not None}  # a run may have two entries
    claims = [claim_of(row, {}) for row in runs.values()]
    return Taken(claims, count, seen.has_rest, seen.has_bundle)


@cache
def _statement(entries: Entries, *, keyed: bool) -> FrequentStatement:
    found = entries.next_ones.columns(
        sa.column("entry", sa.BigInteger),
        sa.column("run_id", sa.BigInteger),
        sa.column("priority", sa.Integer),
    ).cte("found")
    # Where the node has no place, nothing is found and nothing is taken.
    next_ones = sa.select(found).where(HAS_PLACE).cte("top")
    has_room = NEEDS_NO_ROOM
    if keyed:
        found_room = with_room(next_ones).cte("found_room")
        has_room = sa.or_(has_room, _is_any(job_run.c.Id, sa.select(found_room.c.Id)))
    is_plain = (*_IS_PLAIN, has_room)
    rest = (
        sa.select(job_run.c.Id)
        .join(next_ones, next_ones.c.run_id == job_run.c.Id)
        .where(
            is_in_state(*sorted(WAITING), by_index=False),
            has_its_keys(),
            sa.not_(sa.and_(*is_plain)),
        )
        .cte("rest")
    )
    done = sa.select(next_ones.c.entry).where(
        next_ones.c.run_id.is_not(None), next_ones.c.run_id.not_in(sa.select(rest.c.Id))
    )
    dropped = sa.delete(entries.table).where(_is_any(entries.table.c.id, done)).cte("dropped")
    claimed = (
        transition(
            RunState.RUNNING,
            _is_any(job_run.c.Id, sa.select(next_ones.c.run_id)),
            IS_DUE,
            *is_plain,
            **BECOMES_RUNNING,
        )
        .returning(*CLAIMED)
        .cte("claimed")
    )
    seen = sa.select(
        sa.select(sa.func.count()).select_from(next_ones).scalar_subquery().label("looked_at"),
        sa.exists(sa.select(rest.c.Id)).label("has_rest"),
        sa.exists().where(next_ones.c.run_id.is_(None)).label("has_bundle"),
    ).subquery("seen")
    return FrequentStatement(
        sa.select(seen, claimed)
        .select_from(
            seen.outerjoin(claimed, sa.true()).outerjoin(
                next_ones, next_ones.c.run_id == claimed.c.Id
            )
        )
        .order_by(next_ones.c.priority.desc(), next_ones.c.entry)
        .add_cte(dropped)
    )


def _is_any(column: sa.ColumnElement[Any], found: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """That a column is one of the few values of a query: as an array, so that the planner looks them up by key however small a table is."""
    array = sa.func.array(found.scalar_subquery(), type_=sa.ARRAY(sa.BigInteger))
    return column == sa.any_(array)
