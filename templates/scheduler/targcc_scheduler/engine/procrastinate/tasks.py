"""Entries: jobs of Procrastinate, each of which says that one run waits. They are deferred and listened for by its public API.

An entry is a hint and no more: one for a run that is over, or that waits no longer, does nothing when it is taken, and neither does a
second one. So a run that is to go sooner gets another entry, and one that is cancelled keeps its own.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate.exceptions import ConnectorException
from procrastinate.types import JSONDict
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.outage import OUTAGES
from ..port import Submission

TASK = "targcc.run"
"""The name of the only task; its argument is a run's id."""

QUEUE_OUTAGES = (*OUTAGES, ConnectorException, psycopg.Error)
"""What is raised while the database is unavailable, by SQLAlchemy or by Procrastinate."""


def make_app(url: sa.URL) -> procrastinate.App:
    """Procrastinate for a database. It defers on the caller's connections; opened, it listens on connections of its own."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        conninfo=address,
        kwargs={"application_name": "targcc"},
        min_size=0,
        max_size=1,
        timeout=5,
    )
    return procrastinate.App(connector=connector)


async def defer(
    app: procrastinate.App,
    connection: AsyncConnection,
    runs: Sequence[Submission],
    now: datetime,
) -> None:
    """Write an entry for each run, in the transaction of ``connection``.

    Raises:
        sqlalchemy.exc.OperationalError: the database is unavailable.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    for (queue, priority, due_at), ids in _alike(runs, now).items():
        entry = app.configure_task(
            TASK, queue=queue, priority=priority, schedule_at=due_at, connection=driver
        )
        with _as_sqlalchemy_has_it():
            await entry.batch_defer_async(*(_arguments(run_id) for run_id in ids))


def _arguments(run_id: int) -> JSONDict:
    return {"run_id": run_id}


def _alike(
    runs: Sequence[Submission], now: datetime
) -> dict[tuple[str, int, datetime | None], list[int]]:
    """Runs whose entries are written together. ``None`` is due at once, whatever the clocks of the node and the database say."""
    groups: dict[tuple[str, int, datetime | None], list[int]] = defaultdict(list)
    for run in runs:
        due_at = run.due_at if run.due_at > now else None
        groups[run.queue, run.priority, due_at].append(run.run_id)
    return groups


@contextlib.contextmanager
def _as_sqlalchemy_has_it() -> Iterator[None]:
    """Let the caller, whose connection it is, see the error that its own statements raise."""
    try:
        yield
    except ConnectorException as error:
        cause = error.__cause__ or error
        raise OperationalError("procrastinate_defer_jobs", {}, cause) from error
