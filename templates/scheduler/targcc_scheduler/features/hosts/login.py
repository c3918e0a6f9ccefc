"""Sign-in by the host application or by a proxy in front."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from ...core.errors import AuthError, CredentialsRefused
from ...project import current
from ...settings import Settings
from ...web.problems import Problem
from ..accounts.oidc import known_name, role_of
from ..accounts.providers import IdentityProvider
from ..accounts.roles import Principal

# The login of the host: a function or a FastAPI dependency of it says who asks, and which role they have here.

_FORBIDDEN = 403
_PAIR = 2
_FROM_BROWSERS = frozenset({"cookie", "origin"})
"""Headers that a browser sends with a request of another site's page."""


def csrf_cookie() -> str:
    """The name of the cookie that holds the CSRF token of a browser whose login is the host's."""
    return f"targcc_csrf_{current().package}"


class HostLogin:
    """An identity provider that asks the host, and API tokens where the host knows nobody.

    Args:
        identify: A function of the request, or a dependency with parameters of its own. It returns ``(name, role)``, a
            :class:`Principal`, or ``None``. A plain function is called in a thread, where it may block.
        login_url: Where people sign in to the host.
    """

    def __init__(self, identify: Callable[..., Any], login_url: str = "") -> None:
        self.login_url = login_url
        self.host: Any = None
        """The host app, whose ``dependency_overrides`` hold for ``identify`` too."""
        self._tokens: IdentityProvider | None = None
        self._route = APIRoute(
            "/", _endpoint(_with_request(identify)), dependency_overrides_provider=self
        )
        self._ask = self._route.get_route_handler()

    @property
    def dependency_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """Those of the host, such as its tests set."""
        found: dict[Callable[..., Any], Callable[..., Any]] = getattr(
            self.host, "dependency_overrides", {}
        )
        return found

    def ask_also(self, tokens: IdentityProvider) -> None:
        """Let programs with API tokens in, too."""
        self._tokens = tokens

    async def authenticate(self, request: Request) -> Principal | None:
        """Who sends the request, as the host says; else whose API token it carries.

        Raises:
            Problem: the host refuses, and there is no API token that fits.
            TypeError: ``identify`` returns something else than it may.
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
        try:
            program = await self._tokens.authenticate(request) if self._tokens is not None else None
        except CredentialsRefused:
            program = None
        if program is None and refusal is not None:
            raise _problem(refusal)
        return program

    async def _is_program(self, request: Request) -> bool:
        """Whether the host knows the caller by the header ``Authorization: Bearer …``, which no form of another site can send.

        A browser sends cookies or ``Origin`` beside it. There the header counts only if the host knows nobody without it.
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
        """What ``identify`` returns; what its dependencies hold, such as a session, is given back at once."""
        async with AsyncExitStack() as stack:
            held = dict.fromkeys(_STACKS, stack)
            inner = _with_scope(request, **held, method="GET")
            await self._ask(inner)
            return inner.scope[_SAID]


def _with_scope(request: Request, **changes: Any) -> Request:
    """A copy of a request with another scope; nothing that was derived from the first scope is kept."""
    scope = {**request.scope, **changes}
    return Request(scope, request.receive)


_SAID = "targcc.identity"
_STACKS = ("fastapi_middleware_astack", "fastapi_inner_astack", "fastapi_function_astack")
"""Where FastAPI keeps what is to be closed."""


def _problem(refusal: HTTPException) -> Problem:
    title = "Not allowed" if refusal.status_code == _FORBIDDEN else "Sign in first"
    headers = dict(refusal.headers or {})
    return Problem(refusal.status_code, title, str(refusal.detail), headers=headers)


def _with_request(identify: Callable[..., Any]) -> Callable[..., Any]:
    """A dependency that calls ``identify``; a single parameter without a type gets the request.

    FastAPI calls plain dependencies in a thread, and so does this: a host such as Django refuses its ORM on an event loop.
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
        if _is_async(identify):
            return await identify(request)
        identity = await run_in_threadpool(identify, request)
        return await identity if inspect.isawaitable(identity) else identity

    return of_request


def _is_async(function: Callable[..., Any]) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 - an instance may have an async one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _endpoint(identify: Callable[..., Any]) -> Callable[..., Any]:
    asked = Depends(identify)

    async def keep(request: Request, said: Any = asked) -> Response:
        request.scope[_SAID] = said
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
    """The CSRF token of the browser."""
    kept = request.cookies.get(csrf_cookie())
    token: str = kept or request.scope.setdefault(_NEW_CSRF, secrets.token_urlsafe(32))
    return token


_NEW_CSRF = "targcc.new_csrf"
"""Where a token that was made for a request waits for the answer, which sets the cookie."""


def keep_csrf(request: Request, response: Response) -> Response:
    """The answer, which makes the browser keep the CSRF token of its forms if it has none yet."""
    token = request.scope.get(_NEW_CSRF)
    if token is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(csrf_cookie(), token, httponly=True, samesite="lax", secure=secure)
    return response


# People whom a proxy in front of ``targcc serve`` has signed in: it names them in a header, which is believed from its address alone.

PREFIX = "proxy:"
"""How the name of somebody begins whom a proxy has signed in: no user of our own can have it, since names have no colon."""

FROM_PROXY = "targcc.from_proxy"
"""What the scope of a request says: whether a proxy that is trusted sent it to us. No header can, and the address of the client is not it."""


class ProxyLogin:
    """An identity provider: the person whom a proxy names.

    Args:
        settings: Say which headers, and which role each group has.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def authenticate(self, request: Request) -> Principal | None:
        """Whom the header names; ``None`` without it, or when the request did not come from a proxy that is trusted.

        Raises:
            CredentialsRefused: a header is there twice, as when the proxy adds its own to what a browser sent; or says no name that is a text,
                or somebody who has no role here.
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
        said = request.headers.getlist(self._settings.proxy_groups_header)
        if len(said) > 1:
            raise CredentialsRefused(f"{self._settings.proxy_groups_header} is there twice")
        return [group.strip() for line in said for group in line.split(",")]
