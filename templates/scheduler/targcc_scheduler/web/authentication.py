"""Who sends a request, and what they may do."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request

from ..core.actor import Actor, ActorKind
from ..core.errors import CredentialsRefused
from ..security.roles import Principal, Role
from .admission import admit, with_grants
from .problems import Problem, before_the_body
from .site_names import is_same_origin
from .state import get_web

CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def client_address(request: Request) -> str:
    """The address of the client; behind a trusted proxy, uvicorn has put it there."""
    return request.client.host if request.client is not None else "unknown"


async def find_principal(request: Request) -> Principal | None:
    """Who sends the request: what the first identity provider that knows them says; ``None`` when none does."""
    for provider in get_web(request).providers:
        try:
            principal = await provider.authenticate(request)
        except CredentialsRefused:
            return None
        if principal is not None:
            return await with_grants(request, principal)
    return None


async def csrf_fits(request: Request, principal: Principal) -> bool:
    """Check the CSRF token of a request that changes something; true for one that needs none."""
    if request.method in _SAFE_METHODS or principal.csrf is None:
        return True
    if not same_origin(request):
        return False
    sent: Any = request.headers.get(CSRF_HEADER)
    if sent is None and "form" in request.headers.get("Content-Type", ""):
        sent = (await request.form()).get(CSRF_FIELD)
    return isinstance(sent, str) and secrets.compare_digest(sent.encode(), principal.csrf.encode())


def same_origin(request: Request) -> bool:
    """Whether the ``Origin`` that a browser sends is this site; true without one."""
    settings = get_web(request).scheduler.settings
    return is_same_origin(request.headers.get("Origin"), request.headers.get("Host", ""), settings)


def api_needs(role: Role, *, one_job: bool = False) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency of API routes: somebody with at least ``role``.

    Args:
        role: What they need.
        one_job: The route is about one job, and asks :func:`require_job` itself about a token that may start some jobs only.
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
            raise Problem(403, "Not from this site", f"send the session's token as {CSRF_HEADER}")
        return principal

    return check


def _sign_in_first(request: Request) -> Problem:
    sent = request.headers.get("Authorization", "").lower().startswith("bearer ")
    wrong = (
        "the token is unknown, was revoked or has expired"
        if sent
        else "send a token in the header Authorization, as Bearer TOKEN"
    )
    return Problem(
        401,
        "Sign in first",
        f"{wrong}; make one with: targcc token create NAME",
        headers={"WWW-Authenticate": "Bearer"},
    )


def require_job(principal: Principal, role: Role, job: str) -> None:
    """Check that somebody may do what needs a role with this job.

    Raises:
        Problem: it is a token for other jobs.
    """
    if not principal.covers(role, job):
        raise not_its_job(principal)


def not_its_job(principal: Principal) -> Problem:
    """What a token hears that may start some jobs only."""
    jobs = ", ".join(principal.jobs or ())
    return Problem(403, "Not allowed", f"{principal.name} may start {jobs}, and nothing else")


def actor(request: Request, principal: Principal) -> Actor:
    """The actor to store with a run and in the audit."""
    if principal.caller is not None:
        return principal.caller
    kind = ActorKind.API if principal.csrf is None else ActorKind.MANUAL
    return Actor(kind, principal.name, client_address(request))
