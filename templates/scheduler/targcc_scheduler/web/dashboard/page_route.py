"""Route class of pages: redirects to the login page, shows problems as pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse

from ...core.identity import Principal, Role
from ...core.languages import reading, translated
from ...kernel.feature import Pages, parts
from ..authentication import SecondFactorNeeded, admit, csrf_fits, find_principal, not_its_job
from ..host_login import keep_csrf
from ..problems import GuardedRoute, Handler, Problem, before_the_body, with_database
from ..state import NOBODY_SIGNS_IN, get_web
from .flash import base_path
from .locale import reader_of
from .rendering import Frame, environment

_UNAUTHORIZED = 401


class LoginNeeded(Exception):  # noqa: N818 - not an error: it leads to the login page
    """The request for a page comes from a client that is not signed in."""


class PageRoute(GuardedRoute):
    """Route of a page; redirects clients without a sign-in to the login page and shows problems as pages."""

    async def answer(self, handler: Handler, request: Request) -> Response:
        """Return the handler's answer, a redirect to the login page, or a problem page, in the reader's language."""
        with reading(reader_of(request)):
            return await self._answer(handler, request)

    async def _answer(self, handler: Handler, request: Request) -> Response:
        try:
            return keep_csrf(request, await with_database(handler, request))
        except LoginNeeded:
            return _to_login(request)
        except SecondFactorNeeded:
            return RedirectResponse(f"{base_path(request)}/account/second-factor", 303)
        except Problem as problem:
            web = getattr(request.app.state, "targcc", None)
            if problem.status == _UNAUTHORIZED and web is not None and web.login_url:
                return _to_login(request)
            page = problem_page(request, problem)
            page.headers.update(problem.headers)
            return page
        except RequestValidationError:
            return problem_page(
                request, Problem(404, "No such page", "There is no page at this address.")
            )


def _to_login(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    web = get_web(request)
    if web.host_login and not web.login_url:
        problem = Problem(_UNAUTHORIZED, "Sign in first", "Sign in to the application.")
        return problem_page(request, problem)
    if not web.host_login and not any(part.sign_in for _, part in parts(Pages)):
        problem = Problem(
            _UNAUTHORIZED,
            "Sign-in is not available",
            NOBODY_SIGNS_IN,
            kind="nobody-can-sign-in",
        )
        return problem_page(request, problem)
    target = web.login_url if web.host_login else f"{base_path(request)}/login"
    if request.method == "GET" and here != base_path(request):
        target += f"{'&' if '?' in target else '?'}{urlencode({'next': here})}"
    if "HX-Request" in request.headers:  # htmx refreshes an open page: redirect the whole page
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def problem_page(request: Request, problem: Problem) -> Response:
    """Render a problem as a page."""
    html = (
        environment()
        .get_template("pages/problem.html")
        .render(
            frame=Frame(request, None),
            title=translated(problem.title),
            detail=translated(problem.detail),
            status=problem.status,
            code=problem.code,
        )
    )
    return HTMLResponse(html, problem.status)


def page_needs(role: Role) -> Callable[[Request], Awaitable[Principal]]:
    """Build a dependency of pages and forms that requires at least ``role``."""

    @before_the_body
    async def check(request: Request) -> Principal:
        principal = await find_principal(request)
        if principal is None:
            raise LoginNeeded
        if principal.jobs is not None:
            raise not_its_job(principal)
        await admit(request, principal, role)
        if not await csrf_fits(request, principal):
            raise Problem(
                403,
                "This form has expired",
                "Go back, reload the page and try again.",
            )
        return principal

    return check
