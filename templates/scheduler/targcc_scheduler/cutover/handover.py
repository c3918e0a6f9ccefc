"""A job changes sides. The order keeps it from being live on both: a side is switched on after the other one is known to be off.

From the old server to here (``taking.py``):

1. Here: ``taking``, with a token. The owner stays ``old``: nothing runs here.
2. There: the row is switched off if it does not run; the same statement writes the token and the next run into it.
3. A moment later: the old server has not begun what it had chosen before; else its end is waited for.
4. Here: the owner is ``new``, and the next slot is the first run that the old server did not do.

And back (``returning.py``):

1. Here: nothing of the job runs or waits, and no slot is about to come; ``returning``, the owner is ``old``, the next slot is noted.
2. Here: no claim was under way.
3. There: the row is switched on if it carries the token, with that slot as next run and what ran here meanwhile.
4. Here: done.

A process that dies between two steps leaves the job off on both sides, and ``taking`` or ``returning`` says so; the same command goes on
from there. A step is done only while the token is the one that it began with. A step whose connection was lost, which may have been done
or not, is done once more: each finds out whether it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..core.errors import CutoverError, RunStateError
from ..core.outage import OUTAGES
from ..operations import Call
from ..project import current
from ..scheduler import Scheduler
from ..schedules import parse_zone
from ..storage.audit import audit
from ..storage.owners import rows
from ..storage.owners.values import Owner, Ownership
from .old.clock import OldClock
from .old.scripts import Said, Script, Scripts
from .old.server import OldServer

P = ParamSpec("P")
T = TypeVar("T")

_TOKEN_BYTES = 3
AGAIN = (0.2, 2.0)
"""Seconds before a step is done once more whose connection was lost, and before it is done for the last time."""
LEAD = timedelta(seconds=5)
"""A slot that is nearer than this runs where the job is."""
SETTLE = 2.0
"""Seconds after which an old server that polls once a second has begun what it had chosen before its row was switched off."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one job.

    Args:
        job: The job.
        done: Whether it is where it was to be.
        said: What happened, or why it did not.
        next_slot: The first slot of the side that has it now.
    """

    job: str
    done: bool
    said: str
    next_slot: datetime | None = None


class Handover:
    """Jobs that change sides together.

    Args:
        scheduler: This side.
        clock: The old server's clock.
        by: Who wants it.
        old: The other side; ``None`` where a person runs the scripts.
        reason: Why.
        settle: See :data:`SETTLE`.
        lead: See :data:`LEAD`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        clock: OldClock,
        by: Actor,
        *,
        old: OldServer | None = None,
        reason: str | None = None,
        settle: float = SETTLE,
        lead: timedelta = LEAD,
    ) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.outcomes: list[Outcome] = []
        self._by = by
        self._old = old
        self._reason = reason
        self._settle = settle
        self._lead = lead

    @property
    def server(self) -> OldServer:
        """The other side.

        Raises:
            CutoverError: it cannot be reached from here.
        """
        if self._old is None:
            raise CutoverError(
                "TARGCC_CUTOVER_URL does not say where the old server's database is:"
                " set it, or let --script write what is to be run there"
            )
        return self._old

    def answer(self, job: str, said: str, *, done: bool = False) -> None:
        """Say what came of a job."""
        self.outcomes.append(Outcome(job, done=done, said=said))

    async def do(
        self, work: Callable[Concatenate[Call, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do something in one transaction here, which finds out whether it was done before."""
        return await self._persist(lambda: self.scheduler.operate(work, None, *args, **kwargs))

    async def ask(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What a query finds here."""
        return await self._persist(lambda: self.scheduler.read(query))

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for seconds in AGAIN:
            try:
                return await attempt()
            except OUTAGES:
                await asyncio.sleep(seconds)
        return await attempt()

    async def attempt(self, work: Callable[[Call, str], Awaitable[T | None]], job: str) -> T | None:
        """Do something about a job in one transaction here; why it cannot be done is an answer."""
        try:
            return await self.do(work, job)
        except (CutoverError, RunStateError, LookupError) as error:
            self.answer(job, str(error))
            return None

    async def scripts(self) -> Scripts:
        """The statements for the other side, which has to answer: so nothing is begun here that cannot go on there.

        Raises:
            CutoverError: it cannot be reached.
        """
        server = self.server
        return await asyncio.to_thread(lambda: server.scripts)

    async def there(self, script: Script) -> dict[str, Said]:
        """Run a script at the old server; what it says, by the rows' IDs."""
        return await asyncio.to_thread(self.server.run, script)

    async def wait_for_old_server(self) -> None:
        """Let the old server begin what it had chosen."""
        await asyncio.sleep(self._settle)

    async def matched(self, said: dict[str, Said]) -> list[tuple[Ownership, Said]]:
        """The jobs that lines of a script are about; lines of another change of sides are told of."""
        owned = await self.ask(rows.load)
        by_key = {one.old_key: one for one in owned.values()}
        found = []
        for key, line in said.items():
            one = by_key.get(key)
            if one is not None and one.mark == line.token:
                found.append((one, line))
            else:
                name = one.job if one is not None else f"row {key}"
                self.answer(
                    name, f"what the script said of row {key} is of another change of sides"
                )
        return found

    async def note(
        self, call: Call, job: str, owner: Owner, action: str, detail: str, **columns: Any
    ) -> Ownership:
        """Write a job's row, with a row of the audit."""
        reason = {"Reason": self._reason[:500]} if self._reason else {}
        await rows.put(call.connection, job, owner, self._by, call.now, **reason, **columns)
        await audit(call.connection, self._by, action, call.now, job_name=job, detail=detail)
        return (await rows.load(call.connection, [job]))[job]


async def known(call: Call, job: str) -> Ownership:
    """The row of a job, locked.

    Raises:
        CutoverError: nothing is known about its row there.
    """
    one = await rows.lock(call.connection, job)
    if one is None or one.old_key is None:
        raise CutoverError(
            "the ID of its row in the old table is not known: targcc owner import, or owner set --old-id"
        )
    return one


async def is_to_do(call: Call, one: Ownership, owner: Owner, mark: str | None) -> bool:
    """Whether a step is still to be done that ends a change of sides with this owner and mark; not if it is, and nobody heard of it.

    Raises:
        CutoverError: somebody else has gone on with it.
    """
    found = await known(call, one.job)
    if (found.step, found.mark) == (one.step, one.mark):
        return True
    if (found.step, found.owner, found.mark) == (None, owner, mark):
        return False
    raise CutoverError(f"{one.job}: somebody else has gone on with it: targcc cutover status")


def new_token() -> str:
    """What names one change of sides."""
    return secrets.token_hex(_TOKEN_BYTES)


def next_token(token: str) -> str:
    """What names the change of sides after this one: the same whenever it is asked, so that a row which has it already is known."""
    return hashlib.sha256(token.encode()).hexdigest()[: 2 * _TOKEN_BYTES]


def tokens(jobs: Sequence[Ownership]) -> list[tuple[str, str]]:
    """The rows' IDs with their tokens."""
    return [(str(one.old_key), one.mark or "") for one in jobs]


def shown(slot: datetime | None) -> str:
    """A slot in the project's zone."""
    if slot is None:
        return "only when asked"
    return f"{slot.astimezone(parse_zone(current().timezone)):%Y-%m-%d %H:%M:%S}"
