"""Files in requests: forms with parts named after the arguments that they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from ...jobs.arguments import takes_file
from ...jobs.definition import JobDefinition
from ...jobs.files.file import File
from ..problems import Problem

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def takes_files(endpoint: Endpoint) -> Endpoint:
    """Let requests to a route be as large as files may be."""
    endpoint.takes_files = True  # type: ignore[attr-defined]  # problems.py looks for it
    return endpoint


async def parts_of(request: Request) -> tuple[dict[str, str], dict[str, list[File]]]:
    """The texts of a form, and its files: those that are named and not empty, or chosen; what a browser sends for none is left out.

    Raises:
        Problem: it is no form.
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
    """Files as the arguments of a job: one, or a list where its parameter takes no single one."""
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
    """The arguments that a part of a form says as JSON.

    Raises:
        Problem: it is no object.
    """
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(422, "The arguments do not fit", "arguments is a JSON object")
    return found
