"""Digests of secrets: all that is kept of them."""

from __future__ import annotations

import hashlib


def digest(secret: str) -> str:
    """The SHA-256 of a token: all that is kept of it."""
    return hashlib.sha256(secret.encode()).hexdigest()
