"""Dashboard page of users, roles and tokens, for admins."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.actor import Actor
from ...core.errors import AuthError, UnknownJob
from ...core.identity import Grant, Principal, Role
from ...core.languages import gettext
from ...kernel.audit import audit
from ...scheduler import Scheduler
from ...web.authentication import actor
from ...web.dashboard.common import SchedulerOf
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import render, role_word
from ...web.problems import Problem
from ...web.state import get_web
from . import model, passwords, roles, second_factor, sessions, users

T = TypeVar("T")
router = APIRouter(route_class=PageRoute, include_in_schema=False)
Admin = Annotated[Principal, Depends(page_needs(Role.ADMIN))]
_LIVES = ("90", "30", "365", "")
"""Lifetimes of a new token in days, the default first; empty means until revoked."""


@router.get("/people")
async def people_page(request: Request, principal: Admin, scheduler: SchedulerOf) -> Response:
    """Users, roles and tokens."""
    return await _page(request, principal, scheduler)


@router.post("/people")
async def change_people(request: Request, principal: Admin, scheduler: SchedulerOf) -> Response:
    """Run the act that the form names; a secret is in this response only."""
    if principal.csrf is None:
        raise Problem(403, "Not allowed", "A token cannot change users, roles and tokens.")
    form = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    act = _ACTS.get(form.get("act", ""))
    if act is None:
        raise Problem(404, "No such page", "There is no page at this address.")
    try:
        _check_offered(act, host_login=get_web(request).host_login)
        done = await act(_Call(form, principal, actor(request, principal), scheduler))
    except (AuthError, UnknownJob) as error:
        return await _refused(request, principal, scheduler, form, str(error))
    except IntegrityError:
        error_text = gettext("another person made such a change at the same time: look again")
        return await _refused(request, principal, scheduler, form, error_text)
    if done.secret:
        return await _page(request, principal, scheduler, made=done)
    return back(request, Flash("good", done.message), f"{base_path(request)}/people")


def _check_offered(act: _Act, *, host_login: bool) -> None:
    """Check that the page offers an act.

    Raises:
        AuthError: the act changes users, and the host identifies people.
    """
    if act in _USER_ACTS and host_login:
        raise AuthError("the application identifies people: it adds, changes and removes them")


async def _refused(
    request: Request,
    principal: Principal,
    scheduler: Scheduler,
    typed: Mapping[str, str],
    error: str,
) -> Response:
    text = f"{humanize.sentence(error)}."
    return await _page(request, principal, scheduler, 422, error=text, typed=typed)


async def _page(
    request: Request, principal: Principal, scheduler: Scheduler, status: int = 200, **more: Any
) -> Response:
    now, idle, settings = scheduler.clock.now(), scheduler.settings.session_idle, scheduler.settings

    async def query(db: AsyncConnection) -> dict[str, Any]:
        return {
            "people": await users.users(db),
            "sessions": await sessions.sessions(db, now, idle),
            "tokens": await sessions.tokens(db),
            "own_roles": await roles.roles(db),
        }

    values = await scheduler.read(query)
    names = {user.name for user in values["people"]}
    open_sessions = values.pop("sessions")
    values["open_sessions"] = Counter(session.name for session in open_sessions)
    values["guests"] = {
        session.name: session.role for session in open_sessions if session.name not in names
    }
    values["is_first"] = not any(user.role == Role.ADMIN for user in values["people"])
    values["role_names"] = [*Role, *(role.name for role in values["own_roles"])]
    response = render(
        request,
        "account/people.html",
        principal,
        status,
        **{"made": None, "typed": {}, "error": "", **values, **more},
        own=principal.name if principal.second_factor is not None else "",
        provider=settings.oidc_name if settings.oidc_issuer else "",
        proxy=bool(settings.proxy_user_header),
        lives=_LIVES,
        built_in=list(Role),
    )
    response.headers["Cache-Control"] = "no-store"
    return response


# Acts: each form of the page names one.


@dataclass(frozen=True, slots=True)
class _Done:
    """The outcome of an act.

    Args:
        message: A sentence for the page.
        secret: A password or token, shown in this response only.
        name: The owner of the secret.
        hint: What to do with the secret.
    """

    message: str
    secret: str = ""
    name: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Call:
    """A form that an admin has sent."""

    form: Mapping[str, str]
    principal: Principal
    by: Actor
    scheduler: Scheduler

    def text(self, field: str) -> str:
        """Return the value of a field without surrounding blanks."""
        return self.form.get(field, "").strip()

    async def transaction(
        self,
        work: Callable[[AsyncConnection, datetime], Awaitable[T]],
        user: str = "",
        *,
        keeps_role: bool = False,
    ) -> T:
        """Run ``work`` in one transaction, after the check of :func:`users.check_change`."""
        now = self.scheduler.clock.now()

        async def checked(db: AsyncConnection) -> T:
            await users.check_change(db, self.principal, user, keeps_role=keeps_role)
            return await work(db, now)

        return await self.scheduler.change(checked)

    async def change(
        self,
        action: str,
        detail: str,
        work: Callable[[AsyncConnection], Awaitable[T]],
        user: str = "",
        *,
        keeps_role: bool = False,
    ) -> T:
        """Run ``work`` and write its audit row in one transaction."""

        async def audited(db: AsyncConnection, now: datetime) -> T:
            value = await work(db)
            await audit(db, self.by, action, now, detail=detail)
            return value

        return await self.transaction(audited, user, keeps_role=keeps_role)


_Act = Callable[[_Call], Awaitable[_Done]]


async def _add_user(call: _Call) -> _Done:
    name, role = call.text("name"), call.text("role").lower()
    password, hashed = await _first_password(name)
    now = call.scheduler.clock.now()

    async def work(db: AsyncConnection) -> None:
        await roles.check_role(db, role)
        by_link = call.principal.name == users.LINK_USER
        if by_link and role != Role.ADMIN and not await model.lock_admins(db):
            raise AuthError(
                "the first user has to be an admin: sign-in links end with the first user"
            )
        await users.add_user(db, name, hashed, role, now)

    await call.change("add user", f"{name} as {role}", work)
    message = gettext("%(name)s may sign in as %(role)s", name=name, role=role_word(role))
    return _Done(message, password, name, _password_hint())


async def _renew_password(call: _Call) -> _Done:
    name = call.text("name")
    password, hashed = await _first_password(name)
    work = partial(users.change_password, name=name, password_hash=hashed)
    await call.change("change password", name, work, name, keeps_role=True)
    message = gettext("%(name)s has a new password, and no session", name=name)
    return _Done(message, password, name, _password_hint())


def _password_hint() -> str:
    return gettext("Give this first password to the person. It is not shown again.")


async def _first_password(name: str) -> tuple[str, str]:
    """Return a new password and its hash."""
    password = passwords.new_password()
    return password, await asyncio.to_thread(passwords.hash_password, password, name)


async def _change_role(call: _Call) -> _Done:
    name, role = call.text("name"), call.text("role").lower()
    work = partial(roles.assign, user=name, role=role)
    await call.change("change role", f"{name} is {role}", work, name, keeps_role=role == Role.ADMIN)
    return _Done(gettext("%(name)s is %(role)s now.", name=name, role=role_word(role)))


async def _reset_second_factor(call: _Call) -> _Done:
    name = call.text("name")
    work = partial(second_factor.reset, name=name)
    await call.change("reset second factor", name, work, name, keeps_role=True)
    return _Done(gettext("%(name)s signs in without a second factor.", name=name))


async def _remove_user(call: _Call) -> _Done:
    name = call.text("name")

    async def work(db: AsyncConnection) -> list[str]:
        await users.remove_user(db, name)
        return [token.name for token in await sessions.tokens(db) if _made_by(token, name)]

    left = await call.change("remove user", name, work, name)
    message = gettext("%(name)s is removed.", name=name)
    if left:
        tokens = humanize.listed(left)
        message += " " + gettext("Tokens of this user still work: %(tokens)s.", tokens=tokens)
    return _Done(message)


def _made_by(token: sessions.Token, name: str) -> bool:
    return token.created_by.partition(" (")[2] == f"{name})"


async def _end_sessions(call: _Call) -> _Done:
    name = call.text("name")
    if not name or name == call.principal.name:
        raise AuthError("your own sessions end on the account page")

    async def work(db: AsyncConnection, now: datetime) -> int:
        ended = await sessions.revoke_all(db, call.by, now, name=name)
        if not ended:
            raise AuthError(f"there is no session of {name}")
        return ended

    ended = await call.transaction(work, name, keeps_role=True)
    number = humanize.count(ended, "session")
    return _Done(gettext("Ended %(sessions)s of %(name)s.", sessions=number, name=name))


async def _create_token(call: _Call) -> _Done:
    name, days = call.text("name"), call.text("days")
    if days not in _LIVES:
        raise AuthError(f"not a lifetime of a token: {days!r}")
    life = timedelta(days=int(days)) if days else None
    names = call.text("jobs").replace(",", " ").split()
    jobs = [call.scheduler.find(job).name for job in names] or None
    role = call.text("role").lower() if jobs is None else str(Role.OPERATOR)
    now = call.scheduler.clock.now()

    async def work(db: AsyncConnection) -> str:
        await roles.check_role(db, role)
        account = call.text("account")
        return await sessions.create_token(
            db, name, role, by=str(call.by), now=now, life=life, account=account, jobs=jobs
        )

    secret = await call.change("create token", f"{name} as {sessions.scope_of(role, jobs)}", work)
    hint = gettext("Save the token now: it is not shown again. Send it with each request:")
    return _Done(gettext("Token %(name)s is ready", name=name), secret, name, hint)


async def _revoke_token(call: _Call) -> _Done:
    name = call.text("name")
    await call.change("revoke token", name, partial(sessions.revoke_token, name=name))
    return _Done(gettext("Token %(name)s is revoked.", name=name))


async def _create_role(call: _Call) -> _Done:
    name, pattern = call.text("name"), call.text("pattern")
    grants = [Grant(_may(call), pattern)] if pattern else []
    detail = f"{name}: {roles.shown_grants(grants)}"
    await call.change("create role", detail, partial(roles.create, name=name, grants=grants))
    return _Done(gettext("Role %(name)s is ready.", name=name))


async def _grant(call: _Call) -> _Done:
    name, added = call.text("name"), Grant(_may(call), call.text("pattern"))
    await call.change("grant", f"{name}: {added}", partial(roles.grant, name=name, added=added))
    return _Done(gettext("Role %(name)s has changed.", name=name))


async def _revoke(call: _Call) -> _Done:
    name, pattern = call.text("name"), call.form.get("pattern", "")
    await call.change(
        "revoke", f"{name}: {pattern}", partial(roles.revoke, name=name, jobs=pattern)
    )
    return _Done(gettext("Role %(name)s has changed.", name=name))


async def _remove_role(call: _Call) -> _Done:
    name = call.text("name")
    await call.change("remove role", name, partial(roles.remove, name=name))
    return _Done(gettext("Role %(name)s is removed.", name=name))


def _may(call: _Call) -> Role:
    """Return the permission in the form.

    Raises:
        AuthError: the form has no permission of a built-in role.
    """
    try:
        return Role(call.text("may"))
    except ValueError:
        raise AuthError(f"a grant is {', '.join(Role)}") from None


_USER_ACTS: tuple[_Act, ...] = (
    _add_user,
    _renew_password,
    _change_role,
    _reset_second_factor,
    _remove_user,
    _end_sessions,
)
"""Acts that a host which identifies people leaves out."""
_ACTS: dict[str, _Act] = {
    "add-user": _add_user,
    "new-password": _renew_password,
    "change-role": _change_role,
    "reset-second-factor": _reset_second_factor,
    "remove-user": _remove_user,
    "end-sessions": _end_sessions,
    "create-token": _create_token,
    "revoke-token": _revoke_token,
    "create-role": _create_role,
    "grant": _grant,
    "revoke": _revoke,
    "remove-role": _remove_role,
}
