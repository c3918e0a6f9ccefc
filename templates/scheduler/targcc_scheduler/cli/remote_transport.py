"""REST API of a server, over HTTP."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator

from ..core.version import __version__
from .group import CertificateError
from .light_httpx import absent, httpx
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
    with absent("trio"):
        opened = httpx.AsyncClient(
            base_url=f"{profile.server.rstrip('/')}/",
            headers=headers,
            timeout=seconds,
            verify=_trusted(profile),
        )
    async with opened as client:
        yield Api(client, profile.server)


def _trusted(profile: Profile) -> ssl.SSLContext | bool:
    """Return the trusted authorities. Without TLS nobody is trusted, as reading the authorities takes longer than a request."""
    try:
        if profile.ca:
            return ssl.create_default_context(cafile=profile.ca)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(
            f"the certificates in {profile.ca} cannot be read: {error}"
        ) from None
    if profile.server.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return True
