"""Passwords, as argon2 hashes."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

from ..core.errors import AuthError

LEAST_PASSWORD = 10
"""The least number of characters of a password."""


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    return str(_hasher().hash(secrets.token_urlsafe()))


def hash_password(password: str) -> str:
    """The argon2 hash of a password; takes some tens of milliseconds on purpose.

    Raises:
        AuthError: it is too short.
    """
    if len(password) < LEAST_PASSWORD:
        raise AuthError(f"a password has at least {LEAST_PASSWORD} characters")
    return str(_hasher().hash(password))


def password_fits(password_hash: str | None, password: str) -> bool:
    """Whether the password belongs to the hash; false without a hash, after the same time, so that names cannot be guessed."""
    from argon2.exceptions import InvalidHashError, VerificationError

    nobodys = _nobodys_hash()  # made by the first try, whoever it is
    try:
        _hasher().verify(password_hash or nobodys, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
