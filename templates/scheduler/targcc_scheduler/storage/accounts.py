"""Users, their sessions, and API tokens: the statements. What a name, a password or a role is, the room ``security`` knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .tables import job_session, job_token, job_user

Row = Any
"""A row of a table: its columns by name."""


async def add_user(
    connection: AsyncConnection, name: str, *, password_hash: str, role: str, now: datetime
) -> None:
    """Add a row of ``c_JobUser``."""
    values = {"Name": name, "PasswordHash": password_hash, "Role": role, "CreatedAt": now}
    await connection.execute(job_user.insert().values(values))


async def find_user(connection: AsyncConnection, name: str) -> Row | None:
    """The row of a user; the name is taken in any case."""
    wanted = sa.select(job_user).where(sa.func.lower(job_user.c.Name) == name.lower())
    return (await connection.execute(wanted)).first()


async def users(connection: AsyncConnection) -> list[Row]:
    """The rows of all users, by name."""
    return list(await connection.execute(sa.select(job_user).order_by(job_user.c.Name)))


async def has_users(connection: AsyncConnection) -> bool:
    """Whether there is any user."""
    return (await connection.execute(sa.select(job_user.c.Name).limit(1))).first() is not None


async def change_password(connection: AsyncConnection, name: str, password_hash: str) -> bool:
    """Give a user another password; whether there is such a user."""
    change = job_user.update().where(job_user.c.Name == name).values(PasswordHash=password_hash)
    return (await connection.execute(change)).rowcount == 1


async def remove_user(connection: AsyncConnection, name: str) -> bool:
    """Remove a user; whether there was one."""
    gone = await connection.execute(job_user.delete().where(job_user.c.Name == name))
    return gone.rowcount == 1


async def note_login(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Keep when a user last signed in."""
    change = job_user.update().where(job_user.c.Name == name).values(LastLoginAt=now)
    await connection.execute(change)


async def add_session(
    connection: AsyncConnection,
    digest: str,
    *,
    name: str,
    role: str,
    csrf: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Add a session, and remove those that have ended."""
    await connection.execute(job_session.delete().where(job_session.c.ExpiresAt <= now))
    values = {
        "TokenHash": digest,
        "UserName": name,
        "Role": role,
        "CsrfToken": csrf,
        "CreatedAt": now,
        "ExpiresAt": expires_at,
    }
    await connection.execute(job_session.insert().values(values))


async def find_session(connection: AsyncConnection, digest: str, now: datetime) -> Row | None:
    """The row of a session that has not ended."""
    wanted = sa.select(job_session).where(
        job_session.c.TokenHash == digest, job_session.c.ExpiresAt > now
    )
    return (await connection.execute(wanted)).first()


async def remove_session(connection: AsyncConnection, digest: str) -> None:
    """Remove one session."""
    await connection.execute(job_session.delete().where(job_session.c.TokenHash == digest))


async def remove_sessions_of(connection: AsyncConnection, name: str) -> None:
    """Remove all sessions of a user."""
    await connection.execute(job_session.delete().where(job_session.c.UserName == name))


async def add_token(
    connection: AsyncConnection,
    name: str,
    digest: str,
    *,
    role: str,
    by: str,
    now: datetime,
    expires_at: datetime | None,
) -> None:
    """Add a row of ``c_JobToken``."""
    values = {
        "Name": name,
        "TokenHash": digest,
        "Role": role,
        "CreatedBy": by,
        "CreatedAt": now,
        "ExpiresAt": expires_at,
    }
    await connection.execute(job_token.insert().values(values))


async def has_token(connection: AsyncConnection, name: str) -> bool:
    """Whether there is a token of this name."""
    taken = sa.select(job_token.c.Name).where(job_token.c.Name == name)
    return (await connection.execute(taken)).first() is not None


async def find_token(connection: AsyncConnection, digest: str) -> Row | None:
    """The row of the token with this digest."""
    wanted = sa.select(job_token).where(job_token.c.TokenHash == digest)
    return (await connection.execute(wanted)).first()


async def tokens(connection: AsyncConnection) -> list[Row]:
    """The rows of all tokens, by name."""
    return list(await connection.execute(sa.select(job_token).order_by(job_token.c.Name)))


async def remove_token(connection: AsyncConnection, name: str) -> bool:
    """Remove a token; whether there was one."""
    gone = await connection.execute(job_token.delete().where(job_token.c.Name == name))
    return gone.rowcount == 1


async def note_token_use(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Keep when a token was last used."""
    change = job_token.update().where(job_token.c.Name == name).values(LastUsedAt=now)
    await connection.execute(change)
