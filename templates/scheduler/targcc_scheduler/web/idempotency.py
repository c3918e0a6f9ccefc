"""``Idempotency-Key``: a request that is sent again, as after a lost connection, gets the first one's answer and does nothing more.

The key is taken in the database before the request is carried out, and its answer kept after. A process that dies between leaves a key without
an answer: whether the request was carried out is not known then, so that it is not carried out again under this key.
"""

from __future__ import annotations

import hashlib
import re

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..scheduler import Scheduler
from ..storage.requests import answers
from .authentication import actor, find_principal
from .problems import Handler, Problem, with_database
from .state import get_scheduler

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_LEAST_FAULT = 500


async def once(handler: Handler, request: Request) -> Response:
    """The answer of ``handler``, or the one that an earlier request with this key got.

    Raises:
        Problem: the key is no key, was used for something else, or its first request has no answer yet.
    """
    principal = await find_principal(request)
    if principal is None:
        return await handler(request)  # which says that it does not know who asks
    key = request.headers[HEADER]
    if not _KEY.fullmatch(key):
        raise Problem(422, "No such key", f"{HEADER} is 1 to 200 visible characters of ASCII")
    kind = str(actor(request, principal).kind)  # a token may be called like a user
    scheduler, scope = get_scheduler(request), _digest(kind, principal.name, request.url.path)
    rights = f"{principal.role} {principal.jobs} {principal.grants}"
    digest = _digest(rights, request.url.query, (await request.body()).decode("latin-1"))
    now = scheduler.clock.now()
    first = await scheduler.change(lambda db: answers.begin(db, scope, key, digest=digest, now=now))
    if first is not None:
        return _again(first, digest, key)
    return await _carry_out(scheduler, scope, key, handler, request)


async def _carry_out(
    scheduler: Scheduler, scope: str, key: str, handler: Handler, request: Request
) -> Response:
    try:
        answer = await with_database(handler, request)
    except (Problem, HTTPException, RequestValidationError) as error:
        if getattr(error, "status", getattr(error, "status_code", 422)) < _LEAST_FAULT:
            await scheduler.change(lambda db: answers.forget(db, scope, key))
        raise
    body = bytes(answer.body).decode()
    await scheduler.change(lambda db: answers.end(db, scope, key, answer.status_code, body))
    return answer


def _again(first: answers.Kept, digest: str, key: str) -> Response:
    if first.digest != digest:
        raise Problem(
            422,
            "Key of another request",
            f"{HEADER} {key} was sent with another body, or with other rights: take a new one",
        )
    if first.status is None:
        raise Problem(
            409,
            "Not answered yet",
            f"the first request with this {HEADER} is being carried out, or its process has died: look whether it did what you want",
        )
    return Response(
        first.body, first.status, media_type="application/json", headers={REPLAYED: "true"}
    )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
