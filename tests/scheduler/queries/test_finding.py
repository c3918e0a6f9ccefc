"""Results of a search with and without the text index, on both databases."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler.core.search_language import parse
from targcc_scheduler.db.dialects import postgresql
from targcc_scheduler.db.dialects.text_index import grams
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.db.tables import job_run, job_setting, job_text_due
from targcc_scheduler.kernel import text_index as index_keeper
from targcc_scheduler.kernel.queries import run_search
from targcc_scheduler.kernel.queries.run_search import RunFilter

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
RUNS: list[dict[str, Any]] = [
    {"JobName": "DailyReport", "Message": "Read TIMEOUT after 30 s", "State": "failed"},
    {"JobName": "DailyReport", "ArgumentsJson": '{"customer": 42, "name": "Dan \\"D\\" Levi"}'},
    {"JobName": "DailyReport", "ArgumentsJson": '{"customer": 420, "dry": true}', "Queue": "slow"},
    {"JobName": "DailyMail", "ArgumentsJson": '{"order": {"customer": "42"}}', "Queue": "slow"},
    {"JobName": "Secret", "ArgumentsJson": '{"customer": 42}'},
    {"JobName": "Sync", "ServerId": "web-2:77:abc:def", "TriggeredBy": "Manual (dana)"},
    {"JobName": "Sync", "ServerId": "web-21:78:abc:def", "CompletedAt": NOW + timedelta(hours=2)},
    {"JobName": "Sync", "Message": "100% of a_b: ÜBER \\ [x]", "CompletedAt": NOW + timedelta(minutes=6)},
    {"JobName": "Sync", "Message": "x" * 30_000 + " at the very end"},
    {"JobName": "Waits", "State": "enqueued", "Message": "timeout before", "CompletedAt": None, "ServerId": None},
    {"JobName": "Import", "CreatedAt": NOW - timedelta(days=40), "Message": "a Timeout of long ago"},
]  # fmt: skip
FOUND = {
    "": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10],
    "timeout": [9, 0, 10],
    "-timeout state:succeeded job:Daily*": [3, 2, 1],
    "not state:succeeded": [9, 0],
    "state:failed,enqueued timeout": [9, 0],
    "job:daily*": [3, 2, 1, 0],
    "job:Daily*,Import timeout": [0, 10],
    "arg.customer:42": [3, 1],
    "arg.customer:42*": [3, 2, 1],
    "arg.dry:true": [2],
    'arg.name:"Dan \\"D\\" Levi"': [1],
    "customer": [3, 2, 1],
    "queue:slow -job:DailyMail": [2],
    "queue:s*w": [3, 2],
    "node:web-2": [5],
    "node:web-*": [6, 5],
    "by:dana": [5],
    "took:>5m": [7, 6],
    "took:>5m took:<1h": [7],
    "took:<=1m job:Import": [10],
    '"100%"': [7],
    "a_b": [7],
    "ÜBER": [7],
    '"\\\\ [x]"': [7],
    "time*ago": [10],
    '"very end"': [8],
    "since:2d timeout": [9, 0],
    "until:2d timeout": [10],
    "nothing": [],
    "job:nobody*": [],
    "zz": [],
}


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request: pytest.FixtureRequest) -> AsyncIterator[AsyncConnection]:
    """A connection to either database."""
    engine = make_engine(request.getfixturevalue(f"migrated_{request.param}_url"))
    async with engine.connect() as connection, connection.begin() as transaction:
        yield connection
        await transaction.rollback()
    await engine.dispose()


async def add(db: AsyncConnection, **values: Any) -> int:
    usual = {
        "JobType": "Recurring",
        "State": "succeeded",
        "Queue": "default",
        "DueAt": NOW,
        "CreatedAt": NOW,
        "StartedAt": NOW,
        "CompletedAt": NOW + timedelta(seconds=1),
        "TriggeredBy": "System",
        "LifeLog": "",
    }
    return (await db.execute(job_run.insert().values(usual | values))).inserted_primary_key[0]


async def find(db: AsyncConnection, text: str, **more: Any) -> list[int]:
    search = parse(text, now=NOW, zone=ZoneInfo("UTC"))
    names = frozenset({"DailyReport", "DailyMail", "Sync"})
    page = await run_search.list_runs(db, RunFilter(search=search, arguments_of=names, **more))
    return [run.id for run in page.runs]


async def index(db: AsyncConnection) -> None:
    while await index_keeper.step(db, 3) or await index_keeper.catch_up(db, 4):
        pass


def test_grams_keep_their_numbers_when_the_known_numbers_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
):
    text = "the warehouse answered 503 to 12 customers"
    numbers = postgresql.numbers(text)
    monkeypatch.setattr(postgresql, "_MOST_KNOWN", 5)
    monkeypatch.setattr(postgresql, "_KNOWN", postgresql._KnownNumbers())
    assert postgresql.numbers(text) == numbers == sorted(set(numbers))
    assert len(postgresql._KNOWN) <= 5
    assert postgresql.numbers("ab") == []
    wanted = postgresql._numbers(grams("warehouse")).value
    assert wanted is not None
    assert set(wanted) <= set(numbers)


@pytest.mark.sqlite  # SQL Server has no index of texts
@pytest.mark.slow
async def test_every_way_to_search_finds_the_same(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    """Search by scanning the runs before they are indexed, and then by the index."""
    added = [await add(db, **values) for values in (RUNS[-1], *RUNS[:-1])]
    ids = [*added[1:], added[0]]  # the last entry of RUNS is the oldest run
    ways = ((1_000, False, 0), (1, False, 0), (1, True, 0), (1, True, 4), (1, True, 4_000))
    for looked_at, indexed, one_by_one in ways:
        monkeypatch.setattr(run_search, "_LOOKED_AT", looked_at)
        monkeypatch.setattr(postgresql, "_NEXT", one_by_one)
        if indexed:
            await index(db)
            assert (await index_keeper.look(db, NOW)).waits == 0
        for text, wanted in FOUND.items():
            assert await find(db, text) == [ids[name] for name in wanted], (
                text,
                looked_at,
                indexed,
                one_by_one,
            )
    assert await find(db, "timeout", limit=1) == [ids[9]]
    assert await find(db, "timeout", before=ids[9]) == [ids[0], ids[10]]


@pytest.mark.sqlite  # SQL Server has no index of texts
async def test_the_index_follows_whatever_becomes_of_a_run(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_search, "_LOOKED_AT", 1)
    old = await add(db, JobName="Old", Message="a porcupine")
    gone = await add(db, JobName="Old", Message="a porcupine")
    later = await add(db, JobName="Old", State="running", Message=None, CompletedAt=None)
    await index(db)
    await add(db, JobName="Newest")
    c = job_run.c
    change = sa.update(job_run)
    await db.execute(change.where(c.Id == old).values(JobName="Renamed", Message="an echidna"))
    await db.execute(sa.delete(job_run).where(c.Id == gone))
    await db.execute(
        change.where(c.Id == later).values(State="failed", Message="a porcupine", CompletedAt=NOW)
    )
    for _ in range(2):  # first by the rows to be indexed, then by the index
        assert await find(db, "porcupine") == [later]
        assert await find(db, "echidna") == await find(db, "renamed") == [old]
        await index(db)
    entries = "SELECT count(*) FROM c_JobText"
    assert await db.scalar(sa.text(entries)) == await db.scalar(
        sa.select(sa.func.count()).select_from(job_run)
    )


@pytest.mark.sqlite  # SQL Server has no index of texts
async def test_runs_from_before_the_index_are_found_and_indexed_in_steps(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_search, "_LOOKED_AT", 1)
    ids = [await add(db, JobName="Old", Message=f"number {n} of a porcupine") for n in range(10)]
    await db.execute(sa.delete(job_text_due))
    unseen = {"Name": index_keeper.UNSEEN, "Value": str(ids[-1]), "UpdatedAt": NOW}
    await db.execute(sa.insert(job_setting).values(unseen))
    assert await find(db, "porcupine") == ids[::-1]
    assert await index_keeper.catch_up(db, 4) == 4
    assert 0 < await index_keeper.unseen(db) < ids[-4]
    assert await find(db, "porcupine", limit=3) == ids[:-4:-1]
    assert await find(db, "porcupine") == ids[::-1]
    await index(db)
    assert await index_keeper.unseen(db) == 0
    assert await find(db, '"number 3 of"') == [ids[3]]


@pytest.mark.sqlite  # SQL Server has no index of texts
async def test_a_search_of_the_index_alone_says_how_far_the_index_is(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_search, "_LOOKED_AT", 1)
    monkeypatch.setattr(run_search, "_FEW_LEFT", 2)
    ids = [await add(db, JobName="Old", Message=f"number {n} of a porcupine") for n in range(10)]
    await db.execute(sa.delete(job_text_due))
    unseen = {"Name": index_keeper.UNSEEN, "Value": str(ids[-1]), "UpdatedAt": NOW}
    await db.execute(sa.insert(job_setting).values(unseen))
    search = parse("porcupine", now=NOW, zone=ZoneInfo("UTC"))

    async def page(**more: Any) -> tuple[list[int], int | None]:
        wanted = RunFilter(search=search, indexed_only=True, **more)
        answer = await run_search.list_runs(db, wanted)
        return [run.id for run in answer.runs], answer.indexed

    assert await page() == (ids[-1:], 0)
    assert await index_keeper.catch_up(db, 4) == 4
    assert await page() == (ids[:-5:-1], 40)
    assert await page(limit=3) == (ids[:-4:-1], 40)
    assert await index_keeper.catch_up(db, 4) == 4
    assert await page() == (ids[::-1], None)  # few are left
    late = await add(db, JobName="Late", Message="a porcupine")
    for _ in range(3):
        await add(db, JobName="Late")
    assert await page() == ([*ids[:-9:-1]], 57)
    await index(db)
    assert await page() == ([late, *ids[::-1]], None)


@pytest.mark.sqlite  # SQL Server has no index of texts
async def test_runs_before_the_index_are_not_read_for_a_page_that_newer_runs_fill(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_search, "_LOOKED_AT", 1)
    ids = [await add(db, JobName="Old", Message=f"number {n} of a porcupine") for n in range(10)]
    await index(db)
    unseen = {"Name": index_keeper.UNSEEN, "Value": str(ids[4]), "UpdatedAt": NOW}
    await db.execute(sa.insert(job_setting).values(unseen))
    statements: list[str] = []

    def note(_: Any, _cursor: Any, statement: str, *__: Any) -> None:
        statements.append(statement)

    engine = db.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", note)
    assert await find(db, "porcupine", limit=3) == ids[:-4:-1]
    few = len(statements)
    statements.clear()
    assert await find(db, "porcupine", limit=8) == ids[:-9:-1]
    assert len(statements) == few + 1
    sa.event.remove(engine, "before_cursor_execute", note)


async def test_a_word_of_most_runs_is_found_without_a_list_of_them(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    """The newest runs are of another job. PostgreSQL's index would return all the others, a million of them in a second."""
    monkeypatch.setattr(run_search, "_LOOKED_AT", 5)
    ids = [await add(db, JobName="Old", Message=f"order {n}") for n in range(10)]
    for _ in range(8):
        await add(db, JobName="Late")
    await index(db)
    statements: list[str] = []

    def note(_: Any, _cursor: Any, statement: str, *__: Any) -> None:
        statements.append(statement)

    engine = db.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", note)
    assert await find(db, "order", limit=3) == ids[:-4:-1]
    assert not [statement for statement in statements if "MATERIALIZED" in statement]
    statements.clear()
    assert await find(db, "no such text", limit=3) == []
    sa.event.remove(engine, "before_cursor_execute", note)
    is_listed = [statement for statement in statements if "MATERIALIZED" in statement]
    assert len(is_listed) == (1 if db.dialect.name == "postgresql" else 0)


async def test_without_an_index_runs_are_read(db: AsyncConnection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_search, "_LOOKED_AT", 1)
    dialect = run_search.known.of(db)

    async def no(_: AsyncConnection) -> bool:
        return False

    monkeypatch.setattr(dialect.texts, "is_there", no)
    ids = [await add(db, JobName="Old", Message="a porcupine") for _ in range(3)]
    await index(db)
    assert (await index_keeper.look(db, NOW)).waits == 0
    assert await find(db, "porcupine") == ids[::-1]


@pytest.mark.sqlite  # SQL Server has no index of texts
@pytest.mark.slow
async def test_filters_count_the_runs_that_a_search_finds(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    for values in RUNS:
        await add(db, **values)
    names = frozenset({"DailyReport", "DailyMail", "Sync"})
    for text in (*FOUND, "state:failed queue:slow", "since:2d -queue:slow"):
        wanted = RunFilter(search=parse(text, now=NOW, zone=ZoneInfo("UTC")), arguments_of=names)
        counts = await run_search.facets(db, wanted)
        for key in ("state", "queue", "job"):
            anyhow = run_search._without(wanted, key)
            runs = (await run_search.list_runs(db, anyhow)).runs
            expected = Counter(str(getattr(run, key)) for run in runs)
            assert getattr(counts, key) == expected, (text, key)
    monkeypatch.setattr(run_search, "COUNTED", 2)
    counts = await run_search.facets(db, RunFilter())
    assert counts.state == {"succeeded": 2, "failed": 1, "enqueued": 1}
    assert counts.job == {"Waits": 1, "Import": 1}  # of the newest two runs


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["job:Many*", "job:Many* state:succeeded,failed", "job:Many* since:2d"]
)
async def test_a_search_of_many_jobs_finds_their_newest_runs(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch, text: str
):
    names = [f"Many{n}" for n in range(30) for _ in range(12)]  # the newest runs are of a few jobs
    ids = [await add(db, JobName=name) for name in names]
    await add(db, JobName="Other")
    monkeypatch.setattr(run_search, "COUNTED", 100)
    wanted = RunFilter(search=parse(text, now=NOW, zone=ZoneInfo("UTC")))
    page = await run_search.list_runs(db, wanted)
    assert [run.id for run in page.runs] == ids[:-51:-1]
    older = await run_search.list_runs(db, replace(wanted, before=page.next_before))
    assert [run.id for run in older.runs] == ids[-51:-101:-1]
    counts = await run_search.facets(db, wanted)
    assert (counts.state, counts.queue) == ({"succeeded": 100}, {"default": 100})
