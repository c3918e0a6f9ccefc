"""Fake SQL Server: speaks TDS (``pysqlbridge``) with the real driver, and answers from Python functions.

It has no T-SQL beyond the statements that ``pysqlbridge`` parses, no locks and no isolation. It implements the protocol: sign-in,
batches, result sets, errors, and the attention by which a client stops a statement.
"""

import contextlib
import itertools
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pysqlbridge.catalog import Catalog
from pysqlbridge.logins import Login, LoginStore
from pysqlbridge.server import BridgeServer, _Handler
from pysqlbridge.source import Table
from pysqlbridge.tds import rpc
from pysqlbridge.tds.result import (
    Column,
    DateTime,
    Integer,
    NVarChar,
    Query,
    QueryError,
    QueryResult,
)

PASSWORD = "geh#eim!9"
KILL = "KILL "
_POLL = 0.005


@dataclass
class Slow:
    """Statement that runs until it is stopped, or for some seconds."""

    seconds: float = 25.0
    deaf: bool = False
    """Whether the statement ignores attention, so that only KILL ends it."""


@dataclass
class Cut:
    """Answer after which the connection is lost.

    Attributes:
        sent: Bytes of the protocol that are still sent.
    """

    sent: bytes = b""


HALF_AN_ANSWER = bytes.fromhex("0401004000330100") + bytes.fromhex("8101000000000020003804")
"""The header of a packet of 64 bytes, and the first bytes of a result's columns."""


@dataclass
class Double:
    """Answers of the fake server, and its record.

    Attributes:
        answers: Answers by the statement's first words: rows by column name, an error, a :class:`Slow`, or a :class:`Cut`.
        seen: Every statement, in order.
        stopped: Statements that a client's attention stopped, and after how many seconds.
        killed: Killed sessions.
    """

    answers: dict[str, object] = field(default_factory=dict)
    catalog: Catalog = field(default_factory=Catalog)
    seen: list[str] = field(default_factory=list)
    stopped: list[tuple[str, float]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    clients: list[socket.socket] = field(default_factory=list)
    port: int = 0
    password: str = PASSWORD
    sessions: Iterator[int] = field(default_factory=lambda: itertools.count(51))
    _now: threading.local = field(default_factory=threading.local)

    def url(self, user: str = "sa", password: str = PASSWORD) -> str:
        """Return the SQLAlchemy URL."""
        import sqlalchemy as sa

        return sa.URL.create(
            "mssql", user, password, "127.0.0.1", self.port, "acme",
            query={"Encrypt": "no"},
        ).render_as_string(hide_password=False)  # fmt: skip

    def add(self, name: str, rows: list[dict[str, object]]) -> None:
        """Serve a table."""
        columns, values = _shape(rows)
        self.catalog.add(Table(name, columns, values))

    def answer(self, query: Query) -> QueryResult:
        """Answer a statement; called by pysqlbridge."""
        if query.procedure == "sp_prep_exec":  # the driver sends parameters this way
            _, _, sql, *values = query.arguments
            query = replace(query, procedure=None, arguments=[], sql=_with_values(sql, values))
        self.seen.append(query.sql)
        words = query.sql.strip()
        session: int = self._now.session
        if words.upper() == "SELECT @@SPID":
            return QueryResult([Column("", Integer(4))], [[session]])
        if words == "SELECT @@ERROR" and words not in self.answers:
            return QueryResult([Column("", Integer(4))], [[getattr(self._now, "error", 0)]])
        self._now.error = 0
        if words.upper().startswith(KILL):
            self.killed.add(int(words[len(KILL) :]))
            return QueryResult([], [])
        for start, answer in {**_ISOLATION, **self.answers}.items():
            if start.lower() in words.lower():
                return self._given(answer, query, session)
        return self.catalog.answer(query)

    def drop_sessions(self) -> None:
        """End every session, as a restart of the server does."""
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self.clients.clear()

    def _given(self, answer: object, query: Query, session: int) -> QueryResult:
        if isinstance(answer, Exception):
            self._now.error = getattr(answer, "number", 0)
            raise answer
        if isinstance(answer, Slow):
            return self._work(answer, query, session)
        if isinstance(answer, Cut):
            client: socket.socket = self._now.client
            client.sendall(answer.sent)
            client.shutdown(socket.SHUT_RDWR)
            raise QueryError("the connection is lost", number=596)
        if callable(answer):
            return self._given(answer(query), query, session)
        columns, rows = _shape(answer)
        return QueryResult(columns, rows)

    def _work(self, slow: Slow, query: Query, session: int) -> QueryResult:
        client: socket.socket = self._now.client
        started = time.monotonic()
        while (took := time.monotonic() - started) < slow.seconds:
            if not slow.deaf and select.select([client], [], [], _POLL)[0]:
                self.stopped.append((query.sql, took))
                return QueryResult([], [])
            if session in self.killed:
                client.shutdown(socket.SHUT_RDWR)
                raise QueryError("killed", number=596)
            time.sleep(_POLL)
        self.finished.append(query.sql)
        return QueryResult([], [])


_ISOLATION = {
    "sys.system_views": [{"name": "dm_exec_sessions"}],
    "transaction_isolation_level": [{"level": "READ COMMITTED"}],
}
"""SQLAlchemy reads the isolation level, to restore it later."""


def _read_value(payload: bytes, at: int, type_id: int) -> tuple[object, int]:
    """Read a parameter's value; ``pysqlbridge`` knows every sent type except datetime2."""
    if type_id != DATETIME2:
        return _known_value(payload, at, type_id)
    at += 1  # the scale, at most 7 from this driver
    scale, length = payload[at - 1], payload[at]
    at += 1
    if not length:
        return None, at
    ticks = int.from_bytes(payload[at : at + length - 3], "little")
    days = int.from_bytes(payload[at + length - 3 : at + length], "little")
    first = datetime(1, 1, 1)  # noqa: DTZ001 - wall time
    moment = first + timedelta(days=days, seconds=ticks / 10**scale)
    return moment.isoformat(" "), at + length


DATETIME2 = 0x2A
_known_value = rpc._read_value
rpc._read_value = _read_value


def _with_values(sql: str, values: list[object]) -> str:
    """Return a statement with its parameters ``@P1`` … as literals."""
    for number in range(len(values), 0, -1):
        sql = sql.replace(f"@P{number}", _literal(values[number - 1]))
    return sql


def _literal(value: object) -> str:
    if value is None or isinstance(value, int | float):
        return "NULL" if value is None else str(value)
    text = str(value).replace("'", "''")
    return f"'{text}'"


def _shape(rows: list[dict[str, object]]) -> tuple[list[Column], list[list[object]]]:
    names = list(rows[0]) if rows else ["nothing"]
    kinds = [_kind([row[name] for row in rows]) for name in names]
    values = [
        [str(row[n]) if isinstance(k, NVarChar) and row[n] is not None else row[n] for n, k in zip(names, kinds, strict=True)]
        for row in rows
    ]  # fmt: skip
    return [Column(n, k) for n, k in zip(names, kinds, strict=True)], values


def _kind(values: list[object]) -> Integer | DateTime | NVarChar:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, datetime) for value in known):
        return DateTime()
    return (
        Integer(8) if known and all(isinstance(value, int) for value in known) else NVarChar(4000)
    )


class _KeepClient(_Handler):
    """Give the running statement access to its client's socket."""

    def handle(self) -> None:
        double = self.server.double
        double._now.client, double._now.session = self.request, next(double.sessions)
        double.clients.append(self.request)
        super().handle()


@contextlib.contextmanager
def tds_double() -> Iterator[Double]:
    """Yield a fake server on a port of its own."""
    double = Double()
    server = BridgeServer(
        "127.0.0.1", 0, query_handler=double.answer,
        logins=LoginStore([Login("sa", PASSWORD, hashed=False)]),
    )  # fmt: skip
    server.RequestHandlerClass = _KeepClient
    server.double = double
    double.port = server.address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
