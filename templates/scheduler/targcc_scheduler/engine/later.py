"""Submissions that are kept for later: until all runs of a call are there, or until an application has committed whose driver the engine does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from .port import Engine, Submission


class SubmitsLater:
    """An engine that keeps what is submitted, and leaves all else to the real one.

    Args:
        engine: The real one.

    Attributes:
        waiting: What was submitted.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.waiting: list[Submission] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Keep them."""
        del connection
        self.waiting += runs
