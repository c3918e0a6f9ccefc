"""The page of who is signed in: their sessions, and their second factor."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.errors import AuthError
from ....core.languages.reader import gettext
from ....project import current
from ....security import second_factor, sessions, tokens, totp, users
from ....security.roles import Principal, Role
from ....storage.audit import audit
from ...authentication import actor
from ...problems import Problem
from ...state import Web, get_web
from ..flash import Flash, back, base_path
from ..page_route import PageRoute
from ..pages.common import SchedulerOf, Viewer
from ..rendering import render

router = APIRouter(route_class=PageRoute, include_in_schema=False)
WebOf = Annotated[Web, Depends(get_web)]


@router.get("/account")
async def account_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, everybody: str = ""
) -> Response:
    """Sessions, second factor, and for admins the tokens."""
    now, idle = scheduler.clock.now(), scheduler.settings.session_idle
    is_admin = principal.covers(Role.ADMIN)
    all_of_them = bool(everybody) and is_admin
    own = (
        principal.name if principal.session else ""
    )  # a token, or the host's user, may be called like one of ours
    name = None if all_of_them else own

    async def query(db: AsyncConnection) -> dict[str, Any]:
        return {
            "sessions": await sessions.sessions(db, now, idle, name=name),
            "is_user": await users.find_login(db, own) is not None,
            "second_factor": await second_factor.is_on(db, own),
            "recovery_left": await second_factor.recovery_left(db, own),
            "tokens": await tokens.tokens(db) if is_admin else None,
        }

    found = await scheduler.read(query)
    return render(request, "account/account.html", principal, everybody=all_of_them, **found)


@router.post("/account/sessions/{session_id}/revoke")
async def end_one(
    session_id: str, request: Request, principal: Viewer, scheduler: SchedulerOf
) -> Response:
    """End a session: one's own, or as an admin anybody's."""
    by, now = actor(request, principal), scheduler.clock.now()
    name = None if principal.covers(Role.ADMIN) else _own(principal)
    try:
        whose = await scheduler.change(
            lambda db: sessions.revoke(db, session_id, by, now, name=name)
        )
    except AuthError as error:
        return _back(request, Flash("bad", str(error)))
    return _back(request, Flash("good", gettext("A session of %(name)s has ended.", name=whose)))


@router.post("/account/sessions/revoke")
async def end_all(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """End all sessions of who is signed in, this one too."""
    by, now = actor(request, principal), scheduler.clock.now()
    name = _own(principal)
    await scheduler.change(lambda db: sessions.revoke_all(db, by, now, name=name))
    return RedirectResponse(f"{base_path(request)}/login", 303)


def _own(principal: Principal) -> str:
    """Whose sessions are one's own: a token has none, whatever it is called."""
    if not principal.session:
        raise Problem(403, "Not allowed", "This is for people who have signed in here.")
    return principal.name


def _back(request: Request, flash: Flash) -> Response:
    return back(request, flash, f"{base_path(request)}/account")


@router.get("/account/second-factor")
async def enrolment_page(request: Request, principal: Viewer) -> Response:
    """A new secret to add to an app."""
    return _enrolment(request, principal, totp.new_secret())


def _enrolment(
    request: Request, principal: Principal, secret: str, error: str = "", status: int = 200
) -> Response:
    shown = " ".join(secret[place : place + 4] for place in range(0, len(secret), 4))
    address = totp.address(secret, _own(principal), current().name)
    return _page(
        request, principal, status, secret=secret, shown=shown, address=address, error=error
    )


def _page(request: Request, principal: Principal, status: int, **values: Any) -> Response:
    shown = {"codes": None, "error": "", **values}
    return render(request, "account/second_factor.html", principal, status, **shown)


@router.post("/account/second-factor")
async def enrol(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """Turn the second factor on, once the app shows the right code."""
    form, now, name = await request.form(), scheduler.clock.now(), _own(principal)
    secret, code = str(form.get("secret", "")), str(form.get("code", ""))

    async def work(db: AsyncConnection) -> list[str]:
        codes = await second_factor.turn_on(db, name, secret, code, now)
        await audit(db, actor(request, principal), "second factor on", now)
        return codes

    try:
        codes = await scheduler.change(work)
    except AuthError as error:
        kept = secret if totp.is_secret(secret) else totp.new_secret()
        return _enrolment(request, principal, kept, str(error), 422)
    return _page(request, principal, 200, codes=codes)


@router.post("/account/second-factor/off")
async def leave(
    request: Request, principal: Viewer, scheduler: SchedulerOf, web: WebOf
) -> Response:
    """Turn the second factor off, by one more code."""
    form, now, name = await request.form(), scheduler.clock.now(), _own(principal)
    code = str(form.get("code", ""))
    if web.codes.wait(name) > 0:
        return _back(request, Flash("bad", gettext("Too many attempts. Try again later.")))
    web.codes.failed(name)

    async def work(db: AsyncConnection) -> bool:
        if await second_factor.use(db, name, code, now) is None:
            return False
        await second_factor.turn_off(db, name)
        await audit(db, actor(request, principal), "second factor off", now)
        return True

    if not await scheduler.change(work):
        return _back(request, Flash("bad", gettext("That code does not fit, or was used before.")))
    web.codes.forget(name)
    return _back(request, Flash("good", gettext("The second factor is off.")))
