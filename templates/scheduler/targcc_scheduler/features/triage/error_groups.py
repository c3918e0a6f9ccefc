"""Group failures by fingerprint, and record other issues once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownFailure
from ...core.states import RunState
from ...db.dialects import known
from ...db.dialects.counting import changed, insert_new
from ...db.dialects.frequent import FrequentStatement
from ...db.tables import (
    job_alert_thread,
    job_concern,
    job_failure,
    job_notice,
    job_run,
    job_server,
    job_setting,
)

# The cause of a failure: the type of its exception, where it was raised, and its message without what differs from run to run.

MISSED = "Missed"
"""The kind of a slot that passed while nobody could start it."""
RESULT = "Failure"
"""The kind of a run that said itself that it failed, or that the scheduler failed."""

_LONGEST = 300
_TYPE = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_LOOKS_RAISED = re.compile(
    r"(Error|Exception|Warning|Exit|Interrupt|Timeout|Failed|Failure|Stop\w*)$"
)
_FRAME = re.compile(
    r'^[ \t]+File "(?P<file>[^"\n]+)", line \d+, in (?P<function>.+)$', re.MULTILINE
)
_ENDS = 100
"""Characters of a type that tell whether it is one of an exception."""
_ELSEWHERE = ("site-packages", "dist-packages", "/lib/python", "\\lib\\")
_VARIES = (
    (re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<address>"),
    (
        re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"),
        "<time>",
    ),
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "<text>"),
    (re.compile(r"0x[0-9a-fA-F]+|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Why a run of a job failed.

    Args:
        job: The job.
        kind: The type of the exception; :data:`RESULT` and :data:`MISSED` stand for what was no exception.
        place: The file and function of the job's own code that raised it; empty when that is not known.
        message: The message, with placeholders for numbers, times, ids, quoted texts and addresses.
    """

    job: str
    kind: str
    place: str
    message: str

    @property
    def key(self) -> str:
        """The fingerprint: failures of the same cause have the same."""
        said = f"{self.job}\0{self.kind}\0{self.place}\0{self.message}"
        return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=8).hexdigest()


def fingerprint_of(job: str, message: str | None, trace: str | None = None) -> Fingerprint:
    """The cause of a failure, from the message of the run and the traceback of its last attempt."""
    line = _last_line(trace) if trace else ""
    found = _TYPE.match(line) or _TYPE.match(_first_line(message))
    if found is None or not (trace or _LOOKS_RAISED.search(found["kind"][-_ENDS:])):
        return Fingerprint(job, RESULT, _place(trace), normalised(_first_line(message)))
    return Fingerprint(job, found["kind"][:200], _place(trace), normalised(found["text"] or ""))


def missed(job: str) -> Fingerprint:
    """The cause of slots that passed while nobody could start them."""
    return Fingerprint(job, MISSED, "", "its slot passed while nobody could start it")


def normalised(text: str) -> str:
    """A message without what differs from run to run."""
    text = text[: _LONGEST * 4]
    for pattern, placeholder in _VARIES:
        text = pattern.sub(placeholder, text)
    return " ".join(text.split())[:_LONGEST]


def _last_line(trace: str) -> str:
    """The line of a traceback that names the exception: the last that is not indented and looks like one."""
    lines = [line for line in trace.splitlines() if line[:1].strip()]
    named = (line for line in reversed(lines) if _TYPE.match(line) and not line.endswith(":"))
    return next(named, "")


def _first_line(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "")


def _place(trace: str | None) -> str:
    """The deepest frame of the job's own code; no line number, since that moves with every release."""
    frames = [(found["file"], found["function"]) for found in _FRAME.finditer(trace or "")]
    own = [one for one in frames if not any(part in one[0] for part in _ELSEWHERE)] or frames
    if not own:
        return ""
    file, function = own[-1]
    short = "/".join(re.split(r"[\\/]", file)[-2:])
    return f"{short} in {function}"[:300]


# Failures by their cause: when a cause was seen first, and what people did about its runs.

_NEWEST = 500
_SINCE = "causes since"
"""The setting that says from when on failures have causes: since the first node of this release looked."""
_BEGUN = sa.select(job_setting.c.UpdatedAt).where(job_setting.c.Name == _SINCE)
_FAILED = (
    sa.select(job_run.c.Id)
    .where(job_run.c.State == RunState.FAILED)
    .order_by(job_run.c.Id.desc())
    .limit(_NEWEST)
).subquery()
_LACKS = sa.and_(
    job_run.c.Id.in_(sa.select(_FAILED.c.Id)),
    job_run.c.Cause.is_(None),
    job_run.c.HandledAt.is_(None),
    job_run.c.CompletedAt >= _BEGUN.scalar_subquery(),
)
_LACKING = FrequentStatement(
    sa.select((~_BEGUN.exists()).label("first"), sa.exists().where(_LACKS).label("runs"))
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A run that failed of a cause.

    Args:
        cause: Why.
        at: When it ended.
        run_id: The run.
        server_id: The node it ran on, whose release is noted with a cause that is new.
    """

    cause: Fingerprint
    at: datetime
    run_id: int | None = None
    server_id: str | None = None


async def note(connection: AsyncConnection, seen: Iterable[Seen]) -> None:
    """Write down the causes that nobody has seen before; costs a statement for each cause."""
    first: dict[str, Seen] = {}
    for one in seen:
        first.setdefault(one.cause.key, one)
    for key in sorted(first):  # in one order, so that no two nodes wait for each other
        one = first[key]
        statement = known.of(connection).insert_ignore(job_failure, [job_failure.c.Cause])
        release = sa.select(job_server.c.Release).where(job_server.c.Id == one.server_id)
        await connection.execute(
            statement.values(
                Cause=key,
                JobName=one.cause.job,
                Kind=one.cause.kind,
                Place=one.cause.place or None,
                Message=one.cause.message or None,
                FirstAt=one.at,
                FirstRunId=one.run_id,
                FirstRelease=release.scalar_subquery() if one.server_id else None,
            )
        )


def is_open(cause: str | None = None) -> list[sa.ColumnElement[bool]]:
    """That a run failed, or was missed, and nobody has done anything about it."""
    this = [] if cause is None else [job_run.c.Cause == cause]
    return [*this, job_run.c.Cause.is_not(None), job_run.c.HandledAt.is_(None)]


async def handle(
    connection: AsyncConnection,
    cause: str,
    by: str,
    how: str,
    *,
    now: datetime,
    run_ids: Sequence[int] | None = None,
) -> int:
    """Take the open runs of a cause, or some of them, off the list; how many there were.

    Raises:
        UnknownFailure: there is no such cause.
    """
    await require(connection, cause)
    where = is_open(cause)
    if run_ids is not None:
        where.append(known.of(connection).among(job_run.c.Id, run_ids))
    handled = sa.update(job_run).where(await _locked(connection, *where), *where)
    done = handled.values(HandledAt=now, HandledBy=by[:100], Handling=how[:500])
    return await changed(connection, done)


async def _locked(
    connection: AsyncConnection, *where: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Lock runs in the order of their ids, as everybody does; that a run is one of them."""
    runs = sa.select(job_run.c.Id).where(*where).order_by(job_run.c.Id).with_for_update()
    return known.of(connection).among(job_run.c.Id, list(await connection.scalars(runs)))


async def handled_as(
    connection: AsyncConnection, run_id: int, by: str, how: str, now: datetime
) -> None:
    """Note what a person did about one run."""
    await connection.execute(
        sa.update(job_run)
        .where(job_run.c.Id == run_id, job_run.c.Cause.is_not(None))
        .values(HandledAt=now, HandledBy=by[:100], Handling=how[:500])
    )


async def reopen(connection: AsyncConnection, run_ids: Sequence[int]) -> int:
    """Put runs on the list again; how many."""
    among = known.of(connection).among(job_run.c.Id, run_ids)
    again = sa.update(job_run).where(await _locked(connection, among), job_run.c.Cause.is_not(None))
    undone = again.values(HandledAt=None, HandledBy=None, Handling=None)
    return await changed(connection, undone)


async def change(connection: AsyncConnection, cause: str, **values: Any) -> None:
    """Set columns of a cause: who snoozed or muted it, its assignee, its ticket.

    Raises:
        UnknownFailure: there is no such cause.
    """
    await require(connection, cause)
    await connection.execute(
        sa.update(job_failure).where(job_failure.c.Cause == cause).values(**values)
    )


async def remove_old(connection: AsyncConnection, before: datetime) -> None:
    """Remove causes from before an instant that no run has any more; muted ones stay."""
    has_runs = sa.exists().where(job_run.c.Cause == job_failure.c.Cause)
    old = [job_failure.c.FirstAt < before, job_failure.c.MutedAt.is_(None)]
    await connection.execute(sa.delete(job_failure).where(*old, ~has_runs))


async def require(connection: AsyncConnection, cause: str) -> Any:
    """The row of a cause.

    Raises:
        UnknownFailure: there is none.
    """
    found = sa.select(job_failure).where(job_failure.c.Cause == cause)
    row = (await connection.execute(found)).one_or_none()
    if row is None:
        raise UnknownFailure(f"there is no failure {cause!r}: targcc inbox list shows them")
    return row


async def lacking(connection: AsyncConnection) -> bool:
    """Whether :func:`give_causes` has something to do."""
    return any(row.first or row.runs for row in await _LACKING.all(connection, {}))


async def give_causes(connection: AsyncConnection, now: datetime) -> int:
    """Give a cause to runs that a node of the release before has failed; how many got one.

    Only the newest failures are looked at, and those from before there were causes need nobody.
    """
    c = job_run.c
    first = known.of(connection).insert_ignore(job_setting, [job_setting.c.Name])
    await connection.execute(first.values(Name=_SINCE, Value="", UpdatedAt=now))
    found = await connection.execute(
        sa.select(c.Id, c.JobName, c.Message, c.CompletedAt, c.ServerId)
        .where(_LACKS)
        .order_by(c.Id)
    )
    seen = [
        Seen(fingerprint_of(row.JobName, row.Message), row.CompletedAt, row.Id, row.ServerId)
        for row in found
    ]
    await note(connection, seen)
    for one in seen:
        await connection.execute(
            sa.update(job_run).where(c.Id == one.run_id).values(Cause=one.cause.key)
        )
    return len(seen)


# What is wrong besides failures: written once when it is found, so that people are told once; removed when it is right again.

NODE, ALERT, WATCHED = "node", "alert", "watched"
"""A node that was lost; an alert that did not go out. Since when a job is known, which is no concern. Other
kinds are those of ``features/triage/sla.py``."""

ALERTS_GO_ON = ("", "alerts go on")
"""Stands among what :func:`noted` finds while alerts are not over, or some are still to be sent."""

_NOTED = FrequentStatement(
    sa.select(job_concern.c.Subject, job_concern.c.Kind).union_all(
        sa.select(*map(sa.literal_column, ("''", "'alerts go on'"))).where(
            sa.or_(
                sa.exists(sa.select(job_alert_thread.c.Thread)),
                sa.exists(sa.select(job_notice.c.Id)),
            )
        )
    )
)


async def noted(connection: AsyncConnection) -> set[tuple[str, str]]:
    """Subject and kind of each, and :data:`ALERTS_GO_ON` while they do."""
    return {(row.Subject, row.Kind) for row in await _NOTED.all(connection, {})}


async def note_issue(
    connection: AsyncConnection, subject: str, kind: str, detail: str, now: datetime
) -> bool:
    """Write down that something is wrong; whether that was new."""
    key = [job_concern.c.Subject, job_concern.c.Kind]
    row = {"Subject": subject[:200], "Kind": kind, "Since": now, "Detail": detail}
    return await insert_new(connection, job_concern, key, row)


async def remove(connection: AsyncConnection, subject: str, kind: str) -> bool:
    """It is right again, or a person has seen it; whether it was there."""
    gone = sa.delete(job_concern).where(
        job_concern.c.Subject == subject, job_concern.c.Kind == kind
    )
    return await changed(connection, gone) == 1


async def watched_since(connection: AsyncConnection, job: str) -> datetime | None:
    """Since when a job is known that has to succeed so often."""
    c = job_concern.c
    found: datetime | None = await connection.scalar(
        sa.select(c.Since).where(c.Subject == job, c.Kind == WATCHED)
    )
    return found
