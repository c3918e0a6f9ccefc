"""Content of files and large arguments: store, fetch, check, sweep."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import FileError
from ..core.stored_values import Here, may_refer, referred
from ..db.transactions import Store
from ..services.container import of_project
from ..settings import Settings
from . import blob_rows
from .blob_rows import Blob
from .jobs.files import Content, ContentKind, FileStore
from .runs.values import NewRun

# Storing and loading: write content to the project's store before its run is created; read and verify it from row or store.

T = TypeVar("T")


class Read(Protocol):
    """Runs a query against the scheduler's database."""

    def __call__(self, query: Callable[[AsyncConnection], Awaitable[T]], /) -> Awaitable[T]:
        """Return the result of the query."""


class ContentKeeper:
    """Stores and loads the content of runs: in the project's file store if there is one, else in the database.

    Args:
        settings: Limits on size and number of files, and the folder of files.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.most_bytes = settings.max_file_bytes
        """Maximum size of a file, in bytes."""

    @property
    def most_results(self) -> int:
        """Maximum number of files that a run may attach."""
        return self._settings.max_run_files

    @cached_property
    def store(self) -> FileStore | None:
        """The project's file store, built on first use; ``None``: content stays in the database."""
        if self._settings.file_folder:
            from .jobs.files import FolderStore

            return FolderStore(Path(self._settings.file_folder))
        make: Callable[[], FileStore] | None = of_project("make_file_store")
        return make() if make is not None else None

    def put(self, contents: Sequence[Content]) -> tuple[Content, ...]:
        """Write content to the project's file store, if there is one, and return the content with its references.

        :func:`sweep` removes content that ends up without a run.

        Raises:
            FileError: the store failed to take the content.
        """
        if not contents or self.store is None:
            return tuple(contents)
        return tuple(self._put(self.store, content) for content in contents)

    def _put(self, store: FileStore, content: Content) -> Content:
        try:
            with content.file.open() as source:
                reference = store.put(source, content.size, content.sha256)
        except Exception as error:
            raise FileError(f"{content.file.name} could not be stored: {error}") from error
        return content.stored(store.name, reference)

    def put_of(self, run: NewRun) -> NewRun:
        """Return the run with its content written to the store; see :meth:`put`."""
        return replace(run, contents=self.put(run.contents)) if run.contents else run

    async def in_memory(self, read: Read, run_id: int, arguments_json: str | None) -> Here:
        """Load all content that a run's arguments refer to.

        Raises:
            FileError: some content is gone or damaged.
        """
        found: dict[str, Path | bytes] = {}
        for blob in await self.wanted(read, run_id, arguments_json):
            found[blob.sha256] = b"".join([piece async for piece in self.pieces(read, blob)])
        return Here(found)

    async def wanted(self, read: Read, run_id: int, arguments_json: str | None) -> list[Blob]:
        """Return the blobs that a run's arguments refer to.

        Raises:
            FileError: some content is gone.
        """
        if not may_refer(arguments_json):
            return []
        names = referred(arguments_json)
        blobs = await read(lambda db: blob_rows.of_run(db, run_id))
        known = {one.sha256: one for one in blobs if one.kind != ContentKind.RESULT}
        if gone := [name for sha256, name in names.items() if sha256 not in known]:
            raise FileError(f"{', '.join(gone)} of run {run_id} is gone")
        return [known[sha256] for sha256 in names]

    async def pieces(self, read: Read, blob: Blob) -> AsyncIterator[bytes]:
        """Yield the content of a blob piece by piece.

        Size and SHA-256 are verified before the last piece is yielded.

        Raises:
            FileError: the content is gone or damaged.
        """
        digest, size, held = hashlib.sha256(), 0, b""
        source = self._from_row(read, blob) if blob.store is None else self._from_store(blob)
        async for piece in source:
            digest.update(piece)
            size += len(piece)
            if held:
                yield held
            held = piece
        if size != blob.size or digest.hexdigest() != blob.sha256:
            raise FileError(f"{blob.name} of run {blob.run_id} is damaged: it is not what was kept")
        yield held

    async def _from_row(self, read: Read, blob: Blob) -> AsyncIterator[bytes]:
        start = 0
        while start < blob.size:
            found = await read(partial(blob_rows.piece, blob=blob, start=start))
            if found is None:
                raise FileError(f"{blob.name} of run {blob.run_id} is gone")
            if not found:
                return
            yield found
            start += len(found)

    async def _from_store(self, blob: Blob) -> AsyncIterator[bytes]:
        store = self.store
        if store is None or store.name != blob.store:
            raise FileError(
                f"{blob.name} of run {blob.run_id} is in the store {blob.store}, which this process does not have"
            )
        try:
            source = await asyncio.to_thread(store.open, blob.reference or "")
            with closing(source):
                while piece := await asyncio.to_thread(source.read, blob_rows.PIECE):
                    yield piece
        except FileNotFoundError:
            raise FileError(f"{blob.name} of run {blob.run_id} is gone from its store") from None


# Sweeping: remove content from the project's store that no run has any more.

log = logging.getLogger("targcc.storage.blobs")

_AT_ONCE = 200
SPARED = timedelta(days=1)
"""Minimum age of swept content without a row: the transaction of a younger run may not be committed yet."""


async def sweep(store: Store, files: FileStore, now: datetime) -> int:
    """Remove stored content of removed runs, and stored content that has no row; return the number of files removed."""
    return await _sweep_removed(store, files) + await _sweep_unknown(store, files, now)


async def _sweep_removed(store: Store, files: FileStore) -> int:
    gone = 0
    while True:
        async with store.write() as connection:
            # ``blob_rows.copy`` locks its source rows: once a row without a run is visible, so are the copies that share its content.
            found = await blob_rows.removed(connection, files.name, _AT_ONCE)
            references = sorted({reference for _, reference in found})
            shared = await blob_rows.in_use(connection, files.name, references, of_runs=True)
        unused = [reference for reference in references if reference not in shared]
        await _delete(files, unused)
        async with store.write() as connection:
            await blob_rows.forget(connection, [key for key, _ in found])
        gone += len(unused)
        if len(found) < _AT_ONCE:
            return gone


async def _sweep_unknown(store: Store, files: FileStore, now: datetime) -> int:
    gone, there = 0, files.references(now - SPARED)
    while some := await asyncio.to_thread(lambda: list(itertools.islice(there, _AT_ONCE))):
        async with store.read() as connection:
            known = await blob_rows.in_use(connection, files.name, some, of_runs=False)
        unknown = [one for one in some if one not in known]
        await _delete(files, unknown)
        gone += len(unknown)
    return gone


async def _delete(files: FileStore, references: Sequence[str]) -> None:
    for reference in references:
        await asyncio.to_thread(files.delete, reference)
