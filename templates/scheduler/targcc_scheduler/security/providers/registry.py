"""The identity providers there are, in the order in which they are asked."""

from __future__ import annotations

from .base import Database, IdentityProvider
from .password import PasswordProvider
from .token import TokenProvider


def standard_providers(database: Database) -> tuple[IdentityProvider, ...]:
    """API tokens, then session cookies."""
    return TokenProvider(database), PasswordProvider(database)
