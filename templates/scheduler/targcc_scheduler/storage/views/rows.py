"""The searches that a person keeps, each under a name."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects import known
from ..tables import job_view

MOST = 50
"""Views of one person."""
LONGEST_NAME, LONGEST_SEARCH = 100, 2_000


@dataclass(frozen=True, slots=True)
class View:
    """A search under a name."""

    name: str
    search: str


async def of(connection: AsyncConnection, person: str) -> tuple[View, ...]:
    """The views of a person, by their names."""
    c = job_view.c
    mine = sa.select(c.Name, c.Search).where(c.Person == person).order_by(c.Name).limit(MOST)
    return tuple(View(*row) for row in await connection.execute(mine))


async def keep(connection: AsyncConnection, person: str, name: str, search: str) -> bool:
    """Keep a search under a name, in the place of what was kept under it; ``False``: the person has too many."""
    there = await of(connection, person)
    if len(there) >= MOST and name not in {one.name for one in there}:
        return False
    row = {"Person": person, "Name": name, "Search": search}
    keys = [job_view.c.Person, job_view.c.Name]
    await connection.execute(known.of(connection).upsert(job_view, keys, row))
    return True


async def forget(connection: AsyncConnection, person: str, name: str) -> None:
    """Remove a view."""
    c = job_view.c
    await connection.execute(sa.delete(job_view).where(c.Person == person, c.Name == name))
