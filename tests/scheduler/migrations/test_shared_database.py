"""An application with an Alembic of its own in the same database: neither disturbs the other."""

import re
from itertools import permutations

import pytest
from migration_rig import (
    MOSTLY_POSTGRESQL,
    Application,
    execute,
    fill,
    revisions,
    rows,
    statements,
    tables,
)
from targcc_scheduler import is_not_ours, metadata, migrate
from targcc_scheduler.db.migrations.upgrade import downgrade, head_revision

OWN = {name.lower() for name in metadata.tables} | {"c_alembicversion"}


@pytest.mark.parametrize("order", list(permutations(["app", "scheduler"])), ids="-".join)
@MOSTLY_POSTGRESQL
def test_both_migrate_in_either_order_and_again(url, tmp_path, order):
    app = Application(tmp_path / "app", url)
    steps = {"app": app.migrate, "scheduler": lambda: migrate(url)}
    for who in (*order, *order):
        steps[who]()
    assert tables(url) >= OWN | {"orders", "c_customer", "alembic_version"}
    assert revisions(url) == [head_revision()]
    assert revisions(url, "alembic_version") == ["0001"]
    assert app.orders() == ["tea"]


@MOSTLY_POSTGRESQL
def test_each_goes_back_to_nothing_without_the_other(url, tmp_path):
    app = Application(tmp_path / "app", url)
    app.migrate()
    migrate(url)
    fill(url)
    before = rows(url)
    app.alembic("downgrade", "base")
    assert rows(url) == before
    app.migrate()
    downgrade(url, "base")
    assert app.orders() == ["tea"]
    assert not tables(url) & (OWN - {"c_alembicversion"})
    assert revisions(url, "alembic_version") == ["0001"]


@MOSTLY_POSTGRESQL
def test_the_application_proposes_nothing_for_tables_of_ours(url, tmp_path):
    app = Application(tmp_path / "app", url)
    app.migrate()
    migrate(url)
    assert "op." not in app.proposed()


@MOSTLY_POSTGRESQL
def test_without_is_not_ours_it_would_drop_them(url, tmp_path):
    app = Application(tmp_path / "app", url, knows_us=False)
    app.migrate()
    migrate(url)
    assert "op.drop_table('c_JobRun')".lower() in app.proposed().lower()


def test_a_table_of_the_application_that_begins_with_c_is_not_ours():
    assert is_not_ours("c_Customer", "table")
    assert not is_not_ours("c_jobrun", "table")
    assert not is_not_ours("c_AlembicVersion", "table")
    assert not is_not_ours("procrastinate_jobs", "table")
    assert not is_not_ours("c_JobText_docsize", "table")
    for partition in ("c_LoggedJob_p20261201", "c_loggedjob_2026_12", "c_LoggedJob_default"):
        assert not is_not_ours(partition, "table")
    assert is_not_ours("c_JobTexts", "table")
    assert is_not_ours(None, "schema")


@pytest.mark.usefixtures("processes")
def test_no_statement_of_ours_names_a_table_of_somebody_else(url, tmp_path):
    app = Application(tmp_path / "app", url)
    app.migrate()
    with statements() as sent:
        migrate(url)
        migrate(url)
        downgrade(url, "base")
    assert [text for text in sent if _strangers(text)] == []
    named = {name for text in sent for name in re.findall(r"c_\w+", text.lower())}
    assert "c_customer" not in named


_TARGET = re.compile(
    r"\b(?:TABLE(?: IF (?:NOT )?EXISTS)?|INTO|FROM|UPDATE(?! OF\b)|JOIN|ON(?! TABLE| CONFLICT)|ANALYZE)\s+([\"\w.]+)",
    re.IGNORECASE,
)
_CATALOGS = (
    "pg_",
    "sqlite_",
    "pragma_",
    "information_schema",
    "sys.",
    "openjson",
    "procrastinate_",
    "(",
    "anon_",
)


def _strangers(text: str) -> list[str]:
    """The tables in a statement that are neither ours, nor the engine's, nor the database's catalogue."""
    if "pg_catalog" in text or text.startswith("PRAGMA"):
        return []
    if text.strip().upper() == "ANALYZE":
        return ["every table"]
    names = [name.strip('"').lower() for name in _TARGET.findall(text)]
    return [name for name in names if is_not_ours(name, "table") and not name.startswith(_CATALOGS)]


def test_such_a_statement_would_be_seen():
    assert _strangers("DELETE FROM alembic_version") == ["alembic_version"]
    assert _strangers("ANALYZE") == ["every table"]
    assert _strangers("INSERT INTO c_JobRun VALUES (1)") == []


def test_an_application_may_call_a_table_as_it_likes(url):
    execute(url, "CREATE TABLE alembic_version (something_else VARCHAR(50))")
    execute(url, "INSERT INTO alembic_version VALUES ('0001')")
    assert migrate(url) == head_revision()
