"""Borrow what an application has, for statements of ours in its transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

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
    if isinstance(theirs, AsyncConnection):
        yield theirs
    elif isinstance(theirs, AsyncSession | async_scoped_session):
        yield await theirs.connection()
    elif isinstance(theirs, Session | scoped_session):
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


def _plain(connection: sa.Connection) -> AsyncConnection:
    return cast("AsyncConnection", Plain(connection))
