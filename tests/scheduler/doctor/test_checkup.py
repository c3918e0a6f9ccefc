"""Findings of the doctor for code, settings and tables, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from migration_rig import execute
from targcc_scheduler import Settings
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.migrations.upgrade import head_revision
from targcc_scheduler.db.tables import (
    ACTIVE_NODE,
    job_alert,
    job_owner,
    job_run,
    job_schedule,
    job_server,
    job_setting,
    logged_job,
)
from targcc_scheduler.features.doctor.checkup import checkup
from targcc_scheduler.features.doctor.findings import Finding

NOW = datetime.now(UTC)


async def look(settings: Settings) -> list[Finding]:
    return await checkup(settings, seconds=10)


def about(found: list[Finding], check: str, level: str = "") -> list[str]:
    return [
        finding.what
        for finding in found
        if finding.check == check and finding.level == (level or finding.level)
    ]


def insert(url: str, table: sa.Table, *rows: dict[str, Any]) -> None:
    with sync_engine(url) as engine, engine.begin() as connection:
        for row in rows:
            connection.execute(table.insert().values(row))


def server(name: str = "blue", **values: Any) -> dict[str, Any]:
    row = {"Id": f"{name}:1", "Name": name, "ProcessId": 1, "Queues": "default", "Workers": 5}
    return row | {"Version": "1", "StartedAt": NOW, "HeartbeatAt": datetime.now(UTC)} | values


def attempt(days: float, job: str = "Daily") -> dict[str, Any]:
    at = NOW - timedelta(days=days)
    return {"JobName": job, "JobType": "Recurring", "StartedAt": at, "Success": True}


def waiting(job: str = "Gone", **values: Any) -> dict[str, Any]:
    row = {"JobName": job, "JobType": "Manual", "State": "enqueued", "Queue": "default"}
    times = {"DueAt": NOW, "CreatedAt": NOW, "UnknownSince": NOW - timedelta(hours=1)}
    return row | times | {"TriggeredBy": "System"} | values


@pytest.fixture
def settings(migrated_url: str, jobs_package: str) -> Settings:
    return Settings(database_url=migrated_url, jobs_package=jobs_package)


async def test_where_all_is_well_nothing_is_wrong(settings: Settings):
    insert(settings.database_url, job_server, server())
    findings = await look(settings)
    assert [finding for finding in findings if finding.level == "fail"] == []
    assert about(findings, "nodes") == ["1 node up: blue:1"]
    assert about(findings, "jobs") == ["1 job in the code"]
    assert about(findings, "tables") == [f"the tables are at revision {head_revision()}"]


async def test_the_worst_comes_first(settings: Settings):
    insert(settings.database_url, job_run, waiting())
    levels = [finding.level for finding in await look(settings)]
    assert levels == sorted(levels, key=["fail", "warn", "ok"].index)
    assert levels[0] == "fail"


async def test_a_change_of_sides_that_is_not_finished(settings: Settings):
    owned = {"JobName": "Daily", "Owner": "old", "Since": NOW - timedelta(hours=1)}
    row = owned | {"ChangedBy": "dana", "OldKey": "7", "Step": "returning"}
    insert(settings.database_url, job_owner, row)
    [finding] = [candidate for candidate in await look(settings) if candidate.check == "cut-over"]
    assert finding.what.startswith("Daily is on neither side")
    assert 'repeat targcc cutover back --job "Daily"' in finding.advice


async def test_nobody_is_up(settings: Settings):
    assert about(await look(settings), "nodes") == ["no node is up: nothing runs"]


async def test_nodes_that_are_silent_stuck_or_off(settings: Settings):
    silent = server("red", HeartbeatAt=NOW - timedelta(minutes=3))
    stuck = server("green", StuckSince=NOW, StuckIn="SlowJob (run 7)\nin sleep")
    off = server("blue", ClockOffsetMs=-61_000)
    insert(settings.database_url, job_server, silent, stuck, off)
    findings = await look(settings)
    failed, warned = about(findings, "nodes", "fail"), about(findings, "nodes", "warn")
    assert any("red:1 has said nothing for " in text for text in failed)
    assert any("green:1: alive, stuck in SlowJob (run 7) since" in text for text in failed)
    assert warned == ["node blue:1: its clock is 61.0 s behind the database's"]


@pytest.fixture
def one_active_node(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a database where one node at a time runs jobs."""
    monkeypatch.setattr(known.for_url(settings.database_url), "has_lease", True)


@pytest.mark.parametrize(
    ("holder", "level", "message"),
    [
        ("red:1", "ok", "the active node is red:1; standby: blue:1"),
        ("gone:1", "warn", "no node is active: red:1 and blue:1 stand by"),
        ("", "warn", "no node is active: red:1 and blue:1 stand by"),
    ],
)
@pytest.mark.usefixtures("one_active_node")
async def test_the_active_node_and_its_standbys(settings: Settings, holder, level, message):
    page_node = server("web", Workers=0, StartedAt=NOW + timedelta(seconds=2))
    rows = server("red"), server("blue", StartedAt=NOW + timedelta(seconds=1)), page_node
    insert(settings.database_url, job_server, *rows)
    if holder:
        row = {"Name": ACTIVE_NODE, "Value": f"0f2c {holder}", "UpdatedAt": NOW}
        insert(settings.database_url, job_setting, row)
    assert about(await look(settings), "lease", level) == [message]


async def test_runs_that_no_node_knows(settings: Settings):
    insert(settings.database_url, job_run, waiting(), waiting(), waiting("Other"))
    [first, second] = about(await look(settings), "runs", "fail")
    assert first.startswith("2 runs of Gone: no node knows the job")
    assert second.startswith("1 run of Other")


async def test_a_row_of_alerts_that_refers_to_a_secret(settings: Settings):
    url = "https://hooks.example.com/very-secret-word"
    alert = {"JobName": "Daily", "SlackWebhook": url}
    insert(
        settings.database_url, job_alert, alert, {"JobName": "Wrong", "TeamsWebhook": "${TEAMS}"}
    )
    findings = await look(settings)
    [text] = about(findings, "alerts", "fail")
    assert text.endswith("looked up there: Wrong")
    assert "very-secret-word" not in repr(findings)


async def test_a_schedule_that_nobody_handles(settings: Settings):
    row = {"JobName": "Daily", "ScheduleText": "0 2 * * *", "LastSlot": NOW - timedelta(days=3)}
    insert(settings.database_url, job_schedule, row)
    [text] = about(await look(settings), "schedules", "fail")
    assert text.startswith("Daily was due at")


async def test_a_paused_job_is_not_late(settings: Settings):
    row = {"JobName": "Daily", "ScheduleText": "0 2 * * *", "LastSlot": NOW - timedelta(days=3)}
    insert(settings.database_url, job_schedule, row | {"PausedAt": NOW, "PausedBy": "me"})
    assert about(await look(settings), "schedules") == []


async def test_schedules_of_jobs_that_are_gone(settings: Settings):
    insert(settings.database_url, job_schedule, {"JobName": "Gone", "ScheduleText": "0 2 * * *"})
    assert about(await look(settings), "schedules") == [
        "schedules of jobs that are not in this code: Gone"
    ]


async def test_retention_that_does_not_keep_up(settings: Settings):
    settings = settings.model_copy(update={"history_keep": 1})
    insert(settings.database_url, logged_job, attempt(200), attempt(1))
    [text] = about(await look(settings), "retention", "warn")
    assert f"the oldest is of {NOW - timedelta(days=200):%Y-%m-%d}" in text


async def test_what_is_kept_whatever_its_age_is_no_arrear(settings: Settings):
    insert(settings.database_url, logged_job, attempt(200), attempt(150))
    [text] = about(await look(settings), "retention", "ok")
    assert "newest 100 of each job" in text


@pytest.mark.sqlite  # SQL Server has no index of texts
@pytest.mark.slow
@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
async def test_an_index_of_texts_that_this_sqlite_could_not_make(settings: Settings):
    insert(settings.database_url, job_run, waiting())
    execute(settings.database_url, "DROP TABLE c_JobText")
    [finding] = [candidate for candidate in await look(settings) if candidate.check == "search"]
    assert finding.what.startswith("this SQLite cannot index texts")
    statements = finding.advice.partition("create the index: ")[2].split("; ")
    execute(settings.database_url, *statements)
    [message] = about(await look(settings), "search")
    assert message.startswith("texts of about 1 run of earlier releases are not indexed yet")


async def test_statistics_that_are_still_counted(settings: Settings):
    row = {"Name": "uncounted runs", "Value": "500", "UpdatedAt": NOW}
    insert(settings.database_url, job_setting, row)
    assert about(await look(settings), "statistics", "warn") == [
        "statistics lack about 500 rows of an earlier release"
    ]


async def test_tables_of_an_earlier_release(settings: Settings):
    execute(settings.database_url, "UPDATE c_AlembicVersion SET version_num = '0001'")
    findings = await look(settings)
    assert about(findings, "tables", "warn")[0].startswith("the tables are at revision 0001, older")
    assert about(findings, "nodes") == []  # the table cannot be read
    by_hand = settings.model_copy(update={"migrate_on_start": False})
    assert about(await look(by_hand), "tables", "fail")


async def test_tables_of_a_newer_release(settings: Settings):
    execute(settings.database_url, "UPDATE c_AlembicVersion SET version_num = '9001'")
    [text] = about(await look(settings), "tables", "fail")
    assert "at revision 9001, which a newer release has made" in text


@pytest.mark.sqlite  # no unreleased build was for SQL Server
async def test_tables_of_an_unreleased_build(settings: Settings):
    execute(settings.database_url, "UPDATE c_AlembicVersion SET version_num = '0007'")
    [message] = about(await look(settings), "tables", "fail")
    assert "first run targcc migrate of the last such build" in message


@pytest.mark.slow
async def test_a_look_changes_nothing(settings: Settings):
    insert(settings.database_url, job_server, server())
    before = everything(settings.database_url)
    await look(settings)
    assert everything(settings.database_url) == before


def everything(url: str) -> dict[str, list[Any]]:
    with sync_engine(url) as engine, engine.connect() as connection:
        schema = sa.MetaData()
        schema.reflect(connection)
        return {
            name: [tuple(row) for row in connection.execute(sa.select(table))]
            for name, table in schema.tables.items()
        }
