"""Tables that a newer release has changed: said in a sentence, and left as they are. So are tables that nobody may bring up to date."""

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from migration_rig import NEXT, Rows, fill, next_release, revisions, rows, tables
from processes import environment
from projects import PATH
from targcc_scheduler import RunState, Scheduler, Settings, job, migrate
from targcc_scheduler.core.errors import SchemaError
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.migrations import upgrade
from targcc_scheduler.db.migrations.upgrade import head_revision, works_with
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.schema_setup import prepare

SENTENCE = f"at revision {NEXT}, which a newer release has made"


@pytest.fixture
def newer(url, tmp_path, monkeypatch) -> tuple[str, Rows]:
    """A database of the next release, and its rows."""
    with monkeypatch.context() as later:
        later.setattr(upgrade, "DIRECTORY", next_release(tmp_path))
        migrate(url)
        fill(url)
    return url, rows(url)


def targcc(url, folder, *words, **settings):
    """The command of the project ``web_jobs``."""
    variables = environment(PYTHONPATH=PATH, TARGCC_DATABASE_URL=url, **settings)
    command = [sys.executable, "-m", "web_jobs", *words]
    return subprocess.run(
        command, env=variables, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "words",
    [
        ("migrate",),
        ("migrate", "--down", "base"),
        ("serve", "--port", "0"),
        ("worker",),
        ("job", "list"),
    ],
    ids=" ".join,
)
def test_every_command_says_it_and_changes_nothing(newer, tmp_path, words):
    url, before = newer
    done = targcc(url, tmp_path, *words)
    assert done.returncode == 2
    assert SENTENCE in done.stderr
    assert "SchemaError" not in done.stderr  # no traceback of it
    assert (rows(url), revisions(url)) == (before, [NEXT])


@pytest.mark.slow
@pytest.mark.parametrize("on_start", [True, False])
async def test_a_scheduler_does_not_start(newer, on_start):
    url, before = newer
    scheduler = Scheduler(Settings(database_url=url, migrate_on_start=on_start))
    with pytest.raises(SchemaError, match=SENTENCE):
        await scheduler.start()
    await scheduler.stop()
    assert rows(url) == before


@pytest.mark.slow
async def test_a_scheduler_that_was_not_started_does_not_use_them_either(newer):
    url, before = newer
    scheduler = Scheduler(Settings(database_url=url))
    for _ in range(2):
        with pytest.raises(SchemaError, match=SENTENCE):
            await scheduler.change(lambda db: db.execute(job_run.delete()))
    await scheduler.stop()
    assert rows(url) == before


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_who_may_not_migrate_is_told_to(url, tmp_path):
    for words in (("serve", "--port", "0"), ("worker",)):
        done = targcc(url, tmp_path, *words, TARGCC_MIGRATE_ON_START="false")
        assert done.returncode == 2
        assert (
            f"are not there, and this release works with {head_revision()}: targcc migrate"
            in done.stderr
        )
    assert tables(url) == set()


def test_older_tables_are_not_used_where_nobody_may_migrate(url, tmp_path, monkeypatch):
    older = head_revision()
    migrate(url)
    monkeypatch.setattr(upgrade, "DIRECTORY", next_release(tmp_path))
    with pytest.raises(
        SchemaError, match=f"at revision {older}, and this release works with {NEXT}"
    ):
        prepare(Settings(database_url=url, migrate_on_start=False))
    assert revisions(url) == [older]


@pytest.fixture
async def expanded(url, tmp_path, monkeypatch) -> AsyncIterator[str]:
    """A database of the next release, which only adds to what this one knows, and says so; a node of that release is up."""
    newer = Scheduler(Settings(database_url=url, release="next"), jobs_package=__name__)
    with monkeypatch.context() as later:
        later.setattr(upgrade, "DIRECTORY", next_release(tmp_path, oldest_code=head_revision()))
        await newer.start()
    yield url
    await newer.stop()


@pytest.mark.parametrize("on_start", [True, False])
async def test_this_release_works_beside_a_next_one_that_has_added_to_the_tables(
    expanded, on_start
):
    settings = Settings(database_url=expanded, migrate_on_start=on_start, release="this")
    scheduler = Scheduler(settings, jobs_package=__name__)
    await scheduler.start()
    run_ids = [await scheduler.enqueue(greet) for _ in range(10)]
    assert {await scheduler.wait(run_id, 40) for run_id in run_ids} == {RunState.SUCCEEDED}
    await scheduler.stop()
    assert revisions(expanded) == [NEXT]
    with sync_engine(expanded) as engine, engine.connect() as connection:
        assert works_with(connection)


async def test_tables_of_a_next_release_are_never_taken_back_by_this_one(expanded):
    with pytest.raises(SchemaError, match=SENTENCE):
        upgrade.downgrade(expanded, "0001")
    assert revisions(expanded) == [NEXT]


def test_a_next_release_that_works_with_newer_code_only_is_refused(url, tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(upgrade, "DIRECTORY", next_release(tmp_path, oldest_code=NEXT))
        migrate(url)
    with pytest.raises(SchemaError, match=SENTENCE):
        migrate(url)


@job()
def greet() -> str:
    """A job."""
    return "hello"
