"""Choose the language of the pages; open to everybody, also on the login page."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from ...core.languages import languages
from ..authentication import require_same_origin
from ..problems import Problem
from ..state import get_web
from .flash import local_path, secure_cookies
from .locale import LANGUAGE_COOKIE
from .page_route import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_LIFE = 400 * 24 * 3600
"""Lifetime of the language cookie in seconds: 400 days, the most that browsers allow."""


@router.post("/language")
async def choose_language(request: Request) -> Response:
    """Remember a language in this browser, and go back to the page."""
    require_same_origin(request)
    form = await request.form()
    language, to = str(form.get("language", "")), str(form.get("next", ""))
    if language not in languages():
        raise Problem(404, "No such language", "The pages are not available in this language.")
    response = RedirectResponse(local_path(request, to), 303)
    response.set_cookie(
        LANGUAGE_COOKIE,
        language,
        max_age=_LIFE,
        httponly=True,
        samesite="lax",
        secure=secure_cookies(request, get_web(request)),
    )
    return response
