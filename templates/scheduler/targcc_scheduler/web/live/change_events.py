"""The events of all runs: each change of a state, for those who ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from fastapi import Request

from ...core.states import RunState
from ...queries.following.changes import Change
from ...security.roles import Principal
from ..state import get_web
from .streams import BEGINNING, COMMENT, LOOK_SECONDS, EventStream, Leave, event, last_event

_LONGEST_AGO = timedelta(hours=1)
"""A reader that was away longer is told that it has missed something."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes somebody wants to hear of; without any of a kind: all.

    Args:
        jobs: Of these jobs, or those that a pattern such as ``Daily*`` names.
        queues: Of runs of these queues.
        states: To these states.
    """

    jobs: Sequence[str] = ()
    queues: Sequence[str] = ()
    states: Sequence[RunState] = ()

    def fits(self, one: Change) -> bool:
        """Whether it is one of those."""
        job = one.job.lower()
        return (
            (not self.jobs or any(fnmatchcase(job, pattern.lower()) for pattern in self.jobs))
            and (not self.queues or one.queue in self.queues)
            and (not self.states or one.state in self.states)
        )


def change_events(request: Request, principal: Principal, wanted: Wanted) -> EventStream:
    """A stream of changes, from now on or from where the reader was before.

    Raises:
        Problem: there are too many streams.
    """
    web = get_web(request)
    web.streams.check(principal)
    now = web.scheduler.clock.now()
    seen = last_event(request)
    place = _instant(seen)

    async def events() -> AsyncIterator[str]:
        leave = Leave(request, principal)
        with web.streams.one(principal), web.changes.listen(place or now) as listener:
            yield BEGINNING
            if place is not None:
                missed = await web.changes.missed(max(place, now - _LONGEST_AGO))
                if missed.until is not None or now - place > _LONGEST_AGO:
                    yield event("gap", {"after": place})
                listener.catch_up([one for one in missed.found if one.key != seen])
            while await leave.goes_on():
                found = await listener.news(LOOK_SECONDS)
                said = "".join(
                    event("run", one, one.key)
                    for one in found
                    if wanted.fits(one) and one.key != seen and leave.shows(one.job)
                )
                if said or leave.is_quiet():
                    yield said or COMMENT
                    leave.spoke()
                if listener.behind:
                    return

    return EventStream(events())


def _instant(key: str) -> datetime | None:
    """When the change of a key was."""
    try:
        found = datetime.fromisoformat(key.partition("~")[0])
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):  # also one that no database has
        return None
