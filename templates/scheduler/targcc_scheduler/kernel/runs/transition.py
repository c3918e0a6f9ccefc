"""How the state of a run changes. Nothing else in the scheduler sets ``State``; a test reads the sources for it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ...core.states import RunState, sources_of
from ...db.dialects.frequent import is_in_list
from ...db.tables import job_run


def state_line(now: datetime, state: RunState, note: str = "") -> str:
    """One line of a run's state history (the column ``LifeLog``): ``<instant> <state> <note>``."""
    return (
        f"{now.isoformat(timespec='milliseconds')} {state} {' '.join(note.split())}".rstrip() + "\n"
    )


def first_state(now: datetime, state: RunState, note: str) -> dict[str, Any]:
    """The columns by which a new run gets its state."""
    return {"State": str(state), "LifeLog": state_line(now, state, note)}


def is_in_state(
    *states: RunState, of: sa.FromClause = job_run, by_index: bool = True
) -> sa.ColumnElement[bool]:
    """That a run is in one of these states; they stand in the text of the statement, as they are the same each time.

    Args:
        states: The states.
        of: What the run is called in the statement.
        by_index: ``False`` where runs are found by their ids: of an index of all that wait a planner may think that it is short, while a
            thousand times as many do by now.
    """
    state = of.c.State if by_index else sa.func.coalesce(of.c.State, "")
    return state.in_([sa.literal_column(f"'{one}'") for one in states])


OTHER = job_run.alias("other")
"""The name of a run in what :func:`is_free` is given."""


def is_free(*where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """That ``where`` holds of a run, under the name :data:`OTHER`, and that nobody else has locked it; then it is locked.

    Whoever holds its row changes the run too, and waits perhaps for one that is locked here already: to wait for that would be a circle.
    """
    found = sa.select(OTHER.c.Id).where(*where).with_for_update(skip_locked=True)
    return is_in_list(job_run.c.Id, found.scalar_subquery())


def transition(
    target: RunState,
    *where: sa.ColumnElement[bool],
    sources: Collection[RunState] = frozenset(RunState),
    **values: Any,
) -> sa.Update:
    """A statement by which runs become ``target``, from the states that may; its parameter ``line`` is a :func:`state_line`.

    Room under a limit that a run had it has no more, unless ``values`` say so: a node of an older release may have left it in the row.

    Built once for each use: building a statement costs SQLAlchemy more than executing it costs SQLite.

    Args:
        target: The state they get.
        where: Which runs; among it their ids, as no index of their states is used.
        sources: Only from these states.
        values: Further columns that change.
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
"""How a run gets the state of its settlement, if it is still where the settlement expects it: in that state, that attempt, on that node.

One that waits for a worker again keeps its room under its limit. A dialect fills in where its values come from: ``{given}`` goes before each name, ``{source}`` is where they are read.
"""


def owned_by(run_id: int, server_id: str, attempt: int) -> sa.ColumnElement[bool]:
    """That a run is still running on this node, in this attempt."""
    return sa.and_(
        job_run.c.Id == run_id,
        job_run.c.State == RunState.RUNNING,
        job_run.c.ServerId == server_id,
        job_run.c.Attempt == attempt,
    )
