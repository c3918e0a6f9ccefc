"""Exchange a bearer token of the host for a session of the pages: browsers cannot send the token when they open a page."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor, ActorKind
from ...core.identity import Principal, Role, page_cookie
from ...kernel.audit import audit
from ...project import current
from ...web.authentication import client_address, from_another_site, same_origin
from ...web.dashboard.flash import base_path, secure_cookies
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.host_login import HostLogin
from ...web.problems import GuardedRoute, Handler, Problem, with_database
from ...web.state import Web, get_web
from . import sessions
from .pages import SignIn, note

WebOf = Annotated[Web, Depends(get_web)]


class ExchangeRoute(GuardedRoute):
    """Route for the scripts of the host's own pages; answers every error as problem JSON."""

    async def answer(self, handler: Handler, request: Request) -> Response:
        """Return the handler's answer, or the error as problem JSON."""
        try:
            return await with_database(handler, request)
        except Problem as problem:
            return problem.response()


exchange = APIRouter(route_class=ExchangeRoute, include_in_schema=False)
router = APIRouter(route_class=PageRoute, include_in_schema=False)


@exchange.post("/session")
async def begin(request: Request, web: WebOf) -> Response:
    """Begin a session for the user whom the host knows by the bearer token, with the role that the host gives.

    A form of another site cannot send the header, and a page of another origin is refused, so nobody signs a browser in as somebody else.
    """
    login = _host_login(web)
    if not same_origin(request) and not _is_login_page(request.headers["Origin"], web.login_url):
        raise from_another_site(
            "The session is for pages of this origin, or of the origin of login_url."
        )
    address, now = client_address(request), web.scheduler.clock.now()
    try:
        identity = await login.by_bearer(request)
    except Problem:
        await _note_refusal(web, address)
        raise
    if identity is None:
        await _note_refusal(web, address)
        detail = "send a token of the application in the header Authorization, as Bearer TOKEN"
        raise Problem(401, "Sign in first", detail, headers={"WWW-Authenticate": "Bearer"})
    name, role = identity
    life = min(sessions.HOST_SESSION_LIFE, web.scheduler.settings.session_life)
    device = sessions.in_words(request.headers.get("User-Agent", ""))
    before = request.cookies.get(page_cookie(current().package), "")

    async def work(db: AsyncConnection) -> str:
        if before.startswith(sessions.HOST_MARK):
            await sessions.end_session(db, before)
        secret = await sessions.start_session(
            db,
            f"{sessions.HOST_PREFIX}{name}",
            role,
            now,
            life,
            device=device,
            address=address,
            mark=sessions.HOST_MARK,
        )
        by = Actor(ActorKind.MANUAL, name, address)
        await audit(db, by, "sign in", now, detail="by a token of the application")
        return secret

    secret = await web.scheduler.change(work)
    base = base_path(request)
    response = JSONResponse(
        {"name": name, "role": role, "expires_at": (now + life).isoformat(), "url": base}
    )
    response.set_cookie(
        page_cookie(current().package),
        secret,
        max_age=int(life.total_seconds()),
        path=base,
        httponly=True,
        samesite="lax",
        secure=secure_cookies(request, web),
    )
    return response


@router.post("/session/end")
async def end(
    request: Request, web: WebOf, principal: Annotated[Principal, Depends(page_needs(Role.VIEWER))]
) -> Response:
    """Sign this browser out of the pages; the token of the host stays valid."""
    _host_login(web)
    secret, now = request.cookies.get(page_cookie(current().package), ""), web.scheduler.clock.now()
    by = Actor(ActorKind.MANUAL, principal.name, client_address(request))

    async def work(db: AsyncConnection) -> None:
        if secret.startswith(sessions.HOST_MARK):
            await sessions.end_session(db, secret)
            await audit(db, by, "sign out", now)

    await web.scheduler.change(work)
    response = RedirectResponse(web.login_url or base_path(request), 303)
    response.delete_cookie(page_cookie(current().package), path=base_path(request))
    return response


def _host_login(web: Web) -> HostLogin:
    """Return the login of the host.

    Raises:
        Problem: the scheduler signs people in itself.
    """
    login = next((item for item in web.providers if isinstance(item, HostLogin)), None)
    if login is None:
        raise Problem(
            401, "Sign in first", "This application does not identify people: use the login page."
        )
    return login


def _is_login_page(origin: str, login_url: str) -> bool:
    """Return whether an ``Origin`` header names the origin of the host's login page, if that page has another origin."""
    page = urlsplit(login_url)
    return bool(page.netloc) and origin.lower() == f"{page.scheme}://{page.netloc}".lower()


async def _note_refusal(web: Web, address: str) -> None:
    """Write at most one audit row a minute: anybody can send a made-up token."""
    if web.shared(SignIn).held_back.is_new("a token of the application"):
        await note(web, "unknown name", address, "sign-in refused", "a token of the application")
