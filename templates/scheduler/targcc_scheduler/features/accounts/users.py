"""Users and login links."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import AuthError
from ...core.text import digest
from . import model
from .roles import ACCOUNT_NAME

# Users: who may sign in with a password.


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
    if await model.find_user(connection, name) is not None:
        raise AuthError(f"there is a user {name} already")
    await model.add_user(connection, name, password_hash=password_hash, role=role, now=now)


async def change_password(connection: AsyncConnection, name: str, password_hash: str) -> None:
    """Change a user's password and end their sessions.

    Raises:
        AuthError: there is no such user.
    """
    if not await model.change_password(connection, name, password_hash):
        raise AuthError(f"there is no user {name}")
    await model.remove_sessions_of(connection, name)


async def remove_user(connection: AsyncConnection, name: str) -> None:
    """Remove a user and end their sessions.

    Raises:
        AuthError: there is no such user.
    """
    if not await model.remove_user(connection, name):
        raise AuthError(f"there is no user {name}")
    await model.remove_sessions_of(connection, name)


async def users(connection: AsyncConnection) -> tuple[User, ...]:
    """The users, by name."""
    rows = await model.users(connection)
    return tuple(
        User(row.Name, row.Role, row.CreatedAt, row.LastLoginAt, row.TotpSecret is not None)
        for row in rows
    )


async def has_users(connection: AsyncConnection) -> bool:
    """Whether anybody may sign in with a password."""
    return await model.has_users(connection)


async def find_login(connection: AsyncConnection, name: str) -> tuple[str, str, str, bool] | None:
    """Name, role, password hash of a user, and whether they have a second factor; ``name`` may be in any case."""
    row = await model.find_user(connection, name)
    if row is None:
        return None
    return (row.Name, row.Role, row.PasswordHash, row.TotpSecret is not None)


async def note_login(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store when a user last signed in."""
    await model.note_login(connection, name, now)


# Login links: secrets that each sign one browser in, once.

LINK_LIFE = timedelta(minutes=10)
"""How long a login link can be used."""
LINK_USER = "login link"
"""The name of a session that a login link began; no user can have it, since names have no blanks."""


class LoginLinks:
    """Secrets in the memory of the serving process that each sign one browser in, once.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def create(self) -> str:
        """A new secret; it works for ten minutes."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[digest(secret)] = self._clock() + LINK_LIFE.total_seconds()
        return secret

    def use(self, secret: str) -> bool:
        """Use up a login link: true the first time, while it is valid."""
        with self._lock:
            end = self._ends.pop(digest(secret), None)
        return end is not None and self._clock() < end


LOGIN_LINKS = LoginLinks()
"""The login links of this process."""
