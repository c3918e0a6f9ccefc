"""Programs that send an API token with each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.errors import CredentialsRefused
from .. import tokens
from ..roles import Principal
from .base import Database

if TYPE_CHECKING:
    from starlette.requests import Request


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
        token = await self._database.read(lambda db: tokens.find_token(db, secret.strip(), now))
        if token is None:
            raise CredentialsRefused("the bearer token is unknown or has expired")
        if tokens.use_is_worth_noting(token, now):
            name = token.name
            await self._database.change(lambda db: tokens.note_token_use(db, name, now))
        return Principal(token.account, token.role, jobs=token.jobs)
