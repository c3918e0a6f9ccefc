"""Write the results of attempts to the database in batches: log lines, progress, steps, files and settlements."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import Clock
from ...core.loop_thread import LoopThread
from ...core.outage import OUTAGES, Outage, is_undone
from ...core.states import RunState
from ...core.stored_values import MOST_LOG_LINES
from ...db.transactions import Store
from .. import blobs
from ..blobs import ContentKeeper
from ..dependencies import lock_rows
from ..engine.port import Engine
from ..engine.submit import hand_over
from ..jobs.files import Content, ContentKind, File, check_size
from ..runs import log as run_log
from ..runs import settle
from ..runs.values import NO_LIMIT, Claim, Settlement, Tie

# Record log lines, progress, steps and files of running attempts. Any thread may record; the database is written in batches.

log = logging.getLogger("targcc.worker.recorder")

_FLUSH_SECONDS = 0.3
_LONGEST_FLUSH_SECONDS = 5.0


class RunRecorder:
    """Record log lines, progress, steps and files of one attempt. Jobs reach the recorder through ``ctx``.

    Args:
        claim: The attempt.
        writer: Writes the records to the database.
    """

    def __init__(self, claim: Claim, writer: RecordWriter) -> None:
        self.claim = claim
        self._writer = writer
        self._lock = threading.Lock()
        self._lines: list[dict[str, Any]] = []
        self._count = 0
        self._progress: tuple[float, float | None] | None = None
        self._closed = False

    def write(self, level: str, message: str) -> None:
        """Store a log line. The caller has already bounded its length and masked secrets.

        An attempt stores at most ``MOST_LOG_LINES`` lines. The last of these says that the rest is not kept.
        """
        with self._lock:
            self._count += 1
            if self._closed or self._count > MOST_LOG_LINES:
                return
            if self._count == MOST_LOG_LINES:
                level = "warning"
                message = f"more than {MOST_LOG_LINES} lines: the rest is not kept"
            self._lines.append(self._writer.row(self.claim, level, message))
        self._writer.arm(self)

    def progress(self, done: float, total: float | None) -> None:
        """Store the progress of the run; only the latest value is written."""
        with self._lock:
            if self._closed:
                return
            self._progress = (done, total)
        self._writer.arm(self)

    def find_step(self, name: str) -> Future[str | None]:
        """Return a future with the JSON result of a finished step, or ``None`` if the step has not finished."""
        return self._writer.find_step(self.claim, name)

    def keep_step(self, name: str, result_json: str, duration_ms: int) -> Future[None]:
        """Store the result of a step."""
        return self._writer.keep_step(self.claim, name, result_json, duration_ms)

    def attach(self, file: File) -> Future[None]:
        """Store a file as a result of the run."""
        return self._writer.attach(self.claim, file)

    def take(self) -> tuple[list[dict[str, Any]], tuple[float, float | None] | None]:
        """Remove and return the log lines and the progress that are not written yet. The caller writes them."""
        with self._lock:
            lines, self._lines = self._lines, []
            progress, self._progress = self._progress, None
            return lines, progress

    def put_back(self, lines: list[dict[str, Any]]) -> None:
        """Put log lines that could not be written back before the newer lines."""
        with self._lock:
            self._lines[:0] = lines

    def close(self) -> tuple[list[dict[str, Any]], tuple[float, float | None] | None]:
        """Call :meth:`take` for the last time: the attempt is over, and later records are dropped."""
        self._closed = True
        return self.take()


class RecordWriter:
    """Write the records of all runs on this node to the database; log lines and progress at most every 0.3 s.

    Args:
        store: The database.
        clock: Dates log lines.
        loop: The scheduler's loop, on which the database is used.
        keeper: Stores files, in the database or in the project's file store.
    """

    def __init__(self, store: Store, clock: Clock, loop: LoopThread, keeper: ContentKeeper) -> None:
        self.keeper = keeper
        self._store = store
        self._clock = clock
        self._loop = loop
        self._armed: dict[RunRecorder, None] = {}
        self._writing: frozenset[RunRecorder] = frozenset()
        self._flushed: asyncio.Future[None]
        self._task: asyncio.Task[None] | None = None
        self._outage = Outage(log, "keeping log lines and progress")

    def row(self, claim: Claim, level: str, message: str) -> dict[str, Any]:
        """Return a row of ``c_JobLogLine``, dated now."""
        return {
            "RunId": claim.run_id,
            "Attempt": claim.attempt,
            "At": self._clock.now(),
            "Level": level,
            "Message": message,
        }

    def arm(self, recorder: RunRecorder) -> None:
        """Schedule a flush for a recorder that has something to write. Called from any thread."""
        if recorder not in self._armed:
            self._armed[recorder] = None
            self._loop.loop.call_soon_threadsafe(self._start)

    def find_step(self, claim: Claim, name: str) -> Future[str | None]:
        """Return a future with the JSON result of a finished step, or ``None`` if the step has not finished."""

        async def find() -> str | None:
            async with self._store.read() as connection:
                return await run_log.find_step(connection, claim.run_id, name)

        return self._loop.submit(self._persist(find))

    def keep_step(
        self, claim: Claim, name: str, result_json: str, duration_ms: int
    ) -> Future[None]:
        """Store the result of a step."""

        async def keep() -> None:
            now = self._clock.now()
            async with self._store.write() as connection:
                await run_log.keep_step(
                    connection,
                    claim,
                    name,
                    result_json=result_json,
                    duration_ms=duration_ms,
                    now=now,
                )

        return self._loop.submit(self._persist(keep))

    def attach(self, claim: Claim, file: File) -> Future[None]:
        """Store a file as a result of a run. The file is read in a thread, off the scheduler's loop."""

        def put() -> Content:
            check_size(file.name, file.size, self.keeper.most_bytes)
            [content] = self.keeper.put([Content.of(ContentKind.RESULT, file)])
            return content

        async def keep_file() -> None:
            content = await asyncio.to_thread(put)

            async def keep() -> None:
                async with self._store.write() as connection:
                    most, now = self.keeper.most_results, self._clock.now()
                    await blobs.attach(connection, claim, content, most=most, now=now)

            await self._persist(keep)

        return self._loop.submit(keep_file())

    def note_stop(self, claim: Claim, note: str) -> None:
        """Store a human-readable note that a run was told to stop and still runs."""

        async def keep() -> None:
            async with self._store.write() as connection:
                await run_log.set_stop_note(connection, claim, note)

        self._loop.submit(self._persist(keep))

    async def _persist(self, work: Any) -> Any:
        """Call ``work`` and return its result; retry while the database is unavailable, as a finished step must not be repeated."""
        outage = Outage(log, "keeping what a run has done")
        while True:
            try:
                result = await work()
            except OUTAGES as error:
                await asyncio.sleep(outage.failed(error).total_seconds())
            else:
                outage.over()
                return result

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        while self._armed:
            await asyncio.sleep(_FLUSH_SECONDS)
            try:
                await self._flush()
                self._outage.over()
            except OUTAGES as error:
                await asyncio.sleep(self._outage.failed(error).total_seconds())

    async def written(self, recorder: RunRecorder) -> None:
        """Wait until the current flush has written the records of an attempt, at most 5 s.

        So the last log lines of the attempt are stored after the earlier lines.
        """
        if recorder in self._writing:
            await asyncio.wait((self._flushed,), timeout=_LONGEST_FLUSH_SECONDS)

    async def _flush(self) -> None:
        waiting = list(self._armed)
        self._armed.clear()
        self._writing = frozenset(waiting)
        self._flushed = asyncio.get_running_loop().create_future()
        try:
            await self._write(waiting)
        finally:
            self._writing = frozenset()
            self._flushed.set_result(None)

    async def _write(self, waiting: Sequence[RunRecorder]) -> None:
        taken = [(recorder, *recorder.take()) for recorder in waiting]
        lines = [line for _, some, _ in taken for line in some]
        try:
            async with self._store.write() as connection:
                if lines:
                    await run_log.add_lines(connection, lines)
                for recorder, _, progress in taken:
                    if progress is not None:
                        await run_log.set_progress(connection, recorder.claim, *progress)
        except OUTAGES:
            for recorder, some, _ in taken:
                recorder.put_back(some)
                self._armed[recorder] = None
            raise


# Write settlements in batches; retry until each settlement is in the database.
#
# Settlements that arrive while a transaction runs are written together in the next transaction.

_MOST_AT_ONCE = 100
_GATHER_SECONDS = 0.001
"""Seconds that the first settlement of a batch waits for further settlements.

Runs that end at nearly the same time are written together, so that their workers claim the next runs together.
"""


@dataclass(eq=False)
class _Waiting:
    settlement: Settlement
    written: asyncio.Future[Settlement | None]
    tries: list[tuple[Settlement, datetime]] = field(default_factory=list)
    """Earlier tries of this settlement, each with its instant. Their commits may have succeeded although no answer came."""


class SettlementWriter:
    """Write settlements to the database, in batches of at most 100.

    Args:
        store: The database.
        engine: Receives the runs that wait again or may start because of a settlement.
        clock: Dates the transitions.
        others_run: Returns whether other runs are in progress on this node. If so, waiting briefly for their settlements pays.
    """

    def __init__(
        self, store: Store, engine: Engine, clock: Clock, others_run: Callable[[], bool]
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._others_run = others_run
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._gathered: asyncio.Future[None] | None = None
        self._outage = Outage(log, "writing the outcome of runs")

    async def settle(self, settlement: Settlement) -> Settlement | None:
        """Write a settlement and return once the database has stored it; wait as long as the database is unavailable.

        Returns:
            What was written; ``None`` if the run did not belong to this node any more.

        Raises:
            Exception: The settlement cannot be written, not even without its details. This is a fault of the scheduler.
        """
        written: asyncio.Future[Settlement | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(settlement, written))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())
        elif self._gathered is not None and not self._others_run():
            _resolve(self._gathered)
        return await written

    async def close(self) -> None:
        """Wait until all settlements are written."""
        if self._task is not None:
            await self._task

    async def _write_all(self) -> None:
        if self._others_run():
            await self._gather()
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                await self._try(batch)
            except Exception as error:  # noqa: BLE001 - nobody must wait for what will not come
                for item in batch:
                    if not item.written.done():
                        item.written.set_exception(error)

    async def _gather(self) -> None:
        """Wait for further settlements: until the last run on this node has ended, but at most ``_GATHER_SECONDS``."""
        loop = asyncio.get_running_loop()
        self._gathered = loop.create_future()
        timer = loop.call_later(_GATHER_SECONDS, _resolve, self._gathered)
        try:
            await self._gathered
        finally:
            timer.cancel()
            self._gathered = None

    async def _try(self, batch: Sequence[_Waiting]) -> None:
        """Write a batch; if the database refuses a value, halve the batch until only the refused settlement is left.

        During an outage, put the whole batch back at the front of the queue and pause.
        """
        now = self._clock.now()
        try:
            await self._write(batch, now)
        except OUTAGES as error:
            if isinstance(error, DataError | IntegrityError):
                await self._try_halves(batch, error)
            else:
                await self._try_later(batch, now, error)
        # For example a StatementError: a value cannot be converted to a parameter.
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one item's
            await self._try_halves(batch, error)
        else:
            self._outage.over()

    async def _try_later(self, batch: Sequence[_Waiting], now: datetime, error: Exception) -> None:
        if not is_undone(error):
            for item in batch:
                item.tries.append((item.settlement, now))
        self._waiting[:0] = batch
        await asyncio.sleep(self._outage.failed(error).total_seconds())

    async def _try_halves(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if len(batch) > 1:
            half = len(batch) // 2
            await self._try(batch[:half])
            await self._try(batch[half:])
            return
        item = batch[0]
        run_id, simpler = item.settlement.claim.run_id, _simpler(item.settlement)
        if simpler == item.settlement:
            item.written.set_exception(error)
            return
        log.error("run %d: its details cannot be kept", run_id, exc_info=error)
        item.settlement = simpler
        await self._try(batch)

    async def _write(self, batch: Sequence[_Waiting], now: datetime) -> None:
        doubtful = [tried for item in batch for tried in item.tries]
        settlements = [item.settlement for item in batch]
        at_once = self._store.dialect.commits_cost
        one_statement = not doubtful and all(
            _is_plain(settlement, at_once=at_once) for settlement in settlements
        )
        begin = self._store.write_at_once if one_statement else self._store.write
        async with begin() as connection:
            if any(item.claim.ties & Tie.FOLLOWED for item in settlements):
                await _hold(connection, settlements)
            settled = await settle.settle(connection, settlements, now, untied=one_statement)
            await hand_over(self._engine, connection, settled, now)
            if doubtful:
                settled += await settle.settled_before(connection, doubtful)
        if one_statement and len(settled) < len(settlements):
            for item in batch:  # some are committed already, even if the next transaction fails
                item.tries.append((item.settlement, now))
            settled += await self._write_tied(settlements, settled, now)
        by_claim = {item.claim.key: item for item in settled}
        for item in batch:
            if not item.written.done():
                item.written.set_result(by_claim.get(item.settlement.claim.key))
        self._engine.wake()

    async def _write_tied(
        self, settlements: Sequence[Settlement], settled: Sequence[Settlement], now: datetime
    ) -> list[Settlement]:
        """Settle the rest of a batch in a transaction, and return the settlements that were written.

        The single statement has skipped them: a run got dependents while it ran, or the run does not belong to this node any more.
        """
        written = {item.claim.key for item in settled}
        rest = [item for item in settlements if item.claim.key not in written]

        async def work(connection: AsyncConnection) -> list[Settlement]:
            await _hold(connection, rest)
            tied = await settle.settle(connection, rest, now)
            await hand_over(self._engine, connection, tied, now)
            return tied

        return await self._store.change(work)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _hold(connection: AsyncConnection, settlements: Sequence[Settlement]) -> None:
    """Lock the runs and their waiting dependents in id order, so that concurrent settlements do not deadlock.

    A single settlement reaches its dependents in that order without this lock. But with a limit, settling locks the limit key before
    the dependents; so the dependents are locked here, before the key.
    """
    if len(settlements) > 1 or settlements[0].claim.ties & Tie.LIMITED:
        await lock_rows(connection, [item.claim.run_id for item in settlements])


def _is_plain(settlement: Settlement, *, at_once: bool) -> bool:
    """Return whether a single statement can write the settlement: only the run and its history change.

    Args:
        settlement: The settlement.
        at_once: Accept a run that has a limit key: the statement skips the run if other runs wait for the key. A run that has itself
            waited for room under its limit is not plain, as further runs are then likely to wait.
    """
    limited = settlement.claim.limit or settlement.claim.queue_limit
    failed = settlement.state is RunState.FAILED  # its error group is written too
    tied = settlement.claim.ties & NO_LIMIT if at_once else settlement.claim.ties
    return not (settlement.goes_on or limited or failed or tied or settlement.log_lines)


def _simpler(settlement: Settlement) -> Settlement:
    """Return the settlement with less job data: first without details, then with a fixed message and without a note."""
    attempt = settlement.attempt
    if attempt is not None:
        attempt = replace(
            attempt,
            stack_trace=None,
            metadata_json=None,
            duration_ms=None,
            memory_mb=None,
            cpu_ms=None,
        )
    without_details = replace(settlement, attempt=attempt, log_lines=(), progress=None)
    if without_details != settlement:
        return without_details
    silent = None if attempt is None else replace(attempt, message="its result cannot be kept")
    return replace(settlement, attempt=silent, message="its result cannot be kept", note="")
