"""The identity providers there are, in the order in which they are asked."""

from __future__ import annotations

from datetime import timedelta

from .base import Database, IdentityProvider
from .password import PasswordProvider
from .token import TokenProvider


def standard_providers(database: Database, idle: timedelta) -> tuple[IdentityProvider, ...]:
    """API tokens, then session cookies, of which those end that nobody uses for ``idle``."""
    return TokenProvider(database), PasswordProvider(database, idle)
