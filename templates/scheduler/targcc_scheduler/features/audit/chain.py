"""The chain of hashes over audit rows.

A row is written with the digest of its content in ``Hash``. Sealing gives it the next place in the chain, ``Seq``, and the hash of that
place, of its predecessor's hash and of its digest. A row without ``Hash`` was not written by this release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import sqlalchemy as sa

from ...db.dialects import known
from ...db.dialects.counting import changed_by
from ...db.tables import job_audit, job_setting

# What makes the rows of the audit a chain.

PRUNED = "prune audit"
"""The action of a row that says which the last row is that was removed for its age."""
_CONTENT = ("Actor", "Action", "JobName", "RunId", "Detail", "RemoteAddress")


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain.

    Args:
        seq: Which: the first row has 1.
        hash: The hash of the row there.
    """

    seq: int
    hash: str

    def __str__(self) -> str:
        """As people note it."""
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What :meth:`__str__` makes.

        Raises:
            ValueError: the text is something else.
        """
        seq, _, found = text.strip().partition(":")
        if not seq.isdecimal() or len(found) != len(START.hash):
            raise ValueError(f"not a place in the audit's chain, such as 12:{START.hash[:6]}…")
        return cls(int(seq), found)

    def next(self, content: str) -> Link:
        """The place after this one, for a row with this digest."""
        seq = self.seq + 1
        return Link(seq, _sha256(f"{seq}\n{self.hash}\n{content}"))


START = Link(0, hashlib.sha256(b"").hexdigest())
"""Before the first row."""


def digest(row: Mapping[str, Any]) -> str:
    """The digest of a row's content: who did what, when, from where."""
    at = row["At"].astimezone(UTC).isoformat(timespec="microseconds")
    return _sha256(json.dumps([at, *(row.get(name) for name in _CONTENT)]))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Giving the rows of the audit their places in the chain.
#
# On SQLite that is part of the transaction that writes a row. On PostgreSQL it follows in a short transaction of its own, since a row that took
# its place at once would make all others wait until its transaction ends, which may be an application's. Who seals takes a lock that nobody
# waits for.

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
