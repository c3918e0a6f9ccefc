"""Time-based one-time passwords: RFC 6238, with SHA-1, six digits and steps of thirty seconds, as authenticator apps have them."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

STEP_SECONDS = 30
_DIGITS = 6
_DRIFT = 1
"""So many steps may a clock be off."""


def new_secret() -> str:
    """A secret of 160 bits, in base32 as apps take it."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code_at(secret: str, step: int, digits: int = _DIGITS) -> str:
    """The code of a step (RFC 4226, section 5.3)."""
    key = base64.b32decode(secret)
    mac = hmac.new(key, step.to_bytes(8, "big"), "sha1").digest()
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The step whose code this is, if it is one of now or of the step before or after; ``None`` for any other text."""
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - _DRIFT, current + _DRIFT + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            return step
    return None


def is_secret(text: str) -> bool:
    """Whether a text is a secret such as :func:`new_secret` makes."""
    try:
        return len(base64.b32decode(text)) == len(base64.b32decode(new_secret()))
    except (binascii.Error, ValueError):
        return False


def address(secret: str, name: str, issuer: str) -> str:
    """The ``otpauth:`` address that apps open or read from a QR code."""
    label = quote(f"{issuer}:{name}", safe="")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer})}"
