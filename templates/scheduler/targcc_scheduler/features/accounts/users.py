"""Users and login links."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import AuthError, LastAdminError
from ...core.identity import ACCOUNT_NAME, Principal
from ...core.languages import Localized
from ...core.text import digest
from . import model

# Users: accounts with a password.


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
        AuthError: the name is taken or not valid.
    """
    if not ACCOUNT_NAME.fullmatch(name):
        raise AuthError(
            Localized(
                "not a user name: %(name)s; letters, digits and . @ + - _ make one, up to 64",
                name=repr(name),
            )
        )
    if await model.find_user(connection, name) is not None:
        raise AuthError(Localized("there is a user %(name)s already", name=name))
    await model.add_user(connection, name, password_hash=password_hash, role=role, now=now)


async def change_password(connection: AsyncConnection, name: str, password_hash: str) -> None:
    """Change a user's password and end their sessions.

    Raises:
        AuthError: there is no such user.
    """
    if not await model.change_password(connection, name, password_hash):
        raise AuthError(Localized("there is no user %(name)s", name=name))
    await model.remove_sessions_of(connection, name)


async def remove_user(connection: AsyncConnection, name: str) -> None:
    """Remove a user and end their sessions.

    Raises:
        AuthError: there is no such user.
    """
    if not await model.remove_user(connection, name):
        raise AuthError(Localized("there is no user %(name)s", name=name))
    await model.remove_sessions_of(connection, name)


async def check_change(
    connection: AsyncConnection, by: Principal, name: str = "", *, keeps_role: bool = False
) -> None:
    """Check that an admin may still change accounts, and that the change of the user ``name`` leaves an admin.

    The check locks the admins until the end of the transaction, so that two admins cannot remove each other at once.

    Args:
        connection: A transaction that writes.
        by: The principal of the request.
        name: The user to change; empty for a change of no user.
        keeps_role: Whether the user has the role admin after the change if the user has it before.

    Raises:
        LastAdminError: the change would lock out the last admin.
        AuthError: the change would lock out the principal, or the principal is no admin any more.
    """
    admins = await model.lock_admins(connection)
    is_user = by.second_factor is not None
    if name in admins and len(admins) == 1 and not keeps_role:
        raise LastAdminError(name)
    if is_user and by.name not in admins:
        raise AuthError(Localized("you are no admin any more"))
    if is_user and name == by.name:
        raise AuthError(Localized("this is your own account: another admin has to change it"))


async def users(connection: AsyncConnection) -> tuple[User, ...]:
    """Return the users, ordered by name."""
    rows = await model.users(connection)
    return tuple(
        User(row.Name, row.Role, row.CreatedAt, row.LastLoginAt, row.TotpSecret is not None)
        for row in rows
    )


async def has_users(connection: AsyncConnection) -> bool:
    """Return whether any user exists."""
    return await model.has_users(connection)


async def find_login(connection: AsyncConnection, name: str) -> tuple[str, str, str, bool] | None:
    """Return name, role, password hash and whether the user has a second factor; ``name`` matches in any case."""
    row = await model.find_user(connection, name)
    if row is None:
        return None
    return (row.Name, row.Role, row.PasswordHash, row.TotpSecret is not None)


async def note_login(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store the time of a user's last sign-in."""
    await model.note_login(connection, name, now)


# Login links: each secret signs one browser in, once.

LINK_LIFE = timedelta(minutes=10)
"""Lifetime of a login link."""
LINK_USER = "login link"
"""User name of sessions from a login link. User names have no blanks, so no user can have this name."""


class LoginLinks:
    """Login link secrets in the memory of the serving process; each secret signs one browser in, once.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def create(self) -> str:
        """Return a new secret, valid for ten minutes."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[digest(secret)] = self._clock() + LINK_LIFE.total_seconds()
        return secret

    def use(self, secret: str) -> bool:
        """Consume a login link; return true on the first use within the link's lifetime."""
        with self._lock:
            end = self._ends.pop(digest(secret), None)
        return end is not None and self._clock() < end


LOGIN_LINKS = LoginLinks()
"""The login links of this process."""


async def first_login(connection: AsyncConnection) -> Callable[[str], str] | None:
    """Return the function that makes a login link for a dashboard's address; ``None`` if users exist."""
    if await has_users(connection):
        return None
    return lambda page: f"{page}/login?token={LOGIN_LINKS.create()}"
