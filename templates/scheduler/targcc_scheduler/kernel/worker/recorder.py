"""Record log lines, progress, steps and files of running attempts. Any thread may record; the database is written in batches."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from ...core.clock import Clock
from ...core.loop_thread import LoopThread
from ...core.outage import OUTAGES, Outage
from ...core.stored_values import MOST_LOG_LINES
from ...db.transactions import Store
from .. import blob_rows
from ..blobs import ContentKeeper
from ..jobs.files import Content, ContentKind, File, check_size
from ..runs import log as run_log
from ..runs.values import Claim

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
                    await blob_rows.attach(connection, claim, content, most=most, now=now)

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
