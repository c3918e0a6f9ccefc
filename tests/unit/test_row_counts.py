"""Row counts are read in one place: on PostgreSQL, SQLAlchemy returns -1 for the row count of an ``INSERT``."""

import ast
from pathlib import Path

import pytest
import sqlalchemy as sa
from targcc_scheduler.db.dialects.frequent import FrequentStatement
from targcc_scheduler.db.tables import job_run

ROOT = Path(__file__).resolve().parents[2]
SCHEDULER = ROOT / "templates" / "scheduler" / "targcc_scheduler"
SOURCES = (ROOT / "generator" / "targcc_gen", SCHEDULER)
READERS = {
    "db/dialects/frequent.py",  # UPDATE and DELETE only: counts() refuses an INSERT
    "db/dialects/mssql_driver.py",  # the driver's own cursors
    "db/dialects/psycopg_driver.py",  # the driver's own cursors
    "db/dialects/sqlite_driver.py",
    "services/procedures.py",
}


def readers(source: str) -> list[int]:
    """Return the lines in which a program reads a row count."""
    if "rowcount" not in source:
        return []
    nodes = ast.walk(ast.parse(source))
    return [
        node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr == "rowcount"
    ]


def test_no_other_module_reads_a_row_count():
    files = [path for root in SOURCES for path in sorted(root.rglob("*.py"))]
    assert {
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in readers(path.read_text(encoding="utf-8"))
        if path not in {SCHEDULER / name for name in READERS}
    } == set()


def test_a_row_count_is_noticed():
    assert readers("new = (await db.execute(insert)).rowcount == 1") == [1]


async def test_the_row_count_of_an_insert_is_refused():
    with pytest.raises(TypeError, match="an INSERT has no row count"):
        await FrequentStatement(sa.insert(job_run)).counts(None, [{}])
