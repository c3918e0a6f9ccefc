"""Fetch the files and large values of a run's arguments before the job begins, and remove them when the attempt has ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import FileError, FileUnavailable
from ...core.outage import Outage
from ...core.stored_values import Here
from ...db.transactions import Store
from ..blobs import ContentKeeper
from ..runs.values import Claim

T = TypeVar("T")
log = logging.getLogger("targcc.worker.blobs")


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
    async def here(self, claim: Claim, told: asyncio.Future[None]) -> AsyncIterator[Here | None]:
        """Yield the content that the arguments of a claimed run refer to, in a temporary folder that only its owner may read.

        The folder is removed on exit.

        Args:
            claim: The run.
            told: Resolved when the run is told to stop. The context then yields ``None``.

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
            await asyncio.wait((fetching, told), return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                fetching.cancel()
                await asyncio.wait((fetching,))
            yield None if told.done() else _result(fetching)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _fetch(self, claim: Claim, folder: Path) -> Here:
        found: dict[str, Path | bytes] = {}
        wanted = await self._keeper.wanted(self._read, claim.run_id, claim.arguments_json)
        for number, blob in enumerate(wanted):
            inner = folder / str(number)  # one folder a file: names may be equal
            inner.mkdir()
            path = inner / blob.name
            with path.open("wb") as file:
                async for piece in self._keeper.pieces(self._read, blob):
                    await asyncio.to_thread(file.write, piece)
            found[blob.sha256] = path
        return Here(found)

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
