"""History of the example project: recent runs of its jobs, as rows of its database."""

import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from targcc_scheduler.kernel.error_groups import fingerprint_of

_ERROR = "LedgerError: the ledger answered 503 Service Unavailable to invoice 88417"
_TRACEBACK = f"""Traceback (most recent call last):
  File "src/acme_jobs/jobs/invoice_batch.py", line 46, in execute
    await ctx.step(f"chunk-{{number}}", self.post, chunk)
  File "src/acme_jobs/jobs/invoice_batch.py", line 61, in post
    await self.ledger.post(invoice)
  File "src/acme_jobs/ledger.py", line 28, in post
    raise LedgerError(f"the ledger answered {{answer.status_code}} {{answer.reason_phrase}} to invoice {{invoice.number}}")
acme_jobs.ledger.{_ERROR}
"""


class Cursor(Protocol):
    """What an insert has inserted."""

    @property
    def lastrowid(self) -> int | None:
        """Return the new id."""


class Connection(Protocol):
    """A connection of SQLite, or one of another database with its parameters."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Execute a statement, with ``?`` for each parameter."""


@dataclass(frozen=True)
class Past:
    """A past run; without ``took`` the run is still active."""

    job: str
    at: datetime
    took: timedelta | None
    message: str = "Job completed successfully"
    by: str = "System"
    kind: str = "Recurring"
    queue: str = "default"
    state: str = "succeeded"
    attempt: int = 1


def write(database: Path, now: datetime) -> None:
    """Write the runs of a day up to `now`, and of a month for rare jobs."""
    with closing(sqlite3.connect(database)) as connection, connection:
        fill(connection, now)


def fill(connection: Connection, now: datetime) -> None:
    """Write what :func:`write` does, on a connection."""
    for run in sorted(_finished(now), key=lambda run: run.at):
        insert(connection, run)
    long_ago = _text(now - timedelta(days=40))
    # the users were created long ago
    connection.execute("UPDATE c_JobAudit SET At = ?", (long_ago,))
    for minutes, actor, action, job, detail in (
        (410, "Manual (noa)", "pause", "StockSync", "the warehouse moves its server"),
        (236, "Manual (noa)", "resume", "StockSync", None),
        (64, "CLI (deploy)", "prune", None, "180 days"),
        (21, "Manual (dana)", "trigger", "MonthlyCleanup", None),
    ):
        connection.execute(
            "INSERT INTO c_JobAudit (At, Actor, Action, JobName, Detail) VALUES (?, ?, ?, ?, ?)",
            (_text(now - timedelta(minutes=minutes)), actor, action, job, detail),
        )


def write_present(database: Path, now: datetime) -> None:
    """Write a second server and its current run; the server counts as lost after twenty seconds."""
    going_on = Past(
        "RecalculatePrices", now - timedelta(minutes=3, seconds=12), None, by="Manual (dana)",
        kind="Manual", state="running",
    )  # fmt: skip
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO c_JobServer (Id, Name, ProcessId, Queues, Workers, Version, StartedAt, HeartbeatAt)"
            " VALUES ('jobs-2:814:a', 'jobs-2', 814, 'critical,default', 7, '0.1.0', ?, ?)",
            (_text(now - timedelta(days=3)), _text(now)),
        )
        run_id = insert(connection, going_on)
        connection.execute(
            "UPDATE c_JobRun SET ServerId = 'jobs-2:814:a', ProgressDone = 1240, ProgressTotal = 2100,"
            """ ArgumentsJson = '{"currency": "USD", "as_of": "2026-01-31"}' WHERE Id = ?""",
            (run_id,),
        )
        connection.execute(
            "INSERT INTO c_JobAudit (At, Actor, Action, JobName, RunId, RemoteAddress)"
            " VALUES (?, 'Manual (dana)', 'trigger', 'RecalculatePrices', ?, '10.0.0.7')",
            (_text(going_on.at), run_id),
        )


def _finished(now: datetime) -> Iterator[Past]:
    chance = random.Random(7)
    minute = now.replace(second=0, microsecond=0)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)

    def took(least: float, most: float) -> timedelta:
        return timedelta(seconds=chance.uniform(least, most))

    for ago in range(25 * 60):
        yield Past("Heartbeat", minute - timedelta(minutes=ago), took(0.003, 0.02))
    for ago in range(5, 25 * 60, 15):
        at = minute - timedelta(minutes=minute.minute % 15 + ago - 5)
        yield Past("LowStockAlert", at, took(0.04, 0.4), "412 tools, none about to run out")
    for ago in range(2, 25 * 60, 6):
        if not 236 < ago < 410:
            rows, attempt = chance.randrange(40), 2 if chance.random() < 0.03 else 1
            at = now - timedelta(minutes=ago)
            yield Past("StockSync", at, took(4, 50), f"{rows} levels changed", attempt=attempt)
    for days in range(30):
        day = midnight - timedelta(days=days)
        for past in _nightly(day, took(20, 60), took(200, 420), chance.randrange(60, 240)):
            if past.at < now - timedelta(minutes=30):
                yield past
    for ago in sorted(chance.sample(range(10, 24 * 60), 46)):
        yield Past(
            "SendWelcomeEmail", now - timedelta(minutes=ago), took(0.3, 2), "Mail sent",
            by="API (shop)", kind="FireAndForget", queue="critical",
        )  # fmt: skip
    cleaned = Past(
        "MonthlyCleanup", now - timedelta(minutes=21), took(50, 80), "18,204 rows deleted"
    )
    yield replace(cleaned, by="Manual (dana)", kind="Manual")


def _nightly(day: datetime, short: timedelta, long: timedelta, number: int) -> Iterable[Past]:
    yield Past(
        "DailySalesReport", day.replace(hour=2), short, f"{number} orders, £{number * 61.4:,.2f}"
    )
    yield Past("NightlyBackup", day - timedelta(minutes=45), long, "orders.dump, 214 MB, 14 kept")
    if day.weekday() not in (5, 6):  # the evening before: Sunday to Thursday
        yield Past(
            "InvoiceBatch", day - timedelta(hours=8), long / 3, f"{number} posted", queue="critical"
        )


def insert(connection: Connection, run: Past) -> int:
    """Insert a run with its attempts; return the run id."""
    end = None if run.took is None else _text(run.at + run.took)
    cursor = connection.execute(
        "INSERT INTO c_JobRun (JobName, JobType, State, Queue, Priority, ArgumentsJson, ScheduledFor, DueAt, CreatedAt,"
        " StartedAt, CompletedAt, Attempt, TriggeredBy, Message, LifeLog) VALUES (?, ?, ?, ?, 0, '{}', ?, ?, ?, ?, ?, ?, ?, ?, '')",
        (run.job, run.kind, run.state, run.queue, _text(run.at) if run.kind == "Recurring" else None, _text(run.at),
         _text(run.at), _text(run.at), end, run.attempt, run.by, run.message),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    if run.took is not None:
        for attempt in range(1, run.attempt + 1):
            _insert_attempt(connection, run, cursor.lastrowid, attempt)
    return cursor.lastrowid


def _insert_attempt(connection: Connection, run: Past, run_id: int, attempt: int) -> None:
    assert run.took is not None
    well = run.state == "succeeded" and attempt == run.attempt
    connection.execute(
        "INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, DurationMs, Success, ResultMessage,"
        " ErrorMessage, StackTrace, ServerName, TriggeredBy, Attempt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'jobs-1', ?, ?)",
        (run.job, str(run_id), run.kind, _text(run.at), _text(run.at + run.took),
         round(run.took.total_seconds() * 1000), well, run.message if well else None, None if well else _ERROR,
         None if well else _TRACEBACK, run.by, attempt),
    )  # fmt: skip


def write_failure(database: Path, now: datetime) -> None:
    """Write the only problem of the project: a run that failed four times."""
    at = now - timedelta(minutes=48)
    failed = Past(
        "InvoiceBatch", at, timedelta(minutes=4), _ERROR, by="Manual (noa)", kind="Manual",
        queue="critical", state="failed", attempt=4,
    )  # fmt: skip
    with closing(sqlite3.connect(database)) as connection, connection:
        run_id = insert(connection, failed)
        why = fingerprint_of(failed.job, failed.message, _TRACEBACK)
        connection.execute("UPDATE c_JobRun SET Cause = ? WHERE Id = ?", (why.key, run_id))
        connection.execute(
            "INSERT INTO c_JobFailure (Cause, JobName, Kind, Place, Message, FirstAt) VALUES (?, ?, ?, ?, ?, ?)",
            (why.key, why.job, why.kind, why.place, why.message, _text(at)),
        )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
