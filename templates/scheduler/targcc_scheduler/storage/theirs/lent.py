"""Connections of drivers, as psycopg, sqlite3 or Django have them, lent to SQLAlchemy for a few statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_lent: ContextVar[Any] = ContextVar("targcc_lent")
_PLAIN = {"sqlite3": "sqlite", "psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
_ASYNC = {"aiosqlite": "sqlite+aiosqlite", "psycopg": "postgresql+psycopg"}


class _Lent:
    """A connection whose transaction is its owner's: it is neither committed nor closed here, and nothing is set on it."""

    def __init__(self, connection: Any) -> None:
        self.owned = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.owned, name)

    def cursor(self, *args: Any, **options: Any) -> Any:
        """A cursor whose rows are tuples, whatever the owner likes."""
        if _is_psycopg(self.owned):
            from psycopg.rows import tuple_row

            return self.owned.cursor(*args, **{"row_factory": tuple_row, **options})
        cursor = self.owned.cursor(*args, **options)
        if _root(self.owned, _PLAIN) == "sqlite3":
            cursor.row_factory = None
        return cursor

    def commit(self) -> None:
        """The owner does that."""

    rollback = close = commit

    def create_function(self, *_: object, **__: object) -> None:
        """The owner has functions of its own by the names that SQLAlchemy gives."""


class _LentAsync(_Lent):
    async def commit(self) -> None:  # type: ignore[override]  # of an async connection
        """The owner does that."""

    rollback = close = commit  # type: ignore[assignment]

    async def create_function(self, *_: object, **__: object) -> None:  # type: ignore[override]
        """As above."""


def unwrapped(theirs: Any) -> Any:
    """The driver's connection within one of Django's."""
    if hasattr(theirs, "ensure_connection") and hasattr(theirs, "settings_dict"):
        theirs.ensure_connection()
        return theirs.connection
    return theirs


def driver_of(theirs: Any) -> str | None:
    """The package of a connection: ``django``, ``psycopg``, ``psycopg2``, ``sqlite3`` or ``aiosqlite``; ``None`` for any other object."""
    return _root(theirs, {"django": "", **_PLAIN, **_ASYNC})


def is_async(theirs: Any) -> bool:
    """Whether a driver's connection is to be awaited."""
    return any(cls.__name__.startswith("Async") for cls in type(theirs).__mro__) or (
        _root(theirs, _ASYNC) == "aiosqlite"
    )


@contextmanager
def lent(theirs: Any) -> Iterator[sa.Engine | AsyncEngine]:
    """An engine that has no connection but a driver's own, of the application.

    Raises:
        TypeError: it is of no driver that is known.
    """
    known, make = (_ASYNC, _async_engine) if is_async(theirs) else (_PLAIN, _plain_engine)
    name = _root(theirs, known)
    if name is None:
        raise TypeError(
            f"session= takes a session or connection of SQLAlchemy, Django, psycopg or sqlite3, not {type(theirs).__qualname__}"
        )
    proxy = _LentAsync(theirs) if known is _ASYNC else _Lent(theirs)
    token = _lent.set(proxy)
    try:
        yield make(known[name])
    finally:
        _lent.reset(token)


@cache
def _plain_engine(url: str) -> sa.Engine:
    return sa.create_engine(f"{url}://", creator=_lent.get, poolclass=sa.NullPool, **_options(url))


@cache
def _async_engine(url: str) -> AsyncEngine:
    async def creator() -> Any:
        return _lent.get()

    return create_async_engine(
        f"{url}://", async_creator=creator, poolclass=sa.NullPool, **_options(url)
    )


def _options(url: str) -> dict[str, Any]:
    return {"use_native_hstore": False} if url.startswith("postgresql") else {}


def _root(theirs: Any, known: dict[str, str]) -> str | None:
    """The driver, by the module of the connection's class or of one that it extends."""
    roots = (cls.__module__.partition(".")[0] for cls in type(theirs).__mro__)
    return next((root for root in roots if root in known), None)


def _is_psycopg(theirs: Any) -> bool:
    return _root(theirs, _PLAIN) == "psycopg"
