"""Pages that sign in and out at the OpenID provider."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import astuple
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from ...core.errors import AuthError
from ...core.identity import role_of
from ...core.languages import gettext
from ...project import current
from ...settings import Settings
from ...web.authentication import client_address
from ...web.dashboard.flash import base_path, secure_cookies
from ...web.dashboard.page_route import PageRoute
from ...web.problems import Problem
from ...web.state import Web, get_web
from .oidc import Attempt, OpenIDClient, name_of
from .pages import SignIn, later, login_form, note, sign_in
from .throttle import network_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_LIFE_SECONDS = 600
_PARTS = 4
WebOf = Annotated[Web, Depends(get_web)]


def _cookie() -> str:
    return f"targcc_oidc_{current().package}"


def _client(web: Web) -> OpenIDClient:
    client = web.shared(SignIn).openid
    if client is None:
        raise Problem(404, "No such page", "No sign-in provider is configured.")
    return client


def _address(request: Request, settings: Settings) -> str:
    """Return the redirect URI of this scheduler, as registered at the provider."""
    base = settings.base_url.rstrip("/")
    if not base:
        base = f"{request.url.scheme}://{request.url.netloc}"
    return f"{base}{base_path(request)}/login/oidc/answer"


@router.get("/login/oidc")
async def begin(
    request: Request, web: WebOf, to: Annotated[str, Query(alias="next")] = ""
) -> Response:
    """To the provider."""
    attempt = Attempt.begin()
    try:
        address = await _client(web).address(attempt, _address(request, web.scheduler.settings))
    except AuthError as error:
        return await login_form(
            request,
            web,
            502,
            error=gettext("The sign-in provider is not available: %(error)s.", error=str(error)),
        )
    response = RedirectResponse(address, 303)
    kept = json.dumps([*astuple(attempt), to[:1_000]])
    response.set_cookie(
        _cookie(),
        base64.urlsafe_b64encode(kept.encode()).decode(),
        max_age=_LIFE_SECONDS,
        path=f"{base_path(request)}/login/oidc",
        httponly=True,
        samesite="lax",
        secure=secure_cookies(request, web),
    )
    return response


@router.get("/login/oidc/answer")
async def answer(request: Request, web: WebOf, state: str = "") -> Response:
    """Back from the provider: who it is, and which role they have here."""
    client, settings = _client(web), web.scheduler.settings
    attempt, to = _kept(request)
    if attempt is None or not secrets.compare_digest(state.encode(), attempt.state.encode()):
        return await login_form(
            request, web, 403, error=gettext("The sign-in has expired. Sign in again.")
        )
    address = client_address(request)
    network = network_of(address)
    wait = web.shared(SignIn).answers.wait(network)
    if wait > 0:
        return await later(request, web, wait)
    # Count a failure before the provider has confirmed the person, so that concurrent attempts are limited.
    web.shared(SignIn).answers.failed(network)
    try:
        claims = await _claims(request, client, attempt, settings)
        name = name_of(claims, settings.oidc_name_claim)
        role = role_of(
            claims.get(settings.oidc_role_claim), settings.oidc_roles, settings.oidc_default_role
        )
    except AuthError as refusal:
        # Anybody can send a forged answer: write at most one audit row a minute.
        if web.shared(SignIn).held_back.is_new("an answer of the provider"):
            await note(web, "unknown name", address, "sign-in refused", str(refusal))
        return await login_form(
            request,
            web,
            403,
            error=gettext("Sign-in failed: %(error)s.", error=str(refusal)),
        )
    if role is None:
        await note(web, name, address, "sign-in refused", "no role here")
        return await login_form(
            request,
            web,
            403,
            error=gettext("Your account has no role in this project. Ask an admin."),
        )
    web.shared(SignIn).answers.forget(network)
    response = await sign_in(
        request,
        web,
        name=name,
        role=role,
        life=settings.session_life,
        to=to,
        detail=f"by {client.registration.issuer}",
    )
    response.delete_cookie(_cookie(), path=f"{base_path(request)}/login/oidc")
    return response


async def _claims(
    request: Request, client: OpenIDClient, attempt: Attempt, settings: Settings
) -> dict[str, Any]:
    """Return the claims for the code in the provider's redirect.

    Raises:
        AuthError: the provider refuses, or the answer fails verification.
    """
    params = request.query_params
    if "code" not in params:
        raise AuthError(f"the provider says {params.get('error', '')[:80] or 'nothing'}")
    if params.get("iss", client.registration.issuer) != client.registration.issuer:  # RFC 9207
        raise AuthError("the answer is another provider's")
    return await client.claims(attempt, params["code"], _address(request, settings))


@router.get("/login/oidc/leave")
async def leave(request: Request, web: WebOf) -> Response:
    """Sign out at the provider, too."""
    back_to = _address(request, web.scheduler.settings).removesuffix("/oidc/answer")
    try:
        address = await _client(web).leave_address(back_to)
    except AuthError as error:
        return await login_form(
            request,
            web,
            502,
            error=gettext("Sign-out at the provider failed: %(error)s.", error=str(error)),
        )
    return RedirectResponse(address or f"{base_path(request)}/login", 303)


def _kept(request: Request) -> tuple[Attempt | None, str]:
    """Return the sign-in attempt from the browser's cookie, and the page to open afterwards; ``None`` without a valid cookie."""
    try:
        data = base64.urlsafe_b64decode(request.cookies.get(_cookie(), "").encode())
        parts = json.loads(data)
    except (ValueError, RecursionError):
        return None, ""
    if not isinstance(parts, list) or [type(part) for part in parts] != [str] * _PARTS:
        return None, ""
    return Attempt(*parts[:-1]), parts[-1]
