"""The column of SQL Server on the page of promises: what the last results of ``tests/sql_server`` show for each row.

``tests/data/sql_server_results.json`` keeps a result of a real server and one of Babelfish; ``uv run python tests/sql_server --page RESULT.json``
takes a result in and writes the column anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
RESULTS = ROOT / "tests" / "data" / "sql_server_results.json"
HEAD = ("promise", "SQLite", "PostgreSQL", "SQL Server")
NOT_RUN = "not run yet"
_TEST = re.compile(r"`(test_\w+)`")
_CELL = re.compile(r"(?<!\\)\|")


def take_in(result: Path) -> None:
    """Replace the kept result of the same kind of server by a new result, and write the column."""
    new = json.loads(result.read_text(encoding="utf-8"))
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    kind = "babelfish" if new["server"]["babelfish"] else "server"
    kept[kind] = {
        "at": new["at"],
        "product": new["server"]["product"],
        "driver": new["server"]["driver"],
        "commit": new["server"]["commit"],
        "passed": sorted({name for part in new["parts"] for name in part["tests"]}),
        "failed": sorted({name for part in new["parts"] for name in part["failures"]}),
    }
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_column(text, kept), encoding="utf-8", newline="\n")


def with_column(text: str, kept: Mapping[str, Any]) -> str:
    """Return the page with the column that the kept results show."""
    lines, is_promise = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in _CELL.split(line)[1:-1]] if line.startswith("|") else []
        if tuple(cells[:3]) == HEAD[:3]:
            is_promise = True
            lines.append(f"| {' | '.join(HEAD)} |")
        elif not cells:
            is_promise = False
            lines.append(line)
        elif is_promise and set("".join(cells)) <= set("-:"):
            lines.append("|---|---|---|---|")
        elif is_promise:
            lines.append(f"| {' | '.join((*cells[:3], cell(cells, kept)))} |")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def cell(row: list[str], kept: Mapping[str, Any]) -> str:
    """Return what the results show for a row: of a real server, and of Babelfish beside it."""
    names = _TEST.findall(" ".join(row[1:3]))
    parts = []
    for kind, label in (("server", ""), ("babelfish", "Babelfish: ")):
        result = kept.get(kind)
        passed = _named(names, result["passed"]) if result else set()
        failed = _named(names, result["failed"]) if result else set()
        if failed:
            parts.append(f"{label}fails: {', '.join(f'`{name}`' for name in sorted(failed))}")
        elif passed:
            parts.append(f"{label}{len(passed)} of {len(set(names))} tests pass")
        elif kind == "server" and not result:
            parts.append(NOT_RUN)
    return "; ".join(parts)


def _named(names: list[str], tests: list[str]) -> set[str]:
    """Return the names among tests with the variant of SQL Server."""
    run = {test.rpartition("::")[2].partition("[")[0] for test in tests}
    return run.intersection(names)
