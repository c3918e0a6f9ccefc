"""Sessions and connections of every kind that ``session=`` accepts."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import aiosqlite
import psycopg
import sqlalchemy as sa
from hosting_rig import configure_django
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker


def address(url: str, driver: str = "") -> sa.URL:
    parsed_url = sa.make_url(url)
    return parsed_url.set(drivername=f"{parsed_url.get_backend_name()}{driver}")


@contextlib.asynccontextmanager
async def async_session(url: str, driver: str) -> AsyncIterator[AsyncSession]:
    engine = create_async_engine(address(url, driver))
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@contextlib.asynccontextmanager
async def plain_session(url: str, driver: str = "") -> AsyncIterator[Session]:
    engine = sa.create_engine(address(url, driver))
    with Session(engine) as session:
        yield session
    engine.dispose()


@contextlib.asynccontextmanager
async def core(url: str, driver: str = "") -> AsyncIterator[sa.Connection]:
    engine = sa.create_engine(address(url, driver))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@contextlib.asynccontextmanager
async def of_sqlite3(url: str) -> AsyncIterator[sqlite3.Connection]:
    connection = sqlite3.connect(sa.make_url(url).database or "")
    connection.row_factory = lambda *_: {"rows": "of their own"}
    yield connection
    connection.close()


@contextlib.asynccontextmanager
async def of_psycopg(url: str) -> AsyncIterator[Any]:
    with psycopg.connect(
        address(url).render_as_string(hide_password=False), row_factory=dict_row
    ) as connection:
        yield connection


@contextlib.asynccontextmanager
async def of_async_psycopg(url: str) -> AsyncIterator[Any]:
    text = address(url).render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(text, row_factory=dict_row) as connection:
        yield connection


def django_connection(url: str) -> Any:
    """Return Django's connection to a database."""
    from django.db.utils import ConnectionHandler

    configure_django()
    parsed_url = sa.make_url(url)
    kind = "sqlite3" if parsed_url.get_backend_name() == "sqlite" else "postgresql"
    where = {"NAME": parsed_url.database, "USER": parsed_url.username, "PORT": parsed_url.port}
    where["PASSWORD"] = parsed_url.password
    where["HOST"] = parsed_url.query.get("host", parsed_url.host)
    given = {name: value or "" for name, value in where.items()}
    return ConnectionHandler({"default": {"ENGINE": f"django.db.backends.{kind}", **given}})[
        "default"
    ]


@contextlib.asynccontextmanager
async def async_core(url: str, driver: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(address(url, driver))
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


@contextlib.asynccontextmanager
async def scoped(url: str, driver: str = "") -> AsyncIterator[Any]:
    engine = sa.create_engine(address(url, driver))
    made = scoped_session(sessionmaker(engine))
    yield made
    made.remove()
    engine.dispose()


@contextlib.asynccontextmanager
async def of_aiosqlite(url: str) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(sa.make_url(url).database or "") as connection:
        yield connection


SQLITE = {
    "async session": lambda url: async_session(url, "+aiosqlite"),
    "session": plain_session,
    "scoped session": scoped,
    "connection": core,
    "async connection": lambda url: async_core(url, "+aiosqlite"),
    "sqlite3": of_sqlite3,
    "aiosqlite": of_aiosqlite,
}
POSTGRESQL = {
    "async session": lambda url: async_session(url, "+psycopg"),
    "async session of asyncpg": lambda url: async_session(url, "+asyncpg"),
    "async connection": lambda url: async_core(url, "+asyncpg"),
    "session": lambda url: plain_session(url, "+psycopg"),
    "connection": lambda url: core(url, "+psycopg"),
    "psycopg": of_psycopg,
    "async psycopg": of_async_psycopg,
}


async def ended(theirs: Any, how: str) -> None:
    """Commit or roll back a session or connection."""
    done = getattr(theirs, how)()
    if done is not None:
        await done


async def execute(theirs: Any, statement: str) -> None:
    """Execute a statement on a session or connection of any kind."""
    is_driver = isinstance(theirs, sqlite3.Connection | aiosqlite.Connection) or "psycopg" in str(
        type(theirs)
    )
    done = theirs.execute(statement if is_driver else sa.text(statement))
    if hasattr(done, "__await__"):
        await done
