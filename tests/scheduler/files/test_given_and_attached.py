"""Files and large arguments: passed, stored, read, attached, removed."""

import asyncio
import hashlib
import io
import json
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import file_jobs
import pytest
from file_jobs import count_lines, keep_secret, read_file
from pydantic import Secret
from rt_tools import QUICK, Database, until
from targcc_scheduler import (
    Actor,
    ActorKind,
    ArgumentsError,
    Client,
    File,
    FileError,
    FolderStore,
    RunState,
    Scheduler,
    Settings,
)
from targcc_scheduler.core.actor import Visibility, visibility
from targcc_scheduler.core.secrets import SEALS, new_key
from targcc_scheduler.core.stored_values import Here, referred
from targcc_scheduler.fake import RECORDING
from targcc_scheduler.kernel import blobs as kernel_blobs
from targcc_scheduler.kernel.blobs import Fetcher
from targcc_scheduler.kernel.jobs.arguments import parameters_of
from targcc_scheduler.testing import run_inline

pytestmark = pytest.mark.usefixtures("processes")  # some of its jobs run in a process of their own

DANA = Actor(ActorKind.MANUAL, "dana")
LONG = ["a line of text that is not short"] * 3_000


@pytest.fixture(scope="module")
def database(shared_database):
    return shared_database


@pytest.fixture(scope="module")
def scheduler(database):
    """One scheduler for most tests of this module."""
    made = _scheduler(database.url)
    _run(made.start(schedule=False))
    yield made
    _run(made.stop())


@pytest.fixture
async def make_scheduler():
    """Return a function that makes a scheduler for one test; stop the schedulers at the end."""
    made = []

    async def make(url, *, work=False, **settings):
        made.append(_scheduler(url, **settings))
        if work:
            await made[-1].start(schedule=False)
        return made[-1]

    yield make
    for instance in made:
        await instance.stop()


def _scheduler(url, **settings):
    wanted = Settings(database_url=url, jobs_package="file_jobs", **QUICK, **settings)
    return Scheduler(wanted, notify=_ignore)


async def _ignore(_event):
    """Send no alerts."""


def _run(coroutine):
    """Run a coroutine in a separate thread, so that this thread keeps its event loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def blobs(database, run_id):
    sql = "SELECT Kind, Name, Size, Store, LENGTH(Data) AS Length FROM c_JobBlob WHERE RunId = ? ORDER BY Kind, Name"
    return [tuple(row) for row in database.rows(sql, run_id)]


async def succeeded(scheduler, database, run_id):
    assert await scheduler.wait(run_id, 30) == RunState.SUCCEEDED, dict(database.run(run_id))
    return database.run(run_id)["Message"]


async def test_a_file_is_given_as_path_bytes_or_file_object_and_the_job_reads_it(
    scheduler, database, tmp_path
):
    path = tmp_path / "März.csv"
    path.write_bytes(b"a;b\n1;2\n")
    for report, expected in (
        (path, "März.csv 8 text/csv b'a;b\\n1'"),
        (b"12345678", "file 8 application/octet-stream b'12345'"),
        (io.BytesIO(b"xy"), "file 2 application/octet-stream b'xy'"),
        (File(b"", name="../../empty.json"), "empty.json 0 application/json b''"),
    ):
        run_id = await scheduler.enqueue(read_file, report=report, others=[b"one", b"two"])
        path.write_bytes(b"changed")  # the content at the time of the call counts
        path.write_bytes(b"a;b\n1;2\n")
        said_there = await succeeded(scheduler, database, run_id)
        assert said_there.startswith(f"{expected} ['one', 'two'] ")
    folder = Path(said_there.rpartition(" ")[2]).parent
    await until(lambda: not folder.exists())  # the folder is removed with the attempt
    run = database.run(run_id)
    stands = json.loads(run["ArgumentsJson"])["report"]
    assert stands["$file"] == hashlib.sha256(b"").hexdigest()
    assert ("result", "copy.html", 0, None, 0) in blobs(database, run_id)


async def test_a_large_argument_is_kept_apart_and_the_job_gets_it_whole(scheduler, database):
    run_id = await scheduler.enqueue(count_lines, lines=LONG, title="all")
    stands = json.loads(database.run(run_id)["ArgumentsJson"])
    assert stands["title"] == "all"
    assert stands["lines"].keys() == {"$large", "size"}
    assert await succeeded(scheduler, database, run_id) == "all 3000"
    size = stands["lines"]["size"]
    assert blobs(database, run_id) == [
        ("arguments", "lines.json", size, None, size),
        ("result", "lines.txt", 5, None, 5),
    ]
    small = await scheduler.enqueue(count_lines, lines=["one"])
    assert await succeeded(scheduler, database, small) == " 1"
    assert json.loads(database.run(small)["ArgumentsJson"])["lines"] == ["one"]


async def test_a_run_done_again_has_its_own_and_outlives_the_first(scheduler, database):
    first = await scheduler.enqueue(read_file, report=b"kept")
    await succeeded(scheduler, database, first)
    again = await scheduler.retry(first, by=DANA)
    await succeeded(scheduler, database, again)
    await scheduler.delete(first, by=DANA)
    assert blobs(database, first) == []
    third = await scheduler.retry(again, by=DANA)
    assert (await succeeded(scheduler, database, third)).startswith("file 4")
    arguments = {database.run(run_id)["ArgumentsJson"] for run_id in (again, third)}
    assert len(arguments) == 1  # equal arguments share one row
    like = await scheduler.arguments_of(read_file, third)
    assert like["report"].read_bytes() == b"kept"
    fourth = await scheduler.trigger(read_file, like, by=DANA)
    assert (await succeeded(scheduler, database, fourth)).startswith("file 4")


async def test_what_is_gone_or_damaged_fails_its_run_at_once(scheduler, database):
    for change, expected in (
        ("DELETE FROM c_JobBlob WHERE RunId = ?", "the file file of run {} is gone"),
        ("UPDATE c_JobBlob SET Data = x'00' WHERE RunId = ?", "file of run {} is damaged"),
    ):
        run_id = await scheduler.schedule(read_file, delay="1h", report=b"content")
        database.change(change, run_id)
        await scheduler.retry(run_id, by=DANA)
        assert await scheduler.wait(run_id, 30) == RunState.FAILED
        assert expected.format(run_id) in database.run(run_id)["Message"]
        assert database.run(run_id)["Attempt"] == 1


@pytest.mark.sqlite
async def test_it_is_written_in_the_callers_transaction(scheduler, database):
    client = Client(scheduler)
    with closing(sqlite3.connect(database.path, timeout=20)) as connection:
        before = database.one("SELECT COUNT(*) FROM c_JobBlob")
        client.enqueue(read_file, report=b"never was", session=connection)
        connection.rollback()
        assert database.one("SELECT COUNT(*) FROM c_JobBlob") == before
        run_id = client.enqueue(read_file, report=b"there", session=connection)
        connection.commit()
    await succeeded(scheduler, database, run_id)


async def test_what_is_too_large_or_no_file_is_refused_with_the_setting(
    make_scheduler, database, tmp_path
):
    scheduler = await make_scheduler(database.url, max_file_bytes=100_000)
    for arguments, message in (
        ({"report": b"x" * 100_001}, "100,001 bytes, and may have 100,000: TARGCC_MAX_FILE_BYTES"),
        ({"report": tmp_path / "none.csv"}, "none.csv cannot be read: No such file"),
        ({"report": "/etc/passwd"}, "report: value error, a file is a Path"),
        ({"report": {"$file": "ab", "name": "x", "size": 1, "content_type": "a/b"}}, "in JSON is"),
    ):
        with pytest.raises(ArgumentsError, match=message):
            await scheduler.enqueue(read_file, **arguments)
    with pytest.raises(FileError, match="the argument lines has 108,000 bytes"):
        await scheduler.enqueue(count_lines, lines=LONG)


async def test_a_job_in_a_process_of_its_own_has_them_too(scheduler, database):
    run_id = await scheduler.enqueue(file_jobs.far_away, report=b"content", lines=LONG)
    assert await succeeded(scheduler, database, run_id) == "content 3000"
    assert [blob[:3] for blob in blobs(database, run_id) if blob[0] == "result"] == [
        ("result", "bytes.bin", 10),
        ("result", "copy.txt", 7),
    ]


def _does_not_answer(_store, _reference):
    raise RuntimeError("the store does not answer")


@pytest.mark.sqlite
async def test_a_store_of_the_project_has_them_and_what_no_run_has_is_swept(
    make_scheduler, empty_database, tmp_path, monkeypatch
):
    shutil.copy(empty_database, tmp_path / "own.db")
    database, folder = Database(tmp_path / "own.db"), tmp_path / "files"
    scheduler = await make_scheduler(database.url, work=True, file_folder=str(folder))
    first = await scheduler.enqueue(read_file, report=b"kept there")
    await succeeded(scheduler, database, first)
    again = await scheduler.retry(first, by=DANA)
    await succeeded(scheduler, database, again)
    assert {item[3:] for item in blobs(database, again)} == {("folder", None)}

    def kept():
        return sorted(path.read_bytes() for path in folder.glob("*/*"))

    assert kept() == [b"kept there"] * 3  # the argument once, and the result of each run
    client = Client(scheduler)
    with closing(sqlite3.connect(database.path, timeout=20)) as connection:
        client.enqueue(read_file, report=b"never was", session=connection)
        connection.rollback()
    assert len(kept()) == 4
    await scheduler.delete(first, by=DANA)
    await scheduler.prune()
    # the transaction may still commit
    assert kept() == [b"kept there", b"kept there", b"never was"]
    for path in folder.glob("*/*"):
        os.utime(path, (1, 1))
    await scheduler.prune()
    assert kept() == [b"kept there", b"kept there"]
    third = await scheduler.retry(again, by=DANA)
    await succeeded(scheduler, database, third)
    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "open", _does_not_answer)
        fourth = await scheduler.retry(third, by=DANA)
        # an attempt that is not the last
        await until(lambda: database.run(fourth)["State"] == "retrying")
        assert "the store does not answer" in database.run(fourth)["Message"]
    await scheduler.cancel(fourth, by=DANA)
    for item in (again, third, fourth):
        await scheduler.delete(item, by=DANA)
    await scheduler.prune()
    assert kept() == []
    assert database.one("SELECT COUNT(*) FROM c_JobBlob") == 0


async def test_postgresql_reads_it_piece_by_piece_for_those_who_may_see_the_run(
    make_scheduler, migrated_postgresql_url, monkeypatch
):
    scheduler = await make_scheduler(migrated_postgresql_url, work=True)
    content = bytes(range(256))
    async with scheduler.store.engine.begin() as connection:
        await scheduler.enqueue(read_file, report=b"never was", connection=connection)
        await connection.rollback()
    async with scheduler.store.engine.begin() as connection:
        first = await scheduler.enqueue(read_file, report=content, connection=connection)
    large = await scheduler.enqueue(count_lines, lines=LONG[:2_300])
    assert await scheduler.wait(first, 30) == RunState.SUCCEEDED
    assert await scheduler.wait(large, 60) == RunState.SUCCEEDED
    monkeypatch.setattr(kernel_blobs, "PIECE", 70)
    again = await scheduler.retry(first, by=DANA)
    await scheduler.delete(first, by=DANA)
    assert await scheduler.wait(again, 30) == RunState.SUCCEEDED

    async def files():
        return await scheduler.read(lambda db: kernel_blobs.of_run(db, again))

    for blob in await files():
        pieces = [piece async for piece in scheduler.keeper.pieces(scheduler.read, blob)]
        assert (b"".join(pieces), max(map(len, pieces))) == (content, 70)
    nobody = frozenset[str]()
    for job, count in (("CountLines", 0), ("ReadFile", 2)):
        visibility.set(Visibility(frozenset({job}), nobody, nobody, "dana"))
        assert len(await files()) == count
    visibility.set(None)


async def test_a_run_that_is_recorded_and_run_inline_has_its_files():
    made = Scheduler(
        Settings(database_url="sqlite:///none.db", mode="off", jobs_package="file_jobs")
    )
    RECORDING.perform = lambda job, arguments, run: run_inline(job, arguments, run, made)
    try:
        run_id = await made.enqueue(read_file, report=b"content")
        assert RECORDING.find(run_id).state == RunState.SUCCEEDED
    finally:
        RECORDING.clear()


async def test_a_secret_stays_sealed_in_its_row_however_large(scheduler, database):
    SEALS.use([new_key()])
    try:
        run_id = await scheduler.enqueue(keep_secret, key="s" * 90_000, lines=LONG)
        assert await succeeded(scheduler, database, run_id) == "90000 3000"
    finally:
        SEALS._keys, SEALS._box = (), None
    stands = json.loads(database.run(run_id)["ArgumentsJson"])
    assert (stands["key"].keys(), stands["lines"].keys()) == ({"$sealed"}, {"$large", "size"})

    def with_file(ctx, secret: Secret[File]): ...

    with pytest.raises(TypeError, match="a file is not sealed"):
        parameters_of(with_file, bound=False)


def test_arguments_that_look_like_references_are_arguments():
    def execute(ctx, value: dict[str, Any]): ...

    parameters = parameters_of(execute, bound=False)
    for value in (
        {"$large": "ab", "size": 3},
        {"deeper": [{"$file": "ab", "name": "x"}]},
        {"$file": 7},
    ):
        text, contents = parameters.take({"value": value}, 1_000)
        assert set(referred(text)) == {content.sha256 for content in contents}
        here = Here({content.sha256: content.file.read_bytes() for content in contents})
        assert parameters.load(text, here) == {"value": value}


async def test_a_run_that_is_told_to_stop_does_not_wait_for_its_files(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    requested, stop = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def wanted(*_):
        requested.set()
        await asyncio.Event().wait()

    claim = SimpleNamespace(run_id=1, arguments_json="{}")
    fetcher = Fetcher(None, SimpleNamespace(wanted=wanted))

    async def tell():
        await requested.wait()
        assert len(list(tmp_path.iterdir())) == 1
        stop.set_result(None)

    telling = asyncio.create_task(tell())
    async with fetcher.here(claim, stop) as here:
        assert here is None
    await telling
    assert list(tmp_path.iterdir()) == []
