"""Turn errors into answers: problem details from the API, a page from the dashboard."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import sqlalchemy as sa
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from ..core.actor import everything_visible
from ..core.error_codes import address
from ..core.errors import ExtraMissing, QueryTimeout, SchedulerOff, SchemaError
from ..core.identity import Principal
from ..core.numbers import whole
from ..core.outage import in_short
from ..core.search_language import SearchError
from .fastapi_compat import read_annotated_parameters
from .site_names import answers_to

read_annotated_parameters()

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_TYPE = "urn:targcc:problem:"
_WORD = re.compile("[a-z]+")
CODES = {
    "no-such-job": "TS102",
    "the-arguments-do-not-fit": "TS103",
    "the-file-is-gone": "TS105",
    "no-such-file": "TS106",
    "no-such-run": "TS201",
    "not-in-this-state": "TS202",
    "key-of-another-call": "TS203",
    "no-such-flow": "TS204",
    "no-such-batch": "TS206",
    "it-cannot-be-done": "TS207",
    "no-such-operation": "TS208",
    "no-such-failure": "TS210",
    "no-such-queue": "TS303",
    "no-such-server": "TS304",
    "no-such-release": "TS305",
    "it-cannot-be-overridden-so": "TS306",
    "a-pause-ends-later": "TS307",
    "no-such-window": "TS308",
    "no-such-calendar": "TS309",
    "the-database-does-not-answer": "TS601",
    "the-tables-are-of-another-release": "TS602",
    "the-question-took-too-long": "TS604",
    "the-scheduler-is-off": "TS605",
    "an-extra-is-not-installed": "TS615",
    "not-running": "TS605",
    "sign-in-first": "TS701",
    "nobody-can-sign-in": "TS701",
    "not-allowed": "TS702",
    "not-here": "TS702",
    "second-factor-needed": "TS702",
    "not-from-this-site": "TS703",
    "this-form-has-expired": "TS703",
    "another-site-s-name": "TS704",
    "no-such-session": "TS705",
    "too-many-views": "TS705",
    "that-head-says-nothing": "TS706",
    "no-such-webhook": "TS708",
    "no-such-webhook-is-possible": "TS709",
    "refused": "TS801",
    "the-request-cannot-be-understood": "TS801",
    "the-form-cannot-be-understood": "TS801",
    "no-such-field": "TS801",
    "no-such-time": "TS801",
    "too-far-away": "TS801",
    "no-such-page": "TS802",
    "no-such-language": "TS802",
    "that-is-too-much": "TS803",
    "changed-meanwhile": "TS804",
    "the-search-cannot-be-understood": "TS805",
    "which-zone": "TS806",
    "an-instant-needs-a-zone": "TS806",
    "no-such-zone": "TS806",
    "no-such-key": "TS807",
    "key-of-another-request": "TS807",
    "not-with-a-key": "TS807",
    "not-answered-yet": "TS808",
    "too-many-streams": "TS809",
}
"""Code of each kind of problem, explained in ``core/error_codes.toml``. A problem that is an exception has the code of the exception."""
_MOST_BODY_BYTES = 1_000_000
_CLIENT_CLOSED_REQUEST = 499
"""Status for a request whose client has disconnected, as in nginx's log."""
log = logging.getLogger("targcc.web.problems")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Check = Callable[[Request], Awaitable[Principal]]
_CHECKED = "targcc.checked"
"""Key for check results in a request's scope."""


class Problem(Exception):  # noqa: N818 - the name of RFC 9457
    """Error answered as problem details (RFC 9457).

    Args:
        status: HTTP status.
        title: Summary of the problem.
        detail: Message about this occurrence.
        kind: Name in ``type``, by default the title in lower case; ``code`` is its entry in :data:`CODES`.
        headers: Headers of the answer.
        code: Code of the exception that the problem was made from, if the kind has several.
        more: Further members of the document.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        kind: str = "",
        headers: dict[str, str] | None = None,
        code: str = "",
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.kind = kind or "-".join(_WORD.findall(title.lower()))
        self.code = code or CODES.get(self.kind, CODES["refused"])
        self.headers = headers or {}
        self.more = more

    def response(self) -> Response:
        """Return the problem as ``application/problem+json``."""
        body = {
            "type": _TYPE + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "manual": address(self.code),
            **self.more,
        }
        return JSONResponse(
            body, self.status, media_type="application/problem+json", headers=self.headers
        )


def before_the_body(check: Check) -> Check:
    """Mark a dependency that admits a request's sender: :class:`GuardedRoute` calls the dependency once, before reading the body."""

    async def checked(request: Request) -> Principal:
        results: dict[Check, Principal] = request.scope.setdefault(_CHECKED, {})
        if checked not in results:
            results[checked] = await check(request)
        return results[checked]

    checked.admits_sender = True  # type: ignore[attr-defined]  # GuardedRoute looks for it
    return checked


def admitted(request: Request) -> Principal | None:
    """Return a request's admitted sender; ``None`` if the route is public."""
    results: dict[Check, Principal] = request.scope.get(_CHECKED, {})
    return next(iter(results.values()), None)


class GuardedRoute(APIRoute):
    """Route that adds security headers, forbids caching and refuses foreign host names.

    The route admits the sender before reading the body.
    """

    checks_host = True

    def get_route_handler(self) -> Handler:
        """Return the handler, wrapped in this class's checks and headers."""
        handler = super().get_route_handler()
        calls = [dependency.call for dependency in self.dependant.dependencies]
        checks: list[Check] = [call for call in calls if call and hasattr(call, "admits_sender")]

        async def admitting(request: Request) -> Response:
            for check in checks:
                await check(request)
            return await self.carry_out(handler, request)

        async def guarded(request: Request) -> Response:
            chosen = admitting if self._is_meant(request) else _refuse_host
            with everything_visible():  # until the sender is authenticated
                response = await while_somebody_waits(self.answer(chosen, request), request)
            response.headers.setdefault("Cache-Control", "no-store")
            if _is_encrypted(request):
                response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded

    def _is_meant(self, request: Request) -> bool:
        web = getattr(request.app.state, "targcc", None)
        host = request.headers.get("Host", "")
        return not self.checks_host or web is None or answers_to(host, web.scheduler.settings)

    async def answer(self, handler: Handler, request: Request) -> Response:
        """Return the handler's answer. Subclasses turn errors into answers here."""
        return await handler(request)

    async def carry_out(self, handler: Handler, request: Request) -> Response:
        """Run the handler of an admitted request. Subclasses add steps before the handler here."""
        return await handler(request)


async def _refuse_host(request: Request) -> Response:
    host = request.headers.get("Host", "")[:100]
    raise Problem(
        421,
        "Unknown host name",
        f"This site does not answer to {host!r}: set TARGCC_BASE_URL to the address that people use, or TARGCC_ALLOWED_HOSTS.",
        kind="another-site-s-name",
    )


def _is_encrypted(request: Request) -> bool:
    web = getattr(request.app.state, "targcc", None)
    behind_tls = web is not None and web.scheduler.settings.base_url.startswith("https:")
    return behind_tls or request.url.scheme == "https"


async def while_somebody_waits(
    answering: Coroutine[Any, Any, Response], request: Request
) -> Response:
    """Await the answer; if a GET request's client disconnects, cancel the handler with the running database query."""
    if request.method != "GET":
        return await answering
    answer = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    finally:
        gone.cancel()
        answer.cancel()
        await asyncio.wait({answer, gone})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refuse_large_body(request: Request) -> None:
    """Refuse a body that is too large or has no declared length."""
    length = request.headers.get("content-length", "0")
    endless = "transfer-encoding" in request.headers
    web = getattr(request.app.state, "targcc", None)
    if web is not None and getattr(request.scope.get("endpoint"), "takes_files", False):
        most = web.scheduler.settings.max_file_bytes
        if endless or whole(length, most + _MOST_BODY_BYTES) is None:
            raise Problem(
                413,
                "Request too large",
                f"The files of a request may have {most:,} bytes together, and the request must state its length: TARGCC_MAX_FILE_BYTES.",
                kind="that-is-too-much",
            )
    elif endless or whole(length, _MOST_BODY_BYTES) is None:
        raise Problem(
            413,
            "Request too large",
            "A request may hold at most a million bytes and must declare its length.",
            kind="that-is-too-much",
        )


async def with_database(handler: Handler, request: Request) -> Response:
    """Run the handler and turn scheduler and database errors into problems.

    Raises:
        Problem: the body is too large, the database did not answer, or a value does not fit into the database. The database's own
            error is only logged.
    """
    _refuse_large_body(request)
    try:
        return await handler(request)
    except QueryTimeout as error:
        raise Problem(
            503,
            "The query took too long",
            "The search was stopped. Narrow it to a job, a state or a shorter period.",
            kind="the-question-took-too-long",
        ) from error
    except (sa.exc.DataError, OverflowError, UnicodeEncodeError) as error:
        # For example, a run id beyond 64 bits or half a surrogate pair.
        raise Problem(
            422,
            "The request cannot be understood",
            "The request holds a text or a number that no database can store.",
        ) from error
    except SearchError as error:
        raise Problem(
            422,
            "The search cannot be understood",
            str(error),
            search=error.text,
            position=error.at,
            length=error.length,
        ) from None
    except SchedulerOff as error:
        raise Problem(503, "The scheduler is off", str(error)) from error
    except ExtraMissing as error:
        raise Problem(503, "An extra is not installed", str(error)) from error
    except SchemaError as error:
        raise Problem(
            503,
            "The tables belong to another release",
            str(error),
            kind="the-tables-are-of-another-release",
        ) from error
    except (sa.exc.DBAPIError, OSError) as error:
        short = in_short(error)  # a traceback would show the statement with its values
        log.error("the database did not answer: %s", short)  # noqa: TRY400
        raise Problem(
            503,
            "The database does not answer",
            "This page works again as soon as the database answers.",
        ) from error
    except sa.exc.StatementError as error:  # a value without a counterpart in the database
        if not isinstance(error.orig, ValueError | OverflowError | TypeError):
            raise
        raise Problem(
            422,
            "The request cannot be understood",
            "The request holds a text, a number or an instant that no database can store.",
        ) from error
