"""Watch a transaction of an application: learn of its commit and of its roll-back, without a statement of ours in it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Coroutine, Generator, Hashable
from typing import Any, Literal
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .borrow import sessions
from .lent import driver_of, is_async
from .plain import finish

Then = Callable[[], Coroutine[Any, Any, object]]
Run = Callable[[Coroutine[Any, Any, object]], object]


class Watched:
    """Work that waits for the commit of an application's transaction.

    Args:
        then: The work. It is done once, after the outermost commit; not at all after a roll-back.
        run: Runs the work's coroutine to its end, where the commit is plain code.
    """

    def __init__(self, then: Then, run: Run) -> None:
        self.then = then
        self.run = run
        self.state: Literal["open", "committed", "undone"] = "open"

    def commit(self) -> None:
        """Do the work: the transaction was committed."""
        self.state = "committed"
        self.run(self.then())

    def look(self) -> None:
        """Find the outcome, where the driver does not tell of a commit."""


class _Waiting:
    """Work that waits for the commit of one session or connection, in the order in which it came."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []
        self._begun: dict[Hashable, int] = {}

    def add(self, watched: Watched) -> None:
        """Let work wait."""
        self._watched.append(watched)

    def begin(self, savepoint: Hashable) -> None:
        """Note where a savepoint begins."""
        self._begun[savepoint] = len(self._watched)

    def undo(self, savepoint: Hashable = None) -> None:
        """Drop the work since a savepoint; of a savepoint that began before the first work, and without one, all of it."""
        since = self._begun.get(savepoint, 0)
        for watched in self._watched[since:]:
            watched.state = "undone"
        del self._watched[since:]

    def take(self) -> list[Watched]:
        """Empty the list after a commit, and return it."""
        watched, self._watched = self._watched, []
        self._begun.clear()
        return watched

    def commit(self) -> None:
        """Do all the work.

        Raises:
            Exception: what the first work raised that failed; the others are done all the same.
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
"""By session or connection."""


async def watch(theirs: Any, then: Then, run: Run) -> Watched | None:
    """Do work once the current transaction of an application is committed; at once where each statement commits by itself.

    Args:
        theirs: A session or connection of SQLAlchemy, async or plain, or a connection of Django, psycopg, sqlite3 or aiosqlite.
        then: The work.
        run: Runs the work's coroutine where the commit is plain code.

    Returns:
        The work, with the outcome so far; ``None`` for an object that is no session: nothing is known of its commits.
    """
    watched = Watched(then, run)
    kind, (async_sessions, plain_sessions) = type(theirs), sessions()  # a mock says it is another
    if issubclass(kind, (*async_sessions, *plain_sessions)):
        _waiting_of_session(theirs).add(watched)
        return watched
    if issubclass(kind, (sa.Connection, AsyncConnection)):
        plain = getattr(theirs, "sync_connection", theirs)
        _waiting(plain, _listen_to_connection).add(watched)
        return watched
    return await _of_driver(theirs, watched)


async def _of_driver(theirs: Any, watched: Watched) -> Watched | None:
    driver = driver_of(theirs)
    if driver == "django":
        return _of_django(theirs, watched)
    if driver == "psycopg":
        return await _of_psycopg(theirs, watched)
    if driver == "sqlite3":
        return _OfSqlite(theirs, watched)
    if driver == "aiosqlite":
        _waiting(theirs, _patch_aiosqlite).add(watched)
    return None if driver is None else watched


def _waiting(theirs: Any, listen: Callable[[Any, _Waiting], None]) -> _Waiting:
    """The work that waits for a session or connection, which is listened to from the first work on."""
    waiting = _WAITING.get(theirs)
    if waiting is None:
        waiting = _WAITING[theirs] = _Waiting()
        listen(theirs, waiting)
    return waiting


# SQLAlchemy.


def after_commit(theirs: Any, then: Callable[[], object]) -> None:
    """Call a function once a session has committed; not at all for a connection, and not after a roll-back."""

    async def call() -> None:
        then()

    async_sessions, plain_sessions = sessions()
    if isinstance(theirs, (*async_sessions, *plain_sessions)):
        _waiting_of_session(theirs).add(Watched(call, finish))


def _waiting_of_session(session: Any) -> _Waiting:
    """The work that waits until a session, async or plain, has committed its outermost transaction and given its connection back."""
    session = session if hasattr(session, "sync_session") or not callable(session) else session()
    plain = getattr(session, "sync_session", session)
    waiting = _waiting(plain, _listen_to_session)
    if not plain.in_transaction():
        plain.begin()  # as the first statement would; it connects to nothing
    return waiting


def _listen_to_session(session: Any, waiting: _Waiting) -> None:
    committed: set[Any] = set()

    def begun(_session: Any, transaction: Any) -> None:
        waiting.begin(transaction)

    def is_committed(session: Any) -> None:
        committed.add(session.get_nested_transaction() or session.get_transaction())

    def ended(_session: Any, transaction: Any) -> None:
        if transaction.parent is not None and not transaction.nested:
            return  # of a flush
        if transaction not in committed:
            waiting.undo(transaction)
        elif transaction.parent is None:
            waiting.commit()
        committed.discard(transaction)

    sa.event.listen(session, "after_transaction_create", begun)
    sa.event.listen(session, "after_commit", is_committed)
    sa.event.listen(session, "after_transaction_end", ended)


def _listen_to_connection(connection: Any, waiting: _Waiting) -> None:
    # The event "commit" comes before the commit, and "savepoint" before there is a name.
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
    """Work that waits in the list ``run_on_commit`` of a connection, from which a roll-back removes it."""

    connection: Any = None

    @property
    def state(self) -> Literal["open", "committed", "undone"]:
        """The outcome so far; a roll-back is seen by the list alone."""
        if self._state == "open" and self.connection is not None:
            waits = any(self.commit in entry for entry in self.connection.run_on_commit)
            return "open" if waits else "undone"
        return self._state

    @state.setter
    def state(self, state: Literal["open", "committed", "undone"]) -> None:
        self._state = state


def _of_django(theirs: Any, watched: Watched) -> Watched:
    connection = (
        theirs.on_commit.__self__
    )  # not the proxy, which is another connection in each thread
    mine = _OfDjango(watched.then, watched.run)
    if connection.in_atomic_block or connection.get_autocommit():
        connection.on_commit(mine.commit)
    else:  # autocommit was turned off by hand, and Django calls it when that ends
        connection.run_on_commit.append((set(), mine.commit, False))
    mine.connection = connection
    return mine


# Drivers.


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
    if is_idle:  # the first statement begins the transaction: without one, a commit does nothing
        begun = connection.execute("SELECT 1")
        if awaits:
            await begun
    waiting.add(watched)
    return watched


def _listen_to_psycopg(connection: Any, waiting: _Waiting) -> Callable[[], bool]:
    """Listen to the commands that end transactions and savepoints; the function says, once, whether there was a commit."""
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
    """Work that waits for a connection of sqlite3, which tells of nothing: a row of a temporary table shares the transaction's fate."""

    def __init__(self, connection: sqlite3.Connection, watched: Watched) -> None:
        super().__init__(watched.then, watched.run)
        self._connection = connection
        self._execute("CREATE TEMP TABLE IF NOT EXISTS targcc_watched (Id INTEGER)")
        self._execute("INSERT INTO targcc_watched VALUES (?)", id(self))
        self.look()

    def look(self) -> None:
        """Find the outcome once the transaction is over."""
        if self.state != "open":
            return
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed, or of another thread
            if self._connection.in_transaction:
                return
            try:
                [count] = self._execute(
                    "SELECT count(*) FROM temp.targcc_watched WHERE Id = ?", id(self)
                )
            except sqlite3.OperationalError:  # the table was undone with it
                count = 0
            if count:
                self.commit()
            else:
                self.state = "undone"

    def _execute(self, statement: str, *values: int) -> Any:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(statement, values).fetchone()
