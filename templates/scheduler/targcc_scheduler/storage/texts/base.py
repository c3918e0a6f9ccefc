"""The seam between databases: how each keeps the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .document import Clause


class TextIndex(Protocol):
    """The index of one kind of database, by the ids of runs."""

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Whether this database has the index, and this process can use it."""

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Keep these texts of runs in the place of what is kept of them; ``None``: nothing."""

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> sa.Select[Any]:
        """The newest runs that the index names for all clauses and that meet a condition on ``c_JobRun``, newest first, from below an id on."""
