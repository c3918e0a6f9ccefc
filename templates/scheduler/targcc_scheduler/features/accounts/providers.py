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
from ...core.identity import Principal, page_cookie
from ...project import current
from ...scheduler import Scheduler
from . import passwords, sessions, users

if TYPE_CHECKING:
    from starlette.requests import Request


T = TypeVar("T")


class Database(Protocol):
    """The scheduler's database as providers use it; :class:`Scheduler` implements this protocol."""

    @property
    def clock(self) -> Clock:
        """The clock of the scheduler."""

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``query`` on a connection and return its result."""

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction and return its result."""


# Session cookies of people who signed in with a password or a login link.

_LONGEST_NAME = 64


class TooManyChecks(Exception):  # noqa: N818 - it is over in a moment
    """Too many password checks are waiting in this process."""


def session_cookie() -> str:
    """Return the name of the session cookie. Browsers share cookies between ports of a host, so the name includes the project."""
    return f"targcc_session_{current().package}"


class PasswordProvider:
    """Authenticate a browser by its session cookie.

    Args:
        database: The database of the users and sessions.
        idle: Time without use after which a session ends.
    """

    def __init__(self, database: Database, idle: timedelta = sessions.IDLE_LIFE) -> None:
        self._database = database
        self._idle = idle

    async def authenticate(self, request: Request) -> Principal | None:
        """Return the principal of the cookie's session; ``None`` without a cookie, or when the session has ended."""
        cookie = request.cookies.get(session_cookie(), "")
        if cookie.startswith(sessions.HOST_MARK):
            return None
        session = await _open_session(self._database, request, cookie, self._idle)
        return session.principal if session is not None else None


class HostSessions:
    """Authenticate a browser that has exchanged a token of the host for a session; see :mod:`.token_pages`.

    Args:
        database: The database of the sessions.
        idle: Time without use after which a session ends.
    """

    def __init__(self, database: Database, idle: timedelta = sessions.IDLE_LIFE) -> None:
        self._database = database
        self._idle = idle

    async def authenticate(self, request: Request) -> Principal | None:
        """Return the principal of the cookie's session, as the host named it; ``None`` without a cookie, or when the session has ended."""
        cookie = request.cookies.get(page_cookie(current().package), "")
        if not cookie.startswith(sessions.HOST_MARK):
            return None
        session = await _open_session(self._database, request, cookie, self._idle)
        if session is None:
            return None
        return Principal(
            session.name.removeprefix(sessions.HOST_PREFIX), session.role, session.csrf
        )


async def _open_session(
    database: Database, request: Request, cookie: str, idle: timedelta
) -> sessions.Session | None:
    """Return the open session of a cookie and note its use; ``None`` without a cookie."""
    if not cookie:
        return None
    now = database.clock.now()
    session = await database.read(lambda db: sessions.find_session(db, cookie, now, idle))
    if session is not None and session.is_worth_noting(now) and not _is_refresh(request):
        await database.change(lambda db: sessions.note_use(db, cookie, now))
    return session


def _is_refresh(request: Request) -> bool:
    """Return whether an open page polls or streams events by itself; such a request does not count as use of the session."""
    streams = "text/event-stream" in request.headers.get("Accept", "")
    return request.method == "GET" and ("HX-Request" in request.headers or streams)


@dataclass(frozen=True, slots=True)
class Login:
    """A user who may sign in.

    Args:
        name: The name as stored.
        role: The user's role.
        password_hash: The argon2 hash to check a password against.
        second_factor: Whether signing in also needs a code.
    """

    name: str
    role: str
    password_hash: str = field(repr=False)
    second_factor: bool = False


async def find_login(database: Database, name: str) -> Login | None:
    """Return the user with this name in any case; ``None`` when there is no such user."""
    row = await database.read(lambda db: users.find_login(db, name[:_LONGEST_NAME]))
    return Login(*row) if row is not None else None


class PasswordChecks:
    """Check passwords, a few at a time: each check takes 64 MiB and a core for some tens of milliseconds on purpose.

    Args:
        at_once: Number of concurrent checks.
        waiting: Number of further checks that may wait.
    """

    def __init__(self, at_once: int = 2, waiting: int = 40) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._here = 0

    async def fits(self, login: Login | None, password: str) -> bool:
        """Return whether the password is the user's; without a user, return false after the same time.

        Raises:
            TooManyChecks: ``waiting`` checks are waiting already.
        """
        if self._here >= self._most:
            raise TooManyChecks("many people are signing in just now")
        stored = login.password_hash if login is not None else None
        self._here += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(
                    passwords.password_fits, stored, password[: passwords.MOST_PASSWORD + 1]
                )
        finally:
            self._here -= 1


# API tokens of programs.


class TokenProvider:
    """Authenticate a program by the header ``Authorization: Bearer …``.

    Args:
        database: The database of the tokens.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, request: Request) -> Principal | None:
        """Return the principal of the token in the header; ``None`` without such a header.

        Raises:
            CredentialsRefused: the token is unknown or has expired.
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


def host_sessions_of(scheduler: Scheduler) -> HostSessions:
    """Return the provider for the sessions of people of the host."""
    return HostSessions(scheduler, scheduler.settings.session_idle)


def sessions_of(scheduler: Scheduler) -> PasswordProvider:
    """Return the provider for the sessions of a scheduler's users."""
    return PasswordProvider(scheduler, scheduler.settings.session_idle)
