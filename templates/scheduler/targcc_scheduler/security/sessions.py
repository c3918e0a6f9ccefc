"""Sessions: browsers that are signed in."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage.tables import job_session
from .digests import digest
from .roles import Principal, Role

SESSION_LIFE = timedelta(days=7)
"""How long a browser stays signed in with a password."""
LINK_SESSION_LIFE = timedelta(hours=12)
"""How long a browser stays signed in with a login link."""


async def start_session(
    connection: AsyncConnection, name: str, role: Role, now: datetime, life: timedelta
) -> str:
    """Sign a browser in; the secret for its cookie. Sessions that have ended are swept out."""
    secret = secrets.token_urlsafe(32)
    await connection.execute(job_session.delete().where(job_session.c.ExpiresAt <= now))
    values = {
        "TokenHash": digest(secret),
        "UserName": name,
        "Role": role,
        "CsrfToken": secrets.token_urlsafe(32),
        "CreatedAt": now,
        "ExpiresAt": now + life,
    }
    await connection.execute(job_session.insert().values(values))
    return secret


async def find_session(connection: AsyncConnection, secret: str, now: datetime) -> Principal | None:
    """Who a cookie belongs to; ``None`` when it is nobody's or too old."""
    wanted = sa.select(job_session).where(
        job_session.c.TokenHash == digest(secret), job_session.c.ExpiresAt > now
    )
    row = (await connection.execute(wanted)).first()
    return None if row is None else Principal(row.UserName, Role(row.Role), row.CsrfToken)


async def end_session(connection: AsyncConnection, secret: str) -> None:
    """Sign one browser out."""
    await connection.execute(job_session.delete().where(job_session.c.TokenHash == digest(secret)))


async def end_sessions_of(connection: AsyncConnection, name: str) -> None:
    """Sign a user out everywhere."""
    await connection.execute(job_session.delete().where(job_session.c.UserName == name))
