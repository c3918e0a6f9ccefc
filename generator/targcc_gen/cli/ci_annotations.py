"""Print pending changes as annotations of a merge request: GitHub workflow commands, GitLab code quality report."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from targcc_gen.errors import TargccError
    from targcc_gen.spec import SpecErrors
    from targcc_gen.sync import Change, Plan

_HUNK = re.compile(r"^@@ -(\d+)", re.MULTILINE)
_CONTEXT = 3


@dataclass(frozen=True)
class Annotation:
    """One remark at a line.

    Attributes:
        path: POSIX path below the repository's folder.
        line: From 1.
        message: What is due.
        is_conflict: Whether a person has to decide; else one command does it.
    """

    path: str
    line: int
    message: str
    is_conflict: bool = False


def show(annotations: Iterable[Annotation], kind: str) -> None:
    """Print annotations in one of the formats."""
    found = list(annotations)
    if kind == "gitlab":
        click.echo(json.dumps([_of_gitlab(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        click.echo(_of_github(one))


def of_plan(plan: Plan) -> Iterator[Annotation]:
    """What is due in a project."""
    prefix = _below_repository(plan.root)
    for change in plan.changes:
        if change.writes or change.action == "conflict":
            yield from _of_change(change, prefix)
    if plan.lock_changes and not any(change.writes for change in plan.changes):
        text = "the lock is not up to date. Run: targcc-gen regenerate"
        yield Annotation(f"{prefix}.targcc/lock.jsonl", 1, text)


def of_spec_errors(errors: SpecErrors, root: Path) -> Iterator[Annotation]:
    """What is wrong with a spec."""
    path = f"{_below_repository(root)}targcc.yaml"
    for one in errors.problems:
        hint = f": {one.hint}" if one.hint else ""
        yield Annotation(path, one.line + 1, f"{one.message}{hint}", is_conflict=True)


def of_error(error: TargccError, root: Path) -> Iterator[Annotation]:
    """What else is in the way, such as a key that two branches changed differently."""
    yield Annotation(f"{_below_repository(root)}targcc.yaml", 1, error.message, is_conflict=True)


def _of_change(change: Change, prefix: str) -> Iterator[Annotation]:
    path = f"{prefix}{change.path}"
    if change.action == "conflict":
        reason = change.reason or "you and targcc-gen changed the same lines"
        for place in change.collisions:
            yield Annotation(path, max(1, place.first), reason, is_conflict=True)
        if not change.collisions:
            yield Annotation(path, 1, reason, is_conflict=True)
        return
    found = _HUNK.search(change.diff())
    line = max(1, int(found[1]) + _CONTEXT) if found and int(found[1]) > 1 else 1
    words = f"{change.action.value} {change.path}" + (f": {change.reason}" if change.reason else "")
    yield Annotation(path, line, f"{words}. Run: targcc-gen regenerate")


def _of_github(one: Annotation) -> str:
    level = "error" if one.is_conflict else "warning"
    where = f"file={_escaped(one.path, more=True)},line={one.line},title=targcc-gen"
    return f"::{level} {where}::{_escaped(one.message)}"


def _escaped(text: str, *, more: bool = False) -> str:
    """Text in a workflow command; a property has two characters more that mean something."""
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]
    pairs += [(":", "%3A"), (",", "%2C")] if more else []
    for plain, escape in pairs:
        text = text.replace(plain, escape)
    return text


def _of_gitlab(one: Annotation) -> dict[str, object]:
    text = f"{one.path}\0{one.message}\0{one.line}"
    return {
        "description": one.message,
        "check_name": "targcc-gen",
        "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        "severity": "critical" if one.is_conflict else "minor",
        "location": {"path": one.path, "lines": {"begin": one.line}},
    }


def _below_repository(root: Path) -> str:
    """Where the project is in its repository, with a `/` at the end; nothing where it is the repository."""
    root = root.resolve()
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            below = root.relative_to(folder).as_posix()
            return "" if below == "." else f"{below}/"
    return ""
