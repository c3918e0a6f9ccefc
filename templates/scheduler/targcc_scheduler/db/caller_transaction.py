"""Run the scheduler's statements in an application's open transaction."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# Lend a driver's connection (psycopg, sqlite3 or Django) to SQLAlchemy for a few statements.

_lent: ContextVar[Any] = ContextVar("targcc_lent")
_PLAIN = {"sqlite3": "sqlite", "psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
_ASYNC = {"aiosqlite": "sqlite+aiosqlite", "psycopg": "postgresql+psycopg"}
_OPTIONS = {
    "postgresql+psycopg": {"use_native_hstore": False},
    "postgresql+psycopg2": {"use_native_hstore": False},
}
"""Options of engines that send no statement of their own in the owner's transaction."""


class _Lent:
    """A proxy of the owner's connection: commit, rollback and close do nothing, and no setting is changed."""

    def __init__(self, connection: Any) -> None:
        self.owned = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.owned, name)

    def cursor(self, *args: Any, **options: Any) -> Any:
        """Return a cursor whose rows are tuples, whatever row type the owner has set."""
        if _is_psycopg(self.owned):
            from psycopg.rows import tuple_row

            return self.owned.cursor(*args, **{"row_factory": tuple_row, **options})
        cursor = self.owned.cursor(*args, **options)
        if _root(self.owned, _PLAIN) == "sqlite3":
            cursor.row_factory = None
        return cursor

    def commit(self) -> None:
        """Do nothing; the owner ends the transaction and closes the connection."""

    rollback = close = commit

    def create_function(self, *_: object, **__: object) -> None:
        """Do nothing; the owner may have functions by the names that SQLAlchemy registers."""


class _LentAsync(_Lent):
    async def commit(self) -> None:  # type: ignore[override]  # of an async connection
        """Do nothing; the owner ends the transaction and closes the connection."""

    rollback = close = commit  # type: ignore[assignment]

    async def create_function(self, *_: object, **__: object) -> None:  # type: ignore[override]
        """Do nothing; see :meth:`_Lent.create_function`."""


def unwrapped(caller: Any) -> Any:
    """Return the driver's connection within a Django connection, or any other object unchanged."""
    if hasattr(caller, "ensure_connection") and hasattr(caller, "settings_dict"):
        caller.ensure_connection()
        return caller.connection
    return caller


def driver_of(caller: Any) -> str | None:
    """Return the package of a connection: ``django``, ``psycopg``, ``psycopg2``, ``sqlite3`` or ``aiosqlite``; ``None`` for any other object."""
    return _root(caller, {"django": "", **_PLAIN, **_ASYNC})


def is_async(caller: Any) -> bool:
    """Return whether a driver's connection is async."""
    return any(cls.__name__.startswith("Async") for cls in type(caller).__mro__) or (
        _root(caller, _ASYNC) == "aiosqlite"
    )


@contextmanager
def lent(caller: Any) -> Iterator[sa.Engine | AsyncEngine]:
    """Provide an engine whose only connection is the application's driver connection.

    Raises:
        TypeError: The driver of the connection is not supported.
    """
    known, make = (_ASYNC, _async_engine) if is_async(caller) else (_PLAIN, _plain_engine)
    name = _root(caller, known)
    if name is None:
        raise TypeError(
            f"session= takes a session or connection of SQLAlchemy, Django, psycopg or sqlite3, not {type(caller).__qualname__}"
        )
    proxy = _LentAsync(caller) if known is _ASYNC else _Lent(caller)
    token = _lent.set(proxy)
    try:
        yield make(known[name])
    finally:
        _lent.reset(token)


@cache
def _plain_engine(url: str) -> sa.Engine:
    return sa.create_engine(
        f"{url}://", creator=_lent.get, poolclass=sa.NullPool, **_OPTIONS.get(url, {})
    )


@cache
def _async_engine(url: str) -> AsyncEngine:
    async def creator() -> Any:
        return _lent.get()

    return create_async_engine(
        f"{url}://", async_creator=creator, poolclass=sa.NullPool, **_OPTIONS.get(url, {})
    )


def _root(caller: Any, known: dict[str, str]) -> str | None:
    """Return the driver, by the module of the connection's class or of a base class."""
    roots = (cls.__module__.partition(".")[0] for cls in type(caller).__mro__)
    return next((root for root in roots if root in known), None)


def _is_psycopg(caller: Any) -> bool:
    return _root(caller, _PLAIN) == "psycopg"


# Adapt a sync connection of SQLAlchemy to statements that expect an async connection; execute them at once, in the calling thread.

P = ParamSpec("P")
T = TypeVar("T")


class Plain:
    """The methods of :class:`~sqlalchemy.ext.asyncio.AsyncConnection` that statements use, on a sync connection.

    Args:
        connection: The sync connection.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.sync_connection = connection
        self.dialect = connection.dialect

    async def execute(self, *args: Any, **options: Any) -> sa.CursorResult[Any]:
        """Execute a statement."""
        return self.sync_connection.execute(*args, **options)

    async def scalar(self, *args: Any, **options: Any) -> Any:
        """Execute a statement and return the first value of the first row."""
        return self.sync_connection.scalar(*args, **options)

    async def scalars(self, *args: Any, **options: Any) -> sa.ScalarResult[Any]:
        """Execute a statement and return the first value of each row."""
        return self.sync_connection.scalars(*args, **options)

    async def run_sync(
        self,
        function: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a function with the sync connection."""
        return function(self.sync_connection, *args, **options)

    async def get_raw_connection(self) -> Any:
        """Return the pool's connection, which wraps the driver's connection."""
        return self.sync_connection.connection


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that does not suspend, without an event loop, and return its result.

    Raises:
        RuntimeError: The coroutine suspended.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(
        "an async session in code that is not async: await Scheduler.enqueue instead"
    )


# Borrow the application's session or connection for the scheduler's statements.


@asynccontextmanager
async def borrowed(caller: Any) -> AsyncIterator[AsyncConnection]:
    """Provide a connection for statements within the transaction of ``caller``; nothing is committed.

    Args:
        caller: A session or connection of SQLAlchemy, async or sync, or a connection of Django, psycopg or sqlite3.

    Raises:
        TypeError: ``caller`` is of another type.
    """
    async_session, session = sessions()
    if isinstance(caller, AsyncConnection):
        if not caller.in_transaction():  # statements of the driver itself begin none
            await caller.begin()
        yield caller
    elif isinstance(caller, async_session):
        yield await caller.connection()
    elif isinstance(caller, session):
        yield _plain(caller.connection())
    elif isinstance(caller, sa.Connection):
        yield _plain(caller)
    else:
        with lent(unwrapped(caller)) as engine:
            if isinstance(engine, AsyncEngine):
                async with engine.connect() as connection:
                    yield connection
            else:
                with engine.connect() as plain:
                    yield _plain(plain)


def sessions() -> tuple[tuple[type[Any], ...], tuple[type[Any], ...]]:
    """Return the classes of async and of sync sessions; both empty while SQLAlchemy's ORM is not imported."""
    if "sqlalchemy.orm" not in sys.modules:
        return (), ()
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    return (AsyncSession, async_scoped_session), (Session, scoped_session)


def _plain(connection: sa.Connection) -> AsyncConnection:
    return cast("AsyncConnection", Plain(connection))


# Watch an application's transaction: detect its commit or rollback, mostly without a statement of the scheduler.

Then = Callable[[], Coroutine[Any, Any, object]]
Run = Callable[[Coroutine[Any, Any, object]], object]


class Watched:
    """Work to do after the commit of an application's transaction.

    Args:
        then: The work. It runs once, after the outermost commit, and not after a rollback.
        run: Run the work's coroutine to its end, where the commit is sync code.
    """

    def __init__(self, then: Then, run: Run) -> None:
        self.then = then
        self.run = run
        self.state: Literal["open", "committed", "undone"] = "open"

    def commit(self) -> None:
        """Run the work after the commit of the transaction."""
        self.state = "committed"
        self.run(self.then())

    def look(self) -> None:
        """Detect the outcome, where the driver does not report a commit."""


class _Waiting:
    """Work to do after the commit of a session or connection, in the order of arrival."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []
        self._begun: dict[Hashable, int] = {}

    def add(self, watched: Watched) -> None:
        """Add work."""
        self._watched.append(watched)

    def begin(self, savepoint: Hashable) -> None:
        """Record the start of a savepoint."""
        self._begun[savepoint] = len(self._watched)

    def undo(self, savepoint: Hashable = None) -> None:
        """Drop the work added since a savepoint; drop all work without a savepoint, or when the savepoint precedes the first work."""
        since = self._begun.get(savepoint, 0)
        for watched in self._watched[since:]:
            watched.state = "undone"
        del self._watched[since:]

    def take(self) -> list[Watched]:
        """Clear the list after a commit and return its work."""
        watched, self._watched = self._watched, []
        self._begun.clear()
        return watched

    def commit(self) -> None:
        """Run all the work.

        Raises:
            Exception: The first error of the work; the remaining work runs all the same.
        """
        errors: list[Exception] = []
        for watched in self.take():
            try:
                watched.commit()
            except Exception as error:  # noqa: BLE001 - it is raised below
                errors.append(error)
        if errors:
            raise errors[0]


_WAITING: WeakKeyDictionary[Any, _Waiting] = WeakKeyDictionary()
"""The waiting work by session or connection."""


async def watch(caller: Any, then: Then, run: Run) -> Watched | None:
    """Run work once the application's current transaction is committed; at once in autocommit mode.

    Args:
        caller: A session or connection of SQLAlchemy, async or sync, or a connection of Django, psycopg, sqlite3 or aiosqlite.
        then: The work.
        run: Run the work's coroutine where the commit is sync code.

    Returns:
        The work with its current outcome; ``None`` for an object whose commits cannot be observed.
    """
    watched = Watched(then, run)
    kind, (async_sessions, plain_sessions) = type(caller), sessions()  # a mock fakes __class__
    if issubclass(kind, (*async_sessions, *plain_sessions)):
        _waiting_of_session(caller).add(watched)
        return watched
    if issubclass(kind, (sa.Connection, AsyncConnection)):
        plain = getattr(caller, "sync_connection", caller)
        _waiting(plain, _listen_to_connection).add(watched)
        return watched
    return await _of_driver(caller, watched)


async def _of_driver(caller: Any, watched: Watched) -> Watched | None:
    driver = driver_of(caller)
    if driver == "django":
        return _of_django(caller, watched)
    if driver == "psycopg":
        return await _of_psycopg(caller, watched)
    if driver == "sqlite3":
        return _OfSqlite(caller, watched)
    if driver == "aiosqlite":
        _waiting(caller, _patch_aiosqlite).add(watched)
    return None if driver is None else watched


def _waiting(caller: Any, listen: Callable[[Any, _Waiting], None]) -> _Waiting:
    """Return the waiting work of a session or connection; attach the listeners when the first work arrives."""
    waiting = _WAITING.get(caller)
    if waiting is None:
        waiting = _WAITING[caller] = _Waiting()
        listen(caller, waiting)
    return waiting


# SQLAlchemy.


def after_commit(caller: Any, then: Callable[[], object]) -> None:
    """Call a function after the commit of a session; not for a connection, nor after a rollback."""

    async def call() -> None:
        then()

    async_sessions, plain_sessions = sessions()
    if isinstance(caller, (*async_sessions, *plain_sessions)):
        _waiting_of_session(caller).add(Watched(call, finish))


def _waiting_of_session(session: Any) -> _Waiting:
    """Return the work to do after a session, async or sync, has committed its outermost transaction and released its connection."""
    session = session if hasattr(session, "sync_session") or not callable(session) else session()
    plain = getattr(session, "sync_session", session)
    waiting = _waiting(plain, _listen_to_session)
    if not plain.in_transaction():
        plain.begin()  # as the first statement would; opens no connection
    return waiting


def _listen_to_session(session: Any, waiting: _Waiting) -> None:
    committed: set[Any] = set()

    def begun(_session: Any, transaction: Any) -> None:
        waiting.begin(transaction)

    def is_committed(session: Any) -> None:
        committed.add(session.get_nested_transaction() or session.get_transaction())

    def ended(_session: Any, transaction: Any) -> None:
        if transaction.parent is not None and not transaction.nested:
            return  # the transaction of a flush
        if transaction not in committed:
            waiting.undo(transaction)
        elif transaction.parent is None:
            waiting.commit()
        committed.discard(transaction)

    sa.event.listen(session, "after_transaction_create", begun)
    sa.event.listen(session, "after_commit", is_committed)
    sa.event.listen(session, "after_transaction_end", ended)


def _listen_to_connection(connection: Any, waiting: _Waiting) -> None:
    # The event "commit" fires before the commit, and the event "savepoint" before the savepoint has a name.
    commit, savepoint = connection._commit_impl, connection._savepoint_impl  # noqa: SLF001

    def committed() -> None:
        commit()
        waiting.commit()

    def begun(*args: Any) -> Any:
        name = savepoint(*args)
        waiting.begin(name)
        return name

    connection._commit_impl, connection._savepoint_impl = committed, begun  # noqa: SLF001
    sa.event.listen(connection, "rollback", lambda _: waiting.undo())
    sa.event.listen(connection, "rollback_savepoint", lambda _, name, __: waiting.undo(name))


# Django.


class _OfDjango(Watched):
    """Work in a Django connection's list ``run_on_commit``; a rollback removes the work from the list."""

    connection: Any = None

    @property
    def state(self) -> Literal["open", "committed", "undone"]:
        """Return the current outcome; a rollback shows only in the list."""
        if self._state == "open" and self.connection is not None:
            waits = any(self.commit in entry for entry in self.connection.run_on_commit)
            return "open" if waits else "undone"
        return self._state

    @state.setter
    def state(self, state: Literal["open", "committed", "undone"]) -> None:
        self._state = state


def _of_django(caller: Any, watched: Watched) -> Watched:
    connection = (
        caller.on_commit.__self__
    )  # the connection itself: the proxy differs in each thread
    django_work = _OfDjango(watched.then, watched.run)
    if connection.in_atomic_block or connection.get_autocommit():
        connection.on_commit(django_work.commit)
    else:  # autocommit was turned off by hand: Django runs the list when autocommit is turned on
        connection.run_on_commit.append((set(), django_work.commit, False))
    django_work.connection = connection
    return django_work


# Other drivers.


async def _of_psycopg(connection: Any, watched: Watched) -> Watched:
    awaits = is_async(connection)
    is_idle = connection.info.transaction_status.name == "IDLE"
    if connection.autocommit and is_idle:
        if not awaits:
            watched.commit()
            return watched
        watched.state = "committed"
        await watched.then()
        return watched
    waiting = _waiting(connection, _patch_async_psycopg if awaits else _patch_psycopg)
    if is_idle:  # no statement has begun the transaction: a commit would do nothing
        begun = connection.execute("SELECT 1")
        if awaits:
            await begun
    waiting.add(watched)
    return watched


def _listen_to_psycopg(connection: Any, waiting: _Waiting) -> Callable[[], bool]:
    """Observe the commands that end transactions and savepoints; return a function that tells, once for each commit, of the commit."""
    execute = connection._exec_command  # noqa: SLF001 - psycopg has no event for it
    committed: list[bool] = []

    def command(query: Any, *args: Any, **options: Any) -> Generator[Any, Any, Any]:
        result = yield from execute(query, *args, **options)
        words = query.decode() if isinstance(query, bytes) else str(query)
        verb, _, name = words.replace("ROLLBACK TO", "ROLLBACK-TO").partition(" ")
        if verb == "COMMIT":
            committed.append(True)
        elif verb == "ROLLBACK":
            waiting.undo()
        elif verb == "SAVEPOINT":
            waiting.begin(name)
        elif verb == "ROLLBACK-TO":
            waiting.undo(name)
        return result

    connection._exec_command = command  # noqa: SLF001 - as above
    return lambda: bool(committed and committed.pop())


def _patch_psycopg(connection: Any, waiting: _Waiting) -> None:
    is_committed, wait = _listen_to_psycopg(connection, waiting), connection.wait

    def waits(*args: Any, **options: Any) -> Any:
        result = wait(*args, **options)
        if is_committed():
            connection.lock.release()  # the work may use this connection, too
            try:
                waiting.commit()
            finally:
                connection.lock.acquire()
        return result

    connection.wait = waits


def _patch_async_psycopg(connection: Any, waiting: _Waiting) -> None:
    is_committed, wait = _listen_to_psycopg(connection, waiting), connection.wait

    async def waits(*args: Any, **options: Any) -> Any:
        result = await wait(*args, **options)
        if is_committed():
            connection.lock.release()
            try:
                await _commit(waiting)
            finally:
                await connection.lock.acquire()
        return result

    connection.wait = waits


def _patch_aiosqlite(connection: Any, waiting: _Waiting) -> None:
    commit, rollback = connection.commit, connection.rollback

    async def commits() -> None:
        await commit()
        await _commit(waiting)

    async def rolls_back() -> None:
        await rollback()
        waiting.undo()

    connection.commit, connection.rollback = commits, rolls_back


async def _commit(waiting: _Waiting) -> None:
    for watched in waiting.take():
        watched.state = "committed"
        await watched.then()


class _OfSqlite(Watched):
    """Work for a connection of sqlite3, which reports no commit: a row of a temporary table shows the outcome of the transaction."""

    def __init__(self, connection: sqlite3.Connection, watched: Watched) -> None:
        super().__init__(watched.then, watched.run)
        self._connection = connection
        self._execute("CREATE TEMP TABLE IF NOT EXISTS targcc_watched (Id INTEGER)")
        self._execute("INSERT INTO targcc_watched VALUES (?)", id(self))
        self.look()

    def look(self) -> None:
        """Detect the outcome once the transaction has ended."""
        if self.state != "open":
            return
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed, or of another thread
            if self._connection.in_transaction:
                return
            try:
                [count] = self._execute(
                    "SELECT count(*) FROM temp.targcc_watched WHERE Id = ?", id(self)
                )
            except sqlite3.OperationalError:  # the rollback removed the table
                count = 0
            if count:
                self.commit()
            else:
                self.state = "undone"

    def _execute(self, statement: str, *values: int) -> Any:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(statement, values).fetchone()
