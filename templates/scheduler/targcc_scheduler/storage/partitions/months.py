"""Which partitions the history has, and making those of the months to come.

``c_LoggedJob`` is partitioned by ranges of ``StartedAt``, whole months of UTC. ``c_LoggedJob_before`` is what was there before it was partitioned;
``c_LoggedJob_other``, the default partition, takes what belongs to no month that there is: rows of long ago that stay or are imported, and
those of months that nobody made in time, so no row is refused.

The key of a partitioned table has to hold the column that it is partitioned by: it is ``(ID, StartedAt)``. ``ID`` alone is unique by the sequence, which
all partitions share and which gives out the keys of all rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from ..dialects import known

TABLE = "c_LoggedJob"
BEFORE, OTHER, PLAIN = f"{TABLE}_before", f"{TABLE}_other", f"{TABLE}_plain"
BOUND = f"{TABLE}_bound"
"""A constraint that is there while the table is being converted."""

LOCK_KEY = 0x7461726768
"""The advisory lock of whoever changes partitions ("targh")."""

LOCK_WAIT = "1s"
"""How long to wait for a table, since those who come later wait behind."""

MONTHS_AHEAD = 2
_LOCK_NOT_AVAILABLE = "55P03"
_NAME = re.compile(rf"{TABLE}_(\d{{4}}_\d{{2}}|before|other|plain)", re.IGNORECASE)
_KIND = sa.text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:name)")
_PARTITIONS = sa.text(r"""
    SELECT c.relname, b.bound = 'DEFAULT', greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid),
        (regexp_match(b.bound, 'FROM \(''(.*?)''\)'))[1]::timestamptz,
        (regexp_match(b.bound, 'TO \(''(.*?)''\)'))[1]::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
        LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (bound)
    WHERE i.inhparent = to_regclass(:table)
    ORDER BY 6, 1
    """)


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of the history.

    Args:
        name: Its table, as PostgreSQL writes it.
        is_other: Whether it takes what belongs to no month.
        rows: About how many there are.
        size: Its bytes, with indexes.
        since: The first instant of it; ``None``: there is none.
        until: The first instant after it.
    """

    name: str
    is_other: bool
    rows: int
    size: int
    since: datetime | None
    until: datetime | None


def is_busy(error: sa.exc.DBAPIError) -> bool:
    """Whether a lock was not had in time: others use the history."""
    return getattr(error.orig, "sqlstate", "") == _LOCK_NOT_AVAILABLE


def is_partition(name: str) -> bool:
    """Whether a table is a part of the history, by its name."""
    return _NAME.fullmatch(name) is not None


def is_partitioned(connection: sa.Connection) -> bool:
    """Whether the history is kept by month."""
    if known.of(connection).name != "postgresql":
        return False
    return bool(connection.scalar(_KIND, {"name": TABLE}) == "p")


def partitions(connection: sa.Connection) -> list[Partition]:
    """The parts of the history, the oldest first and the default partition last; none when it is not partitioned."""
    if not is_partitioned(connection):
        return []
    return [Partition(*row) for row in connection.execute(_PARTITIONS, {"table": TABLE})]


def month_of(instant: datetime) -> datetime:
    """The first instant of a month."""
    return instant.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(begin: datetime) -> datetime:
    """The first instant of the next month."""
    return begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)


def months_from(begin: datetime, number: int) -> Iterator[datetime]:
    """The beginnings of so many months."""
    for _ in range(number):
        yield begin
        begin = next_month(begin)


def name_of(month: datetime) -> str:
    """The partition of a month."""
    return f"{TABLE}_{month:%Y_%m}"


def literal(instant: datetime) -> str:
    """An instant in SQL."""
    return f"TIMESTAMPTZ '{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00'"


def execute(connection: sa.Connection, statement: str) -> None:
    """Do something to the tables; no part of the statement comes from outside."""
    connection.exec_driver_sql(statement.replace("%", "%%"))


def lock_partitions(connection: sa.Connection) -> None:
    """Let one at a time change partitions, and let nobody wait for long meanwhile: a lock of a table that is not had in time is given up."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
    execute(connection, f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")


def make_months(connection: sa.Connection, now: datetime) -> list[str]:
    """Make the partitions of this month and the next ones, in a transaction; the names of those that are new.

    A month of which rows are in the default partition already stays there. A conversion that broke off is tidied up.
    """
    if not is_partitioned(connection):
        _tidy_up(connection)
        return []
    wanted = list(months_from(month_of(now), MONTHS_AHEAD + 1))
    if all(_covered(month, partitions(connection)) for month in wanted):
        return []
    lock_partitions(connection)
    return make_free_months(connection, wanted)


def make_free_months(connection: sa.Connection, wanted: Sequence[datetime]) -> list[str]:
    """Make those partitions that are not there, for whoever has the lock; the names of those that are new."""
    there = partitions(connection)
    made = [month for month in wanted if not _covered(month, there) and _free(connection, month)]
    for month in made:
        # made apart and attached: the history can be read and written meanwhile
        execute(connection, f"CREATE TABLE {name_of(month)} (LIKE {TABLE} INCLUDING DEFAULTS)")
        attach(connection, name_of(month), literal(month), next_month(month))
    return [name_of(month) for month in made]


def analyze(connection: sa.Connection) -> None:
    """Let the planner look at the history as a whole, which autovacuum does not."""
    execute(connection, f"ANALYZE {TABLE}")


def attach(connection: sa.Connection, table: str, since: str, until: datetime) -> None:
    """Make a table a part of the history."""
    rows = f"FOR VALUES FROM ({since}) TO ({literal(until)})"
    execute(connection, f"ALTER TABLE {TABLE} ATTACH PARTITION {table} {rows}")


def _covered(month: datetime, there: list[Partition]) -> bool:
    return any(
        (one.since is None or one.since <= month) and one.until is not None and month < one.until
        for one in there
    )


def _free(connection: sa.Connection, month: datetime) -> bool:
    rows = f"StartedAt >= {literal(month)} AND StartedAt < {literal(next_month(month))}"
    found = connection.exec_driver_sql(f"SELECT 1 FROM {OTHER} WHERE {rows} LIMIT 1")
    return found.first() is None


def _tidy_up(connection: sa.Connection) -> None:
    """Remove the constraint of a conversion that was killed, before it refuses rows."""
    if known.of(connection).name != "postgresql" or not is_bound(connection):
        return
    if connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(LOCK_KEY))):
        execute(connection, f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
        execute(connection, f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}")


def is_bound(connection: sa.Connection) -> bool:
    """Whether the table has the constraint of a conversion."""
    found = sa.text(
        "SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(:table) AND conname = :name"
    )
    return connection.scalar(found, {"table": TABLE, "name": BOUND.lower()}) is not None
