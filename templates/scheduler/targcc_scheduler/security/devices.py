"""Browsers that a user has signed in with before: what others guess does not slow them down.

The cookie holds a number and its signature, whose key is the hash of the password: nothing is stored, no stranger can make one, and a
new password ends all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from ..project import current

_MARK = 24


def device_cookie() -> str:
    """The name of the cookie."""
    return f"targcc_device_{current().package}"


def new_device(name: str, password_hash: str) -> str:
    """What the cookie holds after somebody has signed in."""
    mark = secrets.token_hex(_MARK // 2)
    return f"{mark}.{_signature(mark, name, password_hash)}"


def known_device(cookie: str, name: str, password_hash: str | None) -> str | None:
    """The mark of the browser, if it is one that this user has signed in with; ``None`` for others."""
    mark, _, signature = cookie[:200].partition(".")
    wanted = _signature(mark, name, password_hash or "nobody's")
    fits = hmac.compare_digest(signature.encode(), wanted.encode())
    return mark if fits and password_hash is not None else None


_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
    "curl/": "curl",
}
_SYSTEMS = {
    "Windows": "Windows",
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


def in_words(user_agent: str) -> str:
    """The browser and its system, such as ``Firefox on Windows``, from the header that browsers send; no more than they say."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "")
    return " on ".join(filter(None, (browser, system))) or "an unknown program"


def _signature(mark: str, name: str, password_hash: str) -> str:
    key = hashlib.sha256(f"device {password_hash}".encode()).digest()
    return hmac.new(key, f"{mark} {name.lower()}".encode(), "sha256").hexdigest()
