"""API routes for sessions, tokens, users and saved searches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from ...core.errors import AuthError
from ...core.humanize import count
from ...core.identity import Principal, Role
from ...kernel.queries import run_search
from ...web.api.common import PROBLEMS, Admin, SchedulerOf, Viewer
from ...web.api.schema import DoneOut
from ...web.api_route import ApiRoute
from ...web.authentication import actor
from ...web.problems import Problem
from ...web.run_filter import looked_for
from . import sessions, users
from .schemas import SessionOut, TokenOut, UserOut, ViewIn, ViewOut

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS, tags=["sessions"])


@router.get("/sessions")
async def list_sessions(
    principal: Viewer,
    scheduler: SchedulerOf,
    user: Annotated[str, Query(description="Only sessions of this user.")] = "",
) -> list[SessionOut]:
    """List the caller's sessions; for an admin, the sessions of all users."""
    now, idle = scheduler.clock.now(), scheduler.settings.session_idle
    name = _whose(principal, user)
    rows = await scheduler.read(lambda db: sessions.sessions(db, now, idle, name=name))
    return [SessionOut.model_validate(row) for row in rows]


@router.delete("/sessions/{session_id}")
async def end_session(
    session_id: str, request: Request, principal: Viewer, scheduler: SchedulerOf
) -> DoneOut:
    """End a session of the caller; an admin may end any session."""
    by, now, name = actor(request, principal), scheduler.clock.now(), _whose(principal)
    try:
        whose = await scheduler.change(
            lambda db: sessions.revoke(db, session_id, by, now, name=name)
        )
    except AuthError as error:
        raise Problem(404, "No such session", str(error)) from None
    return DoneOut(message=f"a session of {whose} has ended")


@router.delete("/sessions")
async def end_sessions(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    *,
    user: Annotated[str, Query(description="User whose sessions end. Default: the caller.")] = "",
    everybody: Annotated[
        bool, Query(alias="all", description="End the sessions of all users. Needs the role admin.")
    ] = False,
) -> DoneOut:
    """End all sessions of a user."""
    by, now = actor(request, principal), scheduler.clock.now()
    if everybody and not principal.covers(Role.ADMIN):
        raise Problem(403, "Not allowed", "sessions of others need the role admin")
    name = None if everybody else _whose(principal, user) or principal.name
    ended = await scheduler.change(lambda db: sessions.revoke_all(db, by, now, name=name))
    return DoneOut(message=f"{count(ended, 'session')} of {name or 'everybody'} ended")


def _whose(principal: Principal, user: str = "") -> str | None:
    """Return the name of the user whose sessions the principal may list and end; ``None`` means all users.

    Raises:
        Problem: the sessions belong to another user. A token has no sessions, even when it shares a user's name.
    """
    if principal.covers(Role.ADMIN):
        return user or None
    if not principal.session or user not in {"", principal.name}:
        raise Problem(403, "Not allowed", "sessions of others need the role admin")
    return principal.name


@router.get("/tokens")
async def list_tokens(_: Admin, scheduler: SchedulerOf) -> list[TokenOut]:
    """List the tokens of programs with role, first characters and time of last use."""
    rows = await scheduler.read(sessions.tokens)
    return [TokenOut.model_validate(row) for row in rows]


@router.get("/users")
async def list_users(_: Admin, scheduler: SchedulerOf) -> list[UserOut]:
    """List the users that may sign in with a password."""
    return [UserOut.model_validate(row) for row in await scheduler.read(users.users)]


_ViewName = Annotated[str, Path(min_length=1, max_length=run_search.LONGEST_NAME)]


@router.get("/views")
async def list_views(principal: Viewer, scheduler: SchedulerOf) -> list[ViewOut]:
    """List the caller's saved searches. A token has saved searches of its own."""
    views = await scheduler.read(lambda db: run_search.of(db, _keeper(principal)))
    return [ViewOut.model_validate(view) for view in views]


@router.put("/views/{name}")
async def keep_view(
    name: _ViewName, principal: Viewer, scheduler: SchedulerOf, body: ViewIn
) -> DoneOut:
    """Save a search of runs under a name. Replaces the saved search with the same name."""
    looked_for(scheduler, body.search)
    person = _keeper(principal)
    if not await scheduler.change(lambda db: run_search.keep(db, person, name, body.search)):
        error_text = f"there are {run_search.MOST} views already: remove one"
        raise Problem(409, "Too many views", error_text)
    return DoneOut(message=f"{name} is kept")


@router.delete("/views/{name}")
async def remove_view(name: _ViewName, principal: Viewer, scheduler: SchedulerOf) -> DoneOut:
    """Delete a saved search."""
    await scheduler.change(lambda db: run_search.forget(db, _keeper(principal), name))
    return DoneOut(message=f"{name} is not kept any more")


def _keeper(principal: Principal) -> str:
    """Return the owner key of saved searches; a token does not share the key of a user with the same name."""
    return principal.name if principal.session else f"token {principal.name}"
