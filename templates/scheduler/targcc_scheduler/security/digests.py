"""Digests of secrets; the secrets themselves are not stored."""

from __future__ import annotations

import hashlib


def digest(secret: str) -> str:
    """The SHA-256 of a token, which is stored in its place."""
    return hashlib.sha256(secret.encode()).hexdigest()
