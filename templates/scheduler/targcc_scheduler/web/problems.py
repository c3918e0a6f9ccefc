"""Errors as answers: problem details from the API, a page from the dashboard."""

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
    """An error to answer with, as RFC 9457 describes it."""

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
    """A route whose answers have the security headers and are not cached."""

    def get_route_handler(self) -> Handler:
        """The handler, with the headers added to its answer."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            response = await self.answer(handler, request)
            response.headers.setdefault("Cache-Control", "no-store")
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded

    async def answer(self, handler: Handler, request: Request) -> Response:
        """The handler's answer; subclasses turn errors into answers here."""
        return await handler(request)


class ApiRoute(GuardedRoute):
    """A route of the REST API: whatever goes wrong is answered as problem JSON."""

    async def answer(self, handler: Handler, request: Request) -> Response:
        """The handler's answer, or the problem."""
        try:
            return await with_database(handler, request)
        except Problem as problem:
            return problem.response()
        except RequestValidationError as error:
            return _unprocessable(error).response()
        except HTTPException as error:
            return Problem(error.status_code, "Refused", str(error.detail)).response()


def _refuse_large_body(request: Request) -> None:
    """Refuse a body that is large or of unknown length: it is read before the sender is authenticated."""
    length = request.headers.get("content-length", "0")
    endless = "transfer-encoding" in request.headers
    if endless or not length.isdigit() or int(length) > _MOST_BODY_BYTES:
        raise Problem(
            413, "That is too much", "A request may hold a million bytes, and says how many."
        )


async def with_database(handler: Handler, request: Request) -> Response:
    """The handler's answer.

    Raises:
        Problem: the body is too large, the database did not answer, or a value does not fit into it. The database's own error
            is only logged.
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
