"""The way back to release 0.1, rehearsed: a project as that release rendered it, with its scheduler, works on tables that this release took back."""

import pytest
from guarantee_rig import DANA
from migration_rig import (
    Application,
    execute,
    kept,
    make_0_1,
    next_release,
    revisions,
    rows,
    tables,
)
from old_project import OldProject, states_of
from targcc_scheduler import JobContext, RunState, Scheduler, Settings, job, migrate
from targcc_scheduler.core.errors import SchemaError
from targcc_scheduler.db.migrations import upgrade
from targcc_scheduler.db.migrations.upgrade import downgrade, head_revision

pytestmark = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
"""The databases of those releases."""


@job(name="PurgeCarts")
async def purge_carts(ctx: JobContext) -> str:
    """The job of the old project, as this release runs it."""
    return f"run {ctx.run_id}"


@pytest.fixture
def old(tmp_path, url):
    """The old project, on an empty database."""
    return OldProject("0.1", tmp_path / "old", url)


@pytest.fixture
async def make_new(url):
    """Makes schedulers of this release on the same database."""
    made = []

    async def nobody(_event: object) -> None:
        """Nobody is told."""

    def make() -> Scheduler:
        settings = Settings(_env_file=None, database_url=url, poll_seconds=0.2, keepalive=False)
        made.append(Scheduler(settings, jobs_package=__name__, notify=nobody))
        return made[-1]

    yield make
    for scheduler in made:
        await scheduler.stop()


@pytest.mark.soak
@pytest.mark.usefixtures("processes")
async def test_release_0_1_goes_on_with_what_both_have_done(old, make_new, url):
    old.targcc("migrate")
    of_old = old.start()
    await old.work(of_old)
    before = old.run(of_old)

    new = make_new()
    await new.start(schedule=False)
    of_new = await new.enqueue(purge_carts)
    assert await new.wait(of_new, 60) == RunState.SUCCEEDED
    await new.pause_queue("default", by=DANA)
    await new.stop()
    waits = await make_new().enqueue(purge_carts)

    downgrade(url, "0001")
    assert old.targcc("migrate").endswith("is at version 0001\n")
    assert old.run(of_old) == before
    assert old.run(of_new)["message"] == f"run {of_new}"
    assert "paused" in old.targcc("queue", "list")
    old.targcc("queue", "resume", "default")
    later = old.start()
    await old.work(waits, later)

    states = states_of(url)
    assert migrate(url) == head_revision()
    assert revisions(url, "alembic_version") == []
    assert states_of(url) == states
    again = make_new()
    await again.start(schedule=False)
    assert await again.wait(await again.enqueue(purge_carts), 60) == RunState.SUCCEEDED


@pytest.mark.slow
def test_its_row_is_where_it_looks_for_it(url):
    before = make_0_1(url)
    migrate(url)
    for _ in range(2):
        downgrade(url, "0001")
        assert revisions(url, "alembic_version") == ["0001"]
        assert revisions(url) is None
        assert kept(before, rows(url))
    assert migrate(url) == head_revision()
    assert revisions(url, "alembic_version") == []


def test_its_row_is_there_too_where_it_never_worked(url):
    migrate(url)
    downgrade(url, "0001")
    assert revisions(url, "alembic_version") == ["0001"]


@pytest.mark.soak
@pytest.mark.usefixtures("processes")
def test_a_project_whose_own_revisions_came_after_that_of_the_scheduler_goes_on(old, url):
    old.add_revision("a1b2c3", after="0001")
    old.targcc("migrate")
    assert revisions(url, "alembic_version") == ["a1b2c3"]
    migrate(url)
    downgrade(url, "0001")
    assert revisions(url, "alembic_version") == ["a1b2c3"]
    assert old.targcc("migrate").endswith("is at version a1b2c3\n")
    assert old.run(old.start())["state"] == "enqueued"
    migrate(url)
    assert revisions(url, "alembic_version") == ["a1b2c3"]
    assert revisions(url) == [head_revision()]


@pytest.mark.usefixtures("processes")
def test_the_row_of_an_application_stays_when_it_is_called_as_that_of_0_1_is(url, tmp_path):
    app = Application(tmp_path / "app", url)
    app.migrate()
    migrate(url)
    downgrade(url, "0001")
    assert revisions(url, "alembic_version") == ["0001"]
    assert migrate(url) == head_revision()
    assert revisions(url, "alembic_version") == ["0001"]
    assert app.orders() == ["tea"]


def test_a_step_back_to_any_other_revision_keeps_our_own_table(url, tmp_path, monkeypatch):
    head = head_revision()
    monkeypatch.setattr(upgrade, "DIRECTORY", next_release(tmp_path))
    migrate(url)
    downgrade(url, head)
    assert revisions(url) == [head]
    assert "alembic_version" not in tables(url)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "arguments"),
    [
        ("awaiting", "NULL"),
        ("enqueued", """'{"report": {"$file": "ab", "name": "a.csv"}}'"""),
        ("scheduled", """'{"rows": {"$large": "ab", "size": 70000}}'"""),
    ],
)
def test_runs_that_earlier_code_would_leave_for_ever_are_named_first(url, state, arguments):
    migrate(url)
    execute(
        url,
        f"""INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, TriggeredBy, ArgumentsJson)
        VALUES ('Work', 'FireAndForget', '{state}', 'default', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 'System', {arguments})""",
    )
    with pytest.raises(SchemaError, match=r"1 run waits .* targcc bulk do cancel --state"):
        downgrade(url, "0001")
    assert revisions(url) == [head_revision()]
    execute(url, "UPDATE c_JobRun SET State = 'cancelled'")
    downgrade(url, "0001")
    assert revisions(url, "alembic_version") == ["0001"]
