"""Giving the rows of the audit their places in the chain.

On SQLite that is part of the transaction that writes a row. On PostgreSQL it follows in a short transaction of its own, since a row that took
its place at once would make all others wait until its transaction ends, which may be an application's. Who seals takes a lock that nobody
waits for.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ..dialects import known
from ..dialects.counting import changed_by
from ..tables import job_audit, job_setting
from .links import START, Link, digest

ANCHOR = "audit_anchor"
"""The row of ``c_JobSetting`` that holds the last place whose row was removed for its age."""
_MOST = 500
_C = job_audit.c
_HAS_NO_PLACE = sa.and_(_C.Seq.is_(None), _C.Hash.is_not(None))
_UNSEALED = sa.select(job_audit).where(_HAS_NO_PLACE).order_by(_C.Id).limit(_MOST)
IS_UNSEALED = sa.exists().where(_HAS_NO_PLACE)
"""Whether a row has no place yet."""
_HEAD = sa.select(_C.Seq, _C.Hash).where(_C.Seq.is_not(None)).order_by(_C.Seq.desc()).limit(1)
_ANCHOR = sa.select(job_setting.c.Value).where(job_setting.c.Name == ANCHOR)
_GIVE = (
    sa.update(job_audit)
    .where(_C.Id == sa.bindparam("id"))
    .values(Seq=sa.bindparam("seq"), Hash=sa.bindparam("hash"))
)


def seal(connection: sa.Connection) -> bool:
    """Chain some rows that are not chained yet; whether there may be more.

    A row that was changed since it was written stays without a place; so do all, while somebody else seals.
    """
    if not known.of(connection).try_lock_audit(connection):
        return False
    rows = connection.execute(_UNSEALED).all()
    place, given = head(connection), []
    for row in rows:
        content = digest(row._asdict())
        if content == row.Hash:
            place = place.next(content)
            given.append({"id": row.Id, "seq": place.seq, "hash": place.hash})
    if given:
        connection.execute(_GIVE, given)
    return len(rows) == _MOST and bool(given)


def head(connection: sa.Connection) -> Link:
    """The last place of the chain."""
    row = connection.execute(_HEAD).first()
    return Link(row.Seq, row.Hash) if row is not None else anchor(connection)


def anchor(connection: sa.Connection) -> Link:
    """The last place whose row was removed for its age; the start of the chain when none was."""
    text = connection.scalar(_ANCHOR)
    return Link.parse(text) if text is not None else START


def adopt(connection: sa.Connection) -> list[int]:
    """Let rows that came without a hash after the first that has one be part of the chain, at its end; their ids."""
    first = sa.select(sa.func.min(_C.Id)).where(_C.Hash.is_not(None)).scalar_subquery()
    rows = connection.execute(sa.select(job_audit).where(_C.Hash.is_(None), first < _C.Id)).all()
    for row in rows:
        change = sa.update(job_audit).where(row.Id == _C.Id)
        connection.execute(change.values(Hash=digest(row._asdict())))
    return [row.Id for row in rows]


def remove(connection: sa.Connection, *, before: datetime, most: int) -> tuple[int, Link | None]:
    """Remove up to ``most`` rows from before an instant: of the chain from its begin on, and rows that are not part of it.

    Returns:
        How many, and the last place that was removed, which the chain is verified from now on.
    """
    chained = sa.select(_C.Id, _C.At, _C.Seq, _C.Hash).where(_C.Seq.is_not(None))
    last, keys = None, []
    for row in connection.execute(chained.order_by(_C.Seq).limit(most)):
        if row.At >= before:
            break
        last = Link(row.Seq, row.Hash)
        keys.append(row.Id)
    loose = sa.select(_C.Id).where(before > _C.At, _C.Seq.is_(None), _C.Hash.is_(None))
    keys += connection.scalars(loose.order_by(_C.At).limit(most - len(keys)))
    if keys:
        connection.execute(sa.delete(job_audit).where(_C.Id.in_(keys)))
    if last is not None:
        _note_anchor(connection, last, before)
    return len(keys), last


def _note_anchor(connection: sa.Connection, last: Link, now: datetime) -> None:
    change = sa.update(job_setting).where(job_setting.c.Name == ANCHOR)
    values = {"Value": str(last), "UpdatedAt": now}
    if not changed_by(connection, change.values(values)):
        connection.execute(job_setting.insert().values(Name=ANCHOR, **values))
