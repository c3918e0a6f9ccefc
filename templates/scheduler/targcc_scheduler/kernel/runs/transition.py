"""Change the state of a run. No other module of the scheduler sets ``State``; a test checks the sources."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ...core.states import RunState, sources_of
from ...db.dialects.frequent import is_in_list
from ...db.tables import job_run


def state_line(now: datetime, state: RunState, note: str = "") -> str:
    """Format one line of a run's state history (the column ``LifeLog``): ``<instant> <state> <note>``."""
    return (
        f"{now.isoformat(timespec='milliseconds')} {state} {' '.join(note.split())}".rstrip() + "\n"
    )


def first_state(now: datetime, state: RunState, note: str) -> dict[str, Any]:
    """Return the column values that set the state of a new run."""
    return {"State": str(state), "LifeLog": state_line(now, state, note)}


def is_in_state(
    *states: RunState, of: sa.FromClause = job_run, by_index: bool = True
) -> sa.ColumnElement[bool]:
    """Match runs in one of these states. The states are literals in the statement's text, since they do not change.

    Args:
        states: The states.
        of: The table or alias of the run in the statement.
        by_index: ``False`` if the statement finds runs by id: a planner may expect the index of waiting runs to be short, although the index
            has grown a thousandfold since.
    """
    state = of.c.State if by_index else sa.func.coalesce(of.c.State, "")
    return state.in_([sa.literal_column(f"'{one}'") for one in states])


OTHER = job_run.alias("other")
"""The alias of the run in the conditions of :func:`is_free`."""


def is_free(*where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Match and lock runs that satisfy ``where`` and that no other transaction has locked; ``where`` names the run :data:`OTHER`.

    Another transaction with a lock on the row changes the run too, and may wait for a row locked here: waiting would deadlock.
    """
    found = sa.select(OTHER.c.Id).where(*where).with_for_update(skip_locked=True)
    return is_in_list(job_run.c.Id, found.scalar_subquery())


def transition(
    target: RunState,
    *where: sa.ColumnElement[bool],
    sources: Collection[RunState] = frozenset(RunState),
    **values: Any,
) -> sa.Update:
    """Build a statement that changes runs to ``target`` from any allowed state; the parameter ``line`` is a :func:`state_line`.

    The run loses its capacity under a limit (``RoomAt``) unless ``values`` set the column: a node of an older release may have left a value
    in the row.

    Build the statement once for each use: building costs SQLAlchemy more than executing costs SQLite.

    Args:
        target: The new state.
        where: Conditions on the runs. Include the ids, since no index of states is used.
        sources: Change only runs in these states.
        values: Further columns to set.
    """
    allowed = sorted(sources_of(target) & frozenset(sources))
    return (
        sa.update(job_run)
        .where(is_in_state(*allowed, by_index=False), *where)
        .values(
            State=target,
            LifeLog=job_run.c.LifeLog + sa.bindparam("line", type_=sa.UnicodeText),
            **{"RoomAt": sa.null(), **values},
        )
    )


SETTLE = """
    UPDATE c_JobRun
    SET State = {given}state, Message = {given}message, CompletedAt = {given}completed_at, Cause = {given}cause,
        StopNote = NULL, ServerId = {given}last_server_id, DueAt = coalesce({given}due_at, c_JobRun.DueAt),
        Attempt = c_JobRun.Attempt - {given}not_counted,
        RoomAt = CASE WHEN {given}state = 'enqueued' AND c_JobRun.LimitKey IS NOT NULL THEN c_JobRun.StartedAt END,
        LostWorkers = c_JobRun.LostWorkers + {given}lost,
        CancelRequestedBy = coalesce({given}cancelled_by, c_JobRun.CancelRequestedBy),
        ProgressDone = coalesce({given}done, c_JobRun.ProgressDone),
        ProgressTotal = coalesce({given}total, c_JobRun.ProgressTotal),
        LifeLog = c_JobRun.LifeLog || {given}line
    {source}
    WHERE c_JobRun.Id = {given}run_id AND c_JobRun.State = {given}source AND c_JobRun.Attempt = {given}attempt
    AND coalesce(c_JobRun.ServerId, '') = coalesce({given}server_id, '')
    AND c_JobRun.Ties & {given}barred = 0
"""
"""Write the settlement of a run if the run is still in the expected state and attempt, on the expected node.

A run that waits for a worker again keeps its capacity under its limit. A dialect fills in the placeholders: ``{given}`` is the prefix of
each value's name, ``{source}`` is the clause that supplies the values.
"""


def owned_by(run_id: int, server_id: str, attempt: int) -> sa.ColumnElement[bool]:
    """Match the run if still running on this node, in this attempt."""
    return sa.and_(
        job_run.c.Id == run_id,
        job_run.c.State == RunState.RUNNING,
        job_run.c.ServerId == server_id,
        job_run.c.Attempt == attempt,
    )
