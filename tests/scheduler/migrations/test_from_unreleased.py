"""Databases of builds between the releases 0.1 and 0.2: the last had 0015, 0002 to 0014 are refused."""

from pathlib import Path

import pytest
from migration_rig import execute, fill, kept, revisions, rows, schema, tables
from old_project import OldProject, states_of
from targcc_scheduler import JobContext, RunState, Scheduler, Settings, job, migrate
from targcc_scheduler.core.errors import SchemaError
from targcc_scheduler.db.migrations.upgrade import downgrade, head_revision
from targcc_scheduler.schema_setup import prepare

pytestmark = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
"""The databases of those releases."""

SENTENCE = "at revision {}, which only builds between .* first run targcc migrate of the last such build .*commit 437853d4"


@job(name="PurgeCarts")
async def purge_carts(ctx: JobContext) -> str:
    """The job of the old project, as this release runs it."""
    return f"run {ctx.run_id}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The folder of the old project, which is unpacked and compiled once."""
    return tmp_path_factory.mktemp("old")


@pytest.fixture
def old(folder, url) -> OldProject:
    """A project of the last builds with revisions 0002 to 0015, with its tables."""
    project = OldProject("before-vendor", folder, url)
    project.targcc("migrate")
    return project


@pytest.mark.usefixtures("processes")
@pytest.mark.usefixtures("old")
def test_the_last_build_made_the_tables_of_release_0_2(url, new_url):
    downgrade(new_url, "0015")
    assert schema(url) == schema(new_url)


@pytest.mark.usefixtures("processes")
@pytest.mark.usefixtures("old")
def test_a_database_of_the_last_build_keeps_every_row(url):
    fill(url)
    before = rows(url)
    assert all(before.values())
    assert migrate(url) == head_revision()
    assert kept(before, rows(url))
    assert revisions(url) == [head_revision()]


@pytest.mark.usefixtures("processes")
async def test_the_last_build_and_this_release_share_a_database(old, url):
    of_old = old.start()
    settings = Settings(_env_file=None, database_url=url, poll_seconds=0.2, keepalive=False)
    node, client = (Scheduler(settings, jobs_package=__name__) for _ in range(2))
    await node.start(schedule=False)
    assert await node.wait(of_old, 60) == RunState.SUCCEEDED
    await node.stop()
    of_new = await client.enqueue(purge_carts)
    await client.stop()
    await old.work(of_new)
    states = states_of(url)  # the old worker also creates the runs of slots
    assert (states[of_old], states[of_new]) == ("succeeded", "succeeded")


@pytest.mark.usefixtures("processes")
@pytest.mark.usefixtures("old")
def test_a_database_of_the_last_build_goes_back_to_0_1_and_returns(url):
    fill(url)
    before = rows(url)
    downgrade(url, "0001")
    assert revisions(url, "alembic_version") == ["0001"]
    of_0_1 = rows(url)
    assert kept(of_0_1, before)
    assert migrate(url) == head_revision()
    assert kept(of_0_1, rows(url))


@pytest.mark.usefixtures("processes")
def test_a_database_of_an_earlier_build_is_refused_until_the_last_build_has_migrated_it(old, url):
    old.targcc("migrate", "--down", "0007")
    fill(url)
    before = rows(url), schema(url)
    by_hand = Settings(_env_file=None, database_url=url, migrate_on_start=False)
    for action in (
        lambda: migrate(url),
        lambda: prepare(by_hand),
        lambda: downgrade(url, "0001"),
        lambda: downgrade(url, "base"),
    ):
        with pytest.raises(SchemaError, match=SENTENCE.format("0007")):
            action()
        assert (rows(url), schema(url), revisions(url)) == (*before, ["0007"])
    old.targcc("migrate")
    assert migrate(url) == head_revision()
    assert kept(before[0], rows(url))


@pytest.mark.parametrize("revision", [f"{number:04}" for number in range(2, 15)])
def test_every_revision_of_an_earlier_build_is_refused(url, revision):
    execute(url, "CREATE TABLE c_AlembicVersion (version_num VARCHAR(32) NOT NULL)")
    execute(url, f"INSERT INTO c_AlembicVersion VALUES ('{revision}')")
    with pytest.raises(SchemaError, match=SENTENCE.format(revision)):
        migrate(url)
    assert tables(url) == {"c_alembicversion"}
    assert revisions(url) == [revision]
