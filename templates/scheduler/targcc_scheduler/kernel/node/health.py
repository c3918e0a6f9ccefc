"""Node health: clock offset, database identity, blocked job loop; and the alerts about these."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import CLOCK_OFF_MS, DatabaseClock, uptime
from .. import error_groups
from ..alert_events import node_event
from ..runs.values import Claim
from ..worker.node_services import NodeServices
from . import nodes

log = logging.getLogger("targcc.node.condition")

_OFF_BY = timedelta(milliseconds=CLOCK_OFF_MS)


class NodeHealth:
    """Health of this node.

    Args:
        services: Database, clock, and the receiver of alerts.
        name: Name of the node's machine.
    """

    def __init__(self, services: NodeServices, name: str) -> None:
        self.now = nodes.Condition()
        self._services = services
        self._name = name
        self._clock_is_off = False
        self._database: str | None = None
        self._shown: tuple[float, float] | None = None

    async def read_clock(self, connection: AsyncConnection) -> None:
        """Compare this machine's clock with the database's clock, and follow the database."""
        asked = uptime()
        self._follow(await self._services.store.dialect.read_clock(connection), asked)

    def hear(self, answer: nodes.Answer, asked: float) -> None:
        """Check the answer to a heartbeat and follow the database's clock.

        Args:
            answer: Id and clock of the database.
            asked: Time of the heartbeat, by :func:`...core.clock.uptime`.

        Raises:
            DatabaseReplaced: the database is another one. Reads and writes are refused until the first database is back.
        """
        self._check(answer.database)
        self._follow(answer.now, asked)

    def _follow(self, said: datetime | None, asked: float) -> None:
        clock, answered = self._services.clock, uptime()
        if not isinstance(clock, DatabaseClock):
            return
        if said is None:
            self._look_for_steps(clock)
            return
        clock.follow(said, asked, answered)
        self._judge(clock.offset)

    def _judge(self, offset: timedelta) -> None:
        self.now = replace(self.now, clock_offset_ms=round(offset.total_seconds() * 1000))
        off = abs(offset) > _OFF_BY
        if off and not self._clock_is_off:
            way = "ahead of" if offset > timedelta() else "behind"
            self._tell(
                f"the clock of {self._name} is {abs(offset).total_seconds():.1f} s {way} the database's;"
                " schedules follow the database's clock, but set this one right",
            )
        elif self._clock_is_off and not off:
            log.warning("the clock of %s agrees with the database's again", self._name)
        self._clock_is_off = off

    def _look_for_steps(self, clock: DatabaseClock) -> None:
        """Detect that this machine's clock was set, where the database has no clock of its own."""
        shown = clock.own.now().timestamp(), uptime()
        if self._shown is not None:
            step = (shown[0] - self._shown[0]) - (shown[1] - self._shown[1])
            if abs(step) > _OFF_BY.total_seconds():
                way = "forward" if step > 0 else "back"
                self._tell(f"the clock of {self._name} was set {way} by {abs(step):.1f} s")
        self._shown = shown

    def see_jobs_loop(self, stuck_in: str | None) -> None:
        """Record the job that blocks the job loop; ``None`` if the loop is responsive."""
        since = None if stuck_in is None else self.now.stuck_since or self._services.clock.now()
        self.now = replace(self.now, stuck_since=since, stuck_in=stuck_in)

    async def know_database(self, connection: AsyncConnection) -> None:
        """Remember the id of this database. Call in a transaction that writes."""
        found = await nodes.give_database_id(connection, self._services.clock.now())
        self._database = self._database or found

    async def check_database(self, connection: AsyncConnection) -> None:
        """Check that this is the database that the node started with.

        Raises:
            DatabaseReplaced: the database is another one. Reads and writes are refused until the first database is back.
        """
        self._check(await nodes.database_id(connection))

    def _check(self, found: str | None) -> None:
        watch = self._services.store.watch
        if found == self._database:
            watch.refuse(None)
            return
        watch.refuse(
            "the database was replaced by another while it was in use: this node works on with the first one,"
            " or restart it to work with this one"
        )
        watch.check()

    async def note_lost(self, connection: AsyncConnection, beat: nodes.Beat, runs: int) -> None:
        """Record an issue for a lost node, in the transaction that removes the node."""
        name = beat.server_id.partition(":")[0]
        detail = (
            f"process {beat.process_id} has said nothing since {beat.at.isoformat(' ', 'seconds')}"
        )
        if runs:
            detail += f"; {runs} of its runs went to others"
        await error_groups.note_issue(
            connection, name, error_groups.NODE, detail, self._services.clock.now()
        )

    def tell_lost(self, beat: nodes.Beat, claims: Sequence[Claim]) -> None:
        """Log and alert that a node was lost, with the runs that were running there."""
        runs = [f"{c.job_name} (run {c.run_id})" for c in claims if c.server_id == beat.server_id]
        had = f"; it had {', '.join(runs[:5])}" if runs else ""
        stuck = f", stuck in {beat.stuck_in.splitlines()[0]}" if beat.stuck_in else ""
        self._tell(
            f"node {beat.server_id} is lost: it has said nothing since {beat.at}{stuck}{had}",
            details=beat.stuck_in or "",
            about=beat.server_id.partition(":")[0],
        )

    def _tell(self, message: str, details: str = "", about: str = "") -> None:
        log.error(message)
        event = node_event(message, server=self._name, details=details, about=about)
        self._services.notify(event)
