"""Rules checked on the source: one module sets the state of a run, and only the owners of tables write them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import targcc_scheduler

pytestmark = pytest.mark.slow  # its tests parse every module

ROOT = Path(targcc_scheduler.__file__).parent
SETS_STATE = Path("kernel/runs/transition.py")
WRITES = {"kernel", "db"}
OF_FEATURES = {
    Path("features/accounts/model.py"),
    Path("features/alerts/model.py"),
    Path("features/batches/effects.py"),
    Path("features/batches/model.py"),
    Path("features/events/model.py"),
    Path("features/flows/actions.py"),
    Path("features/flows/effects.py"),
    Path("features/flows/model.py"),
    Path("features/overrides/rows.py"),
    Path("features/triage/bulk.py"),
    Path("feature_contract.py"),  # writes rows of the table under test
}
"""Modules that write the tables of their feature."""
OF_THE_PROJECT = {Path("services/database.py"), Path("features/legacy/write_back.py")}
"""Modules that write other databases: the jobs' own database, and the old server's."""
ROLLED_BACK = {Path("features/doctor/databases.py")}
"""Module that checks by a rolled-back write whether the database is writable."""

STATE_IN_SQL = re.compile(r"\bSET\b[^;]*?\bState\s*=", re.DOTALL | re.IGNORECASE)
WRITE_IN_SQL = re.compile(
    r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+c_\w+", re.IGNORECASE
)


STATE = re.compile(r"\bState(\s*=|[\"'])", re.IGNORECASE)
WRITES_AT_ALL = re.compile(r"\b(insert|update|delete|merge)\b", re.IGNORECASE)


@cache
def _texts() -> dict[Path, str]:
    return {file.relative_to(ROOT): file.read_text(encoding="utf-8") for file in ROOT.rglob("*.py")}


def sources(word: re.Pattern[str]) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the sources that contain a word; other sources cannot break the rule."""
    for path, text in _texts().items():
        if word.search(text):
            yield path, ast.parse(text)


def state_setters(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that set the state of a run: ``values(State=…)``, ``{"State": …}``, or SQL."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(keywords=keywords) if any(item.arg == "State" for item in keywords):
                yield node.lineno
            case ast.Dict(keys=keys) if any(
                isinstance(key, ast.Constant) and key.value == "State" for key in keys
            ):
                yield node.lineno
            case ast.Constant(value=str(text)) if STATE_IN_SQL.search(text):
                yield node.lineno


def table_writers(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that insert, update or delete rows, by SQLAlchemy or SQL."""
    tables = _names_of_tables(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=verb)) if verb in {
                "insert",
                "update",
                "delete",
            } and (name == "sa" or name in tables):
                yield node.lineno
            case ast.Constant(value=str(text)) if WRITE_IN_SQL.search(text):
                yield node.lineno


def _names_of_tables(tree: ast.AST) -> set[str]:
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name
        for node in imported
        if (node.module or "").endswith("db.tables")
        for alias in node.names
    }


def test_only_the_transition_sets_the_state_of_a_run():
    setters = {
        str(path): lines for path, tree in sources(STATE) if (lines := [*state_setters(tree)])
    }
    assert setters.keys() == {str(SETS_STATE)}


def test_only_the_kernel_and_the_owners_of_tables_write_them():
    others = {
        path: tree
        for path, tree in sources(WRITES_AT_ALL)
        if path.parts[0] not in WRITES and path not in OF_THE_PROJECT | OF_FEATURES | ROLLED_BACK
    }
    writers = {
        str(path): lines for path, tree in others.items() if (lines := [*table_writers(tree)])
    }
    assert writers == {}


@pytest.mark.parametrize(
    "code",
    [
        "sa.update(job_run).values(State=RunState.FAILED)",
        'values = {"State": "failed"}',
        "sa.text(\"UPDATE c_JobRun SET Message = 'x', State = 'failed'\")",
    ],
)
def test_each_way_to_set_a_state_is_seen(code):
    assert list(state_setters(ast.parse(code))) == [1]


@pytest.mark.parametrize(
    "code",
    [
        "from ..db.tables import job_user\njob_user.delete()",
        "sa.insert(table)",
        'sa.text("DELETE FROM c_JobRun")',
    ],
)
def test_each_way_to_write_a_table_is_seen(code):
    assert list(table_writers(ast.parse(code)))
