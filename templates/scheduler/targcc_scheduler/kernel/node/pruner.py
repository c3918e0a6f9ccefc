"""The pruner: removes old rows in small steps, with pauses for other transactions, so that the tables stay bounded."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...db.transactions import Store
from ...settings import Settings
from .. import audit, counts, error_groups, idempotency, limit_renames, statistics
from .. import job_owner as owners
from ..blobs import ContentKeeper, sweep
from ..feature import Retention, parts
from ..runs import retention
from ..runs.retention import HISTORY, RUNS, Kept, OldRow
from ..throttle import Throttle

log = logging.getLogger("targcc.node.pruner")

_FOLDED_AFTER, _FOLDED_UNTIL = timedelta(days=1), timedelta(days=30)
"""Age of the statistics rows that are merged; older rows are merged already."""
_FOLDED_AT_ONCE = timedelta(hours=6)
"""Period of the statistics rows that are merged at once: each step reads all rows of its period."""

_OF_KERNEL = {
    "shadow slots": owners.prune,
    "error groups": error_groups.remove_old,
    "requests": idempotency.remove_old,
}
"""Functions that remove old rows of the kernel's other tables; the same interface as :class:`~..feature.Retention`."""

Progress = Callable[[Counter[str]], None]


@dataclass(frozen=True)
class AuditAge:
    """Age limit for rows of the audit.

    Args:
        before: Rows older than this instant are removed.
        now: The current time, recorded as the time of the removal.
    """

    before: datetime
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """Options of a pruning pass that override the settings.

    Args:
        days: Age in days after which rows are removed.
        keep_last: How many runs, and attempts in the history, to keep of each job at any age.
        by: The actor, for the audit; ``None`` for a node's own pass, which writes no audit row.
        progress: Called after each step with the numbers of rows removed so far.
    """

    days: int | None = None
    keep_last: int | None = None
    by: Actor | None = None
    progress: Progress | None = None


async def upkeep(
    store: Store, settings: Settings, now: datetime, wanted: Upkeep | None = None
) -> dict[str, int]:
    """Count the history for the statistics, merge statistics rows, compare counts, then remove old rows and unused files.

    Returns:
        Numbers of removed rows by kind, as from :func:`prune`.
    """
    wanted = wanted or Upkeep()
    await count_history(store)
    await fold_statistics(store, now)
    await compare_counts(store, now)
    removed = await prune(
        store,
        before=now - timedelta(days=wanted.days or settings.history_days),
        keep_last=settings.history_keep if wanted.keep_last is None else wanted.keep_last,
        statistics_before=now - timedelta(days=settings.statistics_days),
        audit=AuditAge(now - timedelta(days=settings.audit_days), now),
        now=now,
        progress=wanted.progress,
    )
    await sweep_files(store, settings, now)
    if wanted.by is not None:
        detail = ", ".join(f"{count} {what}" for what, count in removed.items())
        async with store.write() as connection:
            await audit.audit(connection, wanted.by, "prune", now, detail=detail)
    return removed


async def compare_counts(store: Store, now: datetime) -> None:
    """Log each stored count that differs from its rows. The history of a day is read, on SQLite in a thread of its own."""
    async with store.engine.connect() as connection:
        differences = await counts.differences(connection, now)
    for difference in differences:
        log.warning("%s: targcc doctor shows the way out", difference)


async def sweep_files(store: Store, settings: Settings, now: datetime) -> None:
    """Remove files without a run from the project's file store, if there is a store; log a failure and leave the files to the next pass."""
    try:
        files = ContentKeeper(settings).store
        gone = await sweep(store, files, now) if files is not None else 0
    except (DBAPIError, PoolTimeoutError):
        raise
    except Exception:
        log.exception("files that no run has any more could not be removed from their store")
    else:
        if gone:
            log.info("%d files that no run had any more were removed from their store", gone)


async def count_history(store: Store, *, progress: Callable[[int], None] | None = None) -> None:
    """Count the history from before the statistics existed; do nothing once that is done.

    Counting can be stopped at any time and started again.

    Args:
        store: The database.
        progress: Called before each step with the approximate number of rows left.
    """
    pace = Throttle.on(store)
    while True:
        async with store.read() as connection:
            rows = await statistics.left(connection)
        if not rows:
            return
        if progress is not None:
            progress(rows)
        started = time.monotonic()
        await store.change(lambda connection: statistics.step(connection, pace.size))
        taken = time.monotonic() - started
        await pace.rest(taken)


async def fold_statistics(store: Store, now: datetime) -> None:
    """Merge the statistics rows that several nodes wrote for a quarter of an hour, a day after its beginning.

    A page then reads one row for each quarter of an hour. A pass continues at the end of the last pass, so that its cost does not depend on
    the history's length. The rows of a run that ended more than a day after it began may stay as they are.
    """
    since, before = now - _FOLDED_UNTIL, now - _FOLDED_AFTER
    async with store.read() as connection:
        last = await statistics.folded_until(connection)
    since = since if last is None else max(since, last)
    pace, begins = Throttle.on(store), since
    while begins < before:
        ends = min(begins + _FOLDED_AT_ONCE, before)
        fold = partial(statistics.fold, since=begins, before=ends, most=pace.size)
        started = time.monotonic()
        folded = await store.change(fold)
        await pace.rest(time.monotonic() - started)
        if not folded:
            begins = ends
    if since < before:
        await store.change(lambda connection: statistics.note_folded(connection, before, now))


async def prune(
    store: Store,
    *,
    before: datetime,
    keep_last: int,
    statistics_before: datetime | None = None,
    audit: AuditAge | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Remove rows that ended before an instant, in small transactions with pauses between; keep the newest rows of each job.

    Pruning can be stopped at any time and started again: removed rows stay removed, and the next pass finds the rest.

    Args:
        store: The database.
        before: Remove rows that ended earlier.
        keep_last: How many runs, and attempts in the history, to keep of each job at any age.
        statistics_before: Remove statistics of earlier days. Default: none.
        audit: Rows of the audit to remove. Default: none.
        now: The present instant, to remove unused limit keys and old rows of features. Default: none.
        progress: Called after each step with the numbers of rows removed so far.

    Returns:
        Numbers of removed ``runs``, ``attempts``, ``audit`` and ``statistics`` rows.
    """
    pruner = _Pruner(store, before, keep_last, progress)
    await pruner.remove("runs", RUNS)
    await pruner.remove("attempts", HISTORY)
    if audit is not None:
        await pruner.remove_audit(audit)
    if statistics_before is not None:
        await pruner.remove_statistics(statistics_before)
    if now is not None:
        await pruner.remove_keys(now)
        await pruner.remove_rest(now)
    await pruner.give_back()
    return {name: pruner.removed[name] for name in ("runs", "attempts", "audit", "statistics")}


class _Pruner:
    """One pruning pass over the tables."""

    def __init__(
        self, store: Store, before: datetime, keep_last: int, progress: Progress | None
    ) -> None:
        self.removed: Counter[str] = Counter()
        self._store = store
        self._before = before
        self._keep = keep_last
        self._progress = progress
        self._pace = Throttle.on(store)

    async def remove(self, what: str, kept: Kept) -> None:
        """Remove the old rows of a table."""
        borders: dict[str, int] = {}
        seen: OldRow | None = None

        async def step(connection: AsyncConnection) -> int:
            nonlocal seen
            rows = await retention.old_rows(
                connection, kept, before=self._before, after=seen, most=self._pace.size
            )
            for job in {row.job for row in rows} - borders.keys():
                borders[job] = await retention.border(connection, kept, job, self._keep)
            keys = [row.key for row in rows if row.key <= borders[row.job]]
            removed = await retention.remove(connection, kept, keys)
            seen = rows[-1] if len(rows) == self._pace.size else None
            return removed

        await self._step(what, step)
        while seen is not None:
            await self._step(what, step)

    async def remove_rest(self, now: datetime) -> None:
        """Remove old rows of the kernel's other tables and of the features, such as batches without runs."""

        async def step(remove: Callable[..., Awaitable[int]], connection: AsyncConnection) -> int:
            return await remove(connection, self._before, now, self._pace.size)

        features = {feature.name: feature.load(part) for feature, part in parts(Retention)}
        for name, remove in (_OF_KERNEL | features).items():
            while await self._step(name, partial(step, remove)):
                pass

    async def remove_audit(self, age: AuditAge) -> None:
        """Remove old rows of the audit."""

        async def step(connection: AsyncConnection) -> int:
            return await retention.remove_audit(
                connection, before=age.before, now=age.now, most=self._pace.size
            )

        while await self._step("audit", step):
            pass

    async def remove_statistics(self, before: datetime) -> None:
        """Remove statistics from before an instant."""

        async def step(connection: AsyncConnection) -> int:
            return await statistics.remove(connection, before=before, most=self._pace.size)

        while await self._step("statistics", step):
            pass

    async def remove_keys(self, now: datetime) -> None:
        """Remove unused limit keys."""
        seen: str | None = ""

        async def step(connection: AsyncConnection) -> int:
            nonlocal seen
            removed, seen = await limit_renames.prune(
                connection, now, after=seen or "", most=self._pace.size
            )
            return removed

        while seen is not None:
            await self._step("keys", step)

    async def give_back(self) -> None:
        """Return unused pages of the database file to the system."""
        more = True

        async def step(connection: AsyncConnection) -> int:
            nonlocal more
            more = await self._store.dialect.give_back(connection, self._pace.size)
            return 0

        while more:
            await self._step("pages", step)

    async def _step(self, what: str, step: Callable[[AsyncConnection], Awaitable[int]]) -> int:
        """Run one step in a transaction, then pause; return the number of removed rows."""
        started = time.monotonic()
        removed = await self._store.change(step)
        taken = time.monotonic() - started
        if removed:
            self.removed[what] += removed
            if self._progress is not None:
                self._progress(self.removed)
        await self._pace.rest(taken)
        return removed
