# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""How a page comes to be: the Jinja environment, the frame around every page, messages that outlive a redirect."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from .. import project
from ..auth import Principal, Role
from ..cron import parse_zone
from ..overview import display_names
from ..states import RunState
from ..web import (
    GuardedRoute,
    Handler,
    Problem,
    Web,
    csrf_fits,
    find_principal,
    get_web,
    with_database,
)
from . import charts, words

FLASH_COOKIE = "targcc_flash"
STATIC = Path(__file__).parent / "static"


class LoginNeeded(Exception):  # noqa: N818 - not an error: the way to the login page
    """A page was asked for by somebody who has not signed in."""


class PageRoute(GuardedRoute):
    """A page: strangers are sent to the login, problems are shown as pages."""

    async def answer(self, handler: Handler, request: Request) -> Response:
        """What the handler says, the login, or a page that says what is wrong."""
        try:
            return await with_database(handler, request)
        except LoginNeeded:
            return _to_login(request)
        except Problem as problem:
            return problem_page(request, problem.status, problem.title, problem.detail)
        except RequestValidationError:
            return problem_page(request, 404, "No such page", "The address is not one of a page.")


def _to_login(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"{base_path(request)}/login"
    if request.method == "GET" and here != base_path(request):
        target = f"{target}?{urlencode({'next': here})}"
    if (
        "HX-Request" in request.headers
    ):  # a fragment of an old page: the whole page goes to the login
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def problem_page(request: Request, status: int, title: str, detail: str) -> Response:
    """A page that says what is wrong."""
    html = (
        environment()
        .get_template("problem.html")
        .render(frame=Frame(request, None), title=title, detail=detail, status=status)
    )
    return HTMLResponse(html, status)


def is_refresh(request: Request) -> bool:
    """Whether a page that is open asks for its middle anew."""
    return request.headers.get("HX-Request") == "true"


def base_path(request: Request) -> str:
    """Where the dashboard is, such as ``/jobs``; below the path that a proxy or a mount adds."""
    path: str = request.app.state.targcc_dashboard_path
    return str(request.scope.get("root_path", "")).rstrip("/") + path


@cache
def environment() -> Environment:
    """The templates, with everything escaped and nothing undefined."""
    env = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "duration": words.duration,
        "milliseconds": words.milliseconds,
        "percent": words.percent,
        "last_line": words.last_line,
        "arguments": words.arguments,
        "who": words.who,
        "sentence": words.sentence,
        "pathquote": partial(quote, safe=""),
    }
    env.globals |= {
        "project": project,
        "charts": charts,
        "count": words.count,
        "listed": words.listed,
        "state_words": words.STATE_WORDS,
        "state_help": words.STATE_HELP,
        "States": RunState,
        "asset": asset,
    }
    return env


@cache
def asset(name: str) -> str:
    """The file's name with a mark that changes with its bytes, so that browsers may keep it for ever."""
    mark = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"static/{name}?v={mark}"


@dataclass(frozen=True, slots=True)
class Flash:
    """A message that the next page shows once."""

    kind: str
    text: str
    link: str = ""
    link_text: str = ""


class Frame:
    """What every template needs to know about the request it answers.

    Args:
        request: The request.
        principal: Who has been let in; ``None`` on pages for everybody.
    """

    def __init__(self, request: Request, principal: Principal | None) -> None:
        self.request = request
        self.principal = principal
        self.base = base_path(request)
        self.zone: ZoneInfo = parse_zone(project.TIMEZONE)
        self.flash = _read_flash(request)
        self.fragment = is_refresh(request)

    @property
    def layout(self) -> str:
        """What a page extends: all of the frame, or just its middle when htmx refreshes that."""
        return "fragment.html" if self.fragment else "layout.html"

    @property
    def here(self) -> str:
        """The address of this page, to come back to."""
        url = self.request.url
        return url.path + (f"?{url.query}" if url.query else "")

    def may(self, role: str) -> bool:
        """Whether whoever looks may do what needs ``role``."""
        return self.principal is not None and self.principal.role.covers(Role(role))


def render(
    request: Request, template: str, principal: Principal, status: int = 200, **values: Any
) -> Response:
    """A page for somebody who has been let in."""
    web = get_web(request)
    frame = Frame(request, principal)
    now = web.scheduler.clock.now()
    html = (
        environment()
        .get_template(template)
        .render(
            frame=frame,
            now=now,
            time=partial(words.time_tag, now=now, zone=frame.zone),
            display=display_names(web.scheduler.definitions),
            definitions=web.scheduler.definitions,
            broken=web.scheduler.broken,
            **values,
        )
    )
    response = HTMLResponse(html, status)
    if frame.flash is not None:
        response.delete_cookie(FLASH_COOKIE, path="/")
    return response


def page_needs(role: Role) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency of pages and their forms: somebody with at least ``role``."""

    async def check(request: Request) -> Principal:
        principal = await find_principal(request)
        if principal is None:
            raise LoginNeeded
        if not principal.role.covers(role):
            raise Problem(
                403,
                "Not allowed",
                f"This needs the role {role}; {principal.name} is {principal.role}.",
            )
        if not await csrf_fits(request, principal):
            raise Problem(
                403,
                "This form has expired",
                "Go back, load the page again and repeat what you did.",
            )
        return principal

    return check


def secure_cookies(request: Request, web: Web) -> bool:
    """Whether cookies may travel over https only."""
    return request.url.scheme == "https" or web.scheduler.settings.base_url.startswith("https:")


def back(request: Request, flash: Flash, to: str) -> Response:
    """A redirect to a page of ours that then shows ``flash``.

    Args:
        request: The form that has been sent.
        flash: What happened.
        to: Where to; anything but a page of the dashboard leads to the first one.
    """
    response = RedirectResponse(local_path(request, to), 303)
    data = json.dumps([flash.kind, flash.text, flash.link, flash.link_text])
    response.set_cookie(
        FLASH_COOKIE,
        base64.urlsafe_b64encode(data.encode()).decode(),
        max_age=60,
        httponly=True,
        samesite="lax",
        secure=secure_cookies(request, get_web(request)),
    )
    return response


def local_path(request: Request, path: str) -> str:
    """``path`` if it is one of the dashboard, else the first page: a link may not send people elsewhere."""
    base = base_path(request)
    inside = path == base or path.startswith((f"{base}/", f"{base}?"))
    safe = inside and not any(char <= " " or char == "\\" for char in path)
    return path if safe else base


def _read_flash(request: Request) -> Flash | None:
    try:
        data = base64.urlsafe_b64decode(request.cookies.get(FLASH_COOKIE, "").encode())
        kind, text, link, link_text = json.loads(data)
    except ValueError:
        return None
    safe_link = local_path(request, str(link)) if link else ""
    return Flash("bad" if kind == "bad" else "good", str(text), safe_link, str(link_text))
