"""From every revision to every other, with rows in the tables."""

import pytest
from migration_rig import NEXT, fill, kept, make_0_1, next_release, revisions, rows, tables
from targcc_scheduler import metadata, migrate
from targcc_scheduler.core.errors import SchemaError
from targcc_scheduler.db.migrations import upgrade
from targcc_scheduler.db.migrations.upgrade import downgrade, head_revision, known_revisions


@pytest.mark.slow
@pytest.mark.parametrize("revision", known_revisions())
def test_rows_stay_down_to_every_revision_and_up_from_it(url, revision):
    migrate(url)
    fill(url)
    newest = rows(url)
    downgrade(url, revision)
    table = "alembic_version" if revision == "0001" else "c_AlembicVersion"
    assert revisions(url, table) == [revision]
    assert kept(rows(url), newest)
    fill(url)
    before = rows(url)
    assert migrate(url) == head_revision()
    assert kept(before, rows(url))
    fill(url)
    assert all(rows(url).values())


def test_base_removes_every_table_of_ours_and_all_come_back(url):
    if url.startswith("mssql"):  # release 0.1 did not know it
        migrate(url)
        fill(url)
    else:
        make_0_1(url)
    downgrade(url, "base")
    names = {name.lower() for name in metadata.tables}
    assert not tables(url) & names
    migrate(url)
    assert tables(url) >= names
    assert revisions(url) == [head_revision()]


@pytest.mark.slow
def test_an_older_release_works_again_after_a_newer_one_went_back(url, tmp_path, monkeypatch):
    migrate(url)
    fill(url)
    before = rows(url)
    older = head_revision()
    with monkeypatch.context() as newer:
        newer.setattr(upgrade, "DIRECTORY", next_release(tmp_path))
        assert migrate(url) == NEXT
        assert "c_jobnext" in tables(url)
        downgrade(url, older)
    assert migrate(url) == older
    assert "c_jobnext" not in tables(url)
    assert kept({name: rows_[:1] for name, rows_ in rows(url).items()}, before)


def test_going_down_to_a_later_revision_is_said(url, tmp_path, monkeypatch):
    older = head_revision()
    migrate(url)
    monkeypatch.setattr(upgrade, "DIRECTORY", next_release(tmp_path))
    with pytest.raises(SchemaError, match=f"at revision {older}.*{NEXT} is later"):
        downgrade(url, NEXT)
    assert revisions(url) == [older]


def test_going_down_where_there_are_no_tables_is_said(url):
    with pytest.raises(SchemaError, match="no tables"):
        downgrade(url, head_revision())
    assert "c_jobrun" not in tables(url)


def test_a_revision_that_nobody_knows_is_said(url):
    migrate(url)
    with pytest.raises(SchemaError, match="no revision '4711': base, 0001"):
        downgrade(url, "4711")
