"""The history by month on PostgreSQL: made at set-up or later, beside work, and back; and what the pruner does with it."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from rt_tools import until
from targcc_scheduler import JobContext, Settings, job, migrate
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.errors import PartitionError
from targcc_scheduler.migrations.upgrade import downgrade, head_revision
from targcc_scheduler.node.pruner import make_months, prune
from targcc_scheduler.storage.engines import sync_engine
from targcc_scheduler.storage.partitions import convert, months, progress
from targcc_scheduler.storage.tables import logged_job, metadata
from targcc_scheduler.storage.transactions import Store

NOW = datetime.now(UTC)
THIS_MONTH = months.month_of(NOW)


@job()
async def quick(ctx: JobContext) -> str:  # noqa: ARG001 - a job takes its context
    return "done"


def quiet(_: str) -> None:
    """Nobody listens."""


@contextlib.contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    with sync_engine(url) as engine, engine.begin() as connection:
        yield connection


def to_months(url: str, now: datetime = NOW) -> None:
    with sync_engine(url) as engine:
        convert.to_months(engine, now, quiet)


def to_one_table(url: str) -> None:
    with sync_engine(url) as engine:
        convert.to_one_table(engine, quiet)


def attempt(job: str, at: datetime) -> dict[str, object]:
    return {"JobName": job, "JobType": "Manual", "StartedAt": at, "Success": True}


def add(url: str, *rows: dict[str, object]) -> None:
    with connected(url) as connection:
        connection.execute(sa.insert(logged_job), list(rows))


def history(url: str) -> list[tuple[Any, ...]]:
    with connected(url) as connection:
        found = connection.exec_driver_sql("SELECT * FROM c_LoggedJob ORDER BY StartedAt DESC, ID")
        return [tuple(row) for row in found]


def parts(url: str) -> list[str]:
    with connected(url) as connection:
        return [one.name.removeprefix("c_loggedjob_") for one in months.partitions(connection)]


def rows_in(url: str, part: str) -> int:
    with connected(url) as connection:
        found = connection.exec_driver_sql(f"SELECT count(*) FROM c_LoggedJob_{part}")
        return int(found.scalar_one())


def indexes(url: str) -> dict[str, Any]:
    with connected(url) as connection:
        found = sa.inspect(connection).get_indexes("c_loggedjob")
        return {one["name"]: one["column_names"] for one in found}


def ahead(number: int = 3) -> list[str]:
    return [f"{month:%Y_%m}" for month in months.months_from(THIS_MONTH, number)]


def test_a_new_database_has_its_history_by_month_if_that_is_wanted(migrated_by_month_url):
    assert parts(migrated_by_month_url) == [*ahead(), "other"]
    add(migrated_by_month_url, attempt("Report", NOW))
    assert rows_in(migrated_by_month_url, ahead()[0]) == 1
    assert migrate(migrated_by_month_url, partitions="month") == head_revision()


def test_a_history_that_has_rows_is_not_converted_by_a_start(migrated_postgresql_url):
    add(migrated_postgresql_url, attempt("Report", NOW))
    migrate(migrated_postgresql_url, partitions="month")
    assert parts(migrated_postgresql_url) == []


def test_an_empty_one_is(migrated_postgresql_url):
    migrate(migrated_postgresql_url, partitions="month")
    assert parts(migrated_postgresql_url) == [*ahead(), "other"]


def test_a_row_that_comes_in_the_last_moment_is_not_lost(migrated_postgresql_url):
    """A node has looked whether the history is empty; another writes to it before the first one has locked it."""
    [step] = convert.partition_steps()
    with connected(migrated_postgresql_url) as connection:
        assert not step.is_current(connection)
    add(migrated_postgresql_url, attempt("Report", NOW))
    with connected(migrated_postgresql_url) as connection:
        step.install(connection)
    assert len(history(migrated_postgresql_url)) == 1


def test_sqlite_goes_on_with_one_table(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrate(url, partitions="month")
    with sync_engine(url) as engine, engine.connect() as connection:
        assert months.partitions(connection) == []
        with pytest.raises(PartitionError, match="on PostgreSQL only"):
            convert.plan(connection)


def test_there_and_back_without_a_change(migrated_postgresql_url):
    """Rows, keys, indexes and rights are what they were; keys that come continue."""
    url = migrated_postgresql_url
    add(url, *(attempt("Report", NOW - timedelta(days=n)) for n in range(300)))
    with connected(url) as connection:
        connection.exec_driver_sql("CREATE INDEX theirs ON c_LoggedJob (ServerName, JobName DESC)")
        connection.exec_driver_sql("GRANT SELECT ON c_LoggedJob TO PUBLIC")
    before, had = history(url), indexes(url)
    to_months(url)
    assert history(url) == before
    assert parts(url)[0] == "before"
    assert indexes(url) == had
    add(url, attempt("Report", NOW + timedelta(days=45)), attempt("Report", NOW))
    during = history(url)
    assert {row[0] for row in during} == set(range(1, 303))
    to_one_table(url)
    assert history(url) == during
    assert indexes(url) == had
    assert parts(url) == []
    add(url, attempt("Report", NOW))
    assert max(row[0] for row in history(url)) == 303
    with connected(url) as connection:
        key = sa.inspect(connection).get_pk_constraint("c_loggedjob")
        rights = connection.exec_driver_sql(
            "SELECT count(*) FROM information_schema.table_privileges WHERE table_name = 'c_loggedjob' AND grantee = 'PUBLIC'"
        )
        assert (key["name"], key["constrained_columns"]) == ("pk_c_loggedjob", ["id"])
        assert rights.scalar_one() == 1
        assert "c_loggedjob_before" not in sa.inspect(connection).get_table_names()


def test_people_see_how_far_the_index_is(migrated_postgresql_url, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.02)
    heard, seen = [], threading.Event()

    def hear(text: str) -> None:
        heard.append(text)
        if text.startswith("waiting for writers"):
            seen.set()

    with sync_engine(migrated_postgresql_url) as engine:
        converting = threading.Thread(target=convert.to_months, args=(engine, NOW, hear))
        with connected(migrated_postgresql_url) as writer:
            writer.execute(sa.insert(logged_job), [attempt("Report", NOW)])
            converting.start()
            assert seen.wait(20), heard
        converting.join(20)
    assert parts(migrated_postgresql_url)[0] == "before"


def test_a_view_would_stay_behind_and_is_named(migrated_postgresql_url):
    with connected(migrated_postgresql_url) as connection:
        connection.exec_driver_sql("CREATE VIEW reports AS SELECT * FROM c_LoggedJob")
    with pytest.raises(PartitionError, match="the view reports would go on with the old table"):
        to_months(migrated_postgresql_url)
    assert parts(migrated_postgresql_url) == []


async def test_work_goes_on_while_the_form_changes(migrated_postgresql_url, make_scheduler):
    """Every run has its one row, whichever table it was written to."""
    settings = Settings(database_url=migrated_postgresql_url, poll_seconds=0.1, keepalive=False)
    scheduler = make_scheduler(settings=settings)
    await scheduler.start(schedule=False)
    done = asyncio.Event()

    ids: list[int] = []

    async def enqueue() -> None:
        while not done.is_set():
            ids.append(await scheduler.enqueue(quick))

    working = asyncio.create_task(enqueue())
    for change in (to_months, to_one_table, to_months):
        before = len(ids)
        await until(lambda before=before: len(ids) > before, 30)
        await asyncio.to_thread(change, migrated_postgresql_url)
    done.set()
    await working
    await until(lambda: len(history(migrated_postgresql_url)) >= len(ids), 30)
    runs = Counter(row[2] for row in history(migrated_postgresql_url))
    assert runs == Counter(map(str, ids))
    keys = [row[0] for row in history(migrated_postgresql_url)]
    assert len(set(keys)) == len(keys)


def test_somebody_who_keeps_the_table_is_waited_for_a_while(migrated_postgresql_url, monkeypatch):
    monkeypatch.setattr(convert, "_TRIES", 2)
    monkeypatch.setattr(convert, "_PAUSE", 0.01)
    monkeypatch.setattr(months, "LOCK_WAIT", "50ms")
    with connected(migrated_postgresql_url) as reader:
        reader.exec_driver_sql("SELECT count(*) FROM c_LoggedJob")
        with pytest.raises(PartitionError, match="others use c_LoggedJob all the time"):
            with_thread(lambda: to_months(migrated_postgresql_url))
    assert parts(migrated_postgresql_url) == []
    with connected(migrated_postgresql_url) as connection:
        assert not months.is_bound(connection)
    to_months(migrated_postgresql_url)
    assert parts(migrated_postgresql_url)[0] == "before"


def with_thread(work: Any) -> None:
    found: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    if found:
        raise found[0]


async def test_what_a_killed_conversion_left_is_removed_before_it_refuses_rows(
    migrated_postgresql_url,
):
    with connected(migrated_postgresql_url) as connection:
        convert._add_bound(connection, THIS_MONTH)
    store = Store(migrated_postgresql_url)
    await make_months(store, NOW)
    await store.dispose()
    add(migrated_postgresql_url, attempt("Report", NOW))
    to_months(migrated_postgresql_url)


@pytest.fixture
async def store(migrated_by_month_url):
    made = Store(migrated_by_month_url)
    yield made
    await made.dispose()


async def test_months_are_made_ahead_once(store, migrated_by_month_url):
    later = months.next_month(months.next_month(THIS_MONTH))
    await asyncio.gather(*(make_months(store, later) for _ in range(3)))
    assert parts(migrated_by_month_url) == [*ahead(5), "other"]


async def test_a_month_that_nobody_made_in_time_refuses_no_row(store, migrated_by_month_url):
    late = list(months.months_from(THIS_MONTH, 6))[5]
    add(migrated_by_month_url, attempt("Report", late))
    assert rows_in(migrated_by_month_url, "other") == 1
    await make_months(store, late)
    assert f"{late:%Y_%m}" not in parts(migrated_by_month_url)  # its rows stay where they are
    assert f"{months.next_month(late):%Y_%m}" in parts(migrated_by_month_url)


@pytest.fixture
async def old_months(store, migrated_by_month_url):
    """Three months from long ago: of one job, of many rows of it and some of another, of nothing."""
    old = list(months.months_from(datetime(2025, 1, 1, tzinfo=UTC), 3))
    async with store.write() as connection:
        await connection.run_sync(months.make_free_months, old)
    first, second = (month + timedelta(hours=1) for month in old[:2])
    add(migrated_by_month_url, *(attempt("Gone", first + timedelta(hours=n)) for n in range(50)))
    busy = [attempt("Busy", second + timedelta(minutes=n)) for n in range(500)]
    rare = [attempt("Rare", second + timedelta(days=n)) for n in range(4)]
    add(migrated_by_month_url, *busy, *rare)
    add(migrated_by_month_url, *(attempt("Busy", NOW) for _ in range(20)))
    return [f"{month:%Y_%m}" for month in old]


async def test_old_months_go_whole_and_the_newest_of_each_job_stay(
    store, migrated_by_month_url, old_months
):
    before = {row[0]: row for row in history(migrated_by_month_url)}
    removed = await prune(store, before=NOW - timedelta(days=90), keep_last=10)
    assert not set(parts(migrated_by_month_url)) & set(old_months)
    after = {row[0]: row for row in history(migrated_by_month_url)}
    assert Counter(row[1] for row in after.values()) == {"Gone": 10, "Rare": 4, "Busy": 20}
    assert all(before[key] == row for key, row in after.items())
    newest = sorted(key for key, row in before.items() if row[1] == "Gone")[-10:]
    assert set(newest) <= set(after)
    assert removed["attempts"] == len(before) - len(after)
    assert rows_in(migrated_by_month_url, "other") == 14


async def test_a_month_of_which_too_much_stays_is_pruned_by_rows(
    store, migrated_by_month_url, old_months, monkeypatch
):
    monkeypatch.setattr("targcc_scheduler.storage.partitions.retire._MOST_KEPT", 5)
    await prune(store, before=NOW - timedelta(days=90), keep_last=10)
    assert old_months[0] in parts(migrated_by_month_url)
    assert old_months[1] not in parts(migrated_by_month_url)  # only the four of Rare had to stay
    assert rows_in(migrated_by_month_url, old_months[0]) == 10


async def test_a_month_that_somebody_reads_is_pruned_by_rows(
    store, migrated_by_month_url, old_months, monkeypatch
):
    monkeypatch.setattr(months, "LOCK_WAIT", "50ms")
    with connected(migrated_by_month_url) as reader:
        reader.exec_driver_sql("SELECT count(*) FROM c_LoggedJob")
        removed = await prune(store, before=NOW - timedelta(days=90), keep_last=0)
    assert removed["attempts"] == 554
    assert old_months[0] in parts(migrated_by_month_url)


async def test_a_month_that_is_not_over_stays(store, migrated_by_month_url, old_months):
    add(migrated_by_month_url, attempt("Gone", datetime(2025, 1, 31, 23, tzinfo=UTC)))
    await prune(store, before=datetime(2025, 1, 31, 22, tzinfo=UTC), keep_last=0)
    assert old_months[0] in parts(migrated_by_month_url)
    assert rows_in(migrated_by_month_url, old_months[0]) == 1


def test_tables_go_back_and_forth_with_a_history_by_month(migrated_by_month_url):
    url = migrated_by_month_url
    add(url, attempt("Report", NOW))
    downgrade(url, "0001")
    assert len(history(url)) == 1
    migrate(url)
    assert len(history(url)) == 1
    downgrade(url, "base")
    with connected(url) as connection:
        names = set(sa.inspect(connection).get_table_names())
    assert not {name for name in names if name.startswith("c_loggedjob")}


def test_a_revision_that_changes_the_history_changes_all_of_it(migrated_by_month_url):
    """As later releases may do: a column, an index."""
    add(migrated_by_month_url, attempt("Report", NOW))
    with connected(migrated_by_month_url) as connection:
        connection.exec_driver_sql("ALTER TABLE c_LoggedJob ADD COLUMN Colour VARCHAR(20)")
        connection.exec_driver_sql("CREATE INDEX IX_Colour ON c_LoggedJob (Colour)")
    later = months.next_month(months.next_month(months.next_month(THIS_MONTH)))
    with connected(migrated_by_month_url) as connection:
        months.make_months(connection, later)
        found = connection.exec_driver_sql(f"SELECT Colour FROM {months.name_of(later)}").all()
    assert found == []


def test_an_application_with_its_own_alembic_leaves_the_months_alone(migrated_by_month_url):
    from targcc_scheduler import is_not_ours

    with connected(migrated_by_month_url) as connection:
        names = sa.inspect(connection).get_table_names()
    ours = {name.lower() for name in metadata.tables} | {"c_alembicversion"}
    theirs = [name for name in names if is_not_ours(name, "table")]
    assert theirs == []
    assert len([name for name in names if name not in ours and "loggedjob" in name]) == 4


@pytest.fixture
def targcc(migrated_postgresql_url, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", migrated_postgresql_url)

    def call(*arguments: str, status: int = 0, text: str | None = None) -> str:
        result = CliRunner().invoke(main, ["history", *arguments], input=text, prog_name="targcc")
        assert result.exit_code == status, result.output
        return result.output

    return call


def test_the_command_says_what_it_does_and_asks(targcc, migrated_postgresql_url):
    add(migrated_postgresql_url, attempt("Report", NOW))
    assert "The history is in one table" in targcc("show")
    said = targcc("partition", "--dry-run")
    assert "This takes over as one part all of it and takes about" in said
    targcc("partition", text="n\n", status=1)
    assert parts(migrated_postgresql_url) == []
    assert "is kept by month now" in targcc("partition", "--yes")
    assert "c_loggedjob_before" in targcc("show")
    assert "is kept by month already" in targcc("partition", "--yes", status=2)
    assert "is kept in one table now" in targcc("partition", "--undo", "--yes")
    with connected(migrated_postgresql_url) as connection:
        found = connection.exec_driver_sql("SELECT Action FROM c_JobAudit ORDER BY Id")
        assert list(found.scalars()) == ["history by month", "history in one table"]


@pytest.fixture
def new_by_month(postgresql_url, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("TARGCC_HISTORY_PARTITIONS", "month")
    return postgresql_url


def test_the_setting_says_how_the_command_makes_a_database(new_by_month):
    result = CliRunner().invoke(main, ["migrate"], prog_name="targcc")
    assert result.exit_code == 0, result.output
    assert parts(new_by_month) == [*ahead(), "other"]


async def test_the_setting_says_how_a_start_makes_a_database(new_by_month, make_scheduler):
    scheduler = make_scheduler(settings=Settings(keepalive=False))
    await scheduler.start(work=False, schedule=False)
    assert parts(new_by_month) == [*ahead(), "other"]
