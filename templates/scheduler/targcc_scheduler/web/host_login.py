"""Sign-in by the host application or by a reverse proxy."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from ..core.errors import AuthError, CredentialsRefused
from ..core.identity import IdentityProvider, Principal, known_name, role_of
from ..project import current
from ..settings import Settings
from .problems import Problem

# Host login: a function or a FastAPI dependency of the host returns the name and role of the caller.

_FORBIDDEN = 403
_PAIR = 2
_FROM_BROWSERS = frozenset({"cookie", "origin"})
"""Headers that browsers add to requests from a page of another site."""


def csrf_cookie() -> str:
    """Return the name of the CSRF cookie for browsers that signed in to the host."""
    return f"targcc_csrf_{current().package}"


class HostLogin:
    """An identity provider that asks the host first, and checks API tokens when the host identifies nobody.

    Args:
        identify: A function of the request, or a dependency with other parameters; returns ``(name, role)``, a
            :class:`Principal`, or ``None``. Functions that are not async run in a thread and may block.
        login_url: The host's login page.
    """

    def __init__(self, identify: Callable[..., Any], login_url: str = "") -> None:
        self.login_url = login_url
        self.host: Any = None
        """The host app; its ``dependency_overrides`` apply to ``identify``, too."""
        self._programs: tuple[IdentityProvider, ...] = ()
        self._route = APIRoute(
            "/", _endpoint(_with_request(identify)), dependency_overrides_provider=self
        )
        self._ask = self._route.get_route_handler()

    @property
    def dependency_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """The dependency overrides of the host, such as tests set."""
        overrides: dict[Callable[..., Any], Callable[..., Any]] = getattr(
            self.host, "dependency_overrides", {}
        )
        return overrides

    def ask_also(self, *programs: IdentityProvider) -> None:
        """Set the providers that identify programs, and the browsers that have a session for a token of the host."""
        self._programs = programs

    async def authenticate(self, request: Request) -> Principal | None:
        """Return the principal from the host, or else the principal of the API token in the request.

        Raises:
            Problem: the host refuses, and the request has no valid API token.
            TypeError: ``identify`` returned a value of another type.
        """
        identity: Any = None
        refusal: HTTPException | None = None
        try:
            identity = await self._identify(request)
        except HTTPException as error:
            refusal = error
        if identity is not None:
            is_program = await self._is_program(request)
            return _principal(identity, None if is_program else csrf_of(request))
        program = await self._program(request)
        if program is None and refusal is not None:
            raise _problem(refusal)
        return program

    async def by_bearer(self, request: Request) -> tuple[str, str] | None:
        """Return the name and role that the host knows by the header ``Authorization: Bearer …`` alone.

        Returns:
            ``None`` if the host knows nobody, or knows the caller without the header, too, as by a cookie that browsers send by themselves.

        Raises:
            Problem: the host refuses.
        """
        try:
            identity = await self._identify(request)
        except HTTPException as error:
            raise _problem(error) from None
        if identity is None or not await self._is_program(request):
            return None
        principal = _principal(identity, None)
        return principal.name, principal.role

    async def _program(self, request: Request) -> Principal | None:
        """Return the principal from the first provider for programs, or for sessions from tokens, that recognizes the request."""
        for provider in self._programs:
            try:
                principal = await provider.authenticate(request)
            except CredentialsRefused:
                return None
            if principal is not None:
                return principal
        return None

    async def _is_program(self, request: Request) -> bool:
        """Return whether the host identified the caller by the header ``Authorization: Bearer …``; no form of another site can send it.

        When a browser adds cookies or ``Origin``, the header counts only if the host identifies nobody without the header.
        """
        if not request.headers.get("Authorization", "").lower().startswith("bearer "):
            return False
        if not _FROM_BROWSERS.intersection(request.headers):
            return True
        headers = [item for item in request.scope["headers"] if item[0] != b"authorization"]
        try:
            return await self._identify(_with_scope(request, headers=headers)) is None
        except HTTPException:
            return True

    async def _identify(self, request: Request) -> Any:
        """Call ``identify`` and return its result; resources of its dependencies, such as a session, are closed at once."""
        async with AsyncExitStack() as stack:
            held = dict.fromkeys(_STACKS, stack)
            inner = _with_scope(request, **held, method="GET")
            await self._ask(inner)
            return inner.scope[_SAID]


def _with_scope(request: Request, **changes: Any) -> Request:
    """Return a copy of a request with a changed scope; values cached from the first scope are not copied."""
    scope = {**request.scope, **changes}
    return Request(scope, request.receive)


_SAID = "targcc.identity"
_STACKS = ("fastapi_middleware_astack", "fastapi_inner_astack", "fastapi_function_astack")
"""Scope keys of the exit stacks in which FastAPI keeps resources to close."""


def _problem(refusal: HTTPException) -> Problem:
    title = "Not allowed" if refusal.status_code == _FORBIDDEN else "Sign in first"
    headers = dict(refusal.headers or {})
    return Problem(refusal.status_code, title, str(refusal.detail), headers=headers)


def _with_request(identify: Callable[..., Any]) -> Callable[..., Any]:
    """Return a dependency that calls ``identify``; a single parameter without annotation and default receives the request.

    Functions that are not async run in a thread, as in FastAPI: a host such as Django refuses its ORM on an event loop.
    """
    try:
        parameters = list(inspect.signature(identify).parameters.values())
    except ValueError:
        return identify
    if len(parameters) != 1 or parameters[0].annotation is not inspect.Parameter.empty:
        return identify
    if parameters[0].default is not inspect.Parameter.empty:
        return identify

    async def of_request(request: Request) -> Any:
        return await called(identify, request)

    return of_request


async def called(function: Callable[[Any], Any], value: Any) -> Any:
    """Return the result of a function of the host: await an async function, call any other function in a thread."""
    if _is_async(function):
        return await function(value)
    result = await run_in_threadpool(function, value)
    return await result if inspect.isawaitable(result) else result


def _is_async(function: Callable[..., Any]) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 - an instance may have an async one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _endpoint(identify: Callable[..., Any]) -> Callable[..., Any]:
    dependency = Depends(identify)

    async def keep(request: Request, identity: Any = dependency) -> Response:
        identified = await identity if inspect.isawaitable(identity) else identity
        request.scope[_SAID] = identified
        return Response()

    return keep


def _principal(identity: Any, csrf: str | None) -> Principal:
    if isinstance(identity, Principal):
        name, role = identity.name, identity.role
    elif isinstance(identity, tuple) and len(identity) == _PAIR and isinstance(identity[0], str):
        name, role = identity[0], str(identity[1])
    else:
        raise TypeError(
            f"identify= returned {type(identity).__qualname__}: return (name, role), with the name of a role, or None"
        )
    return Principal(name, role, csrf)


def csrf_of(request: Request) -> str:
    """Return the CSRF token from the browser's cookie, or a new token."""
    kept = request.cookies.get(csrf_cookie())
    token: str = kept or request.scope.setdefault(_NEW_CSRF, secrets.token_urlsafe(32))
    return token


_NEW_CSRF = "targcc.new_csrf"
"""Scope key of a new CSRF token until the response sets the cookie."""


def keep_csrf(request: Request, response: Response) -> Response:
    """Set the CSRF cookie on the response when the request created a new token; return the response."""
    token = request.scope.get(_NEW_CSRF)
    if token is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(csrf_cookie(), token, httponly=True, samesite="lax", secure=secure)
    return response


# Proxy login: a proxy in front of ``targcc serve`` names the person in a header. Only the address of a trusted proxy may send the header.

PREFIX = "proxy:"
"""Prefix for the names of people from a proxy. Names of local users have no colon, so none can collide."""

FROM_PROXY = "targcc.from_proxy"
"""Scope key: whether a trusted proxy sent the request. Headers cannot set the key, and the client address does not decide it."""


class ProxyLogin:
    """An identity provider for people whom a proxy names in a header.

    Args:
        settings: The settings; include the names of the headers and the role of each group.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def authenticate(self, request: Request) -> Principal | None:
        """Return the principal in the header; ``None`` without the header, or when the request is not from a trusted proxy.

        Raises:
            CredentialsRefused: a header occurs twice, as when the proxy adds a header to the browser's header; or the name is not valid;
                or the person has no role here.
        """
        chosen = self._settings
        names = request.headers.getlist(chosen.proxy_user_header)
        if not names or request.scope.get(FROM_PROXY) is not True:
            return None
        try:
            name = known_name(names[0] if len(names) == 1 else None, chosen.proxy_user_header)
        except AuthError as error:
            raise CredentialsRefused(str(error)) from None
        role = role_of(self._groups(request), chosen.proxy_roles, chosen.proxy_default_role)
        if role is None:
            raise CredentialsRefused(f"{name} has no role here")
        return Principal(PREFIX + name, role, csrf_of(request))

    def _groups(self, request: Request) -> list[str]:
        if not self._settings.proxy_groups_header:
            return []
        lines = request.headers.getlist(self._settings.proxy_groups_header)
        if len(lines) > 1:
            raise CredentialsRefused(f"{self._settings.proxy_groups_header} is there twice")
        return [group.strip() for line in lines for group in line.split(",")]
