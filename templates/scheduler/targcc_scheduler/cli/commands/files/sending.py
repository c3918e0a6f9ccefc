"""Files of this machine as arguments: ``--arg report=@orders.csv``."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....web.api.schemas.jobs import JobDetailOut, TriggerIn
from ....web.api.schemas.runs import StartedOut
from ...api.reach import path

if TYPE_CHECKING:
    from ...api.client import Api

_IS_FILE = '"contentEncoding": "base64"'
"""What only parameters for files have in their JSON Schema."""


async def files_among(api: Api, job: str, given: dict[str, Any]) -> dict[str, Path]:
    """Take the arguments out that say ``@PATH`` where the job takes a file.

    Raises:
        BadParameter: there is no such file.
    """
    named = [name for name, value in given.items() if str(value).startswith("@")]
    if not named:
        return {}
    found = await api.get(path("jobs", job), JobDetailOut)
    known = (found.parameters or {}).get("properties", {})
    files = {}
    for name in named:
        if _IS_FILE in json.dumps(known.get(name, {})):
            files[name] = Path(given.pop(name)[1:])
            if not files[name].is_file():
                raise click.BadParameter(f"there is no file {files[name]}", param_hint="--arg")
    return files


async def send(api: Api, job: str, wish: TriggerIn, files: dict[str, Path]) -> StartedOut:
    """Start a run with files."""
    said = wish.model_dump(exclude_defaults=True, exclude={"arguments", "after"})
    fields = {name: str(value) for name, value in said.items()}
    fields["arguments"] = json.dumps(wish.arguments)
    if wish.after:
        fields["after"] = ",".join(map(str, wish.after))
    with contextlib.ExitStack() as stack:
        parts = [
            (name, (file.name, stack.enter_context(file.open("rb"))))
            for name, file in files.items()
        ]
        return await api.send_files(
            path("jobs", job, "trigger", "files"), StartedOut, fields, parts
        )
