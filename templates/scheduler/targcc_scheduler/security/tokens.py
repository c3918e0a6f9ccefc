"""API tokens: what programs sign in with."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import AuthError
from ..storage import accounts
from .digests import digest
from .roles import ACCOUNT_NAME

_TOKEN_PREFIX = "tgc_"  # noqa: S105 - not a secret: it lets secret scanners recognise one
_SHOWN = len(_TOKEN_PREFIX) + 6
"""How much of a token is kept and shown, so that people know which it is."""
_NOTE_USE_EVERY = timedelta(minutes=1)


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
    if await accounts.has_token(connection, name):
        raise AuthError(f"there is a token {name} already: revoke it first, or choose another name")
    secret = _TOKEN_PREFIX + secrets.token_urlsafe(32)
    await accounts.add_token(
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
    if not await accounts.remove_token(connection, name):
        raise AuthError(f"there is no token {name}")


async def tokens(connection: AsyncConnection) -> tuple[Token, ...]:
    """The API tokens, by name; their secrets are not stored."""
    return tuple(_token(row) for row in await accounts.tokens(connection))


async def find_token(connection: AsyncConnection, secret: str, now: datetime) -> Token | None:
    """The API token with this secret; ``None`` when there is none, or it has expired."""
    row = await accounts.find_token(connection, digest(secret))
    if row is None or (row.ExpiresAt is not None and row.ExpiresAt <= now):
        return None
    return _token(row)


def use_is_worth_noting(token: Token, now: datetime) -> bool:
    """Whether to store that a token is used: at most once a minute, so that most requests write nothing."""
    return token.last_used_at is None or now - token.last_used_at >= _NOTE_USE_EVERY


async def note_token_use(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Store when a token was last used."""
    await accounts.note_token_use(connection, name, now)


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
