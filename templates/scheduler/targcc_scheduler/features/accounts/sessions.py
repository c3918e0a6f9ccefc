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
from ...core.text import digest
from ...kernel.audit import audit
from ...project import current
from . import model
from .roles import ACCOUNT_NAME, Principal

# Sessions: browsers that are signed in.

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
    """The session of a cookie; ``None`` when there is none, it has ended, or nobody has used it for ``idle``."""
    row = await model.find_session(connection, digest(secret), now, now - idle)
    if row is None:
        return None
    has_one = None if row.SecondFactor is None else bool(row.SecondFactor)
    return replace(_session(row), second_factor=has_one)


async def note_use(connection: AsyncConnection, secret: str, now: datetime) -> None:
    """Store when a session was last used."""
    await model.note_session_use(connection, digest(secret), now)


async def sessions(
    connection: AsyncConnection,
    now: datetime,
    idle: timedelta = IDLE_LIFE,
    *,
    name: str | None = None,
) -> list[Session]:
    """The sessions that have not ended, of one user or of all, the newest first."""
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
    for row in await model.sessions(connection, now, _EVER, name):
        if row.TokenHash[:_ID] == session_id:
            await model.remove_session(connection, row.TokenHash)
            await audit(connection, by, _ENDED, now, detail=f"{session_id} of {row.UserName}")
            return str(row.UserName)
    raise AuthError(f"there is no session {session_id}: it may have ended")


async def revoke_all(
    connection: AsyncConnection, by: Actor, now: datetime, *, name: str | None = None
) -> int:
    """End all sessions, of one user or of everybody, and say so in the audit; how many there were."""
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


# Browsers that a user has signed in with before: what others guess does not slow them down.
#
# The cookie holds a number and its signature, whose key is the hash of the password: nothing is stored, no stranger can make one, and a
# new password ends all of them.

_MARK = 24


def device_cookie() -> str:
    """The name of the cookie."""
    return f"targcc_device_{current().package}"


def new_device(name: str, password_hash: str) -> str:
    """What the cookie holds after somebody has signed in."""
    mark = secrets.token_hex(_MARK // 2)
    return f"{mark}.{_signature(mark, name, password_hash)}"


def known_device(cookie: str, name: str, password_hash: str | None) -> str | None:
    """The mark of the browser, if it is one that this user has signed in with; ``None`` for others."""
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
    """The browser and its system, such as ``Firefox on Windows``, from the header that browsers send; no more than they say."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "")
    return " on ".join(filter(None, (browser, system))) or "an unknown program"


def _signature(mark: str, name: str, password_hash: str) -> str:
    key = hashlib.sha256(f"device {password_hash}".encode()).digest()
    return hmac.new(key, f"{mark} {name.lower()}".encode(), "sha256").hexdigest()


# API tokens: what programs sign in with.

_TOKEN_PREFIX = "tgc_"  # noqa: S105 - not a secret: it lets secret scanners recognise one
_SHOWN = len(_TOKEN_PREFIX) + 6
"""How much of a token is kept and shown, so that people know which it is."""


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
        """What it may do, in words."""
        return self.role if self.jobs is None else f"start {', '.join(self.jobs)}"


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
    """Make an API token; only its digest is stored.

    Args:
        connection: Where to keep it.
        name: What to call it.
        role: What its holder may do.
        by: Who makes it.
        now: The instant it is.
        life: How long it is valid; ``None`` is until it is revoked.
        account: The program that it belongs to, which the audit names; empty is one of its own.
        jobs: All that it may do is start these jobs and look at their runs; ``None``: whatever the role allows.

    Raises:
        AuthError: the name is taken, or is not one.
    """
    for one in (name, account or name):
        if not ACCOUNT_NAME.fullmatch(one):
            raise AuthError(
                f"not a token name: {one!r}; letters, digits and . @ + - _ make one, up to 64"
            )
    if await model.has_token(connection, name):
        raise AuthError(f"there is a token {name} already: revoke it first, or choose another name")
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
        raise AuthError(f"there is no token {name}")


async def tokens(connection: AsyncConnection) -> tuple[Token, ...]:
    """The API tokens, by name; their secrets are not stored."""
    return tuple(_token(row) for row in await model.tokens(connection))


async def find_token(connection: AsyncConnection, secret: str, now: datetime) -> Token | None:
    """The API token with this secret; ``None`` when there is none, or it has expired."""
    row = await model.find_token(connection, digest(secret))
    if row is None or (row.ExpiresAt is not None and row.ExpiresAt <= now):
        return None
    return _token(row)


def use_is_worth_noting(token: Token, now: datetime) -> bool:
    """Whether to store that a token is used: at most once a minute, so that most requests write nothing."""
    return token.last_used_at is None or now - token.last_used_at >= _NOTE_USE_EVERY


async def note_token_use(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store when a token was last used."""
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
