"""A file of a run as an answer, for the browser to save and not to show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi.responses import StreamingResponse

from ...core.errors import FileError, UnknownFile
from ...queries import runs
from ...queries.models import Run
from ...scheduler import Scheduler
from ...storage.blobs.rows import Blob
from ..problems import Problem

MEDIA_TYPE = "application/octet-stream"
"""Whatever the file is: what a job writes is not for the browser to take as a page of this site."""


async def find(scheduler: Scheduler, run_id: int, blob_id: str) -> tuple[Run, Blob]:
    """A file of a run, and the run.

    Raises:
        Problem: there is none that whoever asks may see.
    """
    try:
        return await scheduler.read(lambda db: runs.find_file(db, run_id, blob_id))
    except UnknownFile as error:
        raise Problem(404, "No such file", str(error)) from None


async def download(scheduler: Scheduler, blob: Blob) -> StreamingResponse:
    """The content, in parts; what is not what it was breaks off before its end.

    Raises:
        Problem: it is gone, or all of it is damaged.
    """
    pieces = scheduler.keeper.pieces(scheduler.read, blob)
    try:
        first = await anext(pieces)
    except FileError as error:
        raise Problem(410, "The file is gone", str(error)) from None

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return StreamingResponse(
        whole(),
        media_type=MEDIA_TYPE,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(blob.name, safe='')}",
            "Content-Length": str(blob.size),
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )
