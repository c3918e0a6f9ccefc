"""Removing from a project's store what no run has any more."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from ...jobs.files.store import FileStore
from ..transactions import Store
from . import rows

log = logging.getLogger("targcc.storage.blobs")

_AT_ONCE = 200
SPARED = timedelta(days=1)
"""What was put so lately may be of a run whose transaction is not committed yet."""


async def sweep(store: Store, files: FileStore, now: datetime) -> int:
    """Remove from the store what was of runs that are gone, and what came to be no run's; how many files went."""
    return await _sweep_removed(store, files) + await _sweep_unknown(store, files, now)


async def _sweep_removed(store: Store, files: FileStore) -> int:
    gone = 0
    while True:
        async with store.write() as connection:
            # Rows of runs that share the content are there before those without a run can be seen; see rows.copy.
            found = await rows.removed(connection, files.name, _AT_ONCE)
            references = sorted({reference for _, reference in found})
            shared = await rows.in_use(connection, files.name, references, of_runs=True)
        removed = [one for one in references if one not in shared]
        await _delete(files, removed)
        async with store.write() as connection:
            await rows.forget(connection, [key for key, _ in found])
        gone += len(removed)
        if len(found) < _AT_ONCE:
            return gone


async def _sweep_unknown(store: Store, files: FileStore, now: datetime) -> int:
    gone, there = 0, files.references(now - SPARED)
    while some := await asyncio.to_thread(lambda: list(itertools.islice(there, _AT_ONCE))):
        async with store.read() as connection:
            known = await rows.in_use(connection, files.name, some, of_runs=False)
        unknown = [one for one in some if one not in known]
        await _delete(files, unknown)
        gone += len(unknown)
    return gone


async def _delete(files: FileStore, references: Sequence[str]) -> None:
    for reference in references:
        await asyncio.to_thread(files.delete, reference)
