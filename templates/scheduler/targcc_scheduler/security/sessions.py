"""Sessions: browsers that are signed in."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage import accounts
from .digests import digest
from .roles import Principal, Role

SESSION_LIFE = timedelta(days=7)
"""How long a browser stays signed in with a password."""
LINK_SESSION_LIFE = timedelta(hours=12)
"""How long a browser stays signed in with a login link."""


async def start_session(
    connection: AsyncConnection, name: str, role: Role, now: datetime, life: timedelta
) -> str:
    """Begin a session; returns the secret for its cookie. Sessions that have ended are removed."""
    secret = secrets.token_urlsafe(32)
    await accounts.add_session(
        connection,
        digest(secret),
        name=name,
        role=role,
        csrf=secrets.token_urlsafe(32),
        now=now,
        expires_at=now + life,
    )
    return secret


async def find_session(connection: AsyncConnection, secret: str, now: datetime) -> Principal | None:
    """Whose session a cookie names; ``None`` when there is none or it has ended."""
    row = await accounts.find_session(connection, digest(secret), now)
    return None if row is None else Principal(row.UserName, Role(row.Role), row.CsrfToken)


async def end_session(connection: AsyncConnection, secret: str) -> None:
    """End a session."""
    await accounts.remove_session(connection, digest(secret))
