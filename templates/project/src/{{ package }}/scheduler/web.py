# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What every request passes through: who is it, may they, and the headers that keep browsers safe.

A router cannot add middleware to the app that includes it, so this works through route classes and dependencies.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from . import auth
from .access import change, read
from .actor import Actor, ActorKind
from .auth import LoginGuard, LoginLinks, Principal, Role
from .metrics import Metrics
from .project import PACKAGE
from .scheduler import Scheduler

SESSION_COOKIE = f"targcc_session_{PACKAGE}"
"""Browsers share cookies between the ports of a machine, so each project has its own."""
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"

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
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

log = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(slots=True)
class Web:
    """What the web side of one app shares; kept as ``app.state.targcc``."""

    scheduler: Scheduler
    metrics: Metrics
    links: LoginLinks = field(default_factory=lambda: auth.LOGIN_LINKS)
    guard: LoginGuard = field(default_factory=LoginGuard)


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


def get_web(request: Request) -> Web:
    """What the web side shares.

    Raises:
        Problem: the app was started without its lifespan, or is stopping.
    """
    web = getattr(request.app.state, "targcc", None)
    if not isinstance(web, Web):
        raise Problem(503, "Not running", "the scheduler of this app is not running")
    return web


def get_scheduler(request: Request) -> Scheduler:
    """The scheduler of the app that serves the request: for routes of your own, ``Depends(get_scheduler)``."""
    return get_web(request).scheduler


def client_address(request: Request) -> str:
    """Where the request came from; behind a trusted proxy, uvicorn has put the client's address there."""
    return request.client.host if request.client is not None else "unknown"


async def find_principal(request: Request) -> Principal | None:
    """Who sends the request, by bearer token or by session cookie; ``None`` when nobody knows them."""
    web = get_web(request)
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await _token_holder(web, secret.strip())
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        return None
    now = web.scheduler.clock.now()
    return await read(web.scheduler, lambda db: auth.find_session(db, cookie, now))


async def _token_holder(web: Web, secret: str) -> Principal | None:
    now = web.scheduler.clock.now()
    token = await read(web.scheduler, lambda db: auth.find_token(db, secret, now))
    if token is None:
        return None
    if auth.use_is_worth_noting(token, now):
        name = token.name
        await change(web.scheduler, lambda db: auth.note_token_use(db, name, now))
    return Principal(token.name, token.role)


async def csrf_fits(request: Request, principal: Principal) -> bool:
    """Whether a request that changes something was meant by whom the browser belongs to."""
    if request.method in _SAFE_METHODS or principal.csrf is None:
        return True
    if not same_origin(request):
        return False
    sent: Any = request.headers.get(CSRF_HEADER)
    if sent is None and "form" in request.headers.get("Content-Type", ""):
        sent = (await request.form()).get(CSRF_FIELD)
    return isinstance(sent, str) and secrets.compare_digest(sent.encode(), principal.csrf.encode())


def same_origin(request: Request) -> bool:
    """Whether a browser that says where a form comes from names this site."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("Host", "")


def api_needs(role: Role) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency of API routes: somebody with at least ``role``."""

    async def check(request: Request) -> Principal:
        principal = await find_principal(request)
        if principal is None:
            raise Problem(
                401,
                "Sign in first",
                "send a token: Authorization: Bearer …; make one with: targcc token create NAME",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not principal.role.covers(role):
            raise Problem(
                403,
                "Not allowed",
                f"this needs the role {role}; {principal.name} is {principal.role}",
            )
        if not await csrf_fits(request, principal):
            raise Problem(403, "Not from this site", f"send the session's token as {CSRF_HEADER}")
        return principal

    return check


def actor(request: Request, principal: Principal) -> Actor:
    """Who does something, for the run and the audit."""
    kind = ActorKind.API if principal.csrf is None else ActorKind.MANUAL
    return Actor(kind, principal.name, client_address(request))
