"""A feature of a project: rendered from the blueprint, installed, and used from the command line, on both databases."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from processes import environment
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan
from targcc_scheduler import schema_setup
from targcc_scheduler.core.actor import Visibility, visibility
from targcc_scheduler.db.columns import UtcDateTime
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.reader import narrow

SPEC = """targcc: 1
project: {name: acme-jobs, package: acme_jobs}
features: [notes]
jobs:
  DailySales: {cron: "0 2 * * *"}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project whose spec names the feature notes."""
    root = tmp_path_factory.mktemp("feature") / "acme-jobs"
    apply(make_plan(render_project(parse_spec(SPEC), spec_text=SPEC), root))
    return root


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path / 'empty.db'}"


def run(project: Path, *words: str, **variables: str) -> str:
    """Return what ``python`` prints in the project."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=project,
        env=environment(PYTHONPATH="src", **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("processes")
def test_the_tests_that_come_with_a_feature_pass(project):
    assert "passed" in run(project, "-m", "pytest", "-q", "tests/features")


BREAKS = {
    "a part is missing": ("feature.py", "model:prune", "model:pruned", "cannot be loaded"),
    "a command is taken": (
        "feature.py",
        '"commands:group", "notes"',
        '"commands:group", "run"',
        "command run of notes is taken",
    ),
    "old rows stay": ("model.py", "limit(most)", "limit(0)", "retention leaves 3 of 3 old rows"),
    "a route is open to strangers": (
        "api.py",
        "list_entries(_: Viewer, ",
        "list_entries(",
        "needs no role",
    ),
    "a page does not render": (
        "templates/page.html",
        "{{ title }}",
        "{{ subtitle }}",
        "GET /jobs/notes fails: 'subtitle' is undefined",
    ),
    "a loop does not end": (
        "loops.py",
        "    async def once() -> None:",
        "    async def once() -> None:\n        await __import__('asyncio').sleep(99)\n",
        "does not end",
    ),
}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("broken", BREAKS)
def test_the_contract_notices_a_broken_feature(project, tmp_path, broken):
    file, old, new, message = BREAKS[broken]
    shutil.copytree(project / "src", tmp_path / "src")
    module = tmp_path / "src/acme_jobs/features/notes" / file
    text = module.read_text(encoding="utf-8")
    assert old in text
    module.write_text(text.replace(old, new, 1), encoding="utf-8")
    check = (
        "from acme_jobs.scheduler import job\n"
        "from acme_jobs.features.notes.feature import FEATURE\n"
        "from targcc_scheduler.testing import check_feature\n"
        "check_feature(FEATURE)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=tmp_path,
        env=environment(PYTHONPATH="src"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("processes")
def test_a_feature_adds_commands_and_a_table_and_says_why(project, empty_url):
    def targcc(*words: str) -> str:
        return run(project, "-m", "acme_jobs.scheduler", *words, TARGCC_DATABASE_URL=empty_url)

    targcc("migrate")
    targcc("notes", "add", "DailySales", "closed on Friday")
    (entry,) = json.loads(targcc("notes", "list", "--json"))
    assert (entry["job"], entry["text"]) == ("DailySales", "closed on Friday")
    assert f"{entry['author']} says: closed on Friday" in targcc("why", "DailySales")


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mssql"])
def test_the_printed_schema_has_the_table_of_a_feature(project, dialect):
    script = run(project, "-m", "acme_jobs.scheduler", "migrate", "--sql", dialect)
    assert "CREATE TABLE acme_jobs_notes" in script
    assert "CREATE INDEX ix_acme_jobs_notes_job" in script


def test_a_column_that_a_feature_adds_later_comes_with_the_next_migration(empty_url):
    def table(*more: sa.Column) -> sa.Table:
        key = sa.Column("id", sa.Integer, primary_key=True)
        return sa.Table("acme_notes", sa.MetaData(), key, sa.Column("job", sa.String(9)), *more)

    later = table(sa.Column("until", UtcDateTime))
    with sync_engine(empty_url) as engine, engine.begin() as connection:
        schema_setup._table_step(table()).install(connection)
        connection.execute(sa.insert(table()).values(job="Sales"))
        step = schema_setup._table_step(later)
        assert not step.is_current(connection)
        step.install(connection)
        assert step.is_current(connection)
        (row,) = connection.execute(sa.select(later))
        assert (row.job, row.until) == ("Sales", None)
        connection.execute(sa.update(later).values(until=datetime(2026, 3, 2, tzinfo=UTC)))


def test_people_with_some_jobs_see_the_rows_of_these_jobs(empty_url):
    open_to_jobs = sa.Table(
        "notes", sa.MetaData(), sa.Column("job", sa.String), info={"job": "job"}
    )
    closed = sa.Table("secrets", sa.MetaData(), sa.Column("job", sa.String))
    with sync_engine(empty_url) as engine, engine.begin() as connection:
        for table in (open_to_jobs, closed):
            table.create(connection)
            connection.execute(sa.insert(table), [{"job": "Sales"}, {"job": "Payroll"}])
        narrow(connection.dialect)
        token = visibility.set(Visibility(frozenset({"Sales"}), frozenset(), frozenset(), "dana"))
        try:
            assert connection.scalars(sa.select(open_to_jobs.c.job)).all() == ["Sales"]
            assert connection.scalars(sa.select(closed.c.job)).all() == []
        finally:
            visibility.reset(token)
