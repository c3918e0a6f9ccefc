"""Nodes notice a SQLite file that is deleted or replaced, and never write to the new file."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from guarantee_rig import Ledger, schedulers, until
from targcc_scheduler import JobContext, RunState, migrate
from targcc_scheduler.core.errors import DatabaseReplaced

pytestmark = pytest.mark.sqlite


async def tick(ctx: JobContext) -> None:
    """A job's work."""


@pytest.fixture
async def node(migrated_sqlite_url):
    async with schedulers(migrated_sqlite_url, __name__) as make:
        node = make()
        node.add_recurring("Tick", tick, "* * * * * *", overlap="allow")
        await node.start()
        ledger = Ledger(migrated_sqlite_url)
        await until(lambda: ledger.states()[RunState.SUCCEEDED], "it works")
        yield node


@pytest.fixture
def file(migrated_sqlite_url) -> Path:
    return Path(migrated_sqlite_url.removeprefix("sqlite:///"))


def _move(file: Path, to: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).replace(to.with_name(to.name + suffix))


async def _refused(node, caplog, words: str) -> None:
    await until(lambda: words in caplog.text, "it says so")
    with pytest.raises(DatabaseReplaced, match=words):
        await node.enqueue("Tick")


async def test_a_file_that_is_moved_away_is_not_made_anew_and_work_goes_on_when_it_is_back(
    node, file, caplog, tmp_path
):
    _move(file, tmp_path / "away.db")
    await _refused(node, caplog, "was deleted or moved while it was in use")
    assert not file.exists()
    _move(tmp_path / "away.db", file)
    run_id = await until_accepted(node)
    assert await node.wait(run_id, 40) == RunState.SUCCEEDED


async def until_accepted(node) -> int:
    while True:
        try:
            return await node.enqueue("Tick")
        except DatabaseReplaced:
            pass


async def test_another_file_in_its_place_is_left_as_it_is(node, file, caplog, tmp_path):
    _move(file, tmp_path / "away.db")
    migrate(f"sqlite:///{file}")
    await _refused(node, caplog, "another file was put in the place of the database")
    for table in ("c_JobRun", "c_JobServer", "c_JobSchedule"):
        assert _count(file, table) == 0
    assert _count(file, "c_JobSetting WHERE Name = 'database id'") == 0


@pytest.mark.slow
async def test_another_database_written_over_it_is_left_as_it_is(node, file, caplog, tmp_path):
    other = tmp_path / "other.db"
    migrate(f"sqlite:///{other}")
    with contextlib.closing(sqlite3.connect(other)) as source:
        source.execute("INSERT INTO c_JobSetting VALUES ('database id', 'another', '2026-01-01')")
        source.commit()
        with contextlib.closing(sqlite3.connect(file)) as target:
            source.backup(target)
    await _refused(node, caplog, "replaced by another")
    assert _count(file, "c_JobServer") == 0


def _count(file: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(file)) as database:
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    return count
