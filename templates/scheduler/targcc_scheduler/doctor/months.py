"""How PostgreSQL keeps the history: in one table, or by month."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ..core.humanize import count
from ..storage.partitions import convert
from ..storage.partitions import months as rows
from .findings import Finding, mib
from .tables import Look

_LONG = 5_000_000
_SOON = timedelta(days=14)
_AGAIN = "targcc history partition"


async def months(look: Look) -> list[Finding]:
    """Whether the history is in the form that is wanted, and months are made in time."""
    return await look.connection.run_sync(_months, look)


def _months(connection: sa.Connection, look: Look) -> list[Finding]:
    if connection.dialect.name != "postgresql":
        return []
    if rows.is_partitioned(connection):
        return [*_parts(connection, look), *_leftovers(connection)]
    found = convert.plan(connection)
    said = f"the history is in one table, of about {count(found.rows, 'row')} ({mib(found.size)})"
    if look.settings.history_partitions == "month":
        said += ", and TARGCC_HISTORY_PARTITIONS wants it by month: that is done by itself only while it is empty"
        return [Finding("warn", "history", said, _AGAIN), *_leftovers(connection)]
    if found.rows > _LONG:
        return [Finding("warn", "history", said, f"keep it by month: {_AGAIN}")]
    return [Finding("ok", "history", said), *_leftovers(connection)]


def _parts(connection: sa.Connection, look: Look) -> list[Finding]:
    parts = rows.partitions(connection)
    other = next((one for one in parts if one.is_other), None)
    until = max((one.until for one in parts if one.until is not None), default=None)
    if until is None or until < look.now + _SOON:
        last = "none is there" if until is None else f"the last one ends on {until:%Y-%m-%d}"
        said = f"no part of the history is made for the weeks to come: {last}"
        advice = "nodes make them once a day: is one up? Now: targcc prune"
        return [Finding("warn", "history", said, advice)]
    said = f"the history is kept by month, in {count(len(parts), 'part')}, until {until:%Y-%m-%d}"
    if other is not None and other.rows:
        said += f"; about {count(other.rows, 'row')} belong to none of the months"
    return [Finding("ok", "history", said)]


def _leftovers(connection: sa.Connection) -> list[Finding]:
    found = []
    if rows.is_bound(connection):
        said = f"a conversion of the history broke off: {rows.BOUND} will refuse rows when its day comes"
        found.append(
            Finding("warn", "history", said, f"nodes remove it within a day; or finish: {_AGAIN}")
        )
    if sa.inspect(connection).has_table(rows.PLAIN.lower()):
        said = f"{rows.PLAIN} is left of a way back to one table that broke off"
        advice = f"finish it: {_AGAIN} --undo; or DROP TABLE {rows.PLAIN}"
        found.append(Finding("warn", "history", said, advice))
    return found
