"""Browser sessions, known devices and API tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.errors import AuthError
from ...core.humanize import count
from ...core.identity import ACCOUNT_NAME, Principal
from ...core.languages import Localized
from ...core.text import digest
from ...kernel.audit import audit
from ...project import current
from . import model

# Browser sessions.

LINK_SESSION_LIFE = timedelta(hours=12)
"""Lifetime of a session that a login link began."""
HOST_SESSION_LIFE = timedelta(hours=1)
"""Lifetime of a session for a token of the host: the host cannot end the session when it revokes the token."""
HOST_MARK = "app."
"""Beginning of the secrets of such sessions. No other secret has a dot, so neither kind of session counts as the other."""
HOST_PREFIX = "app:"
"""Prefix for the names in such sessions. Names of local users have no colon, so none can collide."""
IDLE_LIFE = timedelta(hours=24)
"""Default time without use after which a session ends."""
_NOTE_USE_EVERY = timedelta(minutes=1)
_ID = 12
"""Number of digits of a session's digest that form the session id."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser session.

    Args:
        id: The session id for people; gives no access.
        name: The name of the user.
        role: The role of the user.
        csrf: The CSRF token of the session's forms.
        created_at: The time of the sign-in.
        last_seen_at: The time of the last use, to the minute.
        expires_at: The time at which the session ends, whether used or not.
        device: The browser and the operating system, in words.
        address: The client address of the sign-in.
        second_factor: Whether the user has a second factor; ``None`` for a name that is no local user, or when not queried.
    """

    id: str
    name: str
    role: str
    csrf: str = field(repr=False)
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    device: str
    address: str
    second_factor: bool | None = None

    @property
    def principal(self) -> Principal:
        """The principal of requests with the session's cookie."""
        return Principal(self.name, self.role, self.csrf, self.id, second_factor=self.second_factor)

    def is_worth_noting(self, now: datetime) -> bool:
        """Return whether to store the use: at most once a minute, so that most requests write nothing."""
        return now - self.last_seen_at >= _NOTE_USE_EVERY


async def start_session(
    connection: AsyncConnection,
    name: str,
    role: str,
    now: datetime,
    life: timedelta,
    *,
    device: str = "",
    address: str = "",
    mark: str = "",
) -> str:
    """Begin a session and return the secret for the cookie, which begins with ``mark``; also delete expired sessions."""
    secret = mark + secrets.token_urlsafe(32)
    await model.add_session(
        connection,
        digest(secret),
        name=name,
        role=role,
        csrf=secrets.token_urlsafe(32),
        now=now,
        expires_at=now + life,
        device=device,
        address=address,
    )
    return secret


async def find_session(
    connection: AsyncConnection, secret: str, now: datetime, idle: timedelta = IDLE_LIFE
) -> Session | None:
    """Return the session of a cookie; ``None`` when the session is unknown, has expired, or was not used for ``idle``."""
    row = await model.find_session(connection, digest(secret), now, now - idle)
    if row is None:
        return None
    has_one = None if row.SecondFactor is None else bool(row.SecondFactor)
    return replace(_session(row), second_factor=has_one)


async def note_use(connection: AsyncConnection, secret: str, now: datetime) -> None:
    """Store the time of a session's last use."""
    await model.note_session_use(connection, digest(secret), now)


async def sessions(
    connection: AsyncConnection,
    now: datetime,
    idle: timedelta = IDLE_LIFE,
    *,
    name: str | None = None,
) -> list[Session]:
    """Return the open sessions, newest first; ``name=None`` returns the sessions of all users."""
    rows = await model.sessions(connection, now, now - idle, name)
    return [_session(row) for row in rows]


async def end_session(connection: AsyncConnection, secret: str) -> None:
    """End a session."""
    await model.remove_session(connection, digest(secret))


async def revoke(
    connection: AsyncConnection,
    session_id: str,
    by: Actor,
    now: datetime,
    *,
    name: str | None = None,
) -> str:
    """End the session with this id, write an audit row, and return the name of the session's user.

    Args:
        connection: A transaction that writes.
        session_id: The session id.
        by: The actor for the audit row.
        now: The present instant.
        name: Search only the sessions of this user; ``None`` searches all sessions.

    Raises:
        AuthError: there is no such session.
    """
    for row in await model.sessions(connection, now, _EVER, name):
        if row.TokenHash[:_ID] == session_id:
            await model.remove_session(connection, row.TokenHash)
            await audit(connection, by, _ENDED, now, detail=f"{session_id} of {row.UserName}")
            return str(row.UserName)
    raise AuthError(
        Localized("there is no session %(number)s: it may have ended", number=session_id)
    )


async def revoke_all(
    connection: AsyncConnection, by: Actor, now: datetime, *, name: str | None = None
) -> int:
    """End all sessions of a user, write an audit row, and return the number of sessions; ``name=None`` ends the sessions of all users."""
    ended = await model.remove_sessions_of(connection, name)
    detail = f"{count(ended, 'session')} of {name or 'everybody'}"
    await audit(connection, by, _ENDED, now, detail=detail)
    return ended


_ENDED = "end session"
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def _session(row: model.Row) -> Session:
    return Session(
        row.TokenHash[:_ID],
        row.UserName,
        row.Role,
        row.CsrfToken,
        row.CreatedAt,
        row.LastSeenAt or row.CreatedAt,
        row.ExpiresAt,
        row.Device or "",
        row.RemoteAddress or "",
    )


# Known devices: browsers in which a user has signed in before. Failed guesses from elsewhere do not slow these browsers down.
#
# The cookie holds a random mark and a signature. The hash of the user's password is the key of the signature, so the server stores nothing,
# nobody else can make a cookie, and a new password invalidates all cookies.

_MARK = 24


def device_cookie() -> str:
    """Return the name of the device cookie."""
    return f"targcc_device_{current().package}"


def new_device(name: str, password_hash: str) -> str:
    """Return a new value for the device cookie: a random mark and a signature."""
    mark = secrets.token_hex(_MARK // 2)
    return f"{mark}.{_signature(mark, name, password_hash)}"


def known_device(cookie: str, name: str, password_hash: str | None) -> str | None:
    """Return the mark in a device cookie; ``None`` when the signature does not match this user."""
    mark, _, signature = cookie[:200].partition(".")
    wanted = _signature(mark, name, password_hash or "nobody's")
    fits = hmac.compare_digest(signature.encode(), wanted.encode())
    return mark if fits and password_hash is not None else None


_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
    "curl/": "curl",
}
_SYSTEMS = {
    "Windows": "Windows",
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


def in_words(user_agent: str) -> str:
    """Return the browser and operating system in a ``User-Agent`` header, such as ``Firefox on Windows``."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "")
    return " on ".join(filter(None, (browser, system))) or "an unknown program"


def _signature(mark: str, name: str, password_hash: str) -> str:
    key = hashlib.sha256(f"device {password_hash}".encode()).digest()
    return hmac.new(key, f"{mark} {name.lower()}".encode(), "sha256").hexdigest()


# API tokens: credentials of programs.

_TOKEN_PREFIX = "tgc_"  # noqa: S105 - not a secret: it lets secret scanners recognise one
_SHOWN = len(_TOKEN_PREFIX) + 6
"""Number of leading characters of a token to store and show, so that people can tell tokens apart."""


@dataclass(frozen=True, slots=True)
class Token:
    """An API token."""

    name: str
    role: str
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    prefix: str = ""
    account: str = ""
    jobs: tuple[str, ...] | None = None

    @property
    def scope(self) -> str:
        """The permissions of the token, in words."""
        return self.role if self.jobs is None else f"start {', '.join(self.jobs)}"


def scope_of(role: str, jobs: Sequence[str] | None) -> str:
    """Return the scope of a token in words: its role, or the jobs that it starts."""
    return str(role) if jobs is None else f"starter of {', '.join(jobs)}"


async def create_token(
    connection: AsyncConnection,
    name: str,
    role: str,
    *,
    by: str,
    now: datetime,
    life: timedelta | None = None,
    account: str = "",
    jobs: Sequence[str] | None = None,
) -> str:
    """Create an API token and return its secret; only the digest of the secret is stored.

    Args:
        connection: A transaction that writes.
        name: The name of the token.
        role: The role of the token.
        by: The name of the creator.
        now: The present instant.
        life: The lifetime of the token; ``None`` means until revoked.
        account: The program of the token, as named in the audit; empty means the name of the token.
        jobs: The only jobs that the token may start and view; ``None`` allows all jobs that the role allows.

    Raises:
        AuthError: the name is taken, or the name or account is not valid.
    """
    for token_name in (name, account or name):
        if not ACCOUNT_NAME.fullmatch(token_name):
            raise AuthError(
                Localized(
                    "not a token name: %(name)s; letters, digits and . @ + - _ make one, up to 64",
                    name=repr(token_name),
                )
            )
    if await model.has_token(connection, name):
        raise AuthError(
            Localized(
                "there is a token %(name)s already: revoke it first, or choose another name",
                name=name,
            )
        )
    secret = _TOKEN_PREFIX + secrets.token_urlsafe(32)
    await model.add_token(
        connection,
        name,
        digest(secret),
        role=role,
        by=by,
        now=now,
        expires_at=now + life if life is not None else None,
        prefix=secret[:_SHOWN],
        account=account,
        jobs_json=json.dumps(list(jobs)) if jobs is not None else None,
    )
    return secret


async def revoke_token(connection: AsyncConnection, name: str) -> None:
    """Remove an API token.

    Raises:
        AuthError: there is no such token.
    """
    if not await model.remove_token(connection, name):
        raise AuthError(Localized("there is no token %(name)s", name=name))


async def tokens(connection: AsyncConnection) -> tuple[Token, ...]:
    """Return the API tokens, ordered by name; secrets are not stored."""
    return tuple(_token(row) for row in await model.tokens(connection))


async def find_token(connection: AsyncConnection, secret: str, now: datetime) -> Token | None:
    """Return the API token with this secret; ``None`` when the token is unknown or has expired."""
    row = await model.find_token(connection, digest(secret))
    if row is None or (row.ExpiresAt is not None and row.ExpiresAt <= now):
        return None
    return _token(row)


def use_is_worth_noting(token: Token, now: datetime) -> bool:
    """Return whether to store the use of a token: at most once a minute, so that most requests write nothing."""
    return token.last_used_at is None or now - token.last_used_at >= _NOTE_USE_EVERY


async def note_token_use(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store the time of a token's last use."""
    await model.note_token_use(connection, name, now)


def _token(row: Any) -> Token:
    return Token(
        row.Name,
        row.Role,
        row.CreatedBy,
        row.CreatedAt,
        row.LastUsedAt,
        row.ExpiresAt,
        row.Prefix or "",
        row.Account or row.Name,
        tuple(json.loads(row.JobsJson)) if row.JobsJson is not None else None,
    )
