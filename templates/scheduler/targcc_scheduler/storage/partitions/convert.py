"""From one table to one by month, and back; beside nodes that work.

To months: nothing is copied. The table becomes the first partition, up to the begin of a month to come; the index of the new key is built and
its bound is checked before, beside everything else, so that only renaming is left for the moment in which nobody else may use it.

Back: the rows are copied in small steps; what came or went meanwhile is made up for in the moment in which the tables change places.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from ...core.errors import PartitionError
from ..dialects import known
from ..engines import SchemaStep
from . import copies, months
from .months import BEFORE, BOUND, OTHER, PLAIN, TABLE, execute
from .progress import told

KEY = "PK_c_LoggedJob"
Say = Callable[[str], None]
T = TypeVar("T")

_LEAST_AHEAD = timedelta(days=7)
"""A conversion that breaks off must not leave a bound that refuses rows soon."""
_TRIES, _PAUSE = 30, 1.0
_BATCH = 20_000
_ROWS_A_SECOND = 150_000
_ESTIMATE = sa.text("""
    SELECT greatest(sum(c.reltuples), sum(pg_stat_get_live_tuples(c.oid)), 0)::bigint, sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
    WHERE c.oid = to_regclass(:table) OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:table))
    """)

_OLD_KEY = sa.text(
    "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(:table) AND contype = 'p'"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a conversion would do.

    Args:
        rows: About how many rows there are.
        size: Their bytes, with indexes.
        seconds: About how long it takes.
        obstacles: What is to be removed before.
    """

    rows: int
    size: int
    seconds: float
    obstacles: tuple[str, ...]


def plan(connection: sa.Connection, *, back: bool = False) -> Plan:
    """What a conversion would do; it changes nothing.

    Raises:
        PartitionError: there is nothing to convert.
    """
    if known.of(connection).name != "postgresql":
        raise PartitionError(
            "history is kept by month on PostgreSQL only; on SQLite pruning gives unused pages back by itself"
        )
    partitioned = months.is_partitioned(connection)
    if partitioned != back:
        state = "is kept by month already" if partitioned else "is in one table"
        raise PartitionError(f"the history {state}: there is nothing to do")
    rows, size = connection.execute(_ESTIMATE, {"table": TABLE}).one()
    if size is None:
        raise PartitionError("there is no history yet: targcc migrate")
    found = copies.obstacles(connection, _key_of(BEFORE))
    pace = _ROWS_A_SECOND / 5 if back else _ROWS_A_SECOND
    return Plan(rows, size, rows / pace + 1, tuple(found))


def to_months(engine: sa.Engine, now: datetime, say: Say) -> None:
    """Keep the history by month from now on.

    It may be stopped at any time and begun again.

    Args:
        engine: The database.
        now: The instant it is.
        say: Hears what is being done.

    Raises:
        PartitionError: it cannot be done; nothing has changed.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        _refuse_obstacles(plan(connection))
        connection.execute(sa.select(sa.func.pg_advisory_lock(months.LOCK_KEY)))
        try:
            bound = _bound(connection, now)
            say("building the index of the new key")
            with told(engine, connection, say):
                _build_key(connection)
            say("checking that every row is before the new months")
            _again(lambda: _add_bound(connection, bound), say)
            execute(connection, f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {BOUND}")
            say("changing places")
            _again(lambda: _in_transaction(engine, lambda one: _swap(one, bound, now)), say)
        finally:
            if not months.is_partitioned(connection):
                _again(lambda: _drop_bound(connection), say)
            connection.execute(sa.select(sa.func.pg_advisory_unlock(months.LOCK_KEY)))
        say("looking at the new tables")
        months.analyze(connection)


def install(connection: sa.Connection, now: datetime) -> None:
    """Keep a history that is still empty by month, in a transaction; one that has got a row meanwhile stays as it is."""
    execute(connection, f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
    if not _is_empty(connection):
        return
    execute(connection, f"CREATE UNIQUE INDEX {_key_of(BEFORE)} ON {TABLE} (ID, StartedAt)")
    _swap(connection, months.month_of(now), now)
    execute(connection, f"DROP TABLE {BEFORE}")


def partition_steps() -> tuple[SchemaStep, ...]:
    """What keeps an empty history by month; one that has rows stays as it is."""
    return (SchemaStep(_is_as_wanted, lambda connection: install(connection, datetime.now(UTC))),)


def _is_as_wanted(connection: sa.Connection) -> bool:
    if known.of(connection).name != "postgresql" or months.is_partitioned(connection):
        return True
    return sa.inspect(connection).has_table(TABLE.lower()) and not _is_empty(connection)


def _is_empty(connection: sa.Connection) -> bool:
    return connection.exec_driver_sql(f"SELECT 1 FROM {TABLE} LIMIT 1").first() is None


def to_one_table(engine: sa.Engine, say: Say) -> None:
    """Keep the history in one table again.

    It may be stopped at any time and begun again: it goes on with what is copied.

    Raises:
        PartitionError: it cannot be done; nothing has changed.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        found = plan(connection, back=True)
        _refuse_obstacles(found)
        connection.execute(sa.select(sa.func.pg_advisory_lock(months.LOCK_KEY)))
        try:
            _copy(connection, found.rows, say)
            for index in copies.indexes(connection):
                say(f"building the index {index.name}")
                execute(connection, f"DROP INDEX IF EXISTS {copies.quoted(index.name + '_plain')}")
                with told(engine, connection, say):
                    index.create(connection, PLAIN, "_plain")
            execute(connection, f"ANALYZE {PLAIN}")
            last = _again(lambda: _last_key(engine), say)
            _catch_up(connection, last, say)
            say("changing places")
            _again(lambda: _in_transaction(engine, lambda one: _swap_back(one, last)), say)
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(months.LOCK_KEY)))


def _refuse_obstacles(found: Plan) -> None:
    if found.obstacles:
        raise PartitionError(
            f"{', '.join(found.obstacles)} would go on with the old table: remove it, and make it again afterwards"
        )


def _bound(connection: sa.Connection, now: datetime) -> datetime:
    """Up to when the rows that are there are one partition: the begin of a month after all of them that is not near."""
    newest = connection.scalar(sa.text(f"SELECT max(StartedAt) FROM {TABLE}"))
    after = max(now + _LEAST_AHEAD, newest or now)
    return months.next_month(months.month_of(after))


def _key_of(table: str) -> str:
    return f"pk_{table}".lower()


def _build_key(connection: sa.Connection) -> None:
    name = _key_of(BEFORE)
    valid = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    if connection.scalar(valid, {"name": name}) is False:  # its building broke off
        execute(connection, f"DROP INDEX CONCURRENTLY {name}")
    columns = f"{TABLE} (ID, StartedAt)"
    execute(connection, f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {columns}")


def _add_bound(connection: sa.Connection, bound: datetime) -> None:
    with _short_wait(connection):
        execute(connection, f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}")
        check = f"CHECK (StartedAt < {months.literal(bound)}) NOT VALID"
        execute(connection, f"ALTER TABLE {TABLE} ADD CONSTRAINT {BOUND} {check}")


def _drop_bound(connection: sa.Connection) -> None:
    if months.is_bound(connection):
        with _short_wait(connection):
            execute(connection, f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}")


class _short_wait:  # noqa: N801 - used like a function
    """Give a lock up that is not had in time, so that nobody waits behind it for long."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        execute(self._connection, f"SET lock_timeout = '{months.LOCK_WAIT}'")

    def __exit__(self, *_: object) -> None:
        execute(self._connection, "RESET lock_timeout")


def _again(step: Callable[[], T], say: Say) -> T:
    """Do a step that needs a table for itself, again and again while others have it."""
    for _ in range(_TRIES):
        try:
            return step()
        except sa.exc.OperationalError as error:
            if not months.is_busy(error):
                raise
            say("waiting for others to leave the table for a moment")
            time.sleep(_PAUSE)
    raise PartitionError(
        f"others use {TABLE} all the time, such as a backup or a long query: try again when that is over"
    )


def _in_transaction(engine: sa.Engine, work: Callable[[sa.Connection], None]) -> None:
    with engine.begin() as connection:
        execute(connection, f"SET LOCAL lock_timeout = '{months.LOCK_WAIT}'")
        execute(connection, f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        work(connection)


def _swap(connection: sa.Connection, bound: datetime, now: datetime) -> None:
    """Put a partitioned table in the place of the plain one, which becomes its first partition."""
    rights, indexes = copies.rights(connection), copies.indexes(connection)
    sequence = _sequence(connection)
    key = _key_of(BEFORE)
    execute(connection, f"ALTER TABLE {TABLE} RENAME TO {BEFORE}")
    old = connection.scalar(_OLD_KEY, {"table": BEFORE})
    execute(connection, f"ALTER TABLE {BEFORE} DROP CONSTRAINT {copies.quoted(str(old))}")
    execute(connection, f"ALTER TABLE {BEFORE} ADD CONSTRAINT {key} PRIMARY KEY USING INDEX {key}")
    like = f"(LIKE {BEFORE} INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMMENTS)"
    execute(connection, f"CREATE TABLE {TABLE} {like} PARTITION BY RANGE (StartedAt)")
    execute(connection, f"ALTER TABLE {TABLE} ADD CONSTRAINT {KEY} PRIMARY KEY (ID, StartedAt)")
    execute(connection, f"ALTER SEQUENCE {sequence} OWNED BY {TABLE}.ID")
    for index in indexes:
        index.rename(connection, "", "_before")
        index.create(connection, TABLE)
    months.attach(connection, BEFORE, "MINVALUE", bound)
    execute(connection, f"ALTER TABLE {BEFORE} DROP CONSTRAINT IF EXISTS {BOUND}")
    execute(connection, f"CREATE TABLE {OTHER} PARTITION OF {TABLE} DEFAULT")
    for statement in rights:
        execute(connection, statement)
    wanted = months.months_from(months.month_of(now), months.MONTHS_AHEAD + 1)
    months.make_free_months(connection, list(wanted))


def _sequence(connection: sa.Connection) -> str:
    found = connection.scalar(
        sa.text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": TABLE.lower()}
    )
    return str(found)


def _copy(connection: sa.Connection, rows: int, say: Say) -> None:
    execute(
        connection,
        f"CREATE TABLE IF NOT EXISTS {PLAIN} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMMENTS)",
    )
    key = copies.quoted(f"{KEY.lower()}_plain")
    execute(connection, f"CREATE UNIQUE INDEX IF NOT EXISTS {key} ON {PLAIN} (ID)")
    batch = sa.text(f"""
        WITH copied AS (
            INSERT INTO {PLAIN} SELECT * FROM {TABLE} WHERE ID > :after ORDER BY ID LIMIT {_BATCH} RETURNING ID
        ) SELECT max(ID), count(*) FROM copied
        """)
    after = connection.scalar(sa.text(f"SELECT max(ID) FROM {PLAIN}")) or 0
    done = 0
    while after is not None:
        say(f"copying: {done:,} of about {max(rows, done):,} rows")
        last, number = connection.execute(batch, {"after": after}).one()
        done += number
        after = last if number == _BATCH else None


def _last_key(engine: sa.Engine) -> int:
    """The largest key, at a moment at which no transaction that may write a smaller one is open."""
    with engine.begin() as connection:
        execute(connection, f"SET LOCAL lock_timeout = '{months.LOCK_WAIT}'")
        execute(connection, f"LOCK TABLE {TABLE} IN SHARE MODE")
        return connection.scalar(sa.text(f"SELECT max(ID) FROM {TABLE}")) or 0


_MISSING = f"""
    INSERT INTO {PLAIN} SELECT * FROM {TABLE} AS one
    WHERE NOT EXISTS (SELECT 1 FROM {PLAIN} AS there WHERE there.ID = one.ID) AND one.ID
    """


def _catch_up(connection: sa.Connection, last: int, say: Say) -> None:
    """Copy what was not committed yet when its neighbours were copied, and remove what the pruner has removed since."""
    say("looking for rows that came or went meanwhile")
    execute(connection, f"{_MISSING} <= {last}")
    gone = f"NOT EXISTS (SELECT 1 FROM {TABLE} AS there WHERE there.ID = one.ID)"
    execute(connection, f"DELETE FROM {PLAIN} AS one WHERE {gone}")


def _swap_back(connection: sa.Connection, last: int) -> None:
    """Put the plain table in the place of the partitioned one, with the rows after ``last``.

    What the pruner has removed in the last moment is there again, until it comes by the next time.
    """
    rights, indexes = copies.rights(connection), copies.indexes(connection)
    execute(connection, f"{_MISSING} > {last}")
    execute(connection, f"ALTER SEQUENCE {_sequence(connection)} OWNED BY {PLAIN}.ID")
    execute(connection, f"DROP TABLE {TABLE}")
    execute(connection, f"ALTER TABLE {PLAIN} RENAME TO {TABLE}")
    key = f"{KEY}_plain".lower()
    execute(connection, f"ALTER TABLE {TABLE} ADD CONSTRAINT {KEY} PRIMARY KEY USING INDEX {key}")
    for index in indexes:
        index.rename(connection, "_plain", "")
    for statement in rights:
        execute(connection, statement)
