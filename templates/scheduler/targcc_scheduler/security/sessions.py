"""Sessions: browsers that are signed in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..core.errors import AuthError
from ..core.humanize import count
from ..storage import accounts
from ..storage.audit import audit
from .digests import digest
from .roles import Principal

LINK_SESSION_LIFE = timedelta(hours=12)
"""How long a browser stays signed in with a login link."""
IDLE_LIFE = timedelta(hours=24)
"""How long a session lasts that nobody uses, where no setting says so."""
_NOTE_USE_EVERY = timedelta(minutes=1)
_ID = 12
"""So many digits of a session's digest are its id."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in.

    Args:
        id: What people call it; opens nothing.
        name: Whose it is.
        role: What they may do.
        csrf: The CSRF token of its forms.
        created_at: When they signed in.
        last_seen_at: When it was last used, to the minute.
        expires_at: When it ends, however much it is used.
        device: The browser and its system, in words.
        address: Where they signed in from.
        second_factor: Whether its user has one; ``None`` of somebody who is no user here, or where it was not asked.
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
        """Who sends a request with its cookie."""
        return Principal(self.name, self.role, self.csrf, self.id, second_factor=self.second_factor)

    def is_worth_noting(self, now: datetime) -> bool:
        """Whether to store that it is used: at most once a minute, so that most requests write nothing."""
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
        device=device,
        address=address,
    )
    return secret


async def find_session(
    connection: AsyncConnection, secret: str, now: datetime, idle: timedelta = IDLE_LIFE
) -> Session | None:
    """The session of a cookie; ``None`` when there is none, it has ended, or nobody has used it for ``idle``."""
    row = await accounts.find_session(connection, digest(secret), now, now - idle)
    if row is None:
        return None
    has_one = None if row.SecondFactor is None else bool(row.SecondFactor)
    return replace(_session(row), second_factor=has_one)


async def note_use(connection: AsyncConnection, secret: str, now: datetime) -> None:
    """Store when a session was last used."""
    await accounts.note_session_use(connection, digest(secret), now)


async def sessions(
    connection: AsyncConnection,
    now: datetime,
    idle: timedelta = IDLE_LIFE,
    *,
    name: str | None = None,
) -> list[Session]:
    """The sessions that have not ended, of one user or of all, the newest first."""
    rows = await accounts.sessions(connection, now, now - idle, name)
    return [_session(row) for row in rows]


async def end_session(connection: AsyncConnection, secret: str) -> None:
    """End a session."""
    await accounts.remove_session(connection, digest(secret))


async def revoke(
    connection: AsyncConnection,
    session_id: str,
    by: Actor,
    now: datetime,
    *,
    name: str | None = None,
) -> str:
    """End the session with this id, and say so in the audit; whose it was.

    Args:
        connection: A transaction that writes.
        session_id: Its id.
        by: Who ends it.
        now: The present instant.
        name: Only if it is this user's.

    Raises:
        AuthError: there is no such session.
    """
    for row in await accounts.sessions(connection, now, _EVER, name):
        if row.TokenHash[:_ID] == session_id:
            await accounts.remove_session(connection, row.TokenHash)
            await audit(connection, by, _ENDED, now, detail=f"{session_id} of {row.UserName}")
            return str(row.UserName)
    raise AuthError(f"there is no session {session_id}: it may have ended")


async def revoke_all(
    connection: AsyncConnection, by: Actor, now: datetime, *, name: str | None = None
) -> int:
    """End all sessions, of one user or of everybody, and say so in the audit; how many there were."""
    ended = await accounts.remove_sessions_of(connection, name)
    detail = f"{count(ended, 'session')} of {name or 'everybody'}"
    await audit(connection, by, _ENDED, now, detail=detail)
    return ended


_ENDED = "end session"
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def _session(row: accounts.Row) -> Session:
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
