"""Loops of features on a node: the context that a loop gets, and the two usual kinds of loops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.outage import OUTAGES, Outage
from ..alert_events import AlertEvents, Notify
from ..jobs.definition import JobDefinition
from ..poller import PollResult, poller_of
from ..runs.values import Settlement
from ..worker.node_services import NodeServices

log = logging.getLogger("targcc.node.loops")

T = TypeVar("T")
Once = Callable[[], Awaitable[None]]


class EndedRuns(Protocol):
    """Takes note of runs that ended."""

    async def note(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Write rows about ended, changed or deleted runs, in the transaction that indexes the runs."""

    def wake(self) -> None:
        """Send messages about runs: a message is due."""


@dataclass(slots=True)
class NodeContext:
    """A node, as its loops see the node. A loop adds its functions to the lists of hooks when the loop is made.

    Args:
        services: Database, engine, clock, settings, and the receiver of alert events.
        definitions: The jobs; the mapping may grow while the node works.
        schedules: Whether the node creates the runs of recurring jobs.
        release: Return the node's release.
        alert_events: Passes the alert events of the process to the receivers.
        notify: The application's receiver of alert events; ``None`` sends alerts.
        ending: Set when the loops have to end.
        at_start: Hook: awaited before the node works.
        at_stop: Hook: awaited when the runs of the node have ended, before the loops end.
        settled: Hook: called with each run that this node settles.
        issues: Hook: called after each check of slots, queues and runs, with the recorded issues (pairs of subject and kind) and the time.
        ended_runs: Hook: told of ended runs.
    """

    services: NodeServices
    definitions: Mapping[str, JobDefinition]
    schedules: bool = False
    release: Callable[[], str] = str
    alert_events: AlertEvents = field(default_factory=AlertEvents)
    notify: Notify | None = None
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    at_start: list[Once] = field(default_factory=list)
    at_stop: list[Once] = field(default_factory=list)
    settled: list[Callable[[Settlement], None]] = field(default_factory=list)
    issues: list[Callable[[AbstractSet[tuple[str, str]], datetime], None]] = field(
        default_factory=list
    )
    ended_runs: list[EndedRuns] = field(default_factory=list)
    _shared: dict[Callable[..., Any], Any] = field(default_factory=dict)

    def shared(self, make: Callable[[NodeContext], T]) -> T:
        """Return the object that several loops of a feature share; the first call makes the object."""
        if make not in self._shared:
            self._shared[make] = make(self)
        made: T = self._shared[make]
        return made

    async def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until the loops have to end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ending.wait(), seconds)


class Every:
    """Calls ``once`` again and again, with a pause between the calls.

    Args:
        context: The node.
        what: Description of the work, for the log.
        once: The work; may check ``context.ending`` between its transactions.
        seconds: The pause; with many nodes up to four times as long.
    """

    def __init__(self, context: NodeContext, what: str, once: Once, seconds: float) -> None:
        self._context = context
        self._what = what
        self._once = once
        self._seconds = seconds

    async def run(self) -> None:
        """Work until the node ends its loops."""
        context, outage = self._context, Outage(log, self._what)
        while not context.ending.is_set():
            # Any node's work is enough. With many nodes, each does a share.
            wait = poller_of(context.services.store).spread(self._seconds, self._seconds * 4)
            try:
                await self._once()
                outage.over()
            except OUTAGES as error:
                wait = outage.failed(error).total_seconds()
            await context.pause(wait)

    def end(self) -> None:
        """Do nothing: ``context.ending`` ends :meth:`run`."""


class WhenSeen:
    """Calls ``once`` after each poll that shows work.

    Args:
        context: The node.
        what: Description of the work, for the log.
        shows: Return whether the result of a poll shows work.
        once: The work; may check ``context.ending`` between its transactions.
        within: Most seconds between polls.
    """

    def __init__(
        self,
        context: NodeContext,
        what: str,
        shows: Callable[[PollResult], bool],
        once: Once,
        within: float,
    ) -> None:
        self._context = context
        self._what = what
        self._shows = shows
        self._once = once
        self._within = within

    async def run(self) -> None:
        """Work until the node ends its loops."""
        context, outage, wait = self._context, Outage(log, self._what), self._within
        poller = poller_of(context.services.store)
        while not context.ending.is_set():
            try:
                if self._shows(await poller.next(wait)):
                    await self._once()
                outage.over()
                wait = self._within
            except OUTAGES as error:
                wait = outage.failed(error).total_seconds()

    def end(self) -> None:
        """Do nothing: ``context.ending`` and the poll that the node hurries end :meth:`run`."""
