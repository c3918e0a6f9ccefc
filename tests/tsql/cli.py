"""The command: parse the collected statements, the dialect's own statements and the script of tables, and check them by the rules."""

from __future__ import annotations

import argparse
import json
import shutil
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlglot.errors
from targcc_scheduler.db.migrations.upgrade import sql_script

from . import parsing, rules
from .collecting import FOLDER, Collected, own_statements

ACCEPTED = Path(__file__).with_name("accepted.toml")
"""Findings that do not happen on a server, each with the reason."""


@dataclass(frozen=True)
class Finding:
    """A statement that SQL Server would refuse.

    Attributes:
        place: What executes the statement: a file and a line, or a function of the dialect.
        problem: The parser's message, or the name of the rule.
        part: The part of the statement.
    """

    place: str
    problem: str
    part: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}\n    {' '.join(self.part.split())}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="uv run python tests/tsql",
        description="Parse every statement that the tests have executed, compiled for SQL Server, by Microsoft's parser."
        " Run the tests first: uv run pytest --ring 1,2 tests/scheduler",
    )
    parser.add_argument(
        "--least", type=int, default=1, help="fail below this number of different statements"
    )
    parser.add_argument(
        "--clear", action="store_true", help="remove the collected statements, and do nothing else"
    )
    options = parser.parse_args(arguments)
    if options.clear:
        shutil.rmtree(FOLDER, ignore_errors=True)
        return 0
    collected = read(FOLDER)
    began = time.monotonic()
    statements = {item.tsql: item.place for item in collected if item.tsql}
    statements |= {text: place for place, text in own_statements()}
    findings = [
        Finding(item.place, item.error, item.source[:200]) for item in collected if item.error
    ]
    findings += check(statements) + check_keys(sql_script("mssql"))
    left, unused = without_accepted(findings)
    print_counts(collected, len(statements), time.monotonic() - began)
    for finding, times in Counter(left).items():
        print(finding if times == 1 else f"{finding}\n    ({times} statements)")
    for row in unused:
        print(f"{ACCEPTED.name}: no longer found, remove the row: {row['file']}: {row['problem']}")
    print(f"{len(left):,} findings, {len(findings) - len(left):,} accepted in {ACCEPTED.name}")
    if len(statements) < options.least:
        print(f"the tests have collected fewer than {options.least:,} statements")
    return 1 if left or len(statements) < options.least else 0


def read(folder: Path) -> list[Collected]:
    """Return the different statements that the processes of the tests have written."""
    items = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            item = Collected(**json.loads(line))
            items.setdefault((item.source, item.alone), item)
    return list(items.values())


def check(statements: Mapping[str, str]) -> list[Finding]:
    """Return what the parser and the rules find in statements, given with their places, and in the script of tables."""
    script = sql_script("mssql").split("\nGO\n")
    batches = {batch.strip(): "targcc migrate --sql mssql" for batch in script if batch.strip()}
    places = {**batches, **statements}
    refused = parsed(places)
    return list(refused.values()) + [
        finding
        for text, place in statements.items()
        for finding in broken(text, place, is_refused=text in refused)
    ]


def parsed(places: Mapping[str, str]) -> dict[str, Finding]:
    """Return the statements that Microsoft's parser refuses, each with its first problem."""
    texts = list(places)
    with parsing.running() as parser:
        problems = parser.parse(texts)
    first: dict[str, Finding] = {}
    for problem in problems:
        text = texts[problem.index]
        first.setdefault(text, Finding(places[text], problem.message, excerpt(text, problem)))
    return first


def excerpt(text: str, problem: parsing.Problem) -> str:
    """Return the text around a problem, with an arrow before the problem."""
    line = text.splitlines()[problem.line - 1]
    at = problem.column - 1
    return f"{line[max(at - 60, 0) : at]}→{line[at : at + 60]}"


def broken(text: str, place: str, *, is_refused: bool = False) -> list[Finding]:
    """Return the rules that a statement breaks.

    Args:
        text: The statement.
        place: Its place.
        is_refused: Whether the parser has refused the statement, so that it need not be readable here.
    """
    try:
        return [Finding(place, str(item.rule), item.part) for item in rules.breaks(text)]
    except sqlglot.errors.SqlglotError as error:
        problem = str(error).partition("\n")[0]
        return [] if is_refused else [Finding(place, f"sqlglot: {problem}", text[:200])]


def check_keys(script: str) -> list[Finding]:
    """Return the keys of indexes that SQL Server refuses."""
    return [
        Finding("targcc migrate --sql mssql", problem, "") for problem in rules.key_breaks(script)
    ]


def without_accepted(
    findings: Sequence[Finding],
) -> tuple[list[Finding], list[dict[str, str]]]:
    """Leave out the accepted findings; return the others, and the rows of the file that no finding needs."""
    rows: list[dict[str, str]] = tomllib.loads(ACCEPTED.read_text(encoding="utf-8")).get(
        "accepted", []
    )
    left, unused = [], list(rows)
    for finding in findings:
        fits = [row for row in rows if _accepts(row, finding)]
        unused = [row for row in unused if row not in fits]
        if not fits:
            left.append(finding)
    return left, unused


def _accepts(row: dict[str, str], finding: Finding) -> bool:
    file = finding.place.partition(":")[0]
    return file == row["file"] and row["problem"] in finding.problem


def print_counts(collected: Sequence[Collected], statements: int, seconds: float) -> None:
    """Print how many statements were parsed, and how many are of other databases alone."""
    places = {item.place for item in collected}
    print(
        f"{statements:,} statements for SQL Server, from {len(places):,} places, parsed in {seconds:.0f} s"
    )
    for reason, number in sorted(Counter(item.alone for item in collected if item.alone).items()):
        print(f"{number:6,} statements of other databases: {reason}")
