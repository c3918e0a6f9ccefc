"""Small applications with a login of their own, one for each ready-made ``identify=``: a form at ``/signin`` signs in by name."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any

import hosting_rig
from a2wsgi import WSGIMiddleware
from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Route
from targcc_scheduler import (
    Scheduler,
    by_dependency,
    by_django_session,
    by_flask_login,
    by_litestar_guards,
    by_starlette_session,
    mount,
    with_scheduler,
)

ROLES = {"ada": "admin", "otto": "operator"}
"""Roles of the users; the user vera may sign in and has no role."""
FORM = '<form method="post" action="/signin"><input name="name"><button>Sign in</button></form>'
LOGIN = "/signin"


def role_of(user: Any) -> str | None:
    name = getattr(user, "id", None) or getattr(user, "email", None) or user["username"]
    return ROLES.get(str(name))


def django(scheduler: Scheduler) -> Any:
    """Session of Django: the staff and superusers."""
    from django.core.asgi import get_asgi_application

    hosting_rig.configure_django()
    return with_scheduler(
        get_asgi_application(), scheduler=scheduler, identify=by_django_session(), login_url=LOGIN
    )


def flask(scheduler: Scheduler) -> Any:
    """Flask-Login with strong session protection, which compares the address and the browser."""
    import flask
    import flask_login

    app = flask.Flask("shop")
    app.config.update(SECRET_KEY="test", SESSION_PROTECTION="strong")
    manager = flask_login.LoginManager(app)

    class User(flask_login.UserMixin):
        def __init__(self, name: str) -> None:
            self.id = name

    @manager.user_loader
    def load(name: str) -> User:
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # in a thread, where the loader may block
            return User(name)
        raise AssertionError("the loader runs on an event loop")

    @app.route("/signin", methods=["GET", "POST"])
    def signin() -> Any:
        if flask.request.method == "GET":
            return FORM
        flask_login.login_user(User(flask.request.form["name"]), remember=True)
        return flask.redirect("/jobs")

    wrapped = WSGIMiddleware(app)  # type: ignore[arg-type]
    identify = by_flask_login(app, role_of)
    return with_scheduler(wrapped, scheduler=scheduler, identify=identify, login_url=LOGIN)


def fastapi(scheduler: Scheduler) -> Any:
    """Dependency like that of FastAPI-Users: a cookie, and a user with ``email`` and ``is_superuser``."""
    app = FastAPI()

    def cookie(request: Request) -> str | None:
        return request.cookies.get("auth")

    async def current_user(token: Annotated[str | None, Depends(cookie)]) -> Any:
        if token is None:
            raise HTTPException(401, "Unauthorized")
        return SimpleNamespace(id="5d1f", email=token, is_superuser=token == "ada")

    @app.get("/signin")
    def form() -> HTMLResponse:
        return HTMLResponse(FORM)

    @app.post("/signin")
    def signin(name: Annotated[str, Form()]) -> RedirectResponse:
        answer = RedirectResponse("/jobs", 303)
        answer.set_cookie("auth", name, httponly=True, samesite="lax")
        return answer

    def role(user: Any) -> str | None:
        return ROLES.get(user.email)

    identify = by_dependency(current_user, role)
    mount(app, scheduler=scheduler, identify=identify, login_url=LOGIN)
    return app


def starlette(scheduler: Scheduler) -> Any:
    """Signed session cookie of Starlette."""

    async def signin(request: Any) -> Any:
        if request.method == "GET":
            return HTMLResponse(FORM)
        request.session["user"] = (await request.form())["name"]
        return RedirectResponse("/jobs", 303)

    def user(session: Any) -> tuple[str, str] | None:
        if "user" not in session:
            return None
        if session["user"] not in ROLES:
            raise HTTPException(403, "You have no role")
        return session["user"], ROLES[session["user"]]

    app = Starlette(
        routes=[Route("/signin", signin, methods=["GET", "POST"])],
        middleware=[Middleware(SessionMiddleware, secret_key="test")],
    )
    identify = by_starlette_session(user)
    mount(app, scheduler=scheduler, identify=identify, login_url=LOGIN)
    return app


def litestar(scheduler: Scheduler) -> Any:
    """Session on the server, and a guard."""
    from litestar import Litestar, get, post
    from litestar import Request as LitestarRequest
    from litestar.exceptions import PermissionDeniedException
    from litestar.middleware.session.server_side import ServerSideSessionConfig
    from litestar.response import Redirect
    from litestar.security.session_auth import SessionAuth

    def staff_only(connection: Any, _: Any) -> None:
        if connection.user["username"] not in ROLES:
            raise PermissionDeniedException("staff only")

    async def user_of(session: dict[str, Any], _: Any) -> Any:
        return {"username": session["user"]} if "user" in session else None

    async def form() -> str:
        return FORM

    async def signin(request: Any) -> Any:
        request.set_session({"user": (await request.form())["name"]})
        return Redirect("/jobs", status_code=303)

    form.__annotations__ = {"return": str}
    signin.__annotations__ = {"request": LitestarRequest, "return": Redirect}
    auth = SessionAuth[Any, Any](
        retrieve_user_handler=user_of,
        session_backend_config=ServerSideSessionConfig(),
        exclude=["/signin"],
    )
    app = Litestar(
        [get("/signin", media_type="text/html")(form), post("/signin")(signin)],
        on_app_init=[auth.on_app_init],
    )
    identify = by_litestar_guards(app, [staff_only], role_of)
    return with_scheduler(app, scheduler=scheduler, identify=identify, login_url=LOGIN)


HOSTS: dict[str, Callable[[Scheduler], Any]] = {
    "django": django,
    "flask": flask,
    "fastapi": fastapi,
    "starlette": starlette,
    "litestar": litestar,
}

EXCHANGE = """
<form><input name="name"><button>Sign in</button></form><p></p>
<script>
document.querySelector("form").addEventListener("submit", async event => {
  event.preventDefault();
  const name = event.target.name.value;
  const answer = await fetch("/jobs/session", {method: "POST", headers: {Authorization: `Bearer jwt-${name}`}});
  if (answer.ok) location = new URLSearchParams(location.search).get("next") || "/jobs";
  else document.querySelector("p").textContent = (await answer.json()).detail;
});
</script>
"""


def bearer_only(scheduler: Scheduler) -> Any:
    """App whose pages keep a token in their script, and that sets no cookie."""
    app = FastAPI()
    bearer = HTTPBearer(auto_error=False)

    @app.get("/signin")
    def page() -> HTMLResponse:
        return HTMLResponse(EXCHANGE)

    def by_token(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> tuple[str, str] | None:
        if given is None:
            return None
        name = given.credentials.removeprefix("jwt-")
        if name not in ROLES:
            raise HTTPException(403, "You have no role")
        return name, ROLES[name]

    mount(app, scheduler=scheduler, identify=by_token, login_url=LOGIN)
    return app
