"""Findings of the doctor for a broken, locked or read-only database, on both databases."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from targcc_scheduler import Settings
from targcc_scheduler.core.secrets import Seals
from targcc_scheduler.db import locks
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_run, job_server
from targcc_scheduler.features.doctor import tables as doctor_tables
from targcc_scheduler.features.doctor.checkup import checkup
from targcc_scheduler.features.doctor.findings import Finding
from test_checkup import insert, server, waiting


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, jobs_package: str) -> Settings:
    url = request.getfixturevalue(f"migrated_{request.param}_url")
    return Settings(database_url=url, jobs_package=jobs_package)


@pytest.fixture
def server_settings(migrated_postgresql_url: str, jobs_package: str) -> Settings:
    return Settings(database_url=migrated_postgresql_url, jobs_package=jobs_package)


@pytest.fixture
def file_settings(migrated_sqlite_url: str, jobs_package: str) -> Settings:
    return Settings(database_url=migrated_sqlite_url, jobs_package=jobs_package)


def execute(settings: Settings, *statements: str) -> None:
    with sync_engine(settings.database_url) as engine, engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


async def failed(settings: Settings, check: str) -> list[Finding]:
    findings = await checkup(settings, seconds=10)
    return [finding for finding in findings if (finding.check, finding.level) == (check, "fail")]


async def test_a_database_as_it_should_be_has_no_fault(settings):
    insert(settings.database_url, job_server, server())
    findings = await checkup(settings, seconds=10)
    assert [finding for finding in findings if finding.level == "fail"] == []
    texts = {finding.check: finding.what for finding in findings if finding.level == "ok"}
    assert texts["schema"] == "every table, column, key and index is there"
    assert texts["write"] == "a row could be written (and was rolled back)"


async def test_a_table_that_was_dropped(settings):
    execute(settings, "DROP TABLE c_JobOverride")
    [finding] = await failed(settings, "schema")
    assert finding.what == "a table is missing: c_JobOverride"


async def test_a_column_that_was_dropped(settings):
    execute(settings, "ALTER TABLE c_JobRun DROP COLUMN Trace")
    [finding] = await failed(settings, "schema")
    assert finding.what == "a column is missing in c_JobRun: Trace"


@pytest.mark.sqlite  # DROP INDEX of SQL Server names the table
@pytest.mark.slow
@pytest.mark.parametrize("name", ["UQ_c_JobRun_Slot", "IX_c_LoggedJob_JobId"])
async def test_an_index_that_was_dropped_is_named_with_what_makes_it(settings, name):
    execute(settings, f"DROP INDEX {name}")
    [finding] = await failed(settings, "schema")
    assert finding.what.startswith(f"the index {name} of c_")
    execute(settings, finding.advice.removeprefix("make it: "))
    assert await failed(settings, "schema") == []


async def test_a_key_that_was_dropped(server_settings):
    execute(
        server_settings,
        "ALTER TABLE c_JobQueue DROP CONSTRAINT pk_c_jobqueue",
        "ALTER TABLE c_JobAlert DROP CONSTRAINT uq_c_jobalert_jobname",
    )
    findings = await failed(server_settings, "schema")
    assert {finding.what for finding in findings} == {
        "the primary key of c_JobQueue (Name) is missing",
        "the index UQ_c_JobAlert_JobName of c_JobAlert is missing",
    }
    execute(server_settings, *[finding.advice.removeprefix("make it: ") for finding in findings])
    assert await failed(server_settings, "schema") == []


async def test_a_check_that_cannot_be_made_is_a_failure_with_its_cause(settings, monkeypatch):
    async def clock(_look: object) -> list[Finding]:
        raise ValueError("no such hour")

    monkeypatch.setattr(doctor_tables, "CHECKS", (clock,))
    [finding] = await failed(settings, "clock")
    assert finding.what == "this could not be looked at: no such hour"


def change_bytes(settings: Settings, change: Callable[[bytearray], None]) -> Path:
    """Change bytes of a database file, like a broken disk."""
    file = Path(settings.database_url.removeprefix("sqlite:///"))
    execute(settings, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    change(content)
    file.write_bytes(content)
    return file


def damage(content: bytearray, first_page: int) -> None:
    for page in range(first_page, len(content) // 4096, 2):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200


def make_unwritable(content: bytearray) -> None:
    content[18] = 9  # a file format that this SQLite opens read-only


@pytest.mark.sqlite  # it changes a file of SQLite
@pytest.mark.parametrize("first_page", [40, 116], ids=["everywhere", "in one page"])
async def test_a_damaged_file(file_settings, first_page):
    file = change_bytes(file_settings, lambda content: damage(content, first_page))
    findings = await failed(file_settings, "file")
    assert any(finding.what.startswith(f"{file} is damaged: ") for finding in findings)


@pytest.mark.sqlite  # it changes a file of SQLite
async def test_a_read_only_file(file_settings):
    change_bytes(file_settings, make_unwritable)
    [finding] = await failed(file_settings, "write")
    assert finding.what.startswith("the database is read-only: attempt to write a readonly")


async def test_a_read_only_server(server_settings):
    name = sa.make_url(server_settings.database_url).database
    execute(server_settings, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    [finding] = await failed(server_settings, "write")
    assert finding.what.startswith("the database is read-only: cannot execute INSERT")


async def test_a_user_who_may_only_read(server_settings):
    url = sa.make_url(server_settings.database_url)
    reader = f"reader_{url.database}"
    execute(
        server_settings,
        f"CREATE ROLE {reader} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}",
    )
    try:
        own = url.set(username=reader, password=None).render_as_string(hide_password=False)
        findings = await failed(server_settings.model_copy(update={"database_url": own}), "rights")
        texts = {finding.what.partition(" on ")[0] for finding in findings}
        lacks = ("DELETE", "INSERT", "UPDATE", "USAGE")
        assert texts == {f"the user {reader} lacks {right}" for right in lacks}
        execute(server_settings, *[finding.advice.partition(": ")[2] for finding in findings])
        assert (
            await failed(server_settings.model_copy(update={"database_url": own}), "rights") == []
        )
    finally:
        execute(server_settings, f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")


async def test_a_sequence_behind_its_table(server_settings):
    insert(server_settings.database_url, job_run, waiting(Id=41))
    [finding] = await failed(server_settings, "sequences")
    assert finding.what == (
        "the sequence of c_jobrun.id gives 1 next, and 41 is taken: new rows are refused"
    )
    execute(server_settings, finding.advice)
    assert await failed(server_settings, "sequences") == []


async def test_a_table_of_the_engine_that_was_dropped(server_settings):
    execute(server_settings, "DROP TABLE procrastinate_workers CASCADE")
    [finding] = await failed(server_settings, "schema")
    assert finding.what == "a table is missing: procrastinate_workers"


@pytest.mark.sqlite  # it changes a file of SQLite
async def test_a_file_that_nobody_else_can_read_is_said_with_its_holder(file_settings, monkeypatch):
    monkeypatch.setattr(locks, "SHORT", 0.0)
    file = file_settings.database_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        findings = await checkup(file_settings, seconds=0.1)
        connection.execute("ROLLBACK")
    [finding] = [
        candidate
        for candidate in findings
        if (candidate.check, candidate.level) == ("locks", "fail")
    ]
    assert finding.what.startswith(f"process {os.getpid()}")


@contextlib.contextmanager
def locked(settings: Settings, mode: str) -> Iterator[str]:
    """Hold a lock on the database; yield the lock holder's name."""
    engine = sa.create_engine(settings.database_url)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield f"process {os.getpid()}"
        else:
            connection.exec_driver_sql(f"LOCK TABLE c_JobRun IN {mode} MODE")
            yield f"session {connection.exec_driver_sql('SELECT pg_backend_pid()').scalar()}"
        connection.rollback()
    engine.dispose()


@pytest.mark.sqlite  # SQL Server tells no holders
@pytest.mark.slow
async def test_locks_are_named_with_their_holders(settings, monkeypatch):
    monkeypatch.setattr(locks, "SHORT", 0.0)
    with locked(settings, "SHARE") as holder:
        [finding] = await failed(settings, "locks")
    assert finding.what.startswith(holder)
    assert await failed(settings, "locks") == []


async def test_a_table_locked_for_readers_too_does_not_hold_the_doctor_up(
    server_settings, monkeypatch
):
    monkeypatch.setattr(locks, "SHORT", 0.0)
    with locked(server_settings, "ACCESS EXCLUSIVE") as holder:
        [finding] = await failed(server_settings, "locks")
        [left_out] = await failed(server_settings, "tables")
    assert finding.what.startswith(holder)
    assert "somebody has locked one" in left_out.what


async def test_a_job_whose_queue_no_node_takes(settings):
    insert(settings.database_url, job_server, server(Queues="mails, reports"))
    insert(settings.database_url, job_run, waiting("Daily", UnknownSince=None))
    insert(settings.database_url, job_run, waiting("Other", UnknownSince=None, Queue="slow"))
    findings = await failed(settings, "queues")
    assert [finding.what for finding in findings] == [
        "no node takes runs of the queue default: its jobs are Daily; it holds 1 waiting run",
        "no node takes runs of the queue slow: it holds 1 waiting run",
    ]


@pytest.mark.slow
async def test_encrypted_arguments_without_their_key(settings, monkeypatch):
    ours, other = Seals(), Seals()
    ours.use([Fernet.generate_key().decode()])
    other.use([Fernet.generate_key().decode()])
    sealed = [box.seal({"token": "abc"}, ["token"]) for box in (ours, other)]
    for arguments in sealed:
        text = json.dumps(arguments)
        insert(settings.database_url, job_run, waiting(UnknownSince=None, ArgumentsJson=text))
    monkeypatch.setattr(doctor_tables, "SEALS", Seals())
    [finding] = await failed(settings, "secrets")
    assert finding.what == (
        "the arguments of 2 rows are encrypted, and TARGCC_SECRET_KEY is not set here"
    )
    monkeypatch.setattr(doctor_tables, "SEALS", ours)
    [finding] = await failed(settings, "secrets")
    assert finding.what.startswith("the arguments of 1 row are encrypted, and their key is not")


async def test_settings_that_are_misspelt(file_settings, monkeypatch):
    monkeypatch.setenv("TARGCC_SMPT_HOST", "mail")
    monkeypatch.setenv("TARGCC_FAVOURITE_COLOUR", "blue")
    monkeypatch.setenv("TARGCC_SERVER", "https://jobs.example.com")
    findings = [
        finding
        for finding in await checkup(file_settings, seconds=10)
        if finding.check == "settings"
    ]
    assert [(finding.level, finding.what) for finding in findings] == [
        (
            "fail",
            "TARGCC_SMPT_HOST is no setting, so it has no effect: did you mean TARGCC_SMTP_HOST?",
        ),
        ("warn", "TARGCC_FAVOURITE_COLOUR is no setting of this release"),
    ]
