"""Ready-made ``identify=`` functions for the users of Django, Flask-Login, FastAPI dependencies, Starlette sessions and Litestar guards.

Nothing of these libraries is imported before the first request. Where ``role`` is a parameter, ``role(user)`` returns ``viewer``,
``operator``, ``admin`` or a role of your own; ``None`` refuses the user with status 403. Functions that are not async run in a thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from fastapi import Depends, HTTPException, Request

from .host_login import called

Identity = tuple[str, str] | None
"""Name and role of a user; ``None`` for a caller whom the application does not know."""
_NAMES = ("get_username", "username", "email", "name", "get_id", "id")
"""Attributes of a user, or keys, in which to look for the name."""
_UNKNOWN, _FORBIDDEN = 401, 403


def name_of(user: Any) -> str:
    """Return the name of a user: the first of ``get_username()``, ``username``, ``email``, ``name``, ``get_id()`` and ``id``.

    Raises:
        TypeError: the user has none of them.
    """
    for attribute in _NAMES:
        value = user.get(attribute) if isinstance(user, Mapping) else getattr(user, attribute, None)
        value = value() if callable(value) else value
        if value not in (None, ""):
            return str(value)
    raise TypeError(
        f"a user of the type {type(user).__qualname__} has no name in {', '.join(_NAMES)}: pass name="
    )


def _by_superuser(user: Any) -> str | None:
    """Return ``admin`` for a superuser; nobody else has a role."""
    return "admin" if getattr(user, "is_superuser", False) else None


def _by_staff(user: Any) -> str | None:
    """Return ``admin`` for Django's superusers, ``operator`` for the staff."""
    return _by_superuser(user) or ("operator" if user.is_staff else None)


def _identity(name: str, role: object) -> Identity:
    """Return name and role.

    Raises:
        HTTPException: the user has no role; a redirect to the login page would not end.
    """
    if role is None:
        raise HTTPException(_FORBIDDEN, f"{name} has no role for jobs")
    return name, str(role)


def by_django_session(role: Callable[[Any], str | None] = _by_staff) -> Callable[..., Any]:
    """Identify the users of Django by Django's session cookie: ``identify=by_django_session()``.

    Args:
        role: The role of a user. Default: superusers are admins, the staff are operators.
    """

    def identify(request: Any) -> Identity:
        settings = import_module("django.conf").settings
        get_user = import_module("django.contrib.auth").get_user
        close_old_connections = import_module("django.db").close_old_connections

        key = request.cookies.get(settings.SESSION_COOKIE_NAME)
        if not key:
            return None
        store = import_module(settings.SESSION_ENGINE).SessionStore
        try:
            user = get_user(SimpleNamespace(session=store(key)))
            if not user.is_authenticated:
                return None
            return _identity(user.get_username(), role(user))
        finally:
            close_old_connections()  # outside Django's requests nobody else closes them

    return _of_request(identify)


def by_flask_login(
    app: Any, role: Callable[[Any], str | None], *, name: Callable[[Any], str] = name_of
) -> Callable[..., Any]:
    """Identify the users of Flask-Login, by session, "remember me" or the request loader: ``identify=by_flask_login(flask_app, role)``.

    Args:
        app: The Flask app, not its ASGI wrapper.
        role: The role of a user.
        name: The name of a user. Default: :func:`name_of`.
    """

    def identify(request: Any) -> Identity:
        current_user = import_module("flask_login").current_user
        with app.request_context(_wsgi_environ(request)):
            if not current_user.is_authenticated:
                return None
            return _identity(name(current_user), role(current_user))

    return _of_request(identify)


def by_dependency(
    current_user: Callable[..., Any],
    role: Callable[[Any], Any] = _by_superuser,
    *,
    name: Callable[[Any], str] = name_of,
) -> Callable[..., Any]:
    """Identify the users that a FastAPI dependency returns, such as ``fastapi_users.current_user(active=True)``.

    Args:
        current_user: The dependency; returns a user or ``None``, or raises ``HTTPException``.
        role: The role of a user, async or plain. Default: superusers are admins, and nobody else has a role.
        name: The name of a user. Default: :func:`name_of`.
    """
    dependency = Depends(current_user)

    async def identify(user: Any = dependency) -> Identity:
        return None if user is None else _identity(name(user), await called(role, user))

    return identify


def by_starlette_session(user: Callable[[Mapping[str, Any]], Any]) -> Callable[..., Any]:
    """Identify users by the session of Starlette's ``SessionMiddleware``, in a FastAPI or Starlette app that :func:`mount` gets.

    Args:
        user: Function of the session, async or plain; returns ``(name, role)``, or ``None`` for a session without a user.
    """

    async def identify(request: Request) -> Identity:
        if "session" not in request.scope:
            raise RuntimeError(
                "the request has no session: add SessionMiddleware to the app, and use mount(app, …), since with_scheduler(app) answers "
                "before the middleware of the app"
            )
        identity: Identity = await called(user, request.session)
        return identity

    return identify


def by_litestar_guards(
    app: Any,
    guards: Sequence[Callable[..., Any]],
    role: Callable[[Any], Any] = _by_superuser,
    *,
    name: Callable[[Any], str] = name_of,
) -> Callable[..., Any]:
    """Identify the users of a Litestar app: its middleware finds ``request.user``, and its guards admit the user.

    Each request to the scheduler is first passed, without body, to a handler that this function registers in the app. The handler answers
    nobody else.

    Args:
        app: The Litestar app, before ``with_scheduler``.
        guards: Guards to pass, besides those of the app.
        role: The role of a user, async or plain. Default: superusers are admins, and nobody else has a role.
        name: The name of a user. Default: :func:`name_of`.
    """
    _register(app, guards)

    async def identify(request: Request) -> Identity:
        answer: dict[str, Any] = {}
        status = await _status_inside(app, request, answer)
        if "user" in answer:
            return _identity(name(answer["user"]), await called(role, answer["user"]))
        if status == _FORBIDDEN:
            raise HTTPException(_FORBIDDEN, "a guard of the application refuses the user")
        if status == _UNKNOWN or 300 <= status < 400:  # noqa: PLR2004 - to the login page
            return None
        raise RuntimeError(f"the application answered {status} when asked for its user")

    return identify


def _of_request(identify: Callable[[Any], Identity]) -> Callable[..., Any]:
    """Return ``identify`` with a parameter that gets the request, and that FastAPI does not read as a parameter of the query."""
    identify.__annotations__.pop("request")
    return identify


def _wsgi_environ(request: Request) -> dict[str, Any]:
    """Return the WSGI environment of a GET request with the request's headers, host and address."""
    url = request.url
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": url.hostname or "localhost",
        "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.client.host if request.client is not None else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for header in {*request.headers} - {"content-length", "content-type", "transfer-encoding"}:
        separator = "; " if header == "cookie" else ","
        key = f"HTTP_{header.upper().replace('-', '_')}"
        environ[key] = separator.join(request.headers.getlist(header))
    return environ


_INSIDE = "targcc.user_of_host"
"""Scope key of the answer of the registered handler; a request from outside cannot have the key."""
_PATH = "/.targcc-user"


def _register(app: Any, guards: Sequence[Callable[..., Any]]) -> None:
    litestar = import_module("litestar")
    not_found = import_module("litestar.exceptions").NotFoundException

    def only_inside(connection: Any, _: Any) -> None:
        if _INSIDE not in connection.scope:
            raise not_found

    async def user(request: Any) -> None:
        request.scope[_INSIDE]["user"] = request.user

    user.__annotations__ = {"request": litestar.Request, "return": None}
    route = litestar.get(_PATH, guards=[only_inside, *guards], include_in_schema=False)
    app.register(route(user))


async def _status_inside(app: Any, request: Request, answer: dict[str, Any]) -> int:
    """Pass a request without body to the registered handler and return the status of its response."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    kept = ("asgi", "http_version", "scheme", "client", "server", "state", "extensions")
    bodies = {b"content-length", b"content-type", b"transfer-encoding"}
    scope = {
        **{key: request.scope[key] for key in kept if key in request.scope},
        "type": "http",
        "method": "GET",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [item for item in request.scope["headers"] if item[0] not in bodies],
        _INSIDE: answer,
    }
    await app(scope, receive, send)
    return statuses[0] if statuses else 0
