"""Partial responses (``fields=``) and versions of resources (ETag)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import Any, get_args, get_origin

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from .problems import Problem

# ``fields=a,b``: an answer with the fields that are asked for, under a media type of its own, since it is not what the schema says.

MEDIA_TYPE = "application/vnd.targcc.fields+json"
PARAMETER = "fields"
ROWS = "runs"
"""Where a page that is an object has its rows; fields are chosen of those."""
_PAGE = {ROWS, "next_before"}


def fields_of(model: Any) -> frozenset[str]:
    """The fields of what a route answers: of the object, or of each one in the list."""
    if get_origin(model) is list:
        return fields_of(get_args(model)[0])
    if isinstance(model, type) and issubclass(model, BaseModel):
        if set(model.model_fields) == _PAGE:
            return fields_of(model.model_fields[ROWS].annotation)
        return frozenset(model.model_fields)
    if dataclasses.is_dataclass(model):
        return frozenset(one.name for one in dataclasses.fields(model))
    return frozenset()


def chosen_fields(request: Request, known: frozenset[str]) -> frozenset[str]:
    """The fields that a request asks for; empty is all.

    Raises:
        Problem: there is none of that name.
    """
    asked = request.query_params.getlist(PARAMETER)
    chosen = frozenset(name.strip() for part in asked for name in part.split(",") if name.strip())
    if not known:
        return frozenset()
    if unknown := sorted(chosen - known):
        said = (
            f"fields: there is no {', '.join(unknown)[:200]}; there are {', '.join(sorted(known))}"
        )
        raise Problem(422, "No such field", said)
    return chosen


def is_json(answer: Response) -> bool:
    """Whether an answer is a JSON document that is all there."""
    kind = answer.headers.get("Content-Type", "")
    return kind == "application/json" and not isinstance(answer, StreamingResponse)


def only(answer: Response, chosen: frozenset[str]) -> Response:
    """The answer with these fields alone."""
    whole = json.loads(bytes(answer.body))
    if isinstance(whole, dict) and set(whole) == _PAGE:
        some: Any = {**whole, ROWS: [_some(one, chosen) for one in whole[ROWS]]}
    elif isinstance(whole, list):
        some = [_some(one, chosen) for one in whole]
    else:
        some = _some(whole, chosen)
    body = json.dumps(some, ensure_ascii=False, separators=(",", ":"))
    links = {name: answer.headers[name] for name in ("Link",) if name in answer.headers}
    return Response(body, media_type=MEDIA_TYPE, headers=links)


def _some(row: dict[str, Any], chosen: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in chosen}


# ``ETag``, ``If-None-Match`` and ``If-Match``: the version of what is shown, so that nobody overwrites what they have not seen.
#
# A tag has two parts: of what people can change, and of the whole document. ``If-None-Match`` compares both, so that a 304 is exact. ``If-Match``
# compares the first: a job whose next run came nearer is not changed, one that somebody paused is.

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_MOVES: dict[str, frozenset[str]] = {
    "/api/jobs/{name}": frozenset(
        {"next_run", "next_runs", "calendar_changes", "last_run", "success_rate"}
    ),
    "/api/jobs/{name}/overrides": frozenset(),
    "/api/queues/{name}": frozenset(
        {"waiting", "scheduled", "retrying", "running", "oldest_due", "maintenance_until"}
    ),
    "/api/runs/{run_id}": frozenset({"log", "steps", "progress_done", "progress_total"}),
    "/api/inbox/{cause}": frozenset({"last_at", "trend", "works_since", "total", "in_hand"}),
    "/api/bulk/{bulk_id}": frozenset({"done", "refused"}),
}
"""What can be changed, and which of its fields change by themselves."""


def changed_by(path: str) -> str | None:
    """The path that shows what a route changes; ``None`` when nothing does."""
    prefix, api, rest = path.rpartition("/api/")
    own = api + rest
    found = [one for one in _MOVES if own == one or own.startswith(f"{one}/")]
    return f"{prefix}{max(found, key=len)}" if found else None


def tag(path: str, whole: bytes, body: bytes) -> str:
    """The version of a document.

    Args:
        path: The route that shows it.
        whole: All of it.
        body: What is sent of it.
    """
    _, api, rest = path.rpartition("/api/")
    moves = _MOVES.get(api + rest)
    if not moves:
        return f'"{_digest(whole)}-{_digest(body)}"'
    still = {name: value for name, value in json.loads(whole).items() if name not in moves}
    return f'"{_digest(json.dumps(still).encode())}-{_digest(body)}"'


def fits(asked: str | None, current: str, *, exactly: bool = False) -> bool:
    """Whether one of the tags in a header is that of the document now.

    Args:
        asked: The header. A proxy that compresses answers makes tags weak ones, which are taken for the same.
        current: The tag now.
        exactly: Whether all of the document has to be the same, or only what people can change.
    """
    if asked is None:
        return False
    if asked.strip() == "*":
        return True
    now = current.strip('"')
    if exactly:
        return now in _TAG.findall(asked)
    return now.partition("-")[0] in {one.partition("-")[0] for one in _TAG.findall(asked)}


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
