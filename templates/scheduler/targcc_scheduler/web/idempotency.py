"""``Idempotency-Key``: a repeated request, as after a lost connection, gets the first request's answer and does nothing more.

The key is stored in the database before the request runs, and the answer afterwards. A process that dies between the two leaves a key without
an answer. Nobody then knows whether the request took effect, so no request runs again under this key.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..kernel import idempotency
from ..scheduler import Scheduler
from .authentication import actor, template_of
from .problems import Handler, Problem, admitted, with_database
from .state import get_scheduler, get_web

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_LEAST_FAULT = 500
_CHUNK = 2**20
_LEAST_WAIT, _MOST_WAIT = 1, 3600
"""Least and most seconds of ``Retry-After``."""


async def once(handler: Handler, request: Request) -> Response:
    """Return the answer from ``handler``, or the stored answer to the first request with this key.

    Args:
        handler: Request handler.
        request: Request whose route has admitted the sender.

    Raises:
        Problem: the key is malformed, belongs to a different request, or its first request has no answer yet.
    """
    principal = admitted(request)
    if principal is None:
        return await handler(request)
    key = request.headers[HEADER]
    if not _KEY.fullmatch(key):
        raise Problem(422, "No such key", f"{HEADER} is 1 to 200 visible characters of ASCII")
    kind = str(actor(request, principal).kind)  # a token and a user may have the same name
    scheduler, scope = get_scheduler(request), _digest(kind, principal.name, _address(request))
    rights = f"{principal.role} {principal.jobs} {principal.grants}"
    digest = _digest(rights, request.url.query, body=await request.body())
    now = scheduler.clock.now()
    first = await scheduler.change(
        lambda db: idempotency.begin(db, scope, key, digest=digest, now=now)
    )
    if first is not None:
        return _again(first, digest, key, now)
    return await _carry_out(scheduler, scope, key, handler, request)


async def _carry_out(
    scheduler: Scheduler, scope: str, key: str, handler: Handler, request: Request
) -> Response:
    try:
        answer = await with_database(handler, request)
    except (Problem, HTTPException, RequestValidationError) as error:
        if getattr(error, "status", getattr(error, "status_code", 422)) < _LEAST_FAULT:
            await scheduler.change(lambda db: idempotency.forget(db, scope, key))
        raise
    body = bytes(answer.body).decode()
    await scheduler.change(lambda db: idempotency.end(db, scope, key, answer.status_code, body))
    return answer


def _again(first: idempotency.Kept, digest: str, key: str, now: datetime) -> Response:
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
            headers={"Retry-After": str(_retry_after(first, now))},
        )
    return Response(
        first.body, first.status, media_type="application/json", headers={REPLAYED: "true"}
    )


def _retry_after(first: idempotency.Kept, now: datetime) -> int:
    """Return the seconds for ``Retry-After``: the first request's age, between 1 and 3,600."""
    age = int((now - first.begun_at).total_seconds())
    return min(max(age, _LEAST_WAIT), _MOST_WAIT)


def _address(request: Request) -> str:
    """Return the request's path below the prefix, so that every API prefix gives the same path."""
    parts = template_of(request, get_web(request).prefix).count("/")
    return "/" + "/".join(request.url.path.strip("/").split("/")[-parts:])


def _digest(*texts: str, body: bytes | None = None) -> str:
    """Return the SHA-256 digest over texts and a body; the body is decoded as Latin-1."""
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass"))
    if body is not None:
        digest.update(b"\0")
        for start in range(0, len(body), _CHUNK):  # in parts: a body may hold large files
            digest.update(body[start : start + _CHUNK].decode("latin-1").encode())
    return digest.hexdigest()
