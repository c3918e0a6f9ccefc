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

from ..core.errors import UnknownFailure
from ..core.states import RunState
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement, changed, insert_new, remove_some
from ..db.tables import (
    job_alert_thread,
    job_concern,
    job_failure,
    job_notice,
    job_run,
    job_server,
    job_setting,
)
from .runs.transition import is_in_state

# Failure fingerprint: exception type, place that raised the exception, and message with placeholders for varying parts.

MISSED = "Missed"
"""Kind of a missed slot: no node could start a run in time."""
RESULT = "Failure"
"""Kind of a failure without an exception, reported by the run or set by the scheduler."""

_LONGEST = 300
_TYPE = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_LOOKS_RAISED = re.compile(
    r"(Error|Exception|Warning|Exit|Interrupt|Timeout|Failed|Failure|Stop\w*)$"
)
_FRAME = re.compile(
    r'^[ \t]+File "(?P<file>[^"\n]+)", line \d+, in (?P<function>.+)$', re.MULTILINE
)
_ENDS = 100
"""Number of trailing characters in a type name that are searched for an exception suffix."""
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
    """Failure fingerprint: a job's failures with equal fields form an error group.

    Args:
        job: The job.
        kind: The exception type; without an exception :data:`RESULT` or :data:`MISSED`.
        place: File and function in the job's own code that raised the exception; empty if unknown.
        message: The message, with placeholders for numbers, times, ids, quoted texts and addresses.
    """

    job: str
    kind: str
    place: str
    message: str

    @property
    def key(self) -> str:
        """Hash the fields to the error group's key."""
        text = f"{self.job}\0{self.kind}\0{self.place}\0{self.message}"
        return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def fingerprint_of(job: str, message: str | None, trace: str | None = None) -> Fingerprint:
    """Compute a failure's fingerprint from the run's message and the last attempt's traceback."""
    line = _last_line(trace) if trace else ""
    match = _TYPE.match(line) or _TYPE.match(_first_line(message))
    if match is None or not (trace or _LOOKS_RAISED.search(match["kind"][-_ENDS:])):
        return Fingerprint(job, RESULT, _place(trace), normalised(_first_line(message)))
    return Fingerprint(job, match["kind"][:200], _place(trace), normalised(match["text"] or ""))


def missed(job: str) -> Fingerprint:
    """Return the fingerprint for a job's missed slots."""
    return Fingerprint(job, MISSED, "", "its slot passed while nobody could start it")


def normalised(text: str) -> str:
    """Replace varying parts with placeholders, and shorten the message to 300 characters."""
    text = text[: _LONGEST * 4]
    for pattern, placeholder in _VARIES:
        text = pattern.sub(placeholder, text)
    return " ".join(text.split())[:_LONGEST]


def _last_line(trace: str) -> str:
    """Return the traceback's last unindented line that looks like an exception; empty if no line does."""
    lines = [line for line in trace.splitlines() if line[:1].strip()]
    named = (line for line in reversed(lines) if _TYPE.match(line) and not line.endswith(":"))
    return next(named, "")


def _first_line(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "")


def _place(trace: str | None) -> str:
    """Return file and function from the deepest frame outside libraries; without such a frame, from the deepest frame.

    Line numbers are left out because each release moves lines.
    """
    frames = [(match["file"], match["function"]) for match in _FRAME.finditer(trace or "")]
    own = [frame for frame in frames if not any(part in frame[0] for part in _ELSEWHERE)] or frames
    if not own:
        return ""
    file, function = own[-1]
    short = "/".join(re.split(r"[\\/]", file)[-2:])
    return f"{short} in {function}"[:300]


# Error groups: first occurrence of a fingerprint, and how people handled the runs.

_NEWEST = 500
_SINCE = "causes since"
"""Setting with the time since when failures have fingerprints: the first :func:`give_causes` call."""
_BEGUN = sa.select(job_setting.c.UpdatedAt).where(job_setting.c.Name == _SINCE)
_FAILED = (
    sa.select(job_run.c.Id)
    .where(is_in_state(RunState.FAILED))
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
    """Failed run with its fingerprint.

    Args:
        cause: The fingerprint.
        at: When the run ended.
        run_id: The run.
        server_id: The run's node. A new error group records this node's release.
    """

    cause: Fingerprint
    at: datetime
    run_id: int | None = None
    server_id: str | None = None


async def note(connection: AsyncConnection, seen: Iterable[Seen]) -> None:
    """Insert an error group for each new fingerprint, with one statement per fingerprint."""
    first: dict[str, Seen] = {}
    for failure in seen:
        first.setdefault(failure.cause.key, failure)
    for key in sorted(first):  # the same order on each node avoids deadlocks
        failure = first[key]
        statement = known.of(connection).insert_ignore(job_failure, [job_failure.c.Cause])
        release = sa.select(job_server.c.Release).where(job_server.c.Id == failure.server_id)
        await connection.execute(
            statement.values(
                Cause=key,
                JobName=failure.cause.job,
                Kind=failure.cause.kind,
                Place=failure.cause.place or None,
                Message=failure.cause.message or None,
                FirstAt=failure.at,
                FirstRunId=failure.run_id,
                FirstRelease=release.scalar_subquery() if failure.server_id else None,
            )
        )


def is_open(cause: str | None = None) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for an open run: failed or missed, not handled, and with ``cause`` in this error group."""
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
    """Mark an error group's open runs as handled and return their number. With ``run_ids``, mark only these runs.

    Raises:
        UnknownFailure: No error group has this cause.
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
    """Lock matching runs in id order, as all code that locks runs does, and return the condition that a run is locked."""
    runs = sa.select(job_run.c.Id).where(*where).order_by(job_run.c.Id).with_for_update()
    return known.of(connection).among(job_run.c.Id, list(await connection.scalars(runs)))


async def handled_as(
    connection: AsyncConnection, run_id: int, by: str, how: str, now: datetime
) -> None:
    """Mark a failed run as handled: store the handler, the instant and the action."""
    await connection.execute(
        sa.update(job_run)
        .where(job_run.c.Id == run_id, job_run.c.Cause.is_not(None))
        .values(HandledAt=now, HandledBy=by[:100], Handling=how[:500])
    )


async def reopen(connection: AsyncConnection, run_ids: Sequence[int]) -> int:
    """Reopen handled runs and return their number."""
    among = known.of(connection).among(job_run.c.Id, run_ids)
    again = sa.update(job_run).where(await _locked(connection, among), job_run.c.Cause.is_not(None))
    undone = again.values(HandledAt=None, HandledBy=None, Handling=None)
    return await changed(connection, undone)


async def change(connection: AsyncConnection, cause: str, **values: Any) -> None:
    """Set columns in an error group's row, such as snooze, mute, assignee or ticket.

    Raises:
        UnknownFailure: No error group has this cause.
    """
    await require(connection, cause)
    await connection.execute(
        sa.update(job_failure).where(job_failure.c.Cause == cause).values(**values)
    )


async def remove_old(connection: AsyncConnection, before: datetime, _: datetime, most: int) -> int:
    """Delete up to ``most`` error groups that began before an instant and have no runs left, and return their number; keep muted groups."""
    has_runs = sa.exists().where(job_run.c.Cause == job_failure.c.Cause)
    old = job_failure.c.FirstAt < before, job_failure.c.MutedAt.is_(None), ~has_runs
    return await remove_some(connection, job_failure, *old, most=most)


async def require(connection: AsyncConnection, cause: str) -> Any:
    """Return an error group's row.

    Raises:
        UnknownFailure: No error group has this cause.
    """
    query = sa.select(job_failure).where(job_failure.c.Cause == cause)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise UnknownFailure(f"there is no failure {cause!r}: targcc inbox list shows them")
    return row


async def lacking(connection: AsyncConnection) -> bool:
    """Return whether :func:`give_causes` has work to do."""
    return any(row.first or row.runs for row in await _LACKING.all(connection, {}))


async def give_causes(connection: AsyncConnection, now: datetime) -> int:
    """Add fingerprints to runs that a node with the previous release has failed, and return the number of runs.

    Only the newest 500 failures are checked. Failures from before the first call stay without a fingerprint, so such
    failures are not open.
    """
    c = job_run.c
    first = known.of(connection).insert_ignore(job_setting, [job_setting.c.Name])
    await connection.execute(first.values(Name=_SINCE, Value="", UpdatedAt=now))
    rows = await connection.execute(
        sa.select(c.Id, c.JobName, c.Message, c.CompletedAt, c.ServerId)
        .where(_LACKS)
        .order_by(c.Id)
    )
    seen = [
        Seen(fingerprint_of(row.JobName, row.Message), row.CompletedAt, row.Id, row.ServerId)
        for row in rows
    ]
    await note(connection, seen)
    for failure in seen:
        await connection.execute(
            sa.update(job_run).where(c.Id == failure.run_id).values(Cause=failure.cause.key)
        )
    return len(seen)


# Recorded issues besides failures: inserted once when found, so that people are notified once; deleted when resolved.

NODE, ALERT, WATCHED = "node", "alert", "watched"
"""Kinds in ``job_concern``: a lost node; an undelivered alert; since when a job with ``at_least`` is known,
which is no issue. ``features/triage/sla.py`` defines the other kinds."""

ALERTS_GO_ON = ("", "alerts go on")
"""Marker in the result of :func:`noted` while an alert thread is open or a notice is unsent."""

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
    """Return each recorded issue's subject and kind, and :data:`ALERTS_GO_ON` while alerts go on."""
    return {(row.Subject, row.Kind) for row in await _NOTED.all(connection, {})}


async def note_issue(
    connection: AsyncConnection, subject: str, kind: str, detail: str, now: datetime
) -> bool:
    """Record an issue and return whether the issue is new."""
    key = [job_concern.c.Subject, job_concern.c.Kind]
    row = {"Subject": subject[:200], "Kind": kind, "Since": now, "Detail": detail}
    return await insert_new(connection, job_concern, key, row)


async def remove(connection: AsyncConnection, subject: str, kind: str) -> bool:
    """Delete an issue that is resolved or seen, and return whether the issue was recorded."""
    gone = sa.delete(job_concern).where(
        job_concern.c.Subject == subject, job_concern.c.Kind == kind
    )
    return await changed(connection, gone) == 1


async def watched_since(connection: AsyncConnection, job: str) -> datetime | None:
    """Return since when a job with ``at_least`` is known, or ``None``."""
    c = job_concern.c
    since: datetime | None = await connection.scalar(
        sa.select(c.Since).where(c.Subject == job, c.Kind == WATCHED)
    )
    return since
