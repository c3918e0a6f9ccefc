"""How the state of a run changes, and the line of its life that says so."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ...core.states import RunState
from ..tables import job_run


def life(now: datetime, state: RunState, note: str = "") -> str:
    """One line of a run's life: ``<instant> <state> <note>``."""
    return (
        f"{now.isoformat(timespec='milliseconds')} {state} {' '.join(note.split())}".rstrip() + "\n"
    )


def owned_by(run_id: int, server_id: str, attempt: int) -> sa.ColumnElement[bool]:
    """That a run is still running on this node, in this attempt."""
    return sa.and_(
        job_run.c.Id == run_id,
        job_run.c.State == RunState.RUNNING,
        job_run.c.ServerId == server_id,
        job_run.c.Attempt == attempt,
    )
