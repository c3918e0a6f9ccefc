"""``fields=a,b``: an answer with the fields that are asked for, under a media type of its own, since it is not what the schema says."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args, get_origin

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ..problems import Problem

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
