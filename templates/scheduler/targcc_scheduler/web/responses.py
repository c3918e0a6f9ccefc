"""Partial responses (``fields=``) and resource versions (ETag)."""

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

# Partial responses: ``fields=a,b`` keeps the named fields. The media type differs, since a partial response does not match the schema.

MEDIA_TYPE = "application/vnd.targcc.fields+json"
PARAMETER = "fields"
ROWS = "runs"
"""Key of the rows in a page that is an object; ``fields`` applies to the rows."""
_PAGE = {ROWS, "next_before"}


def fields_of(model: Any) -> frozenset[str]:
    """Return a response model's field names; for a list or page, return the item's field names."""
    if get_origin(model) is list:
        return fields_of(get_args(model)[0])
    if isinstance(model, type) and issubclass(model, BaseModel):
        if set(model.model_fields) == _PAGE:
            return fields_of(model.model_fields[ROWS].annotation)
        return frozenset(model.model_fields)
    if dataclasses.is_dataclass(model):
        return frozenset(field.name for field in dataclasses.fields(model))
    return frozenset()


def chosen_fields(request: Request, known: frozenset[str]) -> frozenset[str]:
    """Return the fields that a request names; empty means all.

    Raises:
        Problem: a field of that name does not exist.
    """
    values = request.query_params.getlist(PARAMETER)
    chosen = frozenset(name.strip() for part in values for name in part.split(",") if name.strip())
    if not known:
        return frozenset()
    if unknown := sorted(chosen - known):
        message = (
            f"fields: there is no {', '.join(unknown)[:200]}; there are {', '.join(sorted(known))}"
        )
        raise Problem(422, "No such field", message)
    return chosen


def is_json(answer: Response) -> bool:
    """Return whether an answer is a complete JSON document, not a stream."""
    kind = answer.headers.get("Content-Type", "")
    return kind == "application/json" and not isinstance(answer, StreamingResponse)


def only(answer: Response, chosen: frozenset[str]) -> Response:
    """Return the answer with the chosen fields alone."""
    whole = json.loads(bytes(answer.body))
    if isinstance(whole, dict) and set(whole) == _PAGE:
        some: Any = {**whole, ROWS: [_some(row, chosen) for row in whole[ROWS]]}
    elif isinstance(whole, list):
        some = [_some(row, chosen) for row in whole]
    else:
        some = _some(whole, chosen)
    body = json.dumps(some, ensure_ascii=False, separators=(",", ":"))
    links = {name: answer.headers[name] for name in ("Link",) if name in answer.headers}
    return Response(body, media_type=MEDIA_TYPE, headers=links)


def _some(row: dict[str, Any], chosen: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in chosen}


# Versions: ``ETag``, ``If-None-Match`` and ``If-Match`` prevent lost updates.
#
# A tag has two parts: a digest of the fields that people can change, and a digest of the whole document. ``If-None-Match`` compares both, so that
# a 304 is exact. ``If-Match`` compares the first: the approach of a job's next run is no change, a pause is a change.

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
"""Map each changeable resource to the fields that change without a person."""


def changed_by(path: str) -> str | None:
    """Return the path that shows the resource changed by a route; ``None`` if no path does."""
    prefix, api, rest = path.rpartition("/api/")
    own = api + rest
    matches = [resource for resource in _MOVES if own == resource or own.startswith(f"{resource}/")]
    return f"{prefix}{max(matches, key=len)}" if matches else None


def tag(path: str, whole: bytes, body: bytes) -> str:
    """Return a document's ETag.

    Args:
        path: Route that shows the document.
        whole: Complete document.
        body: Document as sent, with the chosen fields alone.
    """
    _, api, rest = path.rpartition("/api/")
    moves = _MOVES.get(api + rest)
    if not moves:
        return f'"{_digest(whole)}-{_digest(body)}"'
    still = {name: value for name, value in json.loads(whole).items() if name not in moves}
    return f'"{_digest(json.dumps(still).encode())}-{_digest(body)}"'


def fits(etags: str | None, current: str, *, exactly: bool = False) -> bool:
    """Return whether a tag in a header matches the document's current tag.

    Args:
        etags: Header. A weak tag, as a compressing proxy makes, counts as the strong tag.
        current: Current tag.
        exactly: True compares the whole document, false only the part that people can change.
    """
    if etags is None:
        return False
    if etags.strip() == "*":
        return True
    now = current.strip('"')
    if exactly:
        return now in _TAG.findall(etags)
    return now.partition("-")[0] in {
        entity_tag.partition("-")[0] for entity_tag in _TAG.findall(etags)
    }


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
