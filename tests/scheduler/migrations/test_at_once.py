"""Processes that migrate at the same time, or die while they do."""

import pytest
import sqlalchemy as sa
from migration_rig import (
    MOSTLY_POSTGRESQL,
    NEXT,
    Migration,
    execute,
    kept,
    make_0_1,
    next_release,
    revisions,
    rows,
    tables,
)
from targcc_scheduler import migrate
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.migrations.upgrade import head_revision


def _empty(_url):
    pass


def _half_old(url):
    """Carried over to our own table, but not brought up yet."""
    make_0_1(url)
    migrate(url)
    execute(url, "INSERT INTO alembic_version VALUES ('f00d')")


@pytest.mark.parametrize(
    "prepare", [_empty, make_0_1, pytest.param(_half_old, marks=pytest.mark.soak)]
)
@MOSTLY_POSTGRESQL
def test_two_that_start_at_once_make_one_step(url, tmp_path, prepare):
    prepare(url)
    before = rows(url)
    directory = next_release(tmp_path)
    both = [Migration(url, directory) for _ in range(2)]
    for migration in both:
        migration.arrive()
    for migration in both:
        migration.go()
    assert [migration.result() for migration in both] == [(NEXT, "")] * 2
    assert revisions(url) == [NEXT]
    assert kept(
        before,
        {name: stored_rows[: len(before.get(name, ()))] for name, stored_rows in rows(url).items()},
    )
    added = [row for row in rows(url)[_run_table(url)] if "Next" in row.values()]
    assert len(added) == len(before.get(_run_table(url), ()))


def _run_table(url):
    return "c_JobRun" if url.startswith("sqlite") else "c_jobrun"


@pytest.mark.parametrize(
    "stop_at",
    [
        pytest.param("CREATE INDEX", marks=pytest.mark.soak),
        "INTO c_",
        pytest.param("c_JobNext", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("prepare", [_empty, make_0_1])
@MOSTLY_POSTGRESQL
def test_the_next_completes_what_a_killed_one_began(url, tmp_path, prepare, stop_at):
    if prepare is make_0_1 and stop_at == "CREATE INDEX":
        stop_at = "DELETE FROM alembic_version"
    prepare(url)
    before, had = rows(url), tables(url)
    directory = next_release(tmp_path)
    first = Migration(url, directory, stop_at=stop_at)
    first.arrive()
    if sa.make_url(url).get_backend_name() == "postgresql":
        assert _locks(url) == 1
    first.kill()
    assert tables(url) == had
    second = Migration(url, directory)
    second.arrive()
    second.go()
    assert second.result() == (NEXT, "")
    assert kept(
        before,
        {
            name: stored_rows[: len(before.get(name, stored_rows))]
            for name, stored_rows in rows(url).items()
        },
    )
    assert revisions(url) == [NEXT]


def _locks(url):
    with sync_engine(url) as engine, engine.connect() as connection:
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        return connection.scalar(sa.text(held))


@pytest.mark.slow
async def test_two_databases_can_be_migrated_in_one_process(tmp_path):
    """Alembic keeps what it works on in globals of its modules."""
    import asyncio

    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("one", "two", "three", "four")]
    done = await asyncio.gather(*(asyncio.to_thread(migrate, url) for url in urls))
    assert done == [head_revision()] * 4
