"""Flash messages: shown a single time, on the page after a redirect."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from ..state import Web, get_web

FLASH_COOKIE = "targcc_flash"


def base_path(request: Request) -> str:
    """Return the dashboard's path, such as ``/jobs``, after the path that a proxy or a mount adds."""
    path: str = request.app.state.targcc_prefix
    return str(request.scope.get("root_path", "")).rstrip("/") + path


@dataclass(frozen=True, slots=True)
class Flash:
    """A message for the next page, shown a single time."""

    kind: str
    text: str
    link: str = ""
    link_text: str = ""


def secure_cookies(request: Request, web: Web) -> bool:
    """Return whether cookies are restricted to https."""
    return request.url.scheme == "https" or web.scheduler.settings.base_url.startswith("https:")


def back(request: Request, flash: Flash, to: str) -> Response:
    """Redirect to a page of the dashboard that then shows ``flash``.

    Args:
        request: Request that sent the form.
        flash: Message to show.
        to: Target; any address outside the dashboard becomes the overview.
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
    """Return ``path`` if inside the dashboard, else the overview: a link must not redirect to a foreign site."""
    base = base_path(request)
    inside = path == base or path.startswith((f"{base}/", f"{base}?"))
    safe = inside and not any(char <= " " or char == "\\" for char in path)
    return path if safe else base


def read_flash(request: Request) -> Flash | None:
    """Return the flash message in the request's cookie, if valid."""
    try:
        data = base64.urlsafe_b64decode(request.cookies.get(FLASH_COOKIE, "").encode())
        parts = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parts, list) or [type(part) for part in parts] != [str] * 4:
        return None  # a forged cookie
    kind, text, link, link_text = parts
    safe_link = local_path(request, link) if link else ""
    return Flash("bad" if kind == "bad" else "good", text, safe_link, link_text)
