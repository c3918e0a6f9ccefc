"""Users: who may sign in with a password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import AuthError
from ..storage import accounts
from .roles import ACCOUNT_NAME


@dataclass(frozen=True, slots=True)
class User:
    """A user of the dashboard."""

    name: str
    role: str
    created_at: datetime
    last_login_at: datetime | None
    second_factor: bool = False


async def add_user(
    connection: AsyncConnection, name: str, password_hash: str, role: str, now: datetime
) -> None:
    """Add a user.

    Raises:
        AuthError: the name is taken, or is no valid name.
    """
    if not ACCOUNT_NAME.fullmatch(name):
        raise AuthError(
            f"not a user name: {name!r}; letters, digits and . @ + - _ make one, up to 64"
        )
    if await accounts.find_user(connection, name) is not None:
        raise AuthError(f"there is a user {name} already")
    await accounts.add_user(connection, name, password_hash=password_hash, role=role, now=now)


async def change_password(connection: AsyncConnection, name: str, password_hash: str) -> None:
    """Change a user's password and end their sessions.

    Raises:
        AuthError: there is no such user.
    """
    if not await accounts.change_password(connection, name, password_hash):
        raise AuthError(f"there is no user {name}")
    await accounts.remove_sessions_of(connection, name)


async def remove_user(connection: AsyncConnection, name: str) -> None:
    """Remove a user and end their sessions.

    Raises:
        AuthError: there is no such user.
    """
    if not await accounts.remove_user(connection, name):
        raise AuthError(f"there is no user {name}")
    await accounts.remove_sessions_of(connection, name)


async def users(connection: AsyncConnection) -> tuple[User, ...]:
    """The users, by name."""
    rows = await accounts.users(connection)
    return tuple(
        User(row.Name, row.Role, row.CreatedAt, row.LastLoginAt, row.TotpSecret is not None)
        for row in rows
    )


async def has_users(connection: AsyncConnection) -> bool:
    """Whether anybody may sign in with a password."""
    return await accounts.has_users(connection)


async def find_login(connection: AsyncConnection, name: str) -> tuple[str, str, str, bool] | None:
    """Name, role, password hash of a user, and whether they have a second factor; ``name`` may be in any case."""
    row = await accounts.find_user(connection, name)
    if row is None:
        return None
    return (row.Name, row.Role, row.PasswordHash, row.TotpSecret is not None)


async def note_login(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store when a user last signed in."""
    await accounts.note_login(connection, name, now)
