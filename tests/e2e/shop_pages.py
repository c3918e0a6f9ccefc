"""Pages of the example project: a fixed clock, a seeded history, and the URL of each page of the router."""

import asyncio
import contextlib
import json
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import acme_history
import pytest
import uvicorn
from page_routes import page_paths, picture_of
from targcc_gen.render import render_project
from targcc_gen.spec import load_spec
from targcc_gen.sync import apply, make_plan
from targcc_scheduler import Scheduler, Settings, create_app, migrate
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.core.identity import Role
from targcc_scheduler.core.states import RunState
from targcc_scheduler.features.accounts import sessions, users
from targcc_scheduler.features.accounts.providers import session_cookie
from targcc_scheduler.kernel import statistics
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.runs.values import HISTORY_SHARD, Ending

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 17, 9, 42, 10, tzinfo=UTC)
ZONE = "Asia/Jerusalem"
LONG = "Reconcile" + "ABCDEFGHIJKLMNOPQRST" * 3 + "Accounts"  # 77 letters
HEBREW = "דוח \u202eלילי"  # noqa: RUF001 - Hebrew, with a mark that turns the writing around
PARAMETERS = {
    "name": "InvoiceBatch",
    "bulk_id": "1",
    "key": "1",
    "flow_id": "1",
    "batch_id": "2",
}
"""Values of URL parameters, besides values from the database."""
QUERIES = {
    "/jobs/{name}/backfill": "since=2026-03-14T00:00&until=2026-03-16T00:00",
    "/jobs/{name}/override": "schedule=30+18+*+*+SUN-THU&retries=5&reason=The+ledger+is+slow",
    "/bulk/new": "do=retry&q=state:failed",
    "/runs": "q=job:Invoice*+state:failed",
    "/login": "next=",
    "/timeline": "since=2026-03-17T06:00&hours=6",
}
"""Query strings for pages that show little without one."""
EXTRA = {
    "/runs/999999": "problem",
    f"/jobs/{LONG}": "",
    "/jobs/DailySalesReport": "",
    "/batches?state=succeeded": "",
    "/calendar?view=day&day=2026-03-27": "",  # the day of a clock change
}
"""Further URLs of a route with other content; named URLs have a picture too."""


OF_INVOICES = 'cron: "0 18 * * SUN-THU"'
CALENDARS = """
calendars:
  office:
    description: When the office is closed
    off: [friday, saturday, 2026-04-02 (Passover), 2026-04-22 (Independence Day)]
    blackouts: ["22:00-23:30 (backup)"]
"""
FOLLOWERS = """
from acme_jobs.scheduler import job


@job(after=["InvoiceBatch"], description="Mails what was posted")
async def send_invoices() -> None: ...


@job(after=[send_invoices, "MonthlyCleanup"], description="Closes the day in the ledger")
async def close_the_day() -> None: ...


@job(after=["NightlyBackup"], description="Restores the backup to look whether it can be")
async def check_backup() -> None: ...


@job(after=["MonthlyCleanup"], description="Gives the space of removed rows back")
async def compact_tables() -> None: ...


@job(after=[compact_tables], queue="critical", description="Counts what is left")
async def count_rows() -> None: ...


@job(after=[check_backup], description="Brings the backup to another building")
async def archive_backup() -> None: ...
"""
"""Jobs that follow the jobs of the example."""
FOLLOWED = (
    ("SendInvoices", "InvoiceBatch", "failed", "cancelled"),
    ("CloseTheDay", "SendInvoices", "cancelled", "cancelled"),
    ("CloseTheDay", "MonthlyCleanup", "succeeded", "cancelled"),
    ("CheckBackup", "NightlyBackup", "succeeded", "running"),
    ("ArchiveBackup", "CheckBackup", None, "awaiting"),
)
"""Dependencies of the newest runs: parent job, its outcome, and the state of the dependent."""
CLEANED = (
    ("CompactTables", NOW - timedelta(minutes=19), timedelta(minutes=11)),
    ("CountRows", NOW - timedelta(minutes=8), timedelta(minutes=5)),
)
"""Runs in sequence after the clean-up: job, time, and duration."""
BATCHES = (
    ("month end", "running", None, 1_204, 361, 3),
    ("reminders", "running", 2, 40, 12, 0),
    ("prices of spring", "succeeded", None, 208, 0, 0),
    ("letters", "failed", None, 96, 0, 4),
)
"""Batches: name, state, parent, and the numbers of total, pending and failed members."""
STEPS = {
    "import": ("ImportOrders", (), "succeeded", ""),
    "load": ("LoadFile", ("import",), "running", ""),
    "empty": ("TellSomebody", ("import",), "skipped", "when: import.count == 0"),
    "report": ("MonthReport", ("load",), "waiting", ""),
    "sorry": ("TellSomebody", ("report", "load"), "waiting", ""),
}
"""Steps of a running flow: job, preceding steps, state, reason."""
WRITTEN: dict[str, dict[str, Any]] = {
    "c_JobLimit": {
        "LimitKey": "InvoiceBatch",
        "JobName": "InvoiceBatch",
        "Most": 2,
        "IntervalMs": 600.0,
        "Burst": 5,
        "NextAt": NOW + timedelta(milliseconds=900),
        "UpdatedAt": NOW,
    },
    "c_JobBatch": {
        "Name": "MonthEnd",
        "Kind": "flow",
        "State": "running",
        "CreatedBy": "Manual (dana)",
        "CreatedAt": NOW - timedelta(minutes=3),
        "DefinitionJson": json.dumps(
            {
                name: {
                    "said": {"job": job, "after": after},
                    "job": job,
                    "queue": "default",
                    "priority": 0,
                    "given": None,
                    "state": state,
                    "why": why,
                }
                for name, (job, after, state, why) in STEPS.items()
            }
        ),
        "ArgumentsJson": '{"month": "2026-02"}',
    },
    "c_JobMaintenance": {
        "StartsAt": NOW + timedelta(hours=9),
        "EndsAt": NOW + timedelta(hours=11),
        "Queues": ",default,",
        "Reason": "A new disk",
        "PlannedBy": "Manual (dana)",
        "PlannedAt": NOW - timedelta(hours=2),
    },
    "c_JobWebhook": {
        "Shown": "https://shop.example.com/***",
        "SealedJson": "{}",
        "Events": "failed missed",
        "Jobs": "Daily* InvoiceBatch",
        "CreatedBy": "Manual (dana)",
        "CreatedAt": NOW - timedelta(days=5),
    },
    "c_JobDelivery": {
        "WebhookId": 1,
        "MessageId": "msg_1",
        "Event": "run.failed",
        "RunId": 1,
        "Body": "{}",
        "Status": "delivered",
        "Attempts": 2,
        "Answer": "200 OK",
        "CreatedAt": NOW - timedelta(hours=1),
        "EndedAt": NOW - timedelta(minutes=59),
    },
    "c_JobAlertThread": {
        "Thread": "failure:1",
        "Kind": "failure",
        "JobName": "InvoiceBatch",
        "About": "1",
        "Title": "InvoiceBatch failed",
        "FirstAt": NOW - timedelta(hours=2),
        "LastAt": NOW - timedelta(minutes=45),
        "Number": 3,
        "TargetsJson": "{}",
        "Step": 1,
    },
    "c_JobNotice": {
        "NoticeKey": "1",
        "JobName": "InvoiceBatch",
        "Channel": "email",
        "Target": "ops@example.com",
        "FromCode": False,
        "NoticeJson": '{"title": "InvoiceBatch failed"}',
        "DueAt": NOW + timedelta(minutes=40),
        "Tries": 0,
    },
}
"""A row for each table shown on pages, besides the example's history."""


def _tie(db: sqlite3.Connection) -> None:
    """Write batches with runs, and runs that wait for others."""
    for name, state, parent, *members in BATCHES:
        db.execute(
            "INSERT INTO c_JobBatch (Name, Kind, State, CreatedBy, CreatedAt, ParentId, Total, Pending, Failed)"
            " VALUES (?, 'batch', ?, 'Manual (dana)', ?, ?, ?, ?, ?)",
            (name, state, _text(NOW - timedelta(minutes=26)), parent, *members),
        )
    of_batch = {"succeeded": 840, "failed": 3, "scheduled": 360}
    for state, number in of_batch.items():
        for _ in range(number):
            _add(db, "SendWelcomeEmail", state, batch=2)
    callback = _add(db, "DailySalesReport", "awaiting")
    _link(db, callback, "batch", 2, None)
    for job, parent, ended, state in FOLLOWED:
        [(parent_id,)] = db.execute("SELECT max(Id) FROM c_JobRun WHERE JobName = ?", (parent,))
        [(run_id,)] = db.execute("SELECT max(Id) FROM c_JobRun WHERE JobName = ?", (job,))
        _link(db, run_id or _add(db, job, state), "run", parent_id, ended)


def _clean(db: sqlite3.Connection) -> None:
    """Write the runs that followed the clean-up."""
    [(run_id,)] = db.execute("SELECT max(Id) FROM c_JobRun WHERE JobName = 'MonthlyCleanup'")
    for job, at, took in CLEANED:
        run_id, before = acme_history.insert(db, acme_history.Past(job, at, took)), run_id
        _link(db, run_id, "run", before, "succeeded")


def _add(db: sqlite3.Connection, job: str, state: str, batch: int | None = None) -> int:
    began = None if state in {"awaiting", "scheduled", "cancelled"} else _text(NOW - timedelta(minutes=2))  # fmt: skip
    over = _text(NOW - timedelta(minutes=1)) if state in {"succeeded", "failed", "cancelled"} else None  # fmt: skip
    made = db.execute(
        "INSERT INTO c_JobRun (JobName, JobType, State, Queue, Priority, DueAt, CreatedAt, StartedAt, CompletedAt, Attempt, TriggeredBy,"
        " LifeLog, BatchId) VALUES (?, 'Manual', ?, 'default', 0, ?, ?, ?, ?, 1, 'Manual (dana)', '', ?)",
        (
            job,
            state,
            _text(NOW + timedelta(hours=9)),
            _text(NOW - timedelta(minutes=26)),
            began,
            over,
            batch,
        ),
    )
    assert made.lastrowid is not None
    return made.lastrowid


def _link(db: sqlite3.Connection, child: int, kind: str, parent: int, ended: str | None) -> None:
    db.execute(
        "INSERT INTO c_JobLink (ChildId, ParentKind, ParentId, Condition, Quorum, Otherwise, Outcome)"
        " VALUES (?, ?, ?, 'success', 'all', 'discard', ?)",
        (child, kind, parent, ended),
    )


class Shop:
    """The site, and a signed-in person."""

    def __init__(self, base: str, database: Path, secret: str) -> None:
        self.base = base
        self.database = database
        self.cookie = {"name": session_cookie(), "value": secret}

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=30)) as db, db:
            return db.execute(sql, values).fetchall()

    def addresses(self) -> dict[str, str]:
        """Map the name of each page's picture to its URL; pages without a picture map their URL to itself."""
        known = PARAMETERS | {
            "cause": self.rows("SELECT Cause FROM c_JobFailure")[0][0],
            "run_id": str(
                self.rows(
                    "SELECT max(Id) FROM c_JobRun WHERE State = 'failed' AND BatchId IS NULL"
                )[0][0]
            ),
        }
        urls = {}
        for path in page_paths():
            address = re.sub(r"\{(\w+)(:\w+)?\}", lambda part: known[part[1]], path)
            query = f"?{QUERIES[path]}" if path in QUERIES else ""
            urls[picture_of(path)] = f"{self.base}{address}{query}"
        return urls | {name or path: f"{self.base}{path}" for path, name in EXTRA.items()}


@contextlib.contextmanager
def shop(root: Path) -> Iterator[Shop]:
    """Serve the example project in this process."""
    example = (ROOT / "examples" / "acme" / "targcc.yaml").read_text("utf-8")
    example = example.replace(
        OF_INVOICES,
        f"{OF_INVOICES}\n    calendar: office\n    limit: {{running: 2, rate: 100/min, burst: 5}}",
    )
    written = root.with_suffix(".yaml")
    written.write_text(f"{example}\n{CALENDARS}", "utf-8")
    spec = load_spec(written)
    apply(make_plan(render_project(spec.model_copy(update={"scheduler": "package"})), root))
    (root / "src/acme_jobs/jobs/followers.py").write_text(FOLLOWERS, "utf-8")
    database = root / "shop.db"
    url = f"sqlite:///{database}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("targcc_scheduler.project._configured", None)
        patch.syspath_prepend(root / "src")
        patch.chdir(root)
        patch.setenv("TARGCC_KEEPALIVE", "false")
        patch.setenv("TARGCC_MODE", "embedded")
        import acme_jobs.scheduler  # noqa: F401 - it tells the scheduler about the project

        migrate(url)
        settings = Settings(database_url=url, jobs_package="acme_jobs.jobs")
        scheduler = Scheduler(settings, clock=ManualClock(NOW))
        app = create_app(settings, scheduler=scheduler)
        app.state.targcc_work = False
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Shop(f"http://127.0.0.1:{port}/jobs", database, _seed(scheduler, database))
        finally:
            server.should_exit = True
            thread.join(60)
            for name in [module for module in sys.modules if module.startswith("acme_jobs")]:
                del sys.modules[name]


def _seed(scheduler: Scheduler, database: Path) -> str:
    """Write the history and sign dana in; return the secret of her session."""
    acme_history.write(database, NOW)
    acme_history.write_failure(database, NOW)
    acme_history.write_present(database, NOW)
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        _clean(db)
        attempts = db.execute("SELECT JobName, StartedAt, Success, DurationMs FROM c_LoggedJob")
        endings = [
            Ending(
                job=job,
                at=datetime.fromisoformat(at).replace(tzinfo=UTC),
                outcome=RunState.SUCCEEDED if well else RunState.FAILED,
                duration_ms=took if well else None,
            )
            for job, at, well, took in attempts
        ]
        for level, message in (("info", "invoice 88416 posted"), ("warning", "the ledger is slow")):
            db.execute(
                "INSERT INTO c_JobLogLine (RunId, Attempt, At, Level, Message)"
                " SELECT max(Id), 1, ?, ?, ? FROM c_JobRun WHERE State = 'failed'",
                (_text(NOW - timedelta(minutes=45)), level, message),
            )
        db.execute(
            "INSERT INTO c_JobBulk (Action, FilterJson, OptionsJson, Status, Total, Done, Ceiling, Actor, StartedAt)"
            " VALUES ('retry', '{}', '{}', 'done', 46, 46, 0, 'Manual (dana)', ?)",
            (_text(NOW - timedelta(hours=3)),),
        )

        for table, row in WRITTEN.items():
            values = [
                _text(value) if isinstance(value, datetime) else value for value in row.values()
            ]
            places = ", ".join("?" * len(values))
            db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", values)
        _tie(db)

    async def work(connection: Any) -> str:
        await statistics.add(connection, endings, HISTORY_SHARD)
        await users.add_user(connection, "dana", "no password", Role.ADMIN, NOW)
        return await sessions.start_session(
            connection, "dana", Role.ADMIN, NOW, timedelta(days=3), device="Firefox on Linux", address="10.0.0.7"
        )  # fmt: skip

    return asyncio.run(scheduler.change(work))


def make_hostile(shop: Shop) -> None:
    """Write runs with very long and right-to-left texts."""
    error = f"Error: {'x' * 300}"
    for job in (LONG, HEBREW):
        why = fingerprint_of(job, error)
        shop.rows(
            "INSERT INTO c_JobFailure (Cause, JobName, Kind, Place, Message, FirstAt) VALUES (?, ?, ?, ?, ?, ?)",
            *(why.key, why.job, why.kind, why.place, why.message, _text(NOW)),
        )
        for state, message in (("failed", error), ("enqueued", None)):
            shop.rows(
                "INSERT INTO c_JobRun (JobName, JobType, State, Queue, Priority, ArgumentsJson, DueAt, CreatedAt, StartedAt, CompletedAt,"
                " Attempt, TriggeredBy, Message, LifeLog, Cause) VALUES (?, 'Manual', ?, ?, 0, ?, ?, ?, ?, ?, 1, ?, ?, '', ?)",
                *(job, state, HEBREW, '{"customer": "' + "y" * 200 + '"}', _text(NOW), _text(NOW)),
                *(_text(NOW), _text(NOW) if message else None, f"Manual ({HEBREW})", message),
                why.key if message else None,
            )
    shop.rows(
        "INSERT INTO c_JobLink (ChildId, ParentKind, ParentId, Condition, Quorum, Otherwise)"
        " SELECT max(Id), 'run', (SELECT max(Id) FROM c_JobRun WHERE JobName = 'InvoiceBatch'), 'success', 'all', 'discard'"
        " FROM c_JobRun WHERE JobName IN (?, ?) GROUP BY JobName",
        *(LONG, HEBREW),
    )
    shop.rows("UPDATE c_JobBatch SET Name = ? WHERE Kind = 'batch'", f"{'z' * 150} {HEBREW}")
    shop.rows("UPDATE c_JobAudit SET Detail = ?", f"{'z' * 300} {HEBREW}")
    for table, column in (
        ("c_JobMaintenance", "Reason"),
        ("c_JobWebhook", "Shown"),
        ("c_JobDelivery", "Answer"),
        ("c_JobAlertThread", "Title"),
        ("c_JobLogLine", "Message"),
    ):
        shop.rows(f"UPDATE {table} SET {column} = ?", f"{'z' * 190} {HEBREW}")
    shop.rows("UPDATE c_JobMaintenance SET StartsAt = ?", _text(NOW))


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
