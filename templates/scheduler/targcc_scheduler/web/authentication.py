"""Authenticate a request and authorize its principal."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor, ActorKind, Visibility, visibility
from ..core.errors import CredentialsRefused
from ..core.identity import BUILT_IN, Grant, Principal, Role
from ..db.tables import job_failure, job_run
from ..kernel.feature import Grants, load
from ..scheduler import Scheduler
from .problems import Problem, before_the_body
from .site_names import is_same_origin
from .state import NOBODY_SIGNS_IN, get_web

# Route authorization, shared by pages and API.
#
# A built-in role covers every job. A custom role covers some jobs. A custom role opens the addresses of a covered job, of the job's runs and
# failures, and the addresses in :data:`LISTS`, which then hold rows of covered jobs only. All further addresses refuse a custom role, so that a new
# address starts closed.

LISTS = frozenset(
    {
        *("", "/jobs", "/runs", "/inbox", "/bulk", "/bulk/new", "/bulk/{bulk_id}"),
        *("/views", "/views/remove", "/api/docs", "/api/openapi.json"),
        *("/account", "/account/second-factor", "/account/second-factor/off", "/logout"),
        *("/account/password", "/account/sessions/revoke", "/account/sessions/{session_id}/revoke"),
        *("/api/jobs", "/api/chains", "/api/runs", "/api/inbox", "/api/bulk", "/api/bulk/count"),
        *("/api/bulk/{bulk_id}", "/api/events"),
        *("/api/sessions", "/api/sessions/{session_id}", "/api/system"),
    }
)
"""Addresses without a single job that hold only visible rows or the principal's own data."""
ENROLMENT = frozenset({"/account/second-factor", "/logout"})
"""Addresses open to a principal who has to turn a second factor on first."""
_JOB_KEY = "targcc.job"
"""Key for the admitted job in a request's scope."""


class SecondFactorNeeded(Problem):
    """The role requires a second factor and the principal has none. Pages redirect to the page that turns a second factor on."""


async def with_grants(request: Request, principal: Principal) -> Principal:
    """Return the principal with the current grants of a custom role, so that identity providers need not know grants."""
    if principal.role in BUILT_IN:
        return principal
    scheduler, role = get_web(request).scheduler, principal.role

    async def query(db: AsyncConnection) -> tuple[Grant, ...]:
        return tuple([grant for of in load(Grants) for grant in await of(db, role)])

    return replace(principal, grants=await scheduler.read(query))


async def admit(request: Request, principal: Principal, needed: Role) -> None:
    """Admit the principal to the request's route and set the visible jobs for the rest of the request.

    Raises:
        Problem: the role does not allow the request (403), or must not learn whether its subject exists (404).
    """
    web = get_web(request)
    scheduler, template = web.scheduler, template_of(request, web.prefix)
    required = principal.role in scheduler.settings.second_factor_roles
    if required and principal.second_factor is False and template not in ENROLMENT:
        raise SecondFactorNeeded(
            403, "Second factor needed", f"{principal.name} has to turn a second factor on first"
        )
    if principal.grants is None:
        if not principal.role_covers(needed):
            raise _not_allowed(principal, needed)
        return
    beginning, _, parameter = template.removeprefix("/api").partition("{")
    find = _SUBJECTS.get(beginning)
    if find is None:
        if template not in LISTS or not principal.covers_some(needed):
            raise _not_allowed(principal, needed)
    else:
        key = request.path_params[parameter.partition("}")[0].partition(":")[0]]
        await _admit_to_one(request, principal, needed, await find(scheduler, str(key)))
    visibility.set(_visible(principal, scheduler))


def template_of(request: Request, prefix: str) -> str:
    """Return the route's path below the prefix. Earlier releases of FastAPI include the prefix in the route's path."""
    template: str = request.scope["route"].path
    path = str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))
    is_whole = template.count("/") == path.rstrip("/").count("/")
    return template.removeprefix(prefix) if is_whole else template


def job_of(request: Request) -> str | None:
    """Return the job of a request, if :func:`admit` has stored a job there; else ``None``."""
    job: str | None = request.scope.get(_JOB_KEY)
    return job


async def _admit_to_one(
    request: Request, principal: Principal, needed: Role, job: str | None
) -> None:
    if job is None or not principal.covers(Role.VIEWER, job):
        raise Problem(
            404, "Not found", "It does not exist, or your role does not cover it.", kind="not-here"
        )
    if not principal.covers(needed, job):
        raise _not_allowed(principal, needed)
    request.scope[_JOB_KEY] = job


def _not_allowed(principal: Principal, needed: Role) -> Problem:
    scope = "" if principal.grants is None else ", for all that it is about"
    detail = f"this needs the role {needed}{scope}; {principal.name} is {principal.role}"
    return Problem(403, "Not allowed", detail)


def _visible(principal: Principal, scheduler: Scheduler) -> Visibility:
    def of(role: Role) -> frozenset[str]:
        return frozenset(name for name in scheduler.definitions if principal.covers(role, name))

    seen, operated, administered = map(of, Role)
    return Visibility(seen, operated, administered, principal.name)


_Finder = Callable[[Scheduler, str], Awaitable[str | None]]


async def _job(scheduler: Scheduler, key: str) -> str | None:
    return scheduler.key_of(key)


async def _run(scheduler: Scheduler, key: str) -> str | None:
    if not key.isdecimal() or len(key) > _MOST_DIGITS:
        return None
    return await _scalar(scheduler, sa.select(job_run.c.JobName).where(job_run.c.Id == int(key)))


async def _failure(scheduler: Scheduler, key: str) -> str | None:
    c = job_failure.c
    return await _scalar(scheduler, sa.select(c.JobName).where(c.Cause == key))


async def _scalar(scheduler: Scheduler, statement: sa.Select[tuple[str]]) -> str | None:
    value: str | None = await scheduler.read(lambda db: db.scalar(statement))
    return value


_MOST_DIGITS = 18
_SUBJECTS: dict[str, _Finder] = {
    "/jobs/": _job,
    "/runs/": _run,
    "/inbox/": _failure,
}
"""Map an address prefix to the function that finds the job from the next path segment."""


# Authentication: identity providers, CSRF and API route dependencies.

CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def client_address(request: Request) -> str:
    """Return the client's address. Behind a trusted proxy, uvicorn has set the address."""
    return request.client.host if request.client is not None else "unknown"


async def find_principal(request: Request) -> Principal | None:
    """Return the principal from the first identity provider that recognizes the request.

    Returns:
        ``None`` if no provider recognizes the request, or a provider refuses its credentials.
    """
    for provider in get_web(request).providers:
        try:
            principal = await provider.authenticate(request)
        except CredentialsRefused:
            return None
        if principal is not None:
            return await with_grants(request, principal)
    return None


async def csrf_fits(request: Request, principal: Principal) -> bool:
    """Return whether the origin and the CSRF token of a request are valid; true for a safe method or a principal without a token."""
    if request.method in _SAFE_METHODS or principal.csrf is None:
        return True
    if not same_origin(request):
        return False
    sent: Any = request.headers.get(CSRF_HEADER)
    if sent is None and "form" in request.headers.get("Content-Type", ""):
        sent = (await request.form()).get(CSRF_FIELD)
    return isinstance(sent, str) and secrets.compare_digest(sent.encode(), principal.csrf.encode())


def same_origin(request: Request) -> bool:
    """Return whether the ``Origin`` header names this site; true without the header."""
    settings = get_web(request).scheduler.settings
    return is_same_origin(request.headers.get("Origin"), request.headers.get("Host", ""), settings)


def require_same_origin(request: Request) -> None:
    """Refuse a form of another site.

    Raises:
        Problem: The ``Origin`` header names another site.
    """
    if not same_origin(request):
        raise from_another_site("The form was sent from another site.")


def from_another_site(detail: str) -> Problem:
    """Return the answer to a request that a page of another site has sent."""
    return Problem(403, "Request from another site", detail, kind="not-from-this-site")


def api_needs(role: Role, *, one_job: bool = False) -> Callable[[Request], Awaitable[Principal]]:
    """Build a dependency of API routes that requires at least ``role``.

    Args:
        role: Least role.
        one_job: True if the route serves a single job and calls :func:`require_job` for a token restricted to some jobs.
    """

    @before_the_body
    async def check(request: Request) -> Principal:
        principal = await find_principal(request)
        if principal is None:
            raise _sign_in_first(request)
        if principal.jobs is not None and not one_job:
            raise not_its_job(principal)
        await admit(request, principal, role)
        if not await csrf_fits(request, principal):
            raise from_another_site(f"send the session's token as {CSRF_HEADER}")
        return principal

    return check


def _sign_in_first(request: Request) -> Problem:
    sent = request.headers.get("Authorization", "").lower().startswith("bearer ")
    wrong = (
        "the token is unknown, was revoked or has expired"
        if sent
        else "send a token in the header Authorization, as Bearer TOKEN"
    )
    detail = f"{wrong}; make one with: targcc token create NAME"
    if not get_web(request).providers:
        detail = f"nobody can sign in: {NOBODY_SIGNS_IN}"
    return Problem(401, "Sign in first", detail, headers={"WWW-Authenticate": "Bearer"})


def require_job(principal: Principal, role: Role, job: str) -> None:
    """Check that the principal has a role for the job.

    Raises:
        Problem: the token is restricted to other jobs.
    """
    if not principal.covers(role, job):
        raise not_its_job(principal)


def not_its_job(principal: Principal) -> Problem:
    """Return the error for a token restricted to some jobs."""
    jobs = ", ".join(principal.jobs or ())
    return Problem(403, "Not allowed", f"{principal.name} may start {jobs}, and nothing else")


def actor(request: Request, principal: Principal) -> Actor:
    """Return the actor to store with a run and in the audit."""
    if principal.caller is not None:
        return principal.caller
    kind = ActorKind.API if principal.csrf is None else ActorKind.MANUAL
    return Actor(kind, principal.name, client_address(request))
