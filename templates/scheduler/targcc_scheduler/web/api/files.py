"""API of files: start runs with files, list and download the files of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.identity import Role
from ...kernel.blobs import Blob
from ...kernel.queries import runs
from ..api_route import ApiRoute
from ..authentication import require_job
from ..file_transfer import (
    MEDIA_TYPE,
    as_arguments,
    download,
    find,
    object_of,
    parts_of,
    takes_files,
)
from .common import PROBLEMS, Looker, SchedulerOf, Starter, find_job, no_such_run, trigger
from .schema import ProblemOut
from .schemas import FileOut, StartedOut, TriggerIn

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)
_WISHES = {
    name: field
    for name, field in TriggerIn.model_json_schema()["properties"].items()
    if name != "arguments"
} | {
    "after": {
        "type": "string",
        "description": "The runs that it waits for, with commas between them.",
    }
}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "arguments": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "The other arguments, as a JSON object.",
                        },
                        **_WISHES,
                    },
                    "additionalProperties": {
                        "type": "string",
                        "contentMediaType": MEDIA_TYPE,
                        "description": "A file, in a part that is named after its argument; several parts of a name are a list.",
                    },
                }
            }
        },
    }
}
_GONE: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
    410: {"model": ProblemOut, "description": "Its content is gone or damaged"},
}


@router.post(
    "/jobs/{name}/trigger/files",
    tags=["jobs"],
    openapi_extra=_FORM,
)
@takes_files
async def trigger_job_with_files(
    name: str, request: Request, principal: Starter, scheduler: SchedulerOf
) -> StartedOut:
    """Run a job now with files as parts of a form. Small files may also be sent as base64 in the JSON of `trigger`."""
    definition = find_job(scheduler, name)
    require_job(principal, Role.OPERATOR, definition.name)
    texts, files = await parts_of(request)
    wish = _wish_of(texts)
    arguments = wish.arguments | as_arguments(definition, files)
    return await trigger(request, principal, definition, wish, arguments)


def _wish_of(texts: Mapping[str, str]) -> TriggerIn:
    """Parse the text parts of a form into a :class:`TriggerIn`; an empty part counts as not given.

    Raises:
        Problem: the arguments are no JSON object.
        RequestValidationError: a value does not fit its field.
    """
    fields: dict[str, Any] = {
        name: text for name, text in texts.items() if name in _WISHES and text
    }
    fields["arguments"] = object_of(texts.get("arguments", ""))
    if "after" in fields:
        fields["after"] = fields["after"].split(",")
    try:
        return TriggerIn.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
        ) from None


@router.get("/runs/{run_id}/files", tags=["runs"])
async def run_files(run_id: int, principal: Looker, scheduler: SchedulerOf) -> list[FileOut]:
    """List the files of a run: files from its arguments and files that its job attached."""

    async def query(db: AsyncConnection) -> tuple[str, list[Blob]] | None:
        run = await runs.get_run(db, run_id)
        return None if run is None else (run.job, await runs.files(db, run_id))

    result = await scheduler.read(query)
    if result is None:
        raise no_such_run(run_id)
    job, blobs = result
    require_job(principal, Role.VIEWER, job)
    return [FileOut.model_validate(blob, from_attributes=True) for blob in blobs]


@router.get(
    "/runs/{run_id}/files/{file_id}", tags=["runs"], responses=_GONE, response_class=Response
)
async def download_file(
    run_id: int, file_id: str, principal: Looker, scheduler: SchedulerOf
) -> Response:
    """Return the content of a file."""
    run, blob = await find(scheduler, run_id, file_id)
    require_job(principal, Role.VIEWER, run.job)
    return await download(scheduler, blob)
