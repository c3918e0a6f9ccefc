"""Every query of pages and API uses an index, on both databases."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from targcc_scheduler import Settings
from targcc_scheduler.db.tables import (
    job_audit,
    job_batch,
    job_limit,
    job_log_line,
    job_run,
    logged_job,
)
from targcc_scheduler.features.audit import queries as audit_queries
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.queries import runs, system
from targcc_scheduler.kernel.queries.runs import changes_since
from web_fixtures import Site, running

LONG = ("c_LoggedJob", "c_JobRun", "c_JobLogLine", "c_JobAudit")
_LONG = {name.lower() for name in LONG}
_OF_FEW = {
    f"ix_c_jobrun_{name}" for name in ("unknownsince", "open", "cause", "retryof", "limitkey")
}
"""Indexes with few rows, which may be scanned whole."""
ROWS = 3000
CAUSE = fingerprint_of("DailyReport", "ValueError: 7")
AGO = (datetime.now(UTC) - timedelta(minutes=ROWS // 2)).isoformat(timespec="seconds")
LATER = (datetime.now(UTC) - timedelta(minutes=ROWS // 2 - 15)).isoformat(timespec="seconds")
PAGES = (
    "/jobs",
    "/jobs/jobs",
    "/jobs/jobs/DailyReport",
    "/jobs/runs",
    "/jobs/runs?before=1000",
    "/jobs/runs?state=failed",
    "/jobs/runs?state=failed&job=DailyReport",
    "/jobs/runs?job=SyncStock",
    "/jobs/runs?q=nothing",
    "/jobs/runs?q=job%3ADaily*+state%3Afailed,missed",
    "/jobs/runs?q=job%3ADaily*+nothing+took%3A%3E5m+node%3Aweb-2+arg.customer%3A42",
    "/jobs/inbox?q=nothing",
    "/jobs/runs?since={ago}&until={later}",
    "/jobs/runs/1500",
    "/jobs/inbox",
    "/jobs/inbox?show=all",
    "/jobs/inbox/{cause}",
    "/jobs/bulk",
    "/jobs/runs?cause={cause}&open=1",
    "/jobs/audit",
    "/jobs/audit?before=1000",
    "/jobs/audit?job=DailyReport&since={ago}",
    "/jobs/system",
    "/jobs/calendar",
    "/jobs/timeline",
    "/jobs/timeline?since={ago}&hours=12",
    "/jobs/timeline?job=DailyReport&since={ago}",
    "/jobs/timeline?since={ago}&hours=48",
    "/jobs/heatmap",
    "/jobs/heatmap?job=DailyReport",
    "/jobs/calendars",
    "/jobs/webhooks",
    "/jobs/batches",
    "/jobs/batches?state=running&before=9",
    "/jobs/batches/1",
    "/jobs/runs?q=batch%3A1",
    "/jobs/runs?q=batch%3A1+state%3Afailed",
    "/jobs/limits",
    "/jobs/limits?waiting=1&key=x",
    "/jobs/runs/1500/live",
    "/jobs/batches/1/live",
    "/jobs/runs/1500/lines",
)
ENDPOINTS = (
    "/api/jobs",
    "/api/jobs/DailyReport",
    "/api/jobs/DailyReport/history",
    "/api/jobs/DailyReport/history?cursor={ago}~1500",
    "/api/jobs/DailyReport/stats?days=366",
    "/api/runs",
    "/api/runs?state=failed&state=missed&job=DailyReport&before=1000",
    "/api/runs?state=failed&state=missed",
    "/api/runs?since={ago}",
    "/api/runs/1500",
    "/api/runs/1500/log",
    "/api/runs/1500/log?cursor=1000",
    "/api/inbox",
    "/api/runs/1500/why",
    "/api/jobs/DailyReport/why",
    "/api/timeline?since={ago}",
    "/api/calendar",
    "/api/heatmap",
    "/api/heatmap?job=DailyReport",
    "/api/calendars",
    "/api/maintenance",
    "/api/webhooks",
    "/api/limits?waiting=true",
    "/api/inbox/{cause}",
    "/api/inbox?q=nothing",
    "/api/releases",
    "/api/runs/1500/log.txt",
    "/api/runs/1500/events",
    "/api/batches/1/events",
    "/api/jobs/DailyReport/trend",
    "/api/queues",
    "/api/servers",
    "/api/audit",
    "/api/audit?job=DailyReport",
    "/api/audit?run_id=1500",
    "/api/audit?cursor=1000",
    "/api/chains",
    "/api/batches",
    "/api/batches/1",
    "/metrics",
)


def rows() -> Iterator[tuple[sa.Table, dict[str, Any]]]:
    now = datetime.now(UTC)
    for n in range(ROWS):
        at = now - timedelta(minutes=ROWS - n)
        job = {0: "DailyReport", 1: "SyncStock", 2: "MailUser"}.get(n % 100, f"Job{n % 100}")
        state = "failed" if n % 50 == 0 else "succeeded"
        run = {"JobName": job, "JobType": "Recurring", "State": state, "Queue": "default"}
        times = {"DueAt": at, "CreatedAt": at, "StartedAt": at, "CompletedAt": at}
        cause = CAUSE.key if state == "failed" else None
        more = {"Cause": cause, "BatchId": 1 if n % 10 == 0 else None}
        yield job_run, run | times | {"TriggeredBy": "System"} | more
        attempt = {"JobName": job, "JobType": "Recurring", "JobId": str(n + 1)}
        result = {"StartedAt": at, "CompletedAt": at, "Success": state == "succeeded"}
        yield logged_job, attempt | result | {"DurationMs": n, "CreatedAt": at}
        yield job_audit, {"At": at, "Actor": "CLI", "Action": "pause", "JobName": job, "RunId": n}
        line = {"RunId": n // 2, "Attempt": 1, "At": at, "Level": "INFO", "Message": "so"}
        yield job_log_line, line


async def fill(db: Any) -> None:
    await error_groups.note(db, [error_groups.Seen(CAUSE, datetime.now(UTC))])
    rows_by_table: dict[sa.Table, list[dict[str, Any]]] = {}
    for table, row in rows():
        rows_by_table.setdefault(table, []).append(row)
    batch = {"Name": "month end", "Kind": "batch", "State": "failed", "CreatedBy": "test"}
    over = {"CreatedAt": datetime.now(UTC), "CompletedAt": datetime.now(UTC)}
    await db.execute(job_batch.insert().values(batch | over))
    key = {"LimitKey": "x", "JobName": "MailUser", "UpdatedAt": datetime.now(UTC)}
    await db.execute(job_limit.insert().values(key))
    for table, values in rows_by_table.items():
        await db.execute(table.insert(), values)


async def follow_report() -> None: ...


@pytest.fixture
async def long_site(migrated_url: str) -> AsyncIterator[Site]:
    """A site with a long history."""
    settings = Settings(database_url=migrated_url, heartbeat_seconds=5)
    async with running(settings, work=False) as site:
        site.scheduler._registry.add(define(follow_report, after=["DailyReport"]))
        await site.change(fill)
        if site.scheduler.store.dialect.name == "postgresql":  # nothing runs ANALYZE on SQLite
            await site.change(lambda db: db.execute(sa.text("ANALYZE")))
        yield site


class Asked:
    """Record the statements executed on the query connections, with their query plans."""

    def __init__(self) -> None:
        self.statements: dict[str, Any] = {}

    def note(self, _: Any, _cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")) and "set_config" not in statement:
            self.statements.setdefault(statement, parameters)

    async def offences(self, site: Site) -> list[str]:
        async def explain(db: Any) -> list[str]:
            offences = []
            for statement, parameters in list(self.statements.items()):
                if not any(name in statement for name in LONG):
                    continue
                look = _sqlite if db.dialect.name == "sqlite" else _postgresql
                offences += [
                    f"{what}\n{statement}" for what in await look(db, statement, parameters)
                ]
            return offences

        return await site.change(explain)


async def _sqlite(db: Any, statement: str, parameters: Any) -> list[str]:
    plan = await db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    steps = [row.detail for row in plan]
    sorts = any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
    scans = [step for step in steps if re.match(rf"SCAN ({'|'.join(LONG)})\b", step)]
    return scans if statement.count("LIMIT") < 1 + sorts else []


async def _postgresql(db: Any, statement: str, parameters: Any) -> list[str]:
    await db.exec_driver_sql("SET LOCAL enable_seqscan = off")
    plan = await db.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    output = plan.scalar()
    [tree] = json.loads(output) if isinstance(output, str) else output
    empty = set(await db.scalars(sa.text("SELECT relname FROM pg_class WHERE reltuples = 0")))
    scans = _scans(tree["Plan"], limited=False, search="LIKE" in statement)
    return [scan for scan in scans if scan.rpartition(" ")[2] not in empty]


def _scans(node: dict[str, Any], *, limited: bool, search: bool) -> Iterator[str]:
    """Yield the scans of a long table without a bounding condition or LIMIT. A sort reads every row below it, a filter may.

    A text search is bounded by its time limit alone.
    """
    kind = node["Node Type"]
    if kind == "Limit":
        limited = True
    elif kind in {"Sort", "Aggregate", "Hash", "WindowAgg"}:
        limited = False
    few = node.get("Index Name") in _OF_FEW
    bounded = few or "Index Cond" in node or "Recheck Cond" in node
    in_order = limited and "Index" in kind and (search or "Filter" not in node)
    table = re.sub(r"^(c_loggedjob)_(\d+_\d+|other)$", r"\1", node.get("Relation Name", ""))
    if table in _LONG and not bounded and not in_order:
        yield f"{kind} of {node['Relation Name']}"
    for part in node.get("Plans", ()):
        yield from _scans(part, limited=limited, search=search)


@pytest.fixture
def asked() -> Iterator[Asked]:
    recorder = Asked()
    event.listen(sa.Engine, "before_cursor_execute", recorder.note)
    yield recorder
    event.remove(sa.Engine, "before_cursor_execute", recorder.note)


@pytest.mark.slow
async def test_no_question_reads_a_long_table_through(long_site: Site, asked: Asked):
    viewer = await long_site.user("operator")
    program = await long_site.program("operator")
    asked.statements.clear()
    times = {"ago": AGO.replace("+", "%2B"), "later": LATER.replace("+", "%2B"), "cause": CAUSE.key}
    for client, paths in ((viewer.client, PAGES), (program, ENDPOINTS)):
        for path in paths:
            answer = await client.get(path.format(**times))
            assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
    await long_site.scheduler.read(lambda db: changes_since(db, datetime.fromisoformat(AGO)))
    for query in (system.history, system.known_jobs, audit_queries.audit, runs.waiting_runs):
        await long_site.scheduler.read(query)  # as commands read
    assert len(asked.statements) > 25
    offences = await asked.offences(long_site)
    assert not offences, "\n\n".join(offences)


@pytest.mark.slow
async def test_a_question_that_reads_a_table_through_is_named(long_site: Site, asked: Asked):
    await long_site.scheduler.read(
        lambda db: db.execute(sa.select(sa.func.count()).select_from(logged_job))
    )
    await long_site.scheduler.read(
        lambda db: db.execute(sa.select(job_run.c.Id).order_by(job_run.c.TriggeredBy).limit(3))
    )
    offences = await asked.offences(long_site)
    assert len({offence.partition("\n")[2] for offence in offences}) == 2
