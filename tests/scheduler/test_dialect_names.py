"""Names of databases: code outside ``db/dialects/`` asks the dialect for what differs, and compares no name of a database."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # its tests parse every module

PACKAGE = Path(__file__).parents[2] / "templates/scheduler/targcc_scheduler"
NAMES = {"sqlite", "postgresql", "mssql"}
FREE = {
    "core/database_url.py": "the list of the databases, and Django's names of them",
    "core/extras.py": "the extra of each driver, which has the name of its database",
    "db/dialects/": "the differences between the databases",
    "db/migrations/versions/": "each revision stays as it was released",
    "features/legacy/": "the database of the old system, which is not the scheduler's",
    "services/": "the databases of jobs, which are not the scheduler's",
}
"""Files and folders that may compare names of databases, and the reason."""


def is_free(file: Path) -> bool:
    """Return whether a file may compare names of databases."""
    return file.relative_to(PACKAGE).as_posix().startswith(tuple(FREE))


def compared(text: str) -> Iterator[int]:
    """Yield the lines of a module that depend on the name of a database."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            constants = [ast.walk(side) for side in (node.left, *node.comparators)]
            if any(map(_is_name, (part for side in constants for part in side))):
                yield node.lineno
        elif isinstance(node, ast.Dict):
            if sum(_is_name(key) for key in node.keys if key is not None) > 1:
                yield node.lineno
        elif isinstance(node, ast.Subscript):
            if "dialect.name" in ast.unparse(node.slice):
                yield node.lineno
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.endswith(("compiles", "with_variant", ".startswith")) and any(
                map(_is_name, node.args)
            ):
                yield node.lineno


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in NAMES


@pytest.mark.parametrize(
    "text",
    [
        "if connection.dialect.name == 'postgresql': pass",
        "if url.get_backend_name() not in {'sqlite', 'mssql'}: pass",
        "SETTLERS = {'sqlite': one_by_one, 'postgresql': at_once}",
        "SETTLERS[connection.dialect.name](rows)",
        "@compiles(elapsed, 'mssql')\ndef render(): pass",
        "column(sa.BigInteger().with_variant(sa.Integer, 'sqlite'))",
        "url.startswith('postgresql')",
    ],
)
def test_a_comparison_with_the_name_of_a_database_is_seen(text):
    assert list(compared(text)) == [1]


def test_only_the_dialects_depend_on_the_name_of_a_database():
    lines = [
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if not is_free(file)
        for line in compared(file.read_text(encoding="utf-8"))
    ]
    assert lines == []


def test_each_exception_is_needed():
    used = [
        place
        for place in FREE
        for file in PACKAGE.rglob("*.py")
        if file.relative_to(PACKAGE).as_posix().startswith(place)
        and any(True for _ in compared(file.read_text(encoding="utf-8")))
    ]
    assert set(used) == set(FREE)
