"""Code that depends on a database, a driver or a lock has tests that run it on PostgreSQL too, or says why not."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # its tests parse every module

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "templates/scheduler/targcc_scheduler"
DEPENDS = re.compile(
    r"\.rowcount\b|\.lastrowid\b|\bdialect\.name\b|\bmany_writers\b"  # what drivers and dialects say
    r"|\bIntegrityError\b|\bwith_for_update\b|\bsqlalchemy\.dialects\b"
    r"|\bON CONFLICT\b|\bSKIP LOCKED\b|\bFOR UPDATE\b|\bPRAGMA\b|\bjson_each\b|\bunnest\("
)
"""Code whose result depends on the database or its driver."""
ON_POSTGRESQL = re.compile(
    r"\b(?:migrated_url|(?:migrated_)?postgresql_url|postgresql_server|empty_url|not_started|cluster)\b"
    r"|_\{request\.param\}_url"
)
"""Names of fixtures that give a test a PostgreSQL database."""
WITHOUT = {
    "db.dialects.column_types": "db.columns offers its types; tests/scheduler/storage writes them on both databases",
    "db.dialects.mssql": "the code of SQL Server; migrated_url runs it where TARGCC_TEST_SQL_SERVER names a server",
    "db.dialects.mssql_driver": "the code of SQL Server; storage/test_mssql_driver.py runs it without a server",
    "db.dialects.tsql": "the code of SQL Server; db.dialects.mssql uses it",
    "db.dialects.sqlite": "the code of SQLite; db.dialects.postgresql is its counterpart",
    "db.dialects.sqlite_driver": "the code of SQLite; db.dialects.psycopg_driver is its counterpart",
    "db.migrations.versions.0001_initial": "tests/scheduler/migrations runs each revision on both databases, by its number",
    "db.migrations.versions.0015_release_0_2": "tests/scheduler/migrations runs each revision on both databases, by its number",
    "db.migrations.versions.0016_waiting_runs": "tests/scheduler/migrations runs each revision on both databases, by its number",
    "features.accounts.model": "no test imports it: security/test_people_page.py calls it through the page on both databases",
    "features.accounts.people_pages": "no test imports it: security/test_people_page.py opens the page on both databases",
    "features.audit.loops": "runs on PostgreSQL alone; tests/scheduler/trail/test_chain.py chains rows on both databases",
    "features.batches.model": "no test imports it: test_batches*.py call it through scheduler.batches on both databases",
    "features.flows.actions": "no test imports it: tests/scheduler/flows calls it through the scheduler on both databases",
    "kernel.runs.log": "no test imports it: jobs write log lines in tests/scheduler/worker on both databases",
    "kernel.throttle": "no test imports it: node/test_pruner.py prunes by it on both databases",
    "schedules.dialects": "the dialect of a cron expression, and no database",
}
"""Modules that no test with a PostgreSQL database imports, and the reason."""


def sources() -> dict[str, Path]:
    """Return the files of the package that depend on the database, by module."""
    return {
        ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
        for file in sorted(PACKAGE.rglob("*.py"))
        if DEPENDS.search(file.read_text(encoding="utf-8"))
    }


def imported_by(text: str) -> set[str]:
    """Return the modules of the package that a test file imports, without the name of the package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix("targcc_scheduler.") for name in names}


@cache
def imported_on_postgresql() -> frozenset[str]:
    """Return the modules that test files with a PostgreSQL database import; a folder's conftest counts for its files."""
    modules: set[str] = set()
    for file in TESTS.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        conftest = file.parent / "conftest.py"
        fixtures = conftest.read_text(encoding="utf-8") if conftest.exists() else ""
        if ON_POSTGRESQL.search(text) or (file.parent != TESTS and ON_POSTGRESQL.search(fixtures)):
            modules |= imported_by(text)
    return frozenset(modules)


def without_twin(modules: set[str]) -> set[str]:
    """Return the modules that need a reason."""
    return modules - imported_on_postgresql()


def test_each_module_that_depends_on_the_database_is_tested_on_postgresql():
    missing = without_twin(set(sources())) - WITHOUT.keys()
    assert missing == set(), "give them a test on migrated_url, or a reason in WITHOUT"


def test_no_reason_outlives_its_module():
    assert WITHOUT.keys() - without_twin(set(sources())) == set()


@pytest.mark.parametrize(
    ("text", "depends"),
    [
        ("count = (await db.execute(change)).rowcount", True),
        ("if connection.dialect.name == 'sqlite': ...", True),
        ("query.with_for_update(skip_locked=True)", True),
        ("except IntegrityError: ...", True),
        ("rows = await db.execute(sa.select(job_run))", False),
    ],
)
def test_the_lint_sees_what_depends_on_a_database(text, depends):
    assert bool(DEPENDS.search(text)) == depends
