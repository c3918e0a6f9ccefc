"""Break the connections of a switch, to either database: before a statement, before a commit and after a commit."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import projects
import psycopg
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from targcc_scheduler import Scheduler, configure
from targcc_scheduler.cli import common
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.features.legacy.cutover import Handover, Returning, Taking

T = TypeVar("T")
KILLED = 137
"""Exit status of a killed process."""


class Breaks:
    """Choose at which moments a connection is lost; moments are counted from 1.

    Args:
        first: The first moment with a loss.
        last: The last moment with a loss.
    """

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._moment = 0
        self.made = 0

    def is_due(self) -> bool:
        """Count a moment; return whether the connection is lost at this moment."""
        self._moment += 1
        due = self._first <= self._moment <= self._last
        self.made += due
        return due

    async def during(self, work: Awaitable[T]) -> T:
        """Await ``work`` with these breaks active; other tasks of the process keep their connections."""

        async def do() -> T:
            _BREAKS.set(self)
            return await work

        return await asyncio.create_task(do())


_BREAKS: ContextVar[Breaks | None] = ContextVar("breaks", default=None)


@contextmanager
def breakable(lose: Callable[[Any], None]) -> Iterator[None]:
    """Make :class:`Breaks` effective.

    Args:
        lose: Break a connection; later statements on the connection fail.
    """
    commit = DefaultDialect.do_commit

    def due() -> bool:
        breaks = _BREAKS.get()
        return breaks is not None and breaks.is_due()

    def before(connection: sa.Connection, *_: object) -> None:
        if due():
            lose(connection.connection)

    def do_commit(dialect: DefaultDialect, connection: Any) -> None:
        if due():
            lose(connection)
        commit(dialect, connection)
        if due():
            lose(connection)
            # raise the driver's own error: the server has not answered
            connection.cursor().execute("SELECT 1")

    sa.event.listen(sa.Engine, "before_cursor_execute", before)
    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign] - until the end
    try:
        yield
    finally:
        DefaultDialect.do_commit = commit  # type: ignore[method-assign]
        sa.event.remove(sa.Engine, "before_cursor_execute", before)


@contextmanager
def postgresql_loses(url: str) -> Iterator[None]:
    """Break connections by ending the server's process.

    Args:
        url: Any database of the server.
    """
    with psycopg.connect(url, autocommit=True) as server:

        def lose(connection: Any) -> None:
            process = connection.driver_connection.info.backend_pid
            server.execute("SELECT pg_terminate_backend(%s, 20000)", (process,))

        with breakable(lose):
            yield


def _breaking(switch: Callable[..., Awaitable[Any]], moment: int) -> Callable[..., Awaitable[Any]]:
    """Return the switch with a break at a moment."""
    return lambda *args: Breaks(moment, moment).during(switch(*args))


def _main(instant: str, moment: int, *words: str) -> None:
    """Run ``targcc`` at an instant; the process exits at a moment of the switch as if killed."""
    configure(projects.RIG)
    common.make_scheduler = partial(Scheduler, clock=ManualClock(datetime.fromisoformat(instant)))
    Handover.wait_for_old_server = lambda _: asyncio.sleep(0)
    for kind, name in ((Taking, "take"), (Returning, "give_back")):
        setattr(kind, name, _breaking(getattr(kind, name), moment))
    with breakable(lambda _: os._exit(KILLED)):
        main(words, prog_name="targcc")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
