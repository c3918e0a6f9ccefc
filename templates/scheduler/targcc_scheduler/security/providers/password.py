"""People who sign in with a password, or with a login link, and have a session cookie from then on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...project import current
from .. import passwords, sessions, users
from ..roles import Principal, Role
from .base import Database

if TYPE_CHECKING:
    from starlette.requests import Request


def session_cookie() -> str:
    """The name of the session's cookie: browsers share cookies between the ports of a machine, so each project has its own."""
    return f"targcc_session_{current().package}"


class PasswordProvider:
    """Knows the browser by the cookie of the session that began when its user signed in.

    Args:
        database: Where users and sessions are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, request: Request) -> Principal | None:
        """Whose session the cookie names; ``None`` without a cookie, or when the session has ended."""
        cookie = request.cookies.get(session_cookie())
        if not cookie:
            return None
        now = self._database.clock.now()
        return await self._database.read(lambda db: sessions.find_session(db, cookie, now))


async def check_password(
    database: Database, name: str, password: str
) -> tuple[str | None, Role | None]:
    """Compare a password with the user's; for an unknown name it takes as long.

    Returns:
        The name as the user is written, or ``None`` when there is no such user; the role, or ``None`` when the password is wrong.
    """
    found = await database.read(lambda db: users.find_login(db, name))
    stored = found[2] if found is not None else None
    fits = await asyncio.to_thread(passwords.password_fits, stored, password)
    if found is None:
        return None, None
    return found[0], found[1] if fits else None
