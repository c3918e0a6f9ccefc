"""People whom a proxy in front of ``targcc serve`` has signed in: it names them in a header, which is believed from its address alone."""

from __future__ import annotations

from fastapi import Request

from ...core.errors import AuthError, CredentialsRefused
from ...security.oidc.people import known_name, role_of
from ...security.roles import Principal
from ...settings import Settings
from .login import csrf_of

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
