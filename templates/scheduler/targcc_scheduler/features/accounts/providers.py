"""Identity providers: password, login link, session cookie, API token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import Clock
from ...core.errors import CredentialsRefused
from ...project import current
from . import passwords, sessions, users
from .roles import Principal

if TYPE_CHECKING:
    from starlette.requests import Request


# The protocol of identity providers.

T = TypeVar("T")


class IdentityProvider(Protocol):
    """One way to find out who sends a request. Providers are asked in order, and the first that answers counts."""

    async def authenticate(self, request: Request) -> Principal | None:
        """Who sends the request; ``None`` if it carries nothing that this provider knows, so that the next one is asked.

        Raises:
            CredentialsRefused: it carries credentials of this provider's kind, and they are wrong; no other provider is asked.
        """


class Database(Protocol):
    """The scheduler's database, as providers use it; the scheduler is one."""

    @property
    def clock(self) -> Clock:
        """The time."""

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What ``query`` finds."""

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do ``work`` in one transaction."""


# People who sign in with a password, or with a login link, and have a session cookie from then on.

_LONGEST_NAME = 64
_LONGEST_PASSWORD = 4_096  # characters; a longer one is compared by its beginning, and does not fit


class TooManyChecks(Exception):  # noqa: N818 - it is over in a moment
    """More passwords wait to be compared than one process should hold."""


def session_cookie() -> str:
    """The name of the session's cookie: browsers share cookies between the ports of a machine, so each project has its own."""
    return f"targcc_session_{current().package}"


class PasswordProvider:
    """Knows the browser by the cookie of the session that began when its user signed in.

    Args:
        database: Where users and sessions are.
        idle: How long a session lasts that nobody uses.
    """

    def __init__(self, database: Database, idle: timedelta = sessions.IDLE_LIFE) -> None:
        self._database = database
        self._idle = idle

    async def authenticate(self, request: Request) -> Principal | None:
        """Whose session the cookie names; ``None`` without a cookie, or when the session has ended."""
        cookie = request.cookies.get(session_cookie())
        if not cookie:
            return None
        now = self._database.clock.now()
        found = await self._database.read(
            lambda db: sessions.find_session(db, cookie, now, self._idle)
        )
        if found is None:
            return None
        if found.is_worth_noting(now) and not _is_refresh(request):
            await self._database.change(lambda db: sessions.note_use(db, cookie, now))
        return found.principal


def _is_refresh(request: Request) -> bool:
    """Whether an open page looks again by itself, or has a stream of events: that is nobody's use of the session."""
    streams = "text/event-stream" in request.headers.get("Accept", "")
    return request.method == "GET" and ("HX-Request" in request.headers or streams)


@dataclass(frozen=True, slots=True)
class Login:
    """A user who may sign in.

    Args:
        name: As the user is written.
        role: What they may do.
        password_hash: To compare a password with.
        second_factor: A code is asked for as well.
    """

    name: str
    role: str
    password_hash: str = field(repr=False)
    second_factor: bool = False


async def find_login(database: Database, name: str) -> Login | None:
    """The user of this name, in any case; ``None`` when there is none."""
    found = await database.read(lambda db: users.find_login(db, name[:_LONGEST_NAME]))
    return Login(*found) if found is not None else None


class PasswordChecks:
    """Compares passwords, a few at a time: each takes 64 MiB and a core for some tens of milliseconds on purpose.

    Args:
        at_once: How many are compared at the same time.
        waiting: How many more may wait for their turn.
    """

    def __init__(self, at_once: int = 2, waiting: int = 40) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._here = 0

    async def fits(self, login: Login | None, password: str) -> bool:
        """Whether a password is the user's; without a user it is not, after the same time.

        Raises:
            TooManyChecks: so many wait already.
        """
        if self._here >= self._most:
            raise TooManyChecks("many people are signing in just now")
        stored = login.password_hash if login is not None else None
        self._here += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(
                    passwords.password_fits, stored, password[:_LONGEST_PASSWORD]
                )
        finally:
            self._here -= 1


# Programs that send an API token with each request.


class TokenProvider:
    """Knows a program by the header ``Authorization: Bearer …``.

    Args:
        database: Where the tokens are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, request: Request) -> Principal | None:
        """Whose token the header holds; ``None`` without such a header.

        Raises:
            CredentialsRefused: there is no such token, or it has expired.
        """
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = self._database.clock.now()
        token = await self._database.read(lambda db: sessions.find_token(db, secret.strip(), now))
        if token is None:
            raise CredentialsRefused("the bearer token is unknown or has expired")
        if sessions.use_is_worth_noting(token, now):
            name = token.name
            await self._database.change(lambda db: sessions.note_token_use(db, name, now))
        return Principal(token.account, token.role, jobs=token.jobs)


# The identity providers there are, in the order in which they are asked.


def standard_providers(database: Database, idle: timedelta) -> tuple[IdentityProvider, ...]:
    """API tokens, then session cookies, of which those end that nobody uses for ``idle``."""
    return TokenProvider(database), PasswordProvider(database, idle)
