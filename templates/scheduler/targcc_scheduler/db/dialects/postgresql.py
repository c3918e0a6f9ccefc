"""PostgreSQL: many concurrent writers, a round trip for each statement, and a text index of integer arrays."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import ARRAY, Insert
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import quoted_name

from ..columns import UtcDateTime
from ..tables import job_run
from . import base
from .base import ConflictInserts, Dialect, ServerMethods
from .frequent import FrequentStatement, listed
from .text_index import GRAM, Clause, TextIndex, own_number, together

if TYPE_CHECKING:
    from .lock import Lock
    from .psycopg_driver import LoopConnections

# PostgreSQL text index: an array of small integers for each run, with a GIN index. Needs no extension.
#
# ``pg_trgm`` would do the same where the extension may be installed, but would store the texts twice.

_FEW = 4
_NEXT = 4_000
"""Number of ids whose texts are compared one by one before the GIN index is asked. 10,000 texts take 20 to 60 ms."""
_LEAST, _NUMBERS, _OWN = -0x8000, 0x10000, 0x100
_TEXT = sa.table("c_jobtext", sa.column("runid"), sa.column("grams", ARRAY(sa.SmallInteger)))
_WRITE = sa.text("""
    INSERT INTO c_JobText (RunId, Grams)
    SELECT run_id, CAST(grams AS smallint[])
    FROM json_to_recordset(CAST(:rows AS json)) AS given (run_id bigint, grams text)
    ON CONFLICT (RunId) DO UPDATE SET Grams = excluded.Grams
""")
_REMOVE = sa.text("DELETE FROM c_JobText WHERE RunId = ANY (:run_ids)")


class PostgreSQLTexts:
    """PostgreSQL implementation of :class:`.index.TextIndex`."""

    can_exist = True

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Return ``True``: every PostgreSQL database has the index."""
        del connection
        return True

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Upsert all texts in one statement."""
        if gone := [run_id for run_id, text in texts.items() if text is None]:
            await connection.execute(_REMOVE, {"run_ids": gone})
        rows = [
            {"run_id": run_id, "grams": f"{{{str(numbers(text))[1:-1]}}}"}
            for run_id, text in sorted(texts.items())
            if text is not None
        ]
        if rows:
            await connection.execute(_WRITE, {"rows": json.dumps(rows)})

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> list[tuple[int, sa.Select[Any]]]:
        """Query the texts of the next runs one by one, then the GIN index of all texts.

        The GIN index has no order: for a word of most runs it returns all of them, which takes a second for a million. Such a word is found
        in the next few runs.
        """
        c, middle = _TEXT.c, below - _NEXT
        recent = sa.select(c.runid, c.grams).where(c.runid < below, c.runid >= middle)
        next_ones = recent.order_by(c.runid.desc()).offset(0).subquery("next_ones")
        first = _runs(next_ones, where, limit).where(*_fits(clauses, next_ones.c.grams))
        index = sa.select(c.runid).where(*_fits(clauses, c.grams), c.runid < middle)
        named = index.cte("named").prefix_with("MATERIALIZED")
        newest = sa.select(named.c.runid).order_by(named.c.runid.desc()).subquery("newest")
        return [(below, first), (middle, _runs(newest, where, limit))]


def _runs(texts: sa.Subquery, where: sa.ColumnElement[bool], limit: int) -> sa.Select[Any]:
    """Compare the runs of texts one by one. A plan that begins with the runs may read all of them."""
    same = sa.select(job_run).where(job_run.c.Id == texts.c.runid, where)
    run = same.offset(0).lateral("run")  # OFFSET 0 keeps the planner from merging the subquery
    both = texts.join(run, sa.true())
    return sa.select(run).select_from(both).order_by(texts.c.runid.desc()).limit(limit)


def _fits(clauses: Sequence[Clause], grams: Any) -> list[sa.ColumnElement[bool]]:
    fits = [_any(part, grams) for part in clauses if _is_wide(part)]
    sets = together([part for part in clauses if not _is_wide(part)])
    if sets:
        fits.append(sa.or_(*(grams.contains(_numbers(part)) for part in sets)))
    return fits


def numbers(text: str) -> list[int]:
    """Return the grams of a text as sorted 16-bit numbers. Two grams may share a number.

    A run has a hundred grams, and their numbers take most of the time of the index. The server takes longer for numbers that are not sorted.
    """
    shifted = (text[at:] for at in range(GRAM))
    return sorted(set(map(_KNOWN.__getitem__, zip(*shifted, strict=False))))


class _KnownNumbers(dict[tuple[str, ...], int]):
    """The numbers of grams that were seen before, by the gram's characters."""

    def __missing__(self, characters: tuple[str, ...]) -> int:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        number = self[characters] = _number("".join(characters))
        return number


_MOST_KNOWN = 1 << 15
_KNOWN = _KnownNumbers()


def _number(gram: str) -> int:
    """Return a gram's checksum as a 16-bit number. A gram that forms a set alone has a reserved number."""
    own = own_number(gram)
    if own is not None:
        return _LEAST + own
    return _LEAST + _OWN + zlib.crc32(gram.encode("utf-8", "surrogatepass")) % (_NUMBERS - _OWN)


def _is_wide(clause: Clause) -> bool:
    """Return whether a clause is an alternative of many single grams, such as all longer duration classes."""
    return len(clause) > _FEW and all(len(gram_set) == 1 for gram_set in clause)


def _any(clause: Clause, grams: Any) -> sa.ColumnElement[bool]:
    condition: sa.ColumnElement[bool] = grams.overlap(_numbers(frozenset().union(*clause)))
    return condition


def _numbers(wanted: frozenset[str]) -> sa.BindParameter[list[int]]:
    return sa.literal(sorted(map(_number, wanted)), ARRAY(sa.SmallInteger))


# PostgreSQL: many concurrent writers, and a round trip for each statement.

LOCK_KEY = 0x7461726763
"""The key of the advisory lock of migrations ("targc")."""

_PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
"""Timeouts of an unresponsive server: in seconds while connecting, in milliseconds later. The system's own default is many minutes."""

_CLOCK = sa.func.clock_timestamp(type_=UtcDateTime())
"""The server's current time, not the start of the transaction."""
_READ_CLOCK = FrequentStatement(sa.select(_CLOCK.label("now")))
_LOCK_JOBS = FrequentStatement(sa.text("""
        SELECT pg_advisory_xact_lock(hashtextextended('targcc/' || name, 0))
        FROM (SELECT name FROM unnest(:names) WITH ORDINALITY AS given (name, place) ORDER BY place) AS jobs
        """).bindparams(listed("names", sa.Text)).columns(sa.column("locked")))
_READ_ONLY = sa.text(
    "SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :limit, true), "
    "set_config('plan_cache_mode', 'force_custom_plan', true)"
)
"""Plan each query for its parameters: a generic plan of a search would read all runs for a word that most of the runs contain."""
_LONGEST_SILENCE = "5s"
"""The maximum idle time of a transaction between two statements. The transaction of a frozen process, or of a disconnected machine, holds its
locks until then, and other transactions wait.
"""
_PAGE_COST = "1.1"
"""The planner's cost of a page read through an index, relative to a page of a sequential scan. Waiting runs are in memory. With the server's
default of 4, for rotating disks, each claim read all limit keys instead of looking them up, as long as there were only a few hundred.
"""


@cache
def _insert_runs(columns: tuple[str, ...]) -> sa.TextualSelect:
    names = ", ".join(columns)
    return (
        sa.text(f"""
            INSERT INTO c_JobRun ({names})
            SELECT {names}
            FROM ROWS FROM (json_populate_recordset(
                json_populate_record(NULL::c_JobRun, CAST(:alike AS json)), CAST(:rows AS json)
            )) WITH ORDINALITY AS given
            ORDER BY ordinality
            ON CONFLICT (JobName, ScheduledFor) DO NOTHING
            RETURNING Id, JobName, ScheduledFor
            """)  # noqa: S608 - columns of ours
        .bindparams(sa.bindparam("alike", type_=sa.Text), sa.bindparam("rows", type_=sa.Text))
        .columns(job_run.c.Id, job_run.c.JobName, job_run.c.ScheduledFor)
    )


class PostgreSQLDialect(ConflictInserts, ServerMethods):
    """The PostgreSQL dialect; :class:`~.base.Dialect` describes the methods."""

    name = "postgresql"
    most_rows = 5_000
    commits_cost = True
    many_writers = True
    wait_briefly: sa.TextClause | None = sa.text("SET LOCAL lock_timeout = '100ms'")
    wait_on: sa.TextClause | None = sa.text("SET LOCAL lock_timeout = DEFAULT")
    clock: sa.ColumnElement[Any] = _CLOCK
    savepoint = base.SAVEPOINT
    conflict_insert = Insert
    version_table = quoted_name("c_alembicversion", quote=False)
    speak_for_sql = base.speak_for(
        "%({})s",
        now="clock_timestamp()",
        since="clock_timestamp() - make_interval(secs => %(seconds)s)",
    )
    running_sql = base.running("%({})s")
    texts: TextIndex = PostgreSQLTexts()
    has_queue = True
    has_lease = False
    locks_readers = True
    keepalive_driver = "psycopg"
    index_names = sa.text("""
        SELECT c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
        WHERE i.indisvalid AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('c_jobrun'))
        """)  # without the invalid index of an aborted build
    names_constraints = True
    returns_queries = True
    concatenates = "||"
    notes_ended_runs = True
    changes_in_ctes = True

    def folded(self, name: str) -> str:
        """Return the name in lower case, as PostgreSQL stores unquoted names."""
        return name.lower()

    def plain_address(self, url: sa.URL) -> str:
        """Return the URL in the form of libpq."""
        return url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def has_table(self, connection: AsyncConnection, name: str) -> bool:
        """Look the table up on the search path."""
        return bool(await connection.scalar(sa.select(sa.func.to_regclass(self.folded(name)))))

    async def opened_url(self, connection: AsyncConnection, url: sa.URL) -> sa.URL:
        """Return a URL from the details of the driver's connection."""
        plain = connection.sync_connection
        info: Any = getattr(plain and plain.connection.driver_connection, "info", None)
        return sa.URL.create(
            url.get_backend_name(),
            username=getattr(info, "user", None),
            host=getattr(info, "host", None),
            port=getattr(info, "port", None),
            database=getattr(info, "dbname", None),
        )

    async def held_locks(self, connection: AsyncConnection, seconds: float) -> list[Lock]:
        """Read the locks of sessions, and keep those that block or may block writers."""
        from .postgresql_locks import held_locks

        return await held_locks(connection, seconds)

    async def read_clock(self, connection: AsyncConnection) -> datetime | None:
        """Return the time of the server's clock."""
        (row,) = await _READ_CLOCK.all(connection, {})
        now: datetime = row.now
        return now

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """Return the URL with Psycopg 3, for sync and async; a URL for sync engines carries the connect timeout."""
        psycopg_url = url.set(drivername="postgresql+psycopg")
        if is_async or "connect_timeout" in url.query:
            return psycopg_url
        return psycopg_url.update_query_dict({"connect_timeout": str(_PATIENCE["connect_timeout"])})

    def make_engine(self, url: sa.URL, pool_size: int | None = None) -> AsyncEngine:
        """Create a pool that detects connections closed by the server; the last used connection, with its prepared statements, goes first."""
        kept, more = (5, 10) if pool_size is None else (pool_size, 0)
        return self._engine(url, pool_size=kept, max_overflow=more, pool_use_lifo=True)

    def _engine(
        self, url: sa.URL, patience: Mapping[str, int] = _PATIENCE, **options: Any
    ) -> AsyncEngine:
        patience = {name: value for name, value in patience.items() if name not in url.query}
        engine = create_async_engine(
            self.url(url, is_async=True), connect_args=patience, hide_parameters=True, **options
        )
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "checkout", _on_checkout)
        return engine

    def make_reading_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Set each transaction read-only with a time limit on the server; set per transaction, because a pooler may be in between."""
        return self._reading_engine(url, limit, _PATIENCE)

    def make_looking_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Use a shorter connect timeout; libpq waits at least two seconds."""
        return self._reading_engine(url, limit, _PATIENCE | {"connect_timeout": max(2, int(limit))})

    def _reading_engine(
        self, url: sa.URL, limit: float, patience: Mapping[str, int]
    ) -> AsyncEngine:
        engine = self._engine(url, patience, pool_size=4, max_overflow=0, pool_timeout=limit)
        milliseconds = str(int(limit * 1000) + 1000)  # later than the reader's own limit

        def begin(connection: sa.Connection) -> None:
            connection.execute(_READ_ONLY, {"limit": milliseconds})

        event.listen(engine.sync_engine, "begin", begin)
        return engine

    def make_loop_connections(self, url: sa.URL) -> LoopConnections:
        """Create the connections of event loops."""
        from .psycopg_driver import LoopConnections

        return LoopConnections(self.plain_address(url), _PATIENCE)

    def is_open(self, connection: AsyncConnection) -> bool:
        """Return whether the connection has nothing to read; a connection that the server closes becomes readable."""
        from .psycopg_driver import driver_of, is_readable

        return not is_readable(driver_of(connection))

    def set_up(self, engine: sa.Engine) -> None:
        """Do nothing; connections need no set-up."""

    async def lock_job(self, connection: AsyncConnection, *job_names: str) -> None:
        """Take advisory locks until the transaction ends."""
        await _LOCK_JOBS.all(connection, {"names": job_names})

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """Take an advisory lock until the transaction ends."""
        key = sa.func.hashtext(f"alert {job_name}")
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    def try_lock_audit(self, connection: sa.Connection) -> bool:
        """Try to take an advisory lock until the transaction ends."""
        lock = sa.func.pg_try_advisory_xact_lock(sa.func.hashtext("targcc audit"))
        return bool(connection.scalar(sa.select(lock)))

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Take an advisory lock until the transaction ends."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Run ``ANALYZE``, because the server keeps a plan made for empty tables far too long."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"ANALYZE {', '.join(tables)}"))

    async def insert_runs(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[sa.Row[int, str, datetime | None]]:
        """Insert with two parameters instead of thousands: psycopg would take longer to read the statement than PostgreSQL to execute it."""
        texts = [json.dumps(part, default=_instant) for part in _apart(rows)]
        given = dict(zip(("alike", "rows"), texts, strict=True))
        new_rows = (await connection.execute(_insert_runs(tuple(rows[0])), given)).all()
        return sorted(new_rows, key=lambda row: row[0])  # ids are assigned in the order of the rows

    def among(self, column: sa.Column[Any], keys: Sequence[int]) -> sa.ColumnElement[bool]:
        """Compare with an array."""
        return column == sa.any_(sa.literal(list(keys), ARRAY(sa.BigInteger)))

    def newest_each(
        self,
        columns: Sequence[sa.Column[Any]],
        jobs: Sequence[str],
        each: int,
        where: Sequence[sa.ColumnElement[bool]],
    ) -> sa.Select[Any]:
        """Join an array with a lateral subquery."""
        names = sa.func.unnest(sa.literal(list(jobs), ARRAY(sa.Text)))
        job = names.table_valued(sa.column("name", sa.Text), name="job").render_derived()
        c = job_run.c
        runs = sa.select(*columns).where(c.JobName == job.c.name, *where)
        newest = runs.order_by(c.Id.desc()).limit(each).correlate(job).lateral("newest")
        return sa.select(*newest.c).select_from(job.join(newest, sa.true()))

    def newest_states(
        self, jobs: Mapping[str, int], each: int, states: Sequence[str | None]
    ) -> sa.Select[Any]:
        """Aggregate the runs of each job in subqueries; the jobs are two arrays."""
        names = sa.literal(list(jobs), ARRAY(sa.Text))
        bounds = sa.literal(list(jobs.values()), ARRAY(sa.BigInteger))
        columns = sa.column("name", sa.Text), sa.column("bound", sa.BigInteger)
        job = sa.func.unnest(names, bounds).table_valued(*columns, name="job").render_derived()
        lists = (
            sa.select(sa.cast(sa.func.json_agg(sa.func.json_build_array(*runs.c)), sa.Text))
            for runs in base.newest_in_states(job.c.name, job.c.bound, each, states)
        )
        return sa.select(job.c.name, *(listed.scalar_subquery() for listed in lists))


DIALECT: Dialect = PostgreSQLDialect()


def _apart(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split rows into their common values, which are most values of a single call, and the remaining values of each row."""
    first = rows[0]
    alike = {name for name in first if len({row[name] for row in rows}) == 1}
    others = [(name, name.lower()) for name in first if name not in alike]
    common = _folded({name: first[name] for name in alike})
    return common, [{folded: row[name] for name, folded in others} for row in rows]


def _folded(history: Mapping[str, Any]) -> dict[str, Any]:
    """Return the history with column names in lower case, as PostgreSQL stores them."""
    return {name.lower(): value for name, value in history.items()}


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written")


def _on_connect(connection: Any, _record: Any) -> None:
    """Set the idle timeout of transactions, plan for rows in memory, and read instants in UTC; by a statement, because poolers refuse settings at connect time."""
    cursor = connection.cursor()
    cursor.execute(
        f"SELECT set_config('idle_in_transaction_session_timeout', '{_LONGEST_SILENCE}', false),"
        f" set_config('random_page_cost', least(current_setting('random_page_cost')::float8, {_PAGE_COST})::text, false),"
        " set_config('TimeZone', 'UTC', false)"
    )
    cursor.close()
    connection.commit()


def _on_checkout(connection: Any, _record: Any, _proxy: Any) -> None:
    """Refuse to check out a connection that the server has closed."""
    from .psycopg_driver import is_readable

    if is_readable(connection.driver_connection):
        raise InvalidatePoolError("PostgreSQL has closed the connection")
