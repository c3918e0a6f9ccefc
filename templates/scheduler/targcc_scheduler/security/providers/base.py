"""The protocol of identity providers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import Clock
from ..roles import Principal

if TYPE_CHECKING:
    from starlette.requests import Request

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
