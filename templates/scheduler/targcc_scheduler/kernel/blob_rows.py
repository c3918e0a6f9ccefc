"""Store content of runs as rows of ``c_JobBlob``.

Only :func:`piece` reads the column ``Data``. Claiming, executing and settling a run touch the table only if the run has content there.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import FileError, RunTaken
from ..db.dialects import known
from ..db.tables import job_blob, job_run
from .jobs.files import Content, ContentKind
from .runs.transition import owned_by
from .runs.values import Claim

PIECE = 4 * 2**20
"""Bytes that one query reads."""
_C = job_blob.c
_SHOWN = (
    _C.Id,
    _C.RunId,
    _C.Kind,
    _C.Name,
    _C.ContentType,
    _C.Size,
    _C.Sha256,
    _C.Store,
    _C.Reference,
    _C.CreatedAt,
)


@dataclass(frozen=True, slots=True)
class Blob:
    """A row of ``c_JobBlob`` without its data.

    Args:
        id: Primary key.
        run_id: The run that has the content.
        kind: The role of the content in the run.
        store: Name of the store that has the content; ``None``: the row itself has the data.
        reference: Name of the content in that store.
    """

    id: str
    run_id: int
    kind: ContentKind
    name: str
    content_type: str
    size: int
    sha256: str
    store: str | None
    reference: str | None
    created_at: datetime


async def add(
    connection: AsyncConnection, run_id: int, contents: Sequence[Content], now: datetime
) -> None:
    """Insert content of a run, in the transaction that creates the run."""
    for content in contents:  # one at a time: each may be large
        await connection.execute(job_blob.insert(), _row(run_id, content, now))


async def copy(connection: AsyncConnection, source: int, target: int, now: datetime) -> None:
    """Copy the blobs that a run's arguments refer to, but not its results, to another run; content in a store is shared."""
    query = sa.select(_C.Id).where(_C.RunId == source, _C.Kind != ContentKind.RESULT)
    # Lock the source rows: a transaction that removes the source rows then sees the copies, which share the content.
    ids = (await connection.execute(query.order_by(_C.Id).with_for_update())).scalars().all()
    for blob_id in ids:
        values: dict[str, Any] = {"Id": uuid.uuid4().hex, "RunId": target, "CreatedAt": now}
        columns = [
            sa.literal(values[one.name], one.type).label(one.name) if one.name in values else one
            for one in _C
        ]
        same = sa.select(*columns).where(_C.Id == blob_id)
        await connection.execute(job_blob.insert().from_select([one.name for one in _C], same))


async def attach(
    connection: AsyncConnection, claim: Claim, content: Content, *, most: int, now: datetime
) -> None:
    """Insert a result file of a run, replacing a result of the same name.

    Raises:
        RunTaken: the run belongs to another node now.
        FileError: the run has ``most`` result files already.
    """
    owned = owned_by(claim.run_id, claim.server_id or "", claim.attempt)
    query = sa.select(job_run.c.Id).where(owned).with_for_update()
    if (await connection.execute(query)).first() is None:
        raise RunTaken(f"run {claim.run_id} belongs to another node now")
    mine = sa.and_(_C.RunId == claim.run_id, _C.Kind == ContentKind.RESULT)
    await _remove(connection, sa.and_(mine, _C.Name == content.file.name))
    count = await connection.scalar(sa.select(sa.func.count()).select_from(job_blob).where(mine))
    if (count or 0) >= most:
        raise FileError(f"the run has attached {most} files, the most: TARGCC_MAX_RUN_FILES")
    await add(connection, claim.run_id, [content], now)


async def of_run(connection: AsyncConnection, run_id: int) -> list[Blob]:
    """Return the blobs of a run in order of creation."""
    query = sa.select(*_SHOWN).where(_C.RunId == run_id).order_by(_C.CreatedAt, _C.Name, _C.Id)
    return [_blob(row) for row in await connection.execute(query)]


async def piece(connection: AsyncConnection, blob: Blob, start: int) -> bytes | None:
    """Return up to :data:`PIECE` bytes of a row's data from offset ``start``; ``None`` if the row does not exist."""
    part = sa.func.substr(_C.Data, start + 1, PIECE, type_=sa.LargeBinary())
    query = sa.select(part).where(_C.Id == blob.id, _C.RunId == blob.run_id)
    found = (await connection.execute(query)).first()
    return None if found is None else bytes(found[0] or b"")


async def remove_of(connection: AsyncConnection, run_ids: Sequence[int]) -> None:
    """Remove the blobs of runs.

    Rows of content in a store lose their run and stay until :func:`.blobs.sweep` has removed the content from the store.
    """
    await _remove(connection, known.of(connection).among(_C.RunId, run_ids))


async def removed(connection: AsyncConnection, store: str, most: int) -> list[tuple[str, str]]:
    """Return key and reference of up to ``most`` rows of a store that have no run any more."""
    mine = sa.and_(_C.RunId.is_(None), _C.Store == store)
    query = sa.select(_C.Id, _C.Reference).where(mine).order_by(_C.Id).limit(most)
    return [(row.Id, row.Reference) for row in await connection.execute(query)]


async def forget(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Delete rows without a run, after their content was removed from the store."""
    await connection.execute(sa.delete(job_blob).where(_C.Id.in_(list(ids)), _C.RunId.is_(None)))


async def in_use(
    connection: AsyncConnection, store: str, references: Sequence[str], *, of_runs: bool
) -> set[str]:
    """Return the references among ``references`` that rows of a store have; ``of_runs`` counts only rows that have a run."""
    query = sa.select(_C.Reference).where(_C.Store == store, _C.Reference.in_(list(references)))
    if of_runs:
        query = query.where(_C.RunId.is_not(None))
    return set((await connection.execute(query)).scalars())


async def _remove(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> None:
    await connection.execute(sa.delete(job_blob).where(which, _C.Store.is_(None)))
    await connection.execute(
        sa.update(job_blob).where(which, _C.Store.is_not(None)).values(RunId=None)
    )


def _row(run_id: int, content: Content, now: datetime) -> dict[str, Any]:
    return {
        "Id": uuid.uuid4().hex,
        "RunId": run_id,
        "Kind": content.kind,
        "Name": content.file.name,
        "ContentType": content.file.content_type,
        "Size": content.size,
        "Sha256": content.sha256,
        "Store": content.store,
        "Reference": content.reference,
        "Data": content.file.read_bytes() if content.store is None else None,
        "CreatedAt": now,
    }


def _blob(row: Any) -> Blob:
    run_id, kind = int(row.RunId), ContentKind(row.Kind)
    return Blob(
        row.Id,
        run_id,
        kind,
        row.Name,
        row.ContentType,
        row.Size,
        row.Sha256,
        row.Store,
        row.Reference,
        row.CreatedAt,
    )
