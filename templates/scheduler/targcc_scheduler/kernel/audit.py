"""The audit: write rows with actor, action, time and subject, and chain the rows by hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..db.dialects import known
from ..db.dialects.frequent import changed_by
from ..db.tables import job_audit, job_setting

# The hash chain over audit rows.
#
# A new row holds the digest of its content in ``Hash``. Sealing assigns the next place in the chain, ``Seq``, and replaces ``Hash`` by
# the hash over place, predecessor's hash and digest. A row without ``Hash`` was not written by this release.

# Links of the chain.

PRUNED = "prune audit"
"""Action of the audit row that names the last row removed by retention."""
_CONTENT = ("Actor", "Action", "JobName", "RunId", "Detail", "RemoteAddress")


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain.

    Args:
        seq: Sequence number; the first row has 1.
        hash: Hash of the row at this place.
    """

    seq: int
    hash: str

    def __str__(self) -> str:
        """Return ``seq:hash``, the form that people note."""
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the result of :meth:`__str__`.

        Raises:
            ValueError: the text has another form.
        """
        seq, _, link_hash = text.strip().partition(":")
        if not seq.isdecimal() or len(link_hash) != len(START.hash):
            raise ValueError(f"not a place in the audit's chain, such as 12:{START.hash[:6]}…")
        return cls(int(seq), link_hash)

    def next(self, content: str) -> Link:
        """Return the next place, for a row with the digest ``content``."""
        seq = self.seq + 1
        return Link(seq, _sha256(f"{seq}\n{self.hash}\n{content}"))


START = Link(0, hashlib.sha256(b"").hexdigest())
"""The place before the first row."""


def digest(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 digest of a row's content: time, actor, action, job, run, detail, address."""
    at = row["At"].astimezone(UTC).isoformat(timespec="microseconds")
    return _sha256(json.dumps([at, *(row.get(name) for name in _CONTENT)]))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Sealing: assign places in the chain.
#
# On SQLite, the transaction that writes a row also seals the row. On PostgreSQL, a separate short transaction seals. Sealing in the
# writing transaction would block all other writers until the end of that transaction, and an application may own the transaction.
# Sealing takes a lock without waiting.

ANCHOR = "audit_anchor"
"""Name of the row in ``c_JobSetting`` that holds the last place removed by retention."""
_MOST = 500
_C = job_audit.c
_HAS_NO_PLACE = sa.and_(_C.Seq.is_(None), _C.Hash.is_not(None))
_UNSEALED = sa.select(job_audit).where(_HAS_NO_PLACE).order_by(_C.Id).limit(_MOST)
IS_UNSEALED = sa.exists().where(_HAS_NO_PLACE)
"""SQL condition: an unsealed row exists."""
_HEAD = sa.select(_C.Seq, _C.Hash).where(_C.Seq.is_not(None)).order_by(_C.Seq.desc()).limit(1)
_ANCHOR = sa.select(job_setting.c.Value).where(job_setting.c.Name == ANCHOR)
_GIVE = (
    sa.update(job_audit)
    .where(_C.Id == sa.bindparam("id"))
    .values(Seq=sa.bindparam("seq"), Hash=sa.bindparam("hash"))
)


def seal(connection: sa.Connection) -> bool:
    """Seal up to 500 unsealed rows.

    A row whose content no longer matches its digest stays unsealed. If another process holds the lock, nothing is sealed.

    Returns:
        Whether more unsealed rows may exist.
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
    """Return the last place of the chain."""
    row = connection.execute(_HEAD).first()
    return Link(row.Seq, row.Hash) if row is not None else anchor(connection)


def anchor(connection: sa.Connection) -> Link:
    """Return the last place removed by retention, or :data:`START`."""
    text = connection.scalar(_ANCHOR)
    return Link.parse(text) if text is not None else START


def adopt(connection: sa.Connection) -> list[int]:
    """Add a digest to rows without hash that follow the first hashed row, so that sealing appends the rows to the chain.

    Returns:
        Ids of these rows.
    """
    first = sa.select(sa.func.min(_C.Id)).where(_C.Hash.is_not(None)).scalar_subquery()
    rows = connection.execute(sa.select(job_audit).where(_C.Hash.is_(None), first < _C.Id)).all()
    for row in rows:
        change = sa.update(job_audit).where(row.Id == _C.Id)
        connection.execute(change.values(Hash=digest(row._asdict())))
    return [row.Id for row in rows]


def remove(connection: sa.Connection, *, before: datetime, most: int) -> tuple[int, Link | None]:
    """Remove up to ``most`` rows older than ``before``: chained rows from the start of the chain, then rows outside the chain.

    Returns:
        Number of removed rows, and the last removed place, where verification starts from now on.
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


# Write rows of the audit: actor, action, time and subject.


async def audit(
    connection: AsyncConnection,
    by: Actor,
    action: str,
    now: datetime,
    *,
    job_name: str | None = None,
    run_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Insert an audit row for an action of an actor."""
    row = _row(by, action, now) | {"JobName": job_name, "RunId": run_id, "Detail": detail}
    await connection.run_sync(_write, row)


def audit_plainly(
    connection: sa.Connection, by: Actor, action: str, now: datetime, *, detail: str
) -> None:
    """Insert an audit row over a synchronous connection; see :func:`audit`."""
    _write(connection, _row(by, action, now) | {"Detail": detail})


def _row(by: Actor, action: str, now: datetime) -> dict[str, Any]:
    return {"At": now, "Actor": str(by), "Action": action, "RemoteAddress": by.remote}


def _write(connection: sa.Connection, row: dict[str, Any]) -> None:
    connection.execute(job_audit.insert().values(row | {"Hash": digest(row)}))
    if not known.of(connection).many_writers:
        seal(connection)
