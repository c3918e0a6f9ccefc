"""Upload files in requests; download files of runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from ..core.errors import FileError, UnknownFile
from ..kernel.blobs import Blob
from ..kernel.jobs.arguments import takes_file
from ..kernel.jobs.definition import JobDefinition
from ..kernel.jobs.files import File
from ..kernel.queries import runs
from ..kernel.queries.models import Run
from ..scheduler import Scheduler
from .problems import Problem

# Downloads: a run's file as an attachment that the browser saves and does not show.

MEDIA_TYPE = "application/octet-stream"
"""Media type of every download, so that no browser renders a job's file as a page of this site."""


async def find(scheduler: Scheduler, run_id: int, blob_id: str) -> tuple[Run, Blob]:
    """Return a run and one of its files.

    Raises:
        Problem: the run has no such file, or the caller may not see the run.
    """
    try:
        return await scheduler.read(lambda db: runs.find_file(db, run_id, blob_id))
    except UnknownFile as error:
        raise Problem(404, "No such file", str(error)) from None


async def download(scheduler: Scheduler, blob: Blob) -> StreamingResponse:
    """Stream a file's content in parts; if the content does not match its hash, the stream breaks off before the last part.

    Raises:
        Problem: the file is gone, or damaged and of a single part.
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


# Uploads: form parts named after the job's arguments.

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def takes_files(endpoint: Endpoint) -> Endpoint:
    """Raise a route's limit of request size to the limit of files."""
    endpoint.takes_files = True  # type: ignore[attr-defined]  # problems.py looks for it
    return endpoint


async def parts_of(request: Request) -> tuple[dict[str, str], dict[str, list[File]]]:
    """Return the texts and the files of a form. Skip a file part without a file name: browsers send such a part if no file was chosen.

    Raises:
        Problem: the body is no form.
    """
    try:
        form = await request.form()
    except MultiPartException as error:
        raise Problem(422, "The form cannot be understood", error.message) from None
    texts: dict[str, str] = {}
    files: dict[str, list[File]] = {}
    try:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                texts[name] = value
            elif value.filename:
                file = File(value.file, name=value.filename, content_type=value.content_type)
                files.setdefault(name, []).append(file)
    finally:
        await form.close()
    return texts, files


def as_arguments(definition: JobDefinition, files: dict[str, list[File]]) -> dict[str, Any]:
    """Map uploaded files to job arguments: a single file, or a list if several were sent or the parameter takes a list."""
    fields = definition.parameters.model_fields if definition.parameters is not None else {}
    return {
        name: (
            given[0]
            if len(given) == 1 and (name not in fields or takes_file(fields[name].annotation))
            else given
        )
        for name, given in files.items()
    }


def object_of(text: str) -> dict[str, Any]:
    """Parse the JSON arguments in a part of a form.

    Raises:
        Problem: the text is no JSON object.
    """
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Problem(422, "The arguments do not fit", "arguments is a JSON object")
    return value
