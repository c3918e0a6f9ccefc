"""Borrow what an application has, for statements of ours in its transaction."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .lent import lent, unwrapped
from .plain import Plain


@asynccontextmanager
async def borrowed(theirs: Any) -> AsyncIterator[AsyncConnection]:
    """A connection for statements within the transaction of ``theirs``; nothing is committed.

    Args:
        theirs: A session or connection of SQLAlchemy, async or plain, or a connection of Django, psycopg or sqlite3.

    Raises:
        TypeError: it is none of these.
    """
    async_session, session = sessions()
    if isinstance(theirs, AsyncConnection):
        yield theirs
    elif isinstance(theirs, async_session):
        yield await theirs.connection()
    elif isinstance(theirs, session):
        yield _plain(theirs.connection())
    elif isinstance(theirs, sa.Connection):
        yield _plain(theirs)
    else:
        with lent(unwrapped(theirs)) as engine:
            if isinstance(engine, AsyncEngine):
                async with engine.connect() as connection:
                    yield connection
            else:
                with engine.connect() as plain:
                    yield _plain(plain)


def sessions() -> tuple[tuple[type[Any], ...], tuple[type[Any], ...]]:
    """The classes of async and of plain sessions; where nobody has imported the ORM there are none."""
    if "sqlalchemy.orm" not in sys.modules:
        return (), ()
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    return (AsyncSession, async_scoped_session), (Session, scoped_session)


def _plain(connection: sa.Connection) -> AsyncConnection:
    return cast("AsyncConnection", Plain(connection))
