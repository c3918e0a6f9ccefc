"""Findings of the doctor for a SQLite file."""

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from targcc_scheduler import Settings
from targcc_scheduler.features.doctor import databases
from targcc_scheduler.features.doctor.checkup import checkup
from targcc_scheduler.features.doctor.findings import Finding

pytestmark = pytest.mark.sqlite  # they are about files of SQLite
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")


@pytest.fixture
def file(migrated_sqlite_url: str) -> Path:
    return Path(migrated_sqlite_url.removeprefix("sqlite:///"))


@pytest.fixture
def settings(file: Path, jobs_package: str) -> Settings:
    return Settings(database_url=f"sqlite:///{file}", jobs_package=jobs_package)


async def of_file(settings: Settings, level: str) -> list[Finding]:
    findings = await checkup(settings, seconds=10)
    return [
        finding
        for finding in findings
        if finding.check in {"file", "database"} and finding.level == level
    ]


def pragma(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


async def test_a_file_that_is_not_there_is_said_and_not_made(tmp_path, jobs_package):
    url = f"sqlite:///{tmp_path / 'none.db'}"
    [finding] = await of_file(Settings(database_url=url, jobs_package=jobs_package), "fail")
    assert finding.what == f"there is no file {tmp_path / 'none.db'}"
    assert not (tmp_path / "none.db").exists()


async def test_neither_the_file_nor_its_settings_are_changed(settings, file):
    pragma(file, "PRAGMA journal_mode = DELETE")
    before = file.read_bytes()
    [finding] = [
        candidate for candidate in await of_file(settings, "warn") if "journal" in candidate.what
    ]
    assert "in journal mode delete, not WAL" in finding.what
    assert file.read_bytes() == before


@pytest.mark.slow
async def test_a_file_that_does_not_shrink(settings, file):
    pragma(
        file,
        "PRAGMA auto_vacuum = NONE",
        "PRAGMA journal_mode = DELETE",
        "VACUUM",
        "CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        " SELECT hex(randomblob(1000)) AS text FROM n",
        "DROP TABLE filler",
    )
    [finding] = [
        candidate
        for candidate in await of_file(settings, "warn")
        if "does not shrink" in candidate.what
    ]
    assert f'sqlite3 {file} "PRAGMA auto_vacuum = INCREMENTAL; VACUUM"' in finding.advice
    pragma(file, "PRAGMA auto_vacuum = INCREMENTAL", "VACUUM")
    assert [
        candidate for candidate in await of_file(settings, "warn") if "shrink" in candidate.what
    ] == []


@pytest.mark.slow
@POSIX
async def test_a_file_that_everybody_may_read_or_write(settings, file):
    file.chmod(0o600)
    assert [
        candidate for candidate in await of_file(settings, "warn") if "may read" in candidate.what
    ] == []
    file.chmod(0o644)
    assert [
        candidate for candidate in await of_file(settings, "warn") if "may read" in candidate.what
    ] != []
    file.chmod(0o666)
    [finding] = await of_file(settings, "fail")
    assert finding.what.startswith(f"anybody on this machine may write {file}")


async def test_a_file_on_a_network_file_system(settings, file, monkeypatch):
    places = [
        SimpleNamespace(mountpoint="/", fstype="ext4", opts="rw"),
        SimpleNamespace(mountpoint=str(file.parent.resolve()), fstype="nfs4", opts="rw"),
    ]
    monkeypatch.setattr(databases, "mounts", lambda: places)
    [finding] = await of_file(settings, "fail")
    assert "on a network file system (nfs4)" in finding.what


def test_a_local_disk_is_none(tmp_path):
    assert databases.network_kind(tmp_path) is None


async def test_a_file_that_is_no_database(settings, file):
    file.write_bytes(b"x" * 5000)
    [finding] = await of_file(settings, "fail")
    assert "does not answer: file is not a database" in finding.what
