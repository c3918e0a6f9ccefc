"""Writing outcomes: those that come while the database is busy go together in the next transaction, and none is ever dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError

from ..core.clock import Clock
from ..core.outage import OUTAGES, Outage
from ..core.states import WAITING
from ..engine.port import Engine, Submission
from ..storage.runs import settle, values
from ..storage.transactions import Store

log = logging.getLogger("targcc.worker.settlement_writer")

_MOST_AT_ONCE = 100
_GATHER_SECONDS = 0.001
"""Runs that end together are written together, and their workers get their next runs together."""


@dataclass(eq=False)
class _Waiting:
    settlement: values.Settlement
    release: bool
    held: asyncio.Future[bool]
    in_doubt: bool = False
    """Whether a try failed: its commit may have come through all the same."""

    @property
    def is_plain(self) -> bool:
        """Whether the run and its history are all that is written; on PostgreSQL that is one statement."""
        goes_on = _goes_on(self.settlement)
        return not (goes_on or self.release or self.in_doubt or self.settlement.log_lines)


class SettlementWriter:
    """Writes settlements.

    Args:
        store: The database.
        engine: Gets the runs that go on.
        clock: Dates the transitions.
    """

    def __init__(self, store: Store, engine: Engine, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._outage = Outage(log, "writing the outcome of runs")

    async def settle(
        self,
        settlement: values.Settlement,
        lines: Sequence[Mapping[str, Any]],
        progress: tuple[float, float | None] | None,
        *,
        release: bool,
        alone: bool,
    ) -> bool:
        """Write an outcome; returns once it is in the database, however long that is away.

        Args:
            settlement: The outcome.
            lines: Log lines that are not written yet.
            progress: The same of its progress.
            release: Whether the job has a limit, so that another run of it may go now.
            alone: Whether no other run is about to end, so that there is nobody to wait for.

        Returns:
            Whether the run was still held.
        """
        complete = replace(settlement, log_lines=lines, progress=progress)
        held = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(complete, release, held))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(0 if alone else _GATHER_SECONDS))
        result: bool = await held
        return result

    async def close(self) -> None:
        """Wait until everything is written."""
        if self._task is not None:
            await self._task

    async def _write_all(self, gather: float) -> None:
        await asyncio.sleep(gather)
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                await self._write(batch)
                self._outage.over()
            except (DataError, IntegrityError, ValueError, TypeError):
                await self._write_each(batch)
            except OUTAGES as error:
                for item in batch:
                    item.in_doubt = True
                self._waiting[:0] = batch
                await asyncio.sleep(self._outage.failed(error).total_seconds())

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        now = self._clock.now()
        plain = all(item.is_plain for item in batch)
        begin = self._store.write_at_once if plain else self._store.write
        async with begin() as connection:
            held = await settle.settle(connection, [item.settlement for item in batch], now)
            mine = [item for item in batch if item.settlement.claim.run_id in held]
            go_on = [_submission(item.settlement) for item in mine if _goes_on(item.settlement)]
            if go_on:
                await self._engine.submit(connection, go_on)
            for job in sorted(item.settlement.claim.job_name for item in mine if item.release):
                await self._engine.release(connection, job_name=job)  # one for each that has ended
            doubtful = [item.settlement for item in batch if item.in_doubt]
            held |= await settle.settled_before(connection, doubtful) if doubtful else frozenset()
        for item in batch:
            if not item.held.done():
                item.held.set_result(item.settlement.claim.run_id in held)
        self._engine.wake()

    async def _write_each(self, batch: Sequence[_Waiting]) -> None:
        """One of them holds something the database does not take; that one is written without its details."""
        for item in batch:
            try:
                await self._write([item])
            except (DataError, IntegrityError, ValueError, TypeError):
                log.exception("run %d: its details cannot be kept", item.settlement.claim.run_id)
                item.settlement = replace(
                    item.settlement, history=None, log_lines=(), progress=None
                )
                self._waiting.append(item)
            except OUTAGES:
                item.in_doubt = True
                self._waiting.append(item)


def _goes_on(settlement: values.Settlement) -> bool:
    return settlement.state in WAITING


def _submission(settlement: values.Settlement) -> Submission:
    claim = settlement.claim
    due_at = settlement.due_at or claim.due_at
    return Submission(claim.run_id, claim.queue, claim.priority, due_at)
