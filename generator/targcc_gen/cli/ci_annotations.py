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
    """A remark at a line of a file.

    Attributes:
        path: The POSIX path, relative to the repository's folder.
        line: From 1.
        message: The pending change or the error.
        is_conflict: Whether a person has to decide; otherwise a command settles the remark.
    """

    path: str
    line: int
    message: str
    is_conflict: bool = False


def show(annotations: Iterable[Annotation], kind: str) -> None:
    """Print annotations in the format of GitHub or GitLab."""
    shown = list(annotations)
    if kind == "gitlab":
        click.echo(
            json.dumps(
                [_of_gitlab(annotation) for annotation in shown], indent=2, ensure_ascii=False
            )
        )
        return
    for annotation in shown:
        click.echo(_of_github(annotation))


def of_plan(plan: Plan) -> Iterator[Annotation]:
    """Yield an annotation for each pending change of a project."""
    prefix = _below_repository(plan.root)
    for change in plan.changes:
        if change.writes or change.action == "conflict":
            yield from _of_change(change, prefix)
    if plan.lock_changes and not any(change.writes for change in plan.changes):
        text = "the lock is not up to date. Run: targcc-gen regenerate"
        yield Annotation(f"{prefix}.targcc/lock.jsonl", 1, text)


def of_spec_errors(errors: SpecErrors, root: Path) -> Iterator[Annotation]:
    """Yield an annotation for each error of a spec."""
    path = f"{_below_repository(root)}targcc.yaml"
    for problem in errors.problems:
        hint = f": {problem.hint}" if problem.hint else ""
        yield Annotation(path, problem.line + 1, f"{problem.message}{hint}", is_conflict=True)


def of_error(error: TargccError, root: Path) -> Iterator[Annotation]:
    """Yield an annotation for any other error, such as a key that two branches changed differently."""
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
    match = _HUNK.search(change.diff())
    line = max(1, int(match[1]) + _CONTEXT) if match and int(match[1]) > 1 else 1
    words = f"{change.action.value} {change.path}" + (f": {change.reason}" if change.reason else "")
    yield Annotation(path, line, f"{words}. Run: targcc-gen regenerate")


def _of_github(annotation: Annotation) -> str:
    level = "error" if annotation.is_conflict else "warning"
    where = f"file={_escaped(annotation.path, more=True)},line={annotation.line},title=targcc-gen"
    return f"::{level} {where}::{_escaped(annotation.message)}"


def _escaped(text: str, *, more: bool = False) -> str:
    """Escape text for a GitHub workflow command; `more` also escapes colon and comma, for a property."""
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]
    pairs += [(":", "%3A"), (",", "%2C")] if more else []
    for plain, escape in pairs:
        text = text.replace(plain, escape)
    return text


def _of_gitlab(annotation: Annotation) -> dict[str, object]:
    text = f"{annotation.path}\0{annotation.message}\0{annotation.line}"
    return {
        "description": annotation.message,
        "check_name": "targcc-gen",
        "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        "severity": "critical" if annotation.is_conflict else "minor",
        "location": {"path": annotation.path, "lines": {"begin": annotation.line}},
    }


def _below_repository(root: Path) -> str:
    """Return the project's folder relative to its repository, with a final `/`; empty if both are the same folder."""
    root = root.resolve()
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            below = root.relative_to(folder).as_posix()
            return "" if below == "." else f"{below}/"
    return ""
