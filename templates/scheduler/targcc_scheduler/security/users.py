"""Users: who may sign in with a password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import AuthError
from ..storage.tables import job_user
from .roles import ACCOUNT_NAME, Role
from .sessions import end_sessions_of


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in."""

    name: str
    role: Role
    created_at: datetime
    last_login_at: datetime | None


async def add_user(
    connection: AsyncConnection, name: str, password_hash: str, role: Role, now: datetime
) -> None:
    """Let somebody in from now on.

    Raises:
        AuthError: the name is taken, or is not one.
    """
    if not ACCOUNT_NAME.fullmatch(name):
        raise AuthError(
            f"not a user name: {name!r}; letters, digits and . @ + - _ make one, up to 64"
        )
    taken = sa.select(job_user.c.Name).where(sa.func.lower(job_user.c.Name) == name.lower())
    if (await connection.execute(taken)).first() is not None:
        raise AuthError(f"there is a user {name} already")
    values = {"Name": name, "PasswordHash": password_hash, "Role": role, "CreatedAt": now}
    await connection.execute(job_user.insert().values(values))


async def change_password(connection: AsyncConnection, name: str, password_hash: str) -> None:
    """Give a user another password, and sign them out everywhere.

    Raises:
        AuthError: there is no such user.
    """
    change = job_user.update().where(job_user.c.Name == name).values(PasswordHash=password_hash)
    _must_hit(await connection.execute(change), f"there is no user {name}")
    await end_sessions_of(connection, name)


async def remove_user(connection: AsyncConnection, name: str) -> None:
    """Let somebody in no more, and sign them out everywhere.

    Raises:
        AuthError: there is no such user.
    """
    found = await connection.execute(job_user.delete().where(job_user.c.Name == name))
    _must_hit(found, f"there is no user {name}")
    await end_sessions_of(connection, name)


async def users(connection: AsyncConnection) -> tuple[User, ...]:
    """Everybody who may sign in, by name."""
    rows = await connection.execute(sa.select(job_user).order_by(job_user.c.Name))
    return tuple(User(row.Name, Role(row.Role), row.CreatedAt, row.LastLoginAt) for row in rows)


async def has_users(connection: AsyncConnection) -> bool:
    """Whether anybody may sign in with a password."""
    return (await connection.execute(sa.select(job_user.c.Name).limit(1))).first() is not None


async def find_login(connection: AsyncConnection, name: str) -> tuple[str, Role, str] | None:
    """Name as it is written, role and password hash of a user; the name is taken in any case."""
    wanted = sa.select(job_user).where(sa.func.lower(job_user.c.Name) == name.lower())
    row = (await connection.execute(wanted)).first()
    return None if row is None else (row.Name, Role(row.Role), row.PasswordHash)


async def note_login(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Keep when a user last signed in."""
    await connection.execute(
        job_user.update().where(job_user.c.Name == name).values(LastLoginAt=now)
    )


def _must_hit(result: sa.CursorResult[Any], otherwise: str) -> None:
    if result.rowcount == 0:
        raise AuthError(otherwise)
