"""Content of files and large arguments: store, fetch, check, sweep."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import FileError, FileUnavailable, RunTaken
from ..core.outage import Outage
from ..core.stored_values import Here, may_refer, referred
from ..db.dialects import known
from ..db.tables import job_blob, job_run
from ..db.transactions import Store
from ..services.container import of_project
from ..settings import Settings
from .jobs.files import Content, ContentKind, FileStore
from .runs.transition import owned_by
from .runs.values import Claim, NewRun

# Store content of runs as rows of ``c_JobBlob``.
#
# Only :func:`piece` reads the column ``Data``. Claiming, executing and settling a run touch the table only if the run has content there.

PIECE = 4 * 2**20
"""Bytes that one query reads."""
_C = job_blob.c
_SHOWN = (
    _C.Id,
    _C.RunId,
    _C.Kind,
    _C.Name,
    _C.ContentType,
    _C.Size,
    _C.Sha256,
    _C.Store,
    _C.Reference,
    _C.CreatedAt,
)


@dataclass(frozen=True, slots=True)
class Blob:
    """A row of ``c_JobBlob`` without its data.

    Args:
        id: Primary key.
        run_id: The run that has the content.
        kind: The role of the content in the run.
        store: Name of the store that has the content; ``None``: the row itself has the data.
        reference: Name of the content in that store.
    """

    id: str
    run_id: int
    kind: ContentKind
    name: str
    content_type: str
    size: int
    sha256: str
    store: str | None
    reference: str | None
    created_at: datetime


async def add(
    connection: AsyncConnection, run_id: int, contents: Sequence[Content], now: datetime
) -> None:
    """Insert content of a run, in the transaction that creates the run."""
    for content in contents:  # one at a time: each may be large
        await connection.execute(job_blob.insert(), _row(run_id, content, now))


async def copy(connection: AsyncConnection, source: int, target: int, now: datetime) -> None:
    """Copy the blobs that a run's arguments refer to, but not its results, to another run; content in a store is shared."""
    query = sa.select(_C.Id).where(_C.RunId == source, _C.Kind != ContentKind.RESULT)
    # Lock the source rows: a transaction that removes the source rows then sees the copies, which share the content.
    ids = (await connection.execute(query.order_by(_C.Id).with_for_update())).scalars().all()
    for blob_id in ids:
        values: dict[str, Any] = {"Id": uuid.uuid4().hex, "RunId": target, "CreatedAt": now}
        columns = [
            (
                sa.literal(values[column.name], column.type).label(column.name)
                if column.name in values
                else column
            )
            for column in _C
        ]
        same = sa.select(*columns).where(_C.Id == blob_id)
        await connection.execute(
            job_blob.insert().from_select([column.name for column in _C], same)
        )


async def attach(
    connection: AsyncConnection, claim: Claim, content: Content, *, most: int, now: datetime
) -> None:
    """Insert a result file of a run, replacing a result of the same name.

    Raises:
        RunTaken: the run belongs to another node now.
        FileError: the run has ``most`` result files already.
    """
    owned = owned_by(claim.run_id, claim.server_id or "", claim.attempt)
    query = sa.select(job_run.c.Id).where(owned).with_for_update()
    if (await connection.execute(query)).first() is None:
        raise RunTaken(f"run {claim.run_id} belongs to another node now")
    is_result = sa.and_(_C.RunId == claim.run_id, _C.Kind == ContentKind.RESULT)
    await _remove(connection, sa.and_(is_result, _C.Name == content.file.name))
    count = await connection.scalar(
        sa.select(sa.func.count()).select_from(job_blob).where(is_result)
    )
    if (count or 0) >= most:
        raise FileError(f"the run has attached {most} files, the most: TARGCC_MAX_RUN_FILES")
    await add(connection, claim.run_id, [content], now)


async def of_run(connection: AsyncConnection, run_id: int) -> list[Blob]:
    """Return the blobs of a run in order of creation."""
    query = sa.select(*_SHOWN).where(_C.RunId == run_id).order_by(_C.CreatedAt, _C.Name, _C.Id)
    return [_blob(row) for row in await connection.execute(query)]


async def piece(connection: AsyncConnection, blob: Blob, start: int) -> bytes | None:
    """Return up to :data:`PIECE` bytes of a row's data from offset ``start``; ``None`` if the row does not exist."""
    part = sa.func.substr(_C.Data, start + 1, PIECE, type_=sa.LargeBinary())
    query = sa.select(part).where(_C.Id == blob.id, _C.RunId == blob.run_id)
    row = (await connection.execute(query)).first()
    return None if row is None else bytes(row[0] or b"")


async def remove_of(connection: AsyncConnection, run_ids: Sequence[int]) -> None:
    """Remove the blobs of runs.

    Rows of content in a store lose their run and stay until :func:`.blobs.sweep` has removed the content from the store.
    """
    await _remove(connection, known.of(connection).among(_C.RunId, run_ids))


async def removed(connection: AsyncConnection, store: str, most: int) -> list[tuple[str, str]]:
    """Return key and reference of up to ``most`` rows of a store that have no run any more."""
    is_removed = sa.and_(_C.RunId.is_(None), _C.Store == store)
    query = sa.select(_C.Id, _C.Reference).where(is_removed).order_by(_C.Id).limit(most)
    return [(row.Id, row.Reference) for row in await connection.execute(query)]


async def forget(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Delete rows without a run, after their content was removed from the store."""
    await connection.execute(sa.delete(job_blob).where(_C.Id.in_(list(ids)), _C.RunId.is_(None)))


async def in_use(
    connection: AsyncConnection, store: str, references: Sequence[str], *, of_runs: bool
) -> set[str]:
    """Return the references among ``references`` that rows of a store have; ``of_runs`` counts only rows that have a run."""
    query = sa.select(_C.Reference).where(_C.Store == store, _C.Reference.in_(list(references)))
    if of_runs:
        query = query.where(_C.RunId.is_not(None))
    return set((await connection.execute(query)).scalars())


async def _remove(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> None:
    await connection.execute(sa.delete(job_blob).where(which, _C.Store.is_(None)))
    await connection.execute(
        sa.update(job_blob).where(which, _C.Store.is_not(None)).values(RunId=None)
    )


def _row(run_id: int, content: Content, now: datetime) -> dict[str, Any]:
    return {
        "Id": uuid.uuid4().hex,
        "RunId": run_id,
        "Kind": content.kind,
        "Name": content.file.name,
        "ContentType": content.file.content_type,
        "Size": content.size,
        "Sha256": content.sha256,
        "Store": content.store,
        "Reference": content.reference,
        "Data": content.file.read_bytes() if content.store is None else None,
        "CreatedAt": now,
    }


def _blob(row: Any) -> Blob:
    run_id, kind = int(row.RunId), ContentKind(row.Kind)
    return Blob(
        row.Id,
        run_id,
        kind,
        row.Name,
        row.ContentType,
        row.Size,
        row.Sha256,
        row.Store,
        row.Reference,
        row.CreatedAt,
    )


# Content of files and large arguments: store, fetch, check, sweep.

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
        contents: dict[str, Path | bytes] = {}
        for blob in await self.wanted(read, run_id, arguments_json):
            contents[blob.sha256] = b"".join([piece async for piece in self.pieces(read, blob)])
        return Here(contents)

    async def wanted(self, read: Read, run_id: int, arguments_json: str | None) -> list[Blob]:
        """Return the blobs that a run's arguments refer to.

        Raises:
            FileError: some content is gone.
        """
        if not may_refer(arguments_json):
            return []
        names = referred(arguments_json)
        blobs = await read(lambda db: of_run(db, run_id))
        known = {blob.sha256: blob for blob in blobs if blob.kind != ContentKind.RESULT}
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
            data = await read(partial(piece, blob=blob, start=start))
            if data is None:
                raise FileError(f"{blob.name} of run {blob.run_id} is gone")
            if not data:
                return
            yield data
            start += len(data)

    async def _from_store(self, blob: Blob) -> AsyncIterator[bytes]:
        store = self.store
        if store is None or store.name != blob.store:
            raise FileError(
                f"{blob.name} of run {blob.run_id} is in the store {blob.store}, which this process does not have"
            )
        try:
            source = await asyncio.to_thread(store.open, blob.reference or "")
            with closing(source):
                while piece := await asyncio.to_thread(source.read, PIECE):
                    yield piece
        except FileNotFoundError:
            raise FileError(f"{blob.name} of run {blob.run_id} is gone from its store") from None


# Sweeping: remove content from the project's store that no run has any more.

log = logging.getLogger("targcc.blobs")

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
            rows = await removed(connection, files.name, _AT_ONCE)
            references = sorted({reference for _, reference in rows})
            shared = await in_use(connection, files.name, references, of_runs=True)
        unused = [reference for reference in references if reference not in shared]
        await _delete(files, unused)
        async with store.write() as connection:
            await forget(connection, [key for key, _ in rows])
        gone += len(unused)
        if len(rows) < _AT_ONCE:
            return gone


async def _sweep_unknown(store: Store, files: FileStore, now: datetime) -> int:
    gone, references = 0, files.references(now - SPARED)
    while some := await asyncio.to_thread(lambda: list(itertools.islice(references, _AT_ONCE))):
        async with store.read() as connection:
            known = await in_use(connection, files.name, some, of_runs=False)
        unknown = [reference for reference in some if reference not in known]
        await _delete(files, unknown)
        gone += len(unknown)
    return gone


async def _delete(files: FileStore, references: Sequence[str]) -> None:
    for reference in references:
        await asyncio.to_thread(files.delete, reference)


# Fetch the files and large values of a run's arguments before the job begins, and remove them when the attempt has ended.


class Fetcher:
    """Fetch the stored content of arguments to a temporary folder of this machine.

    Args:
        store: The database.
        keeper: Finds and reads stored content, in the database or in the project's file store.
    """

    def __init__(self, store: Store, keeper: ContentKeeper) -> None:
        self._store = store
        self._keeper = keeper

    @contextlib.asynccontextmanager
    async def here(self, claim: Claim, done: asyncio.Future[None]) -> AsyncIterator[Here | None]:
        """Yield the content that the arguments of a claimed run refer to, in a temporary folder that only its owner may read.

        The folder is removed on exit.

        Args:
            claim: The run.
            done: Resolved when the run is told to stop. The context then yields ``None``.

        Raises:
            FileError: Some content is gone or damaged.
            FileUnavailable: The content cannot be read now.
        """
        import shutil  # only where there are files
        import tempfile

        folder = Path(
            await asyncio.to_thread(tempfile.mkdtemp, prefix=f"targcc-run-{claim.run_id}-")
        )
        try:
            fetching = asyncio.create_task(self._fetch(claim, folder))
            await asyncio.wait((fetching, done), return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                fetching.cancel()
                await asyncio.wait((fetching,))
            yield None if done.done() else _result(fetching)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _fetch(self, claim: Claim, folder: Path) -> Here:
        contents: dict[str, Path | bytes] = {}
        wanted = await self._keeper.wanted(self._read, claim.run_id, claim.arguments_json)
        for number, blob in enumerate(wanted):
            inner = folder / str(number)  # one folder a file: names may be equal
            inner.mkdir()
            path = inner / blob.name
            with path.open("wb") as file:
                async for piece in self._keeper.pieces(self._read, blob):
                    await asyncio.to_thread(file.write, piece)
            contents[blob.sha256] = path
        return Here(contents)

    async def _read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of a query; retry while the database is unavailable."""
        outage = Outage(log, "reading the files of a run")
        while True:
            try:
                async with self._store.read() as connection:
                    result = await query(connection)
            except (DBAPIError, PoolTimeoutError) as error:
                await asyncio.sleep(outage.failed(error).total_seconds())
            else:
                outage.over()
                return result


def _result(fetching: asyncio.Task[Here]) -> Here:
    try:
        return fetching.result()
    except FileError:
        raise
    except Exception as error:
        raise FileUnavailable(f"its files cannot be read: {error}") from error
