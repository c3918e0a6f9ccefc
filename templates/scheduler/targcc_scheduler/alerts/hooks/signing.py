"""Signatures as Standard Webhooks has them (standardwebhooks.com): any of its libraries verifies them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from datetime import datetime

from ...core.sealing.seals import SEALS

_PREFIX = "whsec_"
_NAMES = ("url", "secret")


def new_secret() -> str:
    """A secret to sign with."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers that say which message it is, when it is sent, and that we send it.

    Args:
        secret: As :func:`new_secret` made it.
        message_id: The same in each attempt, so that who gets it twice sees that.
        body: What is sent.
        now: The time of this attempt.
    """
    at = str(int(now.timestamp()))
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def sealed(url: str, secret: str) -> str:
    """An address and its secret as they are stored."""
    return json.dumps(SEALS.seal({"url": url, "secret": secret}, _NAMES))


def opened(sealed_json: str) -> tuple[str, str]:
    """The address and the secret.

    Raises:
        SecretError: they are sealed with a key that this process does not have.
    """
    found = SEALS.open(json.loads(sealed_json), _NAMES)
    return found["url"], found["secret"]
