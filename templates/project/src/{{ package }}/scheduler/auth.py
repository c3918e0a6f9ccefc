# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Who may come in, and how far: users, API tokens, signed-in browsers, the one-time login link, and limits on guessing.

Passwords are kept as argon2 hashes; of tokens and sessions only the SHA-256 is kept, so a copy of the database opens no door.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .tables import job_session, job_token, job_user

SESSION_LIFE = timedelta(days=7)
"""How long a browser stays signed in with a password."""
LINK_SESSION_LIFE = timedelta(hours=12)
"""How long a browser stays signed in with a login link."""
LINK_LIFE = timedelta(minutes=10)
"""How long a login link can be used."""
LINK_USER = "login link"
"""Who somebody is who came by the login link; no user can be called so, since names have no blanks."""
LEAST_PASSWORD = 10
"""Characters."""

_USER_NAME = re.compile(r"[\w][\w.@+-]{0,63}")
_TOKEN_PREFIX = "tgc_"  # noqa: S105 - not a secret: it lets secret scanners recognise one
_NOTE_USE_EVERY = timedelta(minutes=1)


class Role(StrEnum):
    """How far somebody may go; each role may do all that the one before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what needs ``needed``."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class AuthError(ValueError):
    """A user or token cannot be made, changed or found; the message says why."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has been let in.

    Args:
        name: A user's name, a token's name, or ``login link``.
        role: How far they may go.
        csrf: What every form must carry; ``None`` for a token, which no browser sends by itself.
    """

    name: str
    role: Role
    csrf: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in."""

    name: str
    role: Role
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Token:
    """What a program signs in with."""

    name: str
    role: Role
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


def digest(secret: str) -> str:
    """The SHA-256 of a token: all that is kept of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


# Users


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
    """Whether the password belongs to the hash; without a hash it takes as long and is false."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(password_hash or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


async def add_user(
    connection: AsyncConnection, name: str, password_hash: str, role: Role, now: datetime
) -> None:
    """Let somebody in from now on.

    Raises:
        AuthError: the name is taken, or is not one.
    """
    if not _USER_NAME.fullmatch(name):
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


# Sessions


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


# API tokens


async def create_token(
    connection: AsyncConnection,
    name: str,
    role: Role,
    *,
    by: str,
    now: datetime,
    life: timedelta | None = None,
) -> str:
    """Make an API token; it is seen this once.

    Args:
        connection: Where to keep it.
        name: What to call it.
        role: How far it goes.
        by: Who makes it.
        now: The instant it is.
        life: How long it can be used; ``None`` is until it is revoked.

    Raises:
        AuthError: the name is taken, or is not one.
    """
    if not _USER_NAME.fullmatch(name):
        raise AuthError(
            f"not a token name: {name!r}; letters, digits and . @ + - _ make one, up to 64"
        )
    taken = sa.select(job_token.c.Name).where(job_token.c.Name == name)
    if (await connection.execute(taken)).first() is not None:
        raise AuthError(f"there is a token {name} already: revoke it first, or choose another name")
    secret = _TOKEN_PREFIX + secrets.token_urlsafe(32)
    values = {
        "Name": name,
        "TokenHash": digest(secret),
        "Role": role,
        "CreatedBy": by,
        "CreatedAt": now,
        "ExpiresAt": now + life if life is not None else None,
    }
    await connection.execute(job_token.insert().values(values))
    return secret


async def revoke_token(connection: AsyncConnection, name: str) -> None:
    """End an API token.

    Raises:
        AuthError: there is no such token.
    """
    found = await connection.execute(job_token.delete().where(job_token.c.Name == name))
    _must_hit(found, f"there is no token {name}")


async def tokens(connection: AsyncConnection) -> tuple[Token, ...]:
    """The API tokens, by name; never their secrets, which nobody has."""
    rows = await connection.execute(sa.select(job_token).order_by(job_token.c.Name))
    return tuple(
        Token(row.Name, Role(row.Role), row.CreatedBy, row.CreatedAt, row.LastUsedAt, row.ExpiresAt)
        for row in rows
    )


async def find_token(connection: AsyncConnection, secret: str, now: datetime) -> Token | None:
    """What a bearer token stands for; ``None`` when it is no token, or too old."""
    wanted = sa.select(job_token).where(job_token.c.TokenHash == digest(secret))
    row = (await connection.execute(wanted)).first()
    if row is None or (row.ExpiresAt is not None and row.ExpiresAt <= now):
        return None
    return Token(
        row.Name, Role(row.Role), row.CreatedBy, row.CreatedAt, row.LastUsedAt, row.ExpiresAt
    )


def use_is_worth_noting(token: Token, now: datetime) -> bool:
    """Whether to write down that a token is used: at most once a minute, so that reading costs no writing."""
    return token.last_used_at is None or now - token.last_used_at >= _NOTE_USE_EVERY


async def note_token_use(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Keep when a token was last used."""
    await connection.execute(
        job_token.update().where(job_token.c.Name == name).values(LastUsedAt=now)
    )


# The login link


class LoginLinks:
    """Secrets in the memory of the serving process that each sign one browser in, once.

    Args:
        clock: Seconds that only go forward.
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
        """Whether the secret opens the door; it does so once."""
        with self._lock:
            end = self._ends.pop(digest(secret), None)
        return end is not None and self._clock() < end


LOGIN_LINKS = LoginLinks()
"""The login links of this process."""


# Limits on guessing


@dataclass(slots=True)
class _Failures:
    count: int
    free_at: float


class AttemptLimiter:
    """Makes guessing slow: after some failures each further one doubles the wait.

    Args:
        free: How many failures cost no waiting.
        longest: Seconds that a wait can grow to; a key that has been quiet twice as long starts afresh.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, free: int, longest: float = 900, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = free
        self._longest = longest
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Seconds until ``key`` may try again; 0 when it may now."""
        with self._lock:
            known = self._failures.get(key)
            return 0 if known is None else max(0.0, known.free_at - self._clock())

    def failed(self, key: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            count = self._failures[key].count + 1 if key in self._failures else 1
            over = count - self._free
            pause = min(2.0 ** min(over, 20), self._longest) if over > 0 else 0.0
            self._failures[key] = _Failures(count, now + pause)

    def forget(self, key: str) -> None:
        """Start afresh."""
        with self._lock:
            self._failures.pop(key, None)

    def forgive(self, key: str) -> None:
        """Take one failure back."""
        with self._lock:
            if key in self._failures:
                self._failures[key].count -= 1

    def _forget(self, now: float) -> None:
        old = [
            key for key, known in self._failures.items() if now - known.free_at > 2 * self._longest
        ]
        for key in old:
            del self._failures[key]


class LoginGuard:
    """Limits sign-in attempts: for each name at each address, and for each address as a whole.

    An attempt counts as a failure from its beginning, so that a hundred at once gain nothing; success takes it back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pairs = AttemptLimiter(free=5, clock=clock)
        self._addresses = AttemptLimiter(free=30, clock=clock)

    def wait(self, name: str, address: str) -> float:
        """Seconds until this name may be tried from this address; 0 when it may now."""
        return max(self._pairs.wait(_pair(name, address)), self._addresses.wait(address))

    def begin(self, name: str, address: str) -> None:
        """Count an attempt."""
        self._pairs.failed(_pair(name, address))
        self._addresses.failed(address)

    def succeeded(self, name: str, address: str) -> None:
        """Start afresh for this name at this address."""
        self._pairs.forget(_pair(name, address))
        self._addresses.forgive(address)


def _pair(name: str, address: str) -> str:
    return f"{name.strip().lower()}\n{address}"
