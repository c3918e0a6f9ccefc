"""Signatures as Standard Webhooks has them (standardwebhooks.com): any of its libraries verifies them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from ...core.encryption import SEALS

_PREFIX = "whsec_"
_NAMES = ("url", "secret", "before")
OVERLAP = timedelta(hours=24)
"""How long messages are signed with the secret before a new one, too: whoever receives them has that time to take the new one."""


def new_secret() -> str:
    """A secret to sign with."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(using: Sequence[str], message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers that say which message it is, when it is sent, and that we send it.

    Args:
        using: Secrets as :func:`new_secret` made them; one signature each.
        message_id: The same in each attempt, so that who gets it twice sees that.
        body: What is sent.
        now: The time of this attempt.
    """
    at = str(int(now.timestamp()))
    content = f"{message_id}.{at}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(_signature(secret, content) for secret in using),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return f"v1,{base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()}"


def sealed(url: str, secret: str) -> str:
    """An address and its secret as they are stored."""
    return json.dumps(SEALS.seal({"url": url, "secret": secret}, _NAMES))


def rotated(sealed_json: str, secret: str, now: datetime) -> str:
    """The same with a new secret; the one before signs too for :data:`OVERLAP`.

    Raises:
        SecretError: they are sealed with a key that this process does not have.
    """
    url, (before, *_) = opened(sealed_json, now)
    values = {"url": url, "secret": secret, "before": before}
    return json.dumps({**SEALS.seal(values, _NAMES), "until": (now + OVERLAP).isoformat()})


def opened(sealed_json: str, now: datetime) -> tuple[str, list[str]]:
    """The address and the secrets that sign now, the newest first.

    Raises:
        SecretError: they are sealed with a key that this process does not have.
    """
    found = SEALS.open(json.loads(sealed_json), _NAMES)
    until = found.get("until")
    old = [found["before"]] if until is not None and now < datetime.fromisoformat(until) else []
    return found["url"], [found["secret"], *old]
