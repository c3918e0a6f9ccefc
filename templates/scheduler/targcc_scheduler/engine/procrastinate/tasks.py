"""Entries: jobs of Procrastinate, each of which says that one run waits. They are deferred and listened for by its public API.

A *bundle* is an entry of many runs, so that a call which creates thousands of them does not write as many entries. It has its place in the queue like
any other; whoever comes to it replaces it by entries of its runs, which go before all others of its priority, since those came later.
Nodes of a release that knows no bundles leave them to others.

An entry is a hint and no more: one for a run that is over, or that waits no longer, does nothing when it is taken, and neither does a
second one. So a run that is to go sooner gets another entry, and one that is cancelled keeps its own.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate.exceptions import ConnectorException
from procrastinate.types import JSONDict
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.outage import OUTAGES
from ...core.queues.ageing import BEHIND_ALL, entry_priority
from ...storage.dialects.drivers.psycopg_driver import QuietConnection
from ...storage.dialects.frequent import FrequentStatement
from ...storage.dialects.listed import listed
from ..port import Submission

TASK = "targcc.run"
"""The name of the task of nearly all entries; its argument is a run's id."""

ELSEWHERE = "targcc.run.elsewhere"
"""The task of entries of runs that a node has refused: whoever takes them looks first whether it was itself."""

BUNDLE = "targcc.runs"
"""The task of bundles; its argument is a list of runs' ids."""
_AT_LEAST = 5_000
"""So many runs that are submitted together, with the same queue, priority and time, are bundled: their entries are written later, as they are taken."""
_IN_A_BUNDLE = 200
"""Runs whose entries are written by whoever opens it: that takes the server about 4 ms of its processor."""

_DEFER = FrequentStatement(
    sa.text("""
    SELECT cardinality(procrastinate_defer_jobs_v1(array_agg(
        ROW(CAST(:queue AS varchar), CAST(:task AS varchar), CAST(:priority AS integer), NULL, NULL,
            jsonb_build_object('run_id', run_id), CAST(:due_at AS timestamptz))::procrastinate_job_to_defer_v1
        ORDER BY place
    ))) AS count
    FROM unnest(CAST(:run_ids AS bigint[])) WITH ORDINALITY AS given (run_id, place)
    """)
    .bindparams(
        sa.bindparam("due_at", type_=sa.DateTime(timezone=True)),
        listed("run_ids", sa.BigInteger),
    )
    .columns(sa.column("count", sa.Integer))
)
"""Writes several entries at once. It ends as Procrastinate's own ``batch_defer`` does, without 18 values for each of them."""

QUEUE_OUTAGES = (*OUTAGES, ConnectorException, psycopg.Error)
"""What is raised while the database is unavailable, by SQLAlchemy or by Procrastinate."""


def make_app(url: sa.URL) -> procrastinate.App:
    """Procrastinate for a database. It defers on the caller's connections; opened, it listens on connections of its own."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        conninfo=address,
        connection_class=QuietConnection,
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
    task: str = TASK,
    *,
    aging: Mapping[str, int],
) -> None:
    """Write entries for runs, in the transaction of ``connection``, and bundles where they are many; where Procrastinate cannot, there is none until somebody looks.

    Args:
        app: Procrastinate.
        connection: The transaction.
        runs: The runs.
        now: The present instant.
        task: Who takes the entries, see :data:`TASK` and :data:`ELSEWHERE`.
        aging: For some queues, the seconds of waiting that count as one point of priority.

    Raises:
        sqlalchemy.exc.OperationalError: the database is unavailable.
    """
    driver = await psycopg_connection(connection)
    if driver is None:
        return
    if isinstance(driver, psycopg.Connection):  # a plain one of the application's
        app = _plain_app()
    for (queue, priority, due_at), ids in _alike(runs, now, aging).items():
        is_many = task == TASK and len(ids) >= _AT_LEAST
        if len(ids) > 1 and not is_many:
            given = {"queue": queue, "task": task, "priority": priority, "due_at": due_at}
            await _DEFER.all(connection, {**given, "run_ids": ids})
            continue
        entry = app.configure_task(
            BUNDLE if is_many else task,
            queue=queue,
            priority=priority,
            schedule_at=due_at,
            connection=driver,
        )
        arguments = _bundles(ids) if is_many else map(_arguments, ids)
        with _as_sqlalchemy_has_it():
            if isinstance(driver, psycopg.Connection):
                entry.batch_defer(*arguments)
            else:
                await entry.batch_defer_async(*arguments)


@cache
def _plain_app() -> procrastinate.App:
    """Procrastinate for connections that are not async; it has none of its own."""
    return procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


async def psycopg_connection(
    connection: AsyncConnection,
) -> psycopg.Connection[Any] | psycopg.AsyncConnection[Any] | None:
    """The connection of psycopg; ``None`` for another driver, as an application may have it."""
    driver = (await connection.get_raw_connection()).driver_connection
    driver = getattr(driver, "owned", driver)
    known = isinstance(driver, psycopg.Connection | psycopg.AsyncConnection)
    return driver if known else None


def _bundles(run_ids: Sequence[int]) -> Iterator[JSONDict]:
    for start in range(0, len(run_ids), _IN_A_BUNDLE):
        yield {"run_ids": list(run_ids[start : start + _IN_A_BUNDLE])}


def _arguments(run_id: int) -> JSONDict:
    return {"run_id": run_id}


def _alike(
    runs: Sequence[Submission], now: datetime, aging: Mapping[str, int]
) -> dict[tuple[str, int, datetime | None], list[int]]:
    """Runs whose entries are written together. ``None`` is due at once, whatever the clocks of the node and the database say."""
    groups: dict[tuple[str, int, datetime | None], list[int]] = defaultdict(list)
    for run in runs:
        due_at = run.due_at if run.due_at > now else None
        ids = groups[run.queue, _points(run, aging.get(run.queue)), due_at]
        if not (run.asks and ids):
            ids.append(run.run_id)
    return groups


def _points(run: Submission, aging: int | None) -> int:
    if run.asks:
        return BEHIND_ALL
    return entry_priority(run.priority, run.due_at, aging, first=run.first)


@contextlib.contextmanager
def _as_sqlalchemy_has_it() -> Iterator[None]:
    """Let the caller, whose connection it is, see the error that its own statements raise."""
    try:
        yield
    except ConnectorException as error:
        cause = error.__cause__ or error
        raise OperationalError("procrastinate_defer_jobs", {}, cause) from error
