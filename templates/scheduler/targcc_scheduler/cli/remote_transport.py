"""REST API of a server, over HTTP."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator

import httpx

from ..core.version import __version__
from .group import CertificateError
from .profiles import Profile
from .transport import Api

_SECONDS = 60.0


@contextlib.asynccontextmanager
async def at_server(profile: Profile, *, seconds: float = _SECONDS) -> AsyncIterator[Api]:
    """Open the API at a profile's server; ``seconds`` is the timeout of an answer.

    Raises:
        CliError: the token or the certificates cannot be read.
    """
    headers = {"User-Agent": f"targcc/{__version__}"}
    if token := profile.secret():
        headers["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient(
        base_url=f"{profile.server.rstrip('/')}/",
        headers=headers,
        timeout=seconds,
        verify=_trusted(profile.ca),
    ) as client:
        yield Api(client, profile.server)


def _trusted(ca: str) -> ssl.SSLContext | bool:
    if not ca:
        return True
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(f"the certificates in {ca} cannot be read: {error}") from None
