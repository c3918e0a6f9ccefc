"""Host names of this site. Every other name is refused, against DNS rebinding: a foreign site can resolve its own name to this server."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from ..settings import Settings

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(?::\d{1,5})?", re.ASCII)
_PRIVATE = ("localhost", "local", "internal", "svc", "test")
"""Last labels that no public name has."""


def answers_to(host: str, settings: Settings) -> bool:
    """Return whether a ``Host`` header names this site.

    Accepted names: the name in ``TARGCC_BASE_URL``, ``TARGCC_HOST`` and the names in ``TARGCC_ALLOWED_HOSTS``. Also accepted, since no stranger
    can register such a name: an IP address, a name without a dot, such as ``scheduler``, and names in ``.localhost``, ``.local``, ``.internal``,
    ``.svc``, ``.cluster.local`` and ``.test``.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match["six"] or match["name"]).lower().removesuffix(".")
    if match["six"] or _is_address(name) or "." not in name or name.split(".")[-1] in _PRIVATE:
        return True
    allowed = [
        pattern.strip().lower() for pattern in settings.allowed_hosts.split(",") if pattern.strip()
    ]
    known = {urlsplit(settings.base_url).hostname, settings.host.lower(), *allowed}
    return (
        name in known
        or "*" in known
        or any(pattern.startswith("*.") and name.endswith(pattern[1:]) for pattern in allowed)
    )


def is_same_origin(origin: str | None, host: str, settings: Settings) -> bool:
    """Return whether an ``Origin`` header names this site: the request's host or the host of ``TARGCC_BASE_URL``; true without the header."""
    if origin is None:
        return True
    try:
        sender = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return bool(sender) and sender in {host.lower(), urlsplit(settings.base_url).netloc.lower()}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
