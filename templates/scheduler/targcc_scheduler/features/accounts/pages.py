"""Pages for signing in and for the account of the current user."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.actor import Actor, ActorKind
from ...core.errors import AuthError
from ...core.identity import Principal, Role
from ...core.languages import gettext
from ...kernel import audit
from ...kernel.audit import audit as audit_audit
from ...project import current
from ...web.authentication import actor, client_address, require_same_origin
from ...web.dashboard.common import SchedulerOf, Viewer
from ...web.dashboard.flash import Flash, back, base_path, local_path, secure_cookies
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import Frame, environment, render
from ...web.headers_only import HEAD_KEY
from ...web.problems import Problem
from ...web.state import Web, get_web
from . import passwords, second_factor, sessions, users
from .oidc import PREFIX, client_of
from .providers import Login, PasswordChecks, TooManyChecks, find_login, session_cookie
from .sessions import device_cookie, in_words, known_device, new_device
from .throttle import AttemptLimiter, LoginGuard, Seldom

# Sign in by password or one-time link, and sign out.

_DEVICE_LIFE = 400 * 24 * 3600
"""Lifetime of the device cookie in seconds: 400 days, the maximum in browsers."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)

WebOf = Annotated[Web, Depends(get_web)]


class SignIn:
    """State of an app's sign-in that requests share.

    Attributes:
        links: This process's login links.
        guard: Limiter for sign-in attempts.
        codes: Limiter for second-factor attempts; only a client that knows the password can cause a wait.
        openid: OpenID client, if people sign in with OpenID.
        answers: Limiter, by address, for answers in the provider's name: each answer costs a request to the provider.
        checks: Password comparison, a few at a time.
        held_back: Filter that keeps repeated entries about the same address within a minute out of the audit.
    """

    def __init__(self, web: Web) -> None:
        self.links = users.LOGIN_LINKS
        self.guard = LoginGuard()
        self.codes = AttemptLimiter(free=5)
        self.openid = client_of(web.scheduler.settings)
        self.answers = AttemptLimiter(free=10)
        self.checks = PasswordChecks()
        self.held_back = Seldom()


@router.get("/login")
async def login_page(
    request: Request,
    web: WebOf,
    *,
    token: str = "",
    to: Annotated[str, Query(alias="next")] = "",
    left: str = "",
) -> Response:
    """The login page; a valid link token signs in directly."""
    if not token or HEAD_KEY in request.scope:  # the preview of a link uses no link
        return await login_form(request, web, next=to, left=bool(left))
    if not web.shared(SignIn).links.use(token):
        error = gettext(
            "This link has expired: it works once, for ten minutes. Restart the server for a new link."
        )
        return await login_form(request, web, 403, error=error)
    return await sign_in(
        request,
        web,
        name=users.LINK_USER,
        role=Role.ADMIN,
        life=sessions.LINK_SESSION_LIFE,
        to=to,
    )


@router.post("/login")
async def log_in(request: Request, web: WebOf) -> Response:
    """Sign in by name and password."""
    form = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    name, password = form.get("name", "").strip(), form.get("password", "")
    require_same_origin(request)
    address = client_address(request)
    login = await find_login(web.scheduler, name)
    stored = login.password_hash if login is not None else None
    device = known_device(request.cookies.get(device_cookie(), ""), name, stored)
    shown = {"name": name, "next": form.get("next", "")}
    known_as = login.name if login is not None else "unknown name"
    state = web.shared(SignIn)
    wait = state.guard.wait(name, address, device)
    if wait > 0:
        if state.held_back.is_new(address):
            await note(web, known_as, address, "sign-in held back")
        return await later(request, web, wait, **shown)
    state.guard.begin(name, address, device)
    try:
        fits = await state.checks.fits(login, password)
    except TooManyChecks:
        return await later(request, web, 5, **shown)
    if login is None or not fits:
        await note(web, known_as, address, "sign-in refused")
        return await login_form(
            request, web, 401, error=gettext("Wrong name or password."), **shown
        )
    state.guard.succeeded(name, address, device)
    if login.second_factor:
        ticket = second_factor.new_ticket(
            login.name, login.password_hash, web.scheduler.clock.now()
        )
        return _code_form(request, name=login.name, ticket=ticket, next=form.get("next", ""))
    return await _let_in(request, web, login, form.get("next", ""))


@router.post("/login/code")
async def second_step(request: Request, web: WebOf) -> Response:
    """Sign in whose password was right, by the code of the second factor."""
    form = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    ticket, now = form.get("ticket", ""), web.scheduler.clock.now()
    require_same_origin(request)
    login = await find_login(web.scheduler, form.get("name", ""))
    if login is None or not second_factor.ticket_fits(ticket, login.name, login.password_hash, now):
        return await login_form(
            request, web, 403, error=gettext("The sign-in has expired. Sign in again.")
        )
    shown = {"name": login.name, "ticket": ticket, "next": form.get("next", "")}
    codes = web.shared(SignIn).codes
    wait = codes.wait(login.name)
    if wait > 0:
        return _code_form(request, 429, error=_later_text(wait), **shown)
    codes.failed(
        login.name
    )  # count a failure before the check, so that concurrent attempts are limited
    code, name = form.get("code", ""), login.name
    used = await web.scheduler.change(lambda db: second_factor.use(db, name, code, now))
    if used is None:
        await note(web, login.name, client_address(request), "second factor refused")
        error = gettext("Wrong code, or a code that was used before. Wait for the next code.")
        return _code_form(request, 401, error=error, **shown)
    codes.forget(login.name)
    return await _let_in(request, web, login, form.get("next", ""), detail=used)


async def _let_in(
    request: Request, web: Web, login: Login, to: str, detail: str | None = None
) -> Response:
    """Sign an authenticated user in, and set the device cookie that marks the browser as known."""
    response = await sign_in(
        request,
        web,
        name=login.name,
        role=login.role,
        life=web.scheduler.settings.session_life,
        to=to,
        detail=detail,
    )
    cookie = request.cookies.get(device_cookie(), "")
    if known_device(cookie, login.name, login.password_hash) is None:
        response.set_cookie(
            device_cookie(),
            new_device(login.name, login.password_hash),
            max_age=_DEVICE_LIFE,
            path=f"{base_path(request)}/login",
            httponly=True,
            samesite="lax",
            secure=secure_cookies(request, web),
        )
    return response


@router.post("/logout")
async def log_out(
    request: Request, web: WebOf, principal: Annotated[Principal, Depends(page_needs(Role.VIEWER))]
) -> Response:
    """Sign this browser out."""
    secret = request.cookies.get(session_cookie(), "")
    by = Actor(ActorKind.MANUAL, principal.name, client_address(request))
    now = web.scheduler.clock.now()

    async def work(db: AsyncConnection) -> None:
        await sessions.end_session(db, secret)
        await audit.audit(db, by, "sign out", now)

    await web.scheduler.change(work)
    left = "?left=1" if principal.name.startswith(PREFIX) else ""
    response = RedirectResponse(f"{base_path(request)}/login{left}", 303)
    response.delete_cookie(session_cookie(), path="/")
    return response


async def login_form(request: Request, web: Web, status: int = 200, **values: Any) -> Response:
    """Render the login page: a password form when users exist, and a link to the OpenID provider when one is set."""
    anybody = await web.scheduler.read(users.has_users)
    shown = {"error": "", "name": "", "next": "", "left": False, **values}
    shown["provider"] = (
        web.scheduler.settings.oidc_name if web.shared(SignIn).openid is not None else ""
    )
    html = (
        environment()
        .get_template("pages/login.html")
        .render(frame=Frame(request, None), users=anybody, **shown)
    )
    return HTMLResponse(html, status)


def _code_form(request: Request, status: int = 200, **values: str) -> Response:
    shown = {"error": "", **values}
    html = environment().get_template("account/code.html")
    return HTMLResponse(html.render(frame=Frame(request, None), **shown), status)


async def sign_in(
    request: Request,
    web: Web,
    *,
    name: str,
    role: str,
    life: timedelta,
    to: str,
    detail: str | None = None,
) -> Response:
    """Begin a session, write an audit row, and redirect the browser to the page ``to``."""
    now = web.scheduler.clock.now()
    by = Actor(ActorKind.MANUAL, name, client_address(request))
    device = in_words(request.headers.get("User-Agent", ""))

    async def work(db: AsyncConnection) -> str:
        await users.note_login(db, name, now)  # updates nothing for a name that is no local user
        secret = await sessions.start_session(
            db, name, role, now, life, device=device, address=client_address(request)
        )
        await audit.audit(db, by, "sign in", now, detail=detail)
        return secret

    secret = await web.scheduler.change(work)
    response = RedirectResponse(local_path(request, to), 303)
    response.set_cookie(
        session_cookie(),
        secret,
        max_age=int(life.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=secure_cookies(request, web),
    )
    return response


async def later(request: Request, web: Web, wait: float, **shown: str) -> Response:
    """Render the login page with status 429, the wait in words and ``Retry-After``."""
    response = await login_form(request, web, 429, error=_later_text(wait), **shown)
    response.headers["Retry-After"] = str(math.ceil(wait))
    return response


def _later_text(wait: float) -> str:
    return gettext(
        "Too many attempts. Try again in %(time)s.", time=humanize.duration(math.ceil(wait))
    )


async def note(web: Web, name: str, address: str, what: str, detail: str | None = None) -> None:
    """Write an audit row about a sign-in attempt."""
    # Callers pass the typed name only when such a user exists: people type passwords into the name field.
    by = Actor(ActorKind.MANUAL, name, address)
    now = web.scheduler.clock.now()
    await web.scheduler.change(lambda db: audit.audit(db, by, what, now, detail=detail))


# The account page: sessions and second factor of the current user.


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
    )  # a token or a user of the host may have the name of a local user
    name = None if all_of_them else own

    async def query(db: AsyncConnection) -> dict[str, Any]:
        return {
            "sessions": await sessions.sessions(db, now, idle, name=name),
            "is_user": await users.find_login(db, own) is not None,
            "second_factor": await second_factor.is_on(db, own),
            "recovery_left": await second_factor.recovery_left(db, own),
            "tokens": await sessions.tokens(db) if is_admin else None,
        }

    values = await scheduler.read(query)
    return render(request, "account/account.html", principal, everybody=all_of_them, **values)


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
    return _back(request, Flash("good", gettext("Ended a session of %(name)s.", name=whose)))


@router.post("/account/sessions/revoke")
async def end_all(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """End all sessions of who is signed in, this one too."""
    by, now = actor(request, principal), scheduler.clock.now()
    name = _own(principal)
    await scheduler.change(lambda db: sessions.revoke_all(db, by, now, name=name))
    return RedirectResponse(f"{base_path(request)}/login", 303)


def _own(principal: Principal) -> str:
    """Return the name of the signed-in user.

    Raises:
        Problem: the principal has no session here, such as a token.
    """
    if not principal.session:
        raise Problem(403, "Not allowed", "Only users with a session here can do this.")
    return principal.name


def _back(request: Request, flash: Flash) -> Response:
    return back(request, flash, f"{base_path(request)}/account")


@router.post("/account/password")
async def change_own_password(
    request: Request, principal: Viewer, scheduler: SchedulerOf, web: WebOf
) -> Response:
    """Change the password of the current user, who types the present password too; end all sessions of the user."""
    form, now, name = await request.form(), scheduler.clock.now(), _own(principal)
    state = web.shared(SignIn)
    if state.codes.wait(name) > 0:
        return _back(request, Flash("bad", gettext("Too many attempts. Try again later.")))
    state.codes.failed(name)
    login = await find_login(scheduler, name)
    try:
        fits = await state.checks.fits(login, str(form.get("present", "")))
    except TooManyChecks:
        return _back(request, Flash("bad", gettext("Too many attempts. Try again later.")))
    if not fits:
        return _back(request, Flash("bad", gettext("The present password is wrong.")))
    state.codes.forget(name)
    try:
        hashed = await asyncio.to_thread(
            passwords.hash_password, str(form.get("password", "")), name
        )
    except AuthError as error:
        return _back(request, Flash("bad", f"{humanize.sentence(str(error))}."))

    async def work(db: AsyncConnection) -> None:
        await users.change_password(db, name, hashed)
        await audit_audit(db, actor(request, principal), "change password", now, detail=name)

    await scheduler.change(work)
    flash = Flash("good", gettext("Your password has changed."))
    return back(request, flash, f"{base_path(request)}/login")


@router.get("/account/second-factor")
async def enrolment_page(request: Request, principal: Viewer) -> Response:
    """A new secret to add to an app."""
    return _enrolment(request, principal, second_factor.new_secret())


def _enrolment(
    request: Request, principal: Principal, secret: str, error: str = "", status: int = 200
) -> Response:
    shown = " ".join(secret[place : place + 4] for place in range(0, len(secret), 4))
    address = second_factor.address(secret, _own(principal), current().name)
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
        await audit_audit(db, actor(request, principal), "second factor on", now)
        return codes

    try:
        codes = await scheduler.change(work)
    except AuthError as error:
        kept = secret if second_factor.is_secret(secret) else second_factor.new_secret()
        return _enrolment(request, principal, kept, str(error), 422)
    return _page(request, principal, 200, codes=codes)


@router.post("/account/second-factor/off")
async def leave(
    request: Request, principal: Viewer, scheduler: SchedulerOf, web: WebOf
) -> Response:
    """Turn the second factor off, by one more code."""
    form, now, name = await request.form(), scheduler.clock.now(), _own(principal)
    code = str(form.get("code", ""))
    codes = web.shared(SignIn).codes
    if codes.wait(name) > 0:
        return _back(request, Flash("bad", gettext("Too many attempts. Try again later.")))
    codes.failed(name)

    async def work(db: AsyncConnection) -> bool:
        if await second_factor.use(db, name, code, now) is None:
            return False
        await second_factor.turn_off(db, name)
        await audit_audit(db, actor(request, principal), "second factor off", now)
        return True

    if not await scheduler.change(work):
        return _back(request, Flash("bad", gettext("Wrong code, or a code that was used before.")))
    codes.forget(name)
    return _back(request, Flash("good", gettext("The second factor is off.")))
