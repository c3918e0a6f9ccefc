"""Problems: errors as answers, by the API as problem details, by the pages as a page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import sqlalchemy as sa
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_MOST_BODY_BYTES = 1_000_000
log = logging.getLogger("targcc.web.problems")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Problem(Exception):  # noqa: N818 - the name of RFC 9457
    """Something to tell the caller of the API, as RFC 9457 says it."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.more = more

    def response(self) -> Response:
        """The answer."""
        body = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return JSONResponse(
            body, self.status, media_type="application/problem+json", headers=self.headers
        )


class GuardedRoute(APIRoute):
    """A route whose answers carry the security headers and are kept by no cache."""

    def get_route_handler(self) -> Handler:
        """The handler with its answer guarded."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            response = await self.answer(handler, request)
            response.headers.setdefault("Cache-Control", "no-store")
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded

    async def answer(self, handler: Handler, request: Request) -> Response:
        """What the handler says; subclasses turn errors into answers here."""
        return await handler(request)


class ApiRoute(GuardedRoute):
    """A route of the REST API: whatever goes wrong is answered as problem JSON."""

    async def answer(self, handler: Handler, request: Request) -> Response:
        """What the handler says, or the problem."""
        try:
            return await with_database(handler, request)
        except Problem as problem:
            return problem.response()
        except RequestValidationError as error:
            return _unprocessable(error).response()
        except HTTPException as error:
            return Problem(error.status_code, "Refused", str(error.detail)).response()


def _refuse_large_body(request: Request) -> None:
    """A body is read before anybody is asked who they are, so a stranger's must be small, and say how long it is."""
    length = request.headers.get("content-length", "0")
    endless = "transfer-encoding" in request.headers
    if endless or not length.isdigit() or int(length) > _MOST_BODY_BYTES:
        raise Problem(
            413, "That is too much", "A request may hold a million bytes, and says how many."
        )


async def with_database(handler: Handler, request: Request) -> Response:
    """What the handler says.

    Raises:
        Problem: the body is too large, the database did not answer, or something was asked that it cannot hold. What it
            said stays in the log.
    """
    _refuse_large_body(request)
    try:
        return await handler(request)
    except (sa.exc.DataError, OverflowError) as error:  # such as a run id beyond 64 bits
        raise Problem(
            422,
            "The request cannot be understood",
            "It holds a text or a number that no database can.",
        ) from error
    except sa.exc.DBAPIError as error:
        log.exception("the database did not answer")
        raise Problem(
            503, "The database does not answer", "This page works again as soon as it does."
        ) from error


def _unprocessable(error: RequestValidationError) -> Problem:
    errors = [
        {"where": ".".join(map(str, item["loc"])), "message": item["msg"]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['where']}: {item['message']}" for item in errors)
    return Problem(422, "The request cannot be understood", detail, errors=errors)
