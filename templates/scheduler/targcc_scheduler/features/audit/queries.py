"""Read, export and verify the audit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

import sqlalchemy as sa
from pydantic_core import to_jsonable_python
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.masking import mask, masked
from ...db.tables import job_audit
from ...kernel import audit as chain
from ...kernel.audit import PRUNED, Link, digest
from ...kernel.audit_sentences import sentence
from ...kernel.queries.models import AuditEntry

# Read audit rows: filters and paging.

_RECENT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Filter for audit rows. Fields left at the default do not filter.

    Args:
        jobs: Current and former names of a job.
        run_id: Id of a run.
        actor: Part of the actor's name, case-insensitive.
        action: Exact action.
        since: Earliest time, inclusive.
        until: Latest time, exclusive.
    """

    jobs: Sequence[str] = ()
    run_id: int | None = None
    actor: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the filter as SQL conditions on ``c_JobAudit``."""
        c = job_audit.c
        conditions: list[sa.ColumnElement[bool]] = []
        if self.jobs:
            conditions.append(c.JobName.in_(list(self.jobs)))
        if self.run_id is not None:
            conditions.append(c.RunId == self.run_id)
        if self.actor:
            conditions.append(sa.func.lower(c.Actor).contains(self.actor.lower(), autoescape=True))
        if self.action:
            conditions.append(c.Action == self.action)
        if self.since is not None:
            conditions.append(self.since <= c.At)
        if self.until is not None:
            conditions.append(self.until > c.At)
        return conditions


ALL = Filter()


async def audit(
    connection: AsyncConnection,
    which: Filter = ALL,
    *,
    before: int | None = None,
    limit: int = 50,
) -> tuple[AuditEntry, ...]:
    """Return matching rows, newest first; ``before`` is the id of the previous page's last row."""
    c = job_audit.c
    statement = sa.select(job_audit).where(*which.conditions())
    if before is not None:
        statement = statement.where(c.Id < before)
    rows = await connection.execute(statement.order_by(c.Id.desc()).limit(limit))
    return tuple(map(_entry, rows))


async def latest(
    connection: AsyncConnection, *, without: Sequence[str], limit: int
) -> tuple[AuditEntry, ...]:
    """Return the newest rows among the last 500, except rows with the actions in ``without``."""
    recent = sa.select(job_audit).order_by(job_audit.c.Id.desc()).limit(_RECENT).subquery()
    statement = sa.select(recent).where(recent.c.Action.not_in(without))
    rows = await connection.execute(statement.order_by(recent.c.Id.desc()).limit(limit))
    return tuple(map(_entry, rows))


async def actions(connection: AsyncConnection) -> list[str]:
    """Return the distinct actions of the last 500 rows, sorted, for a select box."""
    recent = sa.select(job_audit.c.Action).order_by(job_audit.c.Id.desc()).limit(_RECENT).subquery()
    return sorted(await connection.scalars(sa.select(recent.c.Action).distinct()))


def _entry(row: sa.Row[tuple[object, ...]]) -> AuditEntry:
    entry = AuditEntry(
        row.Id,
        row.At,
        row.Actor,
        row.Action,
        row.JobName,
        row.RunId,
        row.Detail,
        row.RemoteAddress,
        row.Seq,
        row.Hash if row.Seq is not None else None,
    )
    return replace(entry, sentence=sentence(entry))


# Verify the audit: content, order and completeness of the chain.

T = TypeVar("T")
_PAGE = 1_000
_C = job_audit.c
_Row = Any


class Read(Protocol):
    """A function that runs queries, such as the scheduler's ``read``."""

    async def __call__(self, query: Callable[[AsyncConnection], Awaitable[T]], /) -> T:
        """Run the query and return its result."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first fault in the chain.

    Args:
        kind: Kind of manipulation.
        row: Id of the row that shows the fault; ``None`` if no such row remains.
        message: Description for people.
    """

    kind: Literal["changed", "inserted", "removed", "cut off"]
    row: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a verification.

    Args:
        rows: Count of intact chained rows, up to the fault.
        head: Place of the last intact row. Note this place outside the database, where a database user cannot change the note.
        unchained: Count of rows from before the chain existed.
        fault: The first fault, or ``None``.
        too_old: Whether retention removed the noted place, so the note proves nothing.
    """

    rows: int
    head: Link
    unchained: int = 0
    fault: Fault | None = None
    too_old: bool = False


async def verify(read: Read, noted: Link | None = None) -> Verdict:
    """Verify the whole chain. If retention has removed rows, the chain starts after the last removed row.

    Args:
        read: Runs the queries, a thousand rows per query.
        noted: The head from an earlier verification, if noted.
    """
    walk = _Walk(read, noted)
    verdict = await walk.whole()
    return verdict if verdict.fault is not None else await _with_loose_rows(read, verdict)


class _Walk:
    """State of one verification."""

    def __init__(self, read: Read, noted: Link | None) -> None:
        self._read = read
        self._noted = noted
        self._rows = 0
        self._place = self._before = Link(0, "")
        self._unconfirmed: Link | None = None
        self._too_old = False

    async def whole(self) -> Verdict:
        """Verify all chained rows and return the verdict."""
        await self._begin()
        rows = await self._page()
        while rows:
            following = await self._page(rows[-1].Seq)
            for row, after in zip(rows, [*rows[1:], *following[:1], None], strict=False):
                fault = await self._step(row, after)
                if fault is not None:
                    return self._verdict(fault)
            rows = following
        return self._verdict(self._fault_at_the_end())

    def _verdict(self, fault: Fault | None) -> Verdict:
        return Verdict(self._rows, self._place, fault=fault, too_old=self._too_old)

    async def _begin(self) -> None:
        anchor = await self._read(lambda db: db.run_sync(chain.anchor))
        self._place = self._before = anchor
        self._unconfirmed = anchor if anchor.seq else None
        self._too_old = self._noted is not None and self._noted.seq < anchor.seq

    async def _page(self, after: int | None = None) -> Sequence[_Row]:
        place = self._place.seq if after is None else after
        query = sa.select(job_audit).where(place < _C.Seq).order_by(_C.Seq).limit(_PAGE)
        return (await self._read(lambda db: db.execute(query))).all()

    async def _step(self, row: _Row, after: _Row | None) -> Fault | None:
        """Verify the next row of the chain; return a fault or ``None``. ``after`` is the row behind ``row``."""
        if row.Seq != self._place.seq + 1:
            missing = self._place
            await self._begin()  # retention may have removed old rows meanwhile
            if row.Seq != self._place.seq + 1:
                self._place = missing
                return _removed(missing.seq + 1, row)
        place = self._place.next(digest(row._asdict()))
        if place.hash != row.Hash:
            return self._misfit(row, after)
        if place.seq == getattr(self._noted, "seq", None) and place != self._noted:
            return Fault("changed", row.Id, f"row {row.Id} has another hash than was noted")
        if row.Action == PRUNED and row.Detail == f"up to {self._unconfirmed}":
            self._unconfirmed = None
        self._before, self._place = self._place, place
        self._rows += 1
        return None

    def _misfit(self, row: _Row, after: _Row | None) -> Fault:
        """Classify the fault when a row's hash does not fit the place.

        If the row fits the place of its predecessor, the predecessor was inserted. If the next row fits this place, the row was inserted.
        Otherwise, a row was changed.
        """
        own = digest(row._asdict())
        if self._rows and self._before.next(own).hash == row.Hash:
            return _inserted(f"the row before row {row.Id}", row.Id)
        if after is not None and self._place.next(digest(after._asdict())).hash == after.Hash:
            return _inserted(f"row {row.Id}", row.Id)
        return Fault(
            "changed",
            row.Id,
            f"row {row.Id} is not as it was written, or what was before it is not",
        )

    def _fault_at_the_end(self) -> Fault | None:
        if self._unconfirmed is not None:
            return Fault(
                "removed",
                None,
                f"the rows up to place {self._unconfirmed.seq} are gone, and no node has removed them for their age",
            )
        if self._noted is not None and self._noted.seq > self._place.seq:
            return Fault(
                "cut off",
                None,
                f"the chain ends at place {self._place.seq}, and place {self._noted.seq} was noted",
            )
        return None


def _removed(first: int, row: _Row) -> Fault:
    places = f"place {first}" if row.Seq == first + 1 else f"places {first} to {row.Seq - 1}"
    return Fault("removed", row.Id, f"what was at {places}, before row {row.Id}, is gone")


def _inserted(what: str, row_id: int) -> Fault:
    return Fault("inserted", row_id, f"{what} was put between two others")


async def _with_loose_rows(read: Read, verdict: Verdict) -> Verdict:
    """Check the rows outside the chain, and add the result to the verdict."""
    first = sa.select(sa.func.min(_C.Id)).where(_C.Seq.is_not(None)).scalar_subquery()
    loose = sa.select(job_audit).where(_C.Seq.is_(None)).order_by(_C.Id)
    strange = loose.where(_C.Hash.is_(None), first < _C.Id).limit(1)
    changed = loose.where(_C.Hash.is_not(None))
    old = sa.select(sa.func.count()).where(
        _C.Hash.is_(None), sa.or_(first.is_(None), first > _C.Id)
    )
    for row in await read(lambda db: db.execute(changed)):
        if digest(row._asdict()) != row.Hash:
            fault = Fault("changed", row.Id, f"row {row.Id} is not as it was written")
            return replace(verdict, fault=fault)
    loose_row = (await read(lambda db: db.execute(strange))).first()
    if loose_row is not None:
        fault = Fault(
            "inserted",
            loose_row.Id,
            f"row {loose_row.Id} has no hash: it was written by hand, or by a node of an earlier release (then: targcc audit adopt)",
        )
        return replace(verdict, fault=fault)
    unchained = await read(lambda db: db.scalar(old))
    return replace(verdict, unchained=unchained or 0)


# Export the audit as CSV for spreadsheets or JSON for programs, newest first.

Format = Literal["csv", "json"]

_COLUMNS = (
    *("id", "at", "actor", "action", "job", "run_id", "detail", "remote"),
    *("seq", "hash"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Prefixes of cells that a spreadsheet reads as a formula, including the full-width forms."""


async def export(read: Read, which: Filter, kind: Format) -> AsyncIterator[str]:
    """Yield matching rows as text, a thousand rows at a time.

    CSV cells that a spreadsheet would read as a formula get a leading apostrophe. Secrets known to this process are masked.
    """
    yield "[" if kind == "json" else _line(_COLUMNS)
    before: int | None = None
    while True:
        entries = await _page(read, which, before)
        if kind == "csv":
            yield "".join(_csv_line(entry) for entry in entries)
        elif entries:
            yield ("\n" if before is None else ",\n") + ",\n".join(map(_json_line, entries))
        if len(entries) < _PAGE:
            break
        before = entries[-1].id
    yield "\n]\n" if kind == "json" else ""


async def _page(read: Read, which: Filter, before: int | None) -> tuple[AuditEntry, ...]:
    return await read(lambda db: audit(db, which, before=before, limit=_PAGE))


def _json_line(entry: AuditEntry) -> str:
    return json.dumps(masked(to_jsonable_python(entry)), ensure_ascii=False)


def _csv_line(entry: AuditEntry) -> str:
    plain = to_jsonable_python(entry)
    values = [plain[name] for name in _COLUMNS]
    return _line(_cell(value) for value in values)


def _cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = mask(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
