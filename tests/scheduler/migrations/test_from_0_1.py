"""Databases that release 0.1 has made: it kept its revision in the application's table."""

import pytest
from migration_rig import Application, execute, kept, make_0_1, revisions, rows, schema, tables
from targcc_scheduler import migrate
from targcc_scheduler.db.migrations.upgrade import head_revision

pytestmark = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
"""The databases of those releases."""


@pytest.mark.slow
def test_they_are_carried_over_with_every_row(url):
    before = make_0_1(url)
    assert all(before.values())
    for _ in range(2):
        assert migrate(url) == head_revision()
    assert kept(before, rows(url))
    assert revisions(url) == [head_revision()]


@pytest.mark.slow
def test_they_get_the_tables_of_a_new_database(url, new_url):
    make_0_1(url)
    migrate(url)
    own = {name: text for name, text in schema(url).items() if "alembic_version" not in text}
    assert own == schema(new_url)


def test_our_row_is_taken_from_the_table_that_was_shared(url):
    make_0_1(url)
    migrate(url)
    assert revisions(url, "alembic_version") == []


@pytest.mark.slow
@pytest.mark.parametrize("there", [["0001", "f00d"], ["f00d"], []])
def test_a_row_of_the_application_stays(url, there):
    before = make_0_1(url)
    execute(url, "DELETE FROM alembic_version")
    for revision in there:
        execute(url, f"INSERT INTO alembic_version VALUES ('{revision}')")
    migrate(url)
    assert revisions(url, "alembic_version") == [name for name in there if name == "f00d"]
    assert revisions(url) == [head_revision()]
    assert kept(before, rows(url))


def test_a_row_of_the_application_stays_when_it_is_called_as_ours_was(url, tmp_path):
    """Once carried over, what stands in the application's table is the application's."""
    make_0_1(url)
    migrate(url)
    app = Application(tmp_path / "app", url)
    app.migrate()
    migrate(url)
    assert revisions(url, "alembic_version") == ["0001"]
    assert app.orders() == ["tea"]


@pytest.mark.slow
def test_the_table_that_was_shared_may_be_gone(url):
    before = make_0_1(url)
    execute(url, "DROP TABLE alembic_version")
    assert migrate(url) == head_revision()
    assert kept(before, rows(url))
    assert "alembic_version" not in tables(url)


def test_an_application_that_came_first_keeps_its_row(url, tmp_path):
    """Release 0.1 took that row for its own, and made no table at all."""
    app = Application(tmp_path / "app", url)
    app.migrate()
    migrate(url)
    assert revisions(url, "alembic_version") == ["0001"]
    assert "c_jobrun" in tables(url)
