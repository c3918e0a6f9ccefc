"""Sign messages by Standard Webhooks (standardwebhooks.com). Receivers can verify with any library of that standard."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from ...core.secrets import SEALS

_PREFIX = "whsec_"
_NAMES = ("url", "secret", "before")
OVERLAP = timedelta(hours=24)
"""After a rotation, messages are signed with the old secret too for this time, so that receivers can switch."""


def new_secret() -> str:
    """Return a new signing secret: ``whsec_`` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(using: Sequence[str], message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers of a message: id, timestamp, signatures.

    Args:
        using: Secrets from :func:`new_secret`; each adds a signature.
        message_id: Id of the message, the same in each attempt, so that receivers can drop duplicates.
        body: The message.
        now: Time of this attempt.
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
    """Encrypt an address and its secret for storage, as JSON."""
    return json.dumps(SEALS.seal({"url": url, "secret": secret}, _NAMES))


def rotated(sealed_json: str, secret: str, now: datetime) -> str:
    """Replace the secret in an encrypted value. The old secret also signs for :data:`OVERLAP`.

    Raises:
        SecretError: this process lacks the key that encrypted the value.
    """
    url, (before, *_) = opened(sealed_json, now)
    values = {"url": url, "secret": secret, "before": before}
    return json.dumps({**SEALS.seal(values, _NAMES), "until": (now + OVERLAP).isoformat()})


def opened(sealed_json: str, now: datetime) -> tuple[str, list[str]]:
    """Decrypt the address and the secrets that sign at ``now``, newest secret first.

    Raises:
        SecretError: this process lacks the key that encrypted the value.
    """
    values = SEALS.open(json.loads(sealed_json), _NAMES)
    until = values.get("until")
    old = [values["before"]] if until is not None and now < datetime.fromisoformat(until) else []
    return values["url"], [values["secret"], *old]
