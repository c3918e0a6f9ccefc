"""The command for whoever has a SQL Server: run the tests against it and write what passed, with versions, as JSON and Markdown."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import sqlalchemy as sa

from . import VARIABLE, SQLServer, page

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = "mssql://sa:PASSWORD@127.0.0.1:1433/master?TrustServerCertificate=yes"
_MOST_SHOWN = 300
_PRODUCT = (
    "web",
    "cli",
    "node",
    "worker",
    "flows",
    "alerts",
    "oncall",
    "files",
    "live",
    "search",
    "security",
)
"""Folders of tests that run on the server in place of a SQLite file."""


@dataclass(frozen=True)
class Part:
    """A part of the tests.

    Attributes:
        name: The name for ``--only``.
        about: What the part shows.
        arguments: Arguments of pytest.
        variables: Variables of the environment, besides the URL.
        lacking: Words of the names of tests that Babelfish cannot pass; ``*`` for all.
    """

    name: str
    about: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()


PARTS = (
    Part(
        "locks",
        "READPAST, deadlocks, lock timeouts, READ_COMMITTED_SNAPSHOT on and off, languages, rights, take-over by a standby, twenty kills",
        ("-m", "sqlserver", "-n", "0", "tests/sql_server", "tests/scheduler/node", "tests/scheduler/storage"),
        lacking=("skips_rows_that_another", "waits_briefly_gives_up", "without_row_versions"),
    ),
    Part(
        "contract",
        "storage, claims, limits, dependencies, queries: each test that runs on every database",
        ("--ring", "1,2", "-k", "mssql", "tests/scheduler"),
    ),
    Part(
        "product",
        "pages, API, commands, nodes, outages, restarts, with the server in place of a SQLite file",
        ("--ring", "1,2", "-m", "not sqlite", "-k", "not postgresql and not mssql", *(f"tests/scheduler/{name}" for name in _PRODUCT)),
        {"TARGCC_TEST_STORE": "mssql"},
    ),
    Part(
        "demo",
        "the demo project: its month on the pages, twenty kills of the active node while runs are created",
        ("-m", "sqlserver", "-n", "0", "tests/e2e/test_store_on_sql_server.py"),
    ),
    Part(
        "procedures",
        "import, hybrid mode, procedures, and stopping them",
        ("-m", "sqlserver", "-n", "0", "tests/e2e/test_real_sql_server.py"),
        lacking=("*",),
    ),
)  # fmt: skip


@dataclass
class Result:
    """The outcome of a part.

    Attributes:
        name: The part.
        about: What the part shows.
        passed: The number of tests that passed.
        failed: The number of tests that failed.
        seconds: How long the part took.
        failures: The tests that failed, each with the first line of its error.
        tests: The tests that passed.
        note: Why the part did not run; empty if it did.
    """

    name: str
    about: str
    passed: int = 0
    failed: int = 0
    seconds: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)
    note: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="uv run python tests/sql_server",
        description="Run the scheduler's tests on a SQL Server, in databases that the tests create and drop.",
        epilog=f"Example: uv run python tests/sql_server --url '{EXAMPLE}'",
    )
    parser.add_argument(
        "--url",
        default=os.environ.get(VARIABLE),
        help=f"the database master of the server; default: {VARIABLE}",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[part.name for part in PARTS],
        help="run this part; may be repeated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "dist" / "sql-server",
        help="path of the result, without .json and .md",
    )
    parser.add_argument(
        "-n",
        "--processes",
        default="2",
        help="processes of pytest, each with a database; default: 2",
    )
    parser.add_argument(
        "--page",
        type=Path,
        metavar="RESULT.json",
        help="write a result into docs/guarantees.md, and do nothing else",
    )
    options = parser.parse_args(arguments)
    if options.page:
        page.take_in(options.page)
        return 0
    if not options.url:
        parser.error(f"--url is missing, such as {EXAMPLE}")
    try:
        server = describe(options.url)
    except sa.exc.ArgumentError:
        parser.error(f"--url is no URL; it looks like {EXAMPLE}")
    print(f"{server['product']} on {server['host']}, collation {server['collation']}")
    results = []
    for part in PARTS:
        if options.only and part.name not in options.only:
            continue
        print(f"\n== {part.name}: {part.about}", flush=True)
        results.append(
            run(part, options.url, options.processes, is_babelfish=bool(server["babelfish"]))
        )
        write(options.out, server, results)
    print((options.out.with_suffix(".md")).read_text(encoding="utf-8"))
    return (
        1
        if any(result.failed for result in results) or not any(result.passed for result in results)
        else 0
    )


def describe(url: str) -> dict[str, Any]:
    """Return versions and options of the server, and of what is tested."""
    address = sa.make_url(url)
    cursor = SQLServer._connect(address)
    cursor.execute(
        "SELECT @@VERSION, CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(100)),"
        " CAST(SERVERPROPERTY('Edition') AS nvarchar(100)), CAST(SERVERPROPERTY('Collation') AS nvarchar(100)),"
        " CAST(SERVERPROPERTY('BabelfishVersion') AS nvarchar(100)), @@LANGUAGE"
    )
    text, number, edition, collation, babelfish, language = cursor.fetchone()
    cursor.connection.close()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "product": f"Babelfish {babelfish}" if babelfish else text.splitlines()[0].strip(),
        "number": number,
        "edition": edition,
        "collation": collation,
        "language": language,
        "babelfish": babelfish,
        "host": f"{address.host}:{address.port or 1433}",
        "targcc": version("targcc-scheduler"),
        "commit": commit,
        "driver": f"mssql-python {version('mssql-python')}",
        "sqlalchemy": version("sqlalchemy"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def run(part: Part, url: str, processes: str, *, is_babelfish: bool) -> Result:
    """Run the tests of a part."""
    result = Result(part.name, part.about)
    lacking = part.lacking if is_babelfish else ()
    if lacking:
        result.note = f"{part.about}; left out on Babelfish: {', '.join(lacking)}"
        if "*" in lacking:
            return result
    selection = ("-k", " and ".join(f"not {words}" for words in lacking)) if lacking else ()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = f"{sys.executable} -m pytest -q -rfE --tb short -n {processes}".split()
        subprocess.run(
            [*command, *part.arguments, *selection, f"--junitxml={report}"],
            cwd=ROOT,
            env={**os.environ, **part.variables, VARIABLE: url, "TARGCC_TEST_SQLSERVER_URL": url},
            check=False,
        )
        if report.exists():
            count(ET.parse(report), result)
        else:
            result.note = "pytest has ended without a report"
            result.failed = 1
    result.seconds = round(time.monotonic() - began)
    return result


def count(report: ET.ElementTree[Any], result: Result) -> None:
    """Add the tests of pytest's report to a result. A skipped test counts as failed: nothing shows that it would pass."""
    for case in report.iter("testcase"):
        problem = next(
            (
                case.find(kind)
                for kind in ("failure", "error", "skipped")
                if case.find(kind) is not None
            ),
            None,
        )
        name = f"{case.get('classname')}::{case.get('name')}"
        if problem is None:
            result.passed += 1
            result.tests.append(name)
            continue
        result.failed += 1
        lines = (problem.get("message") or problem.text or "").strip().splitlines()
        result.failures[name] = lines[0][:_MOST_SHOWN] if lines else ""


def write(out: Path, server: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Write the result as JSON and as Markdown."""
    out.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"at": now, "server": dict(server), "parts": [asdict(result) for result in results]}
    out.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(markdown(now, server, results), encoding="utf-8")


def markdown(now: str, server: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return the result as a page."""
    lines = [
        f"# targcc-scheduler {server['targcc']} on {server['product']}",
        "",
        f"{now}, commit `{server['commit']}`",
        "",
    ]
    lines += [
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in server.items() if value),
        "",
    ]
    lines += ["| part | passed | failed | seconds | |", "|---|--:|--:|--:|---|"]
    for result in results:
        numbers = f"{result.passed:,} | {result.failed:,} | {result.seconds:,}"
        lines.append(f"| {result.name} | {numbers} | {result.note or result.about} |")
    failures = [(name, text) for result in results for name, text in result.failures.items()]
    if failures:
        lines += ["", "## Failed", "", *(f"* `{name}`: {text}" for name, text in failures)]
    return "\n".join(lines) + "\n"
