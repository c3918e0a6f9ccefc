"""Load a spec file: return a checked `Spec`, or report all errors at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from targcc_gen.errors import SpecFileError
from targcc_gen.spec import blueprint_names, nodes, rules
from targcc_gen.spec.errors import (
    ENCODING,
    GIT_MARKERS,
    MISSING_KEY,
    Finding,
    Problem,
    SpecErrors,
    Steps,
    findings_of,
    kind_at,
    shown,
    split_lines,
)
from targcc_gen.spec.models import KEYS, Spec
from targcc_gen.spec.nodes import Node

# Conflict markers of git, and both sides of the conflicts.

_MARKER = re.compile(r"(<{7}|\|{7}|={7}|>{7})(?: (.*))?")
_OURS, _BASE, _THEIRS = "<<<<<<<", "|||||||", "======="
_END = ">>>>>>>"
_NEXT = {"": (_OURS,), _OURS: (_BASE, _THEIRS), _BASE: (_THEIRS,), _THEIRS: (_END,)}


@dataclass(frozen=True)
class Sides:
    """Both sides of a file with conflict markers.

    Attributes:
        ours: The file with our side of each conflict.
        theirs: The file with the other side of each conflict.
        base: The file with the common ancestor of each conflict; None where git did not write the ancestor.
        our_name: Git's name for our side, such as `HEAD`.
        their_name: Git's name for the other side: a branch, a commit.
        places: The number of conflicts.
    """

    ours: str
    theirs: str
    base: str | None
    our_name: str
    their_name: str
    places: int


def may_have_markers(text: str) -> bool:
    """Whether a line begins like git's first conflict marker; a quick check before `sides_of`."""
    return text.startswith(f"{_OURS} ") or f"\n{_OURS} " in text


def sides_of(text: str) -> Sides | None:
    """Split a text with conflict markers into both sides; return None for a text without markers or with unmatched markers."""
    if not may_have_markers(text):
        return None
    ours: list[str] = []
    theirs: list[str] = []
    base: list[str] = []
    targets: dict[str, tuple[list[str], ...]] = {
        "": (ours, theirs, base), _OURS: (ours,), _BASE: (base,), _THEIRS: (theirs,)
    }  # fmt: skip
    state, names, places, bases = "", ["", ""], 0, 0
    for line in text.splitlines(keepends=True):
        marker = _MARKER.fullmatch(line.rstrip("\r\n"))
        if marker is not None and marker[1] in _NEXT[state]:
            state = marker[1]
            places += state == _OURS
            bases += state == _BASE
            if state == _OURS:
                names[0] = marker[2] or ""
            elif state == _END:
                names[1], state = marker[2] or "", ""
        elif marker is not None and marker[1] == _OURS and state != _BASE:
            return None
        else:
            for target in targets[state]:
                target.append(line)
    if state or not places:
        return None
    before = "".join(base) if bases == places else None
    return Sides("".join(ours), "".join(theirs), before, names[0], names[1], places)


def marked(ours: Iterable[str], theirs: Iterable[str], names: tuple[str, str]) -> list[str]:
    """Return the lines of a conflict, both sides between git's markers."""
    first, other = (f" {name}" if name else "" for name in names)
    return [f"{_OURS}{first}\n", *ours, f"{_THEIRS}\n", *theirs, f"{_END}{other}\n"]


# Load and check.

MAX_BYTES = 5_000_000
"""Larger files are refused unread."""

# Caches: a command parses the project's text, and the text it makes from that, several times.
_SPECS: dict[tuple[int, str], Spec] = {}
_TREES: dict[str, tuple[Node, list[Problem]]] = {}
_REMEMBERED = 4

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAY_BE_EMPTY = {
    ("jobs",),
    ("queues",),
    ("pools",),
    ("calendars",),
    ("defaults",),
    ("environments",),
    ("moved",),
    ("flows",),
    ("alerts",),
    ("oncall",),
}


def load_spec(path: Path) -> Spec:
    """Read a spec file.

    Raises:
        SpecErrors: The spec is wrong; the error lists every fault.
        InputError: The file does not exist or cannot be read.
    """
    return parse_spec(read_text(path), _displayed(path))


def read_text(path: Path) -> str:
    """Return the text of a spec file unchanged, with line endings and byte order mark.

    Raises:
        SpecErrors: The file is too large or not UTF-8.
        InputError: The file does not exist or cannot be read.
    """
    name = _displayed(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecFileError(
            f"no file {name}", hint="targcc-gen new makes a project with one"
        ) from None
    except OSError as error:
        hint = "Name the file: targcc.yaml in this folder." if path.is_dir() else None
        raise SpecFileError(f"cannot read {name}: {error.strerror}", hint=hint) from error
    if len(raw) > MAX_BYTES:
        raise _too_large(name)
    return _decoded(raw, name)


def parse_spec(text: str, filename: str = "targcc.yaml") -> Spec:
    """Read a spec from YAML text.

    Args:
        text: YAML.
        filename: The file, as messages name it.

    Raises:
        SpecErrors: The spec is wrong; the error lists every fault.
    """
    known = _SPECS.get((blueprint_names.generation(), text))
    if known is not None:
        return known
    spec = _parsed(text, filename)
    if len(_SPECS) >= _REMEMBERED:
        _SPECS.clear()
    _SPECS[blueprint_names.generation(), text] = spec
    return spec


def _parsed(text: str, filename: str) -> Spec:
    root, problems = parse_tree(text, filename)
    names_folders = root.entries.keys() & {"blueprints", "extends"}
    if not names_folders or blueprint_names.current() != blueprint_names.Library():
        return _checked(text, filename, root, problems)
    blueprint_names.use(blueprint_names.Library(lenient=True))
    try:
        return _checked(text, filename, root, problems)
    finally:
        blueprint_names.use(blueprint_names.Library())


def _checked(text: str, filename: str, root: Node, problems: list[Problem]) -> Spec:
    data = root.data()
    missing = list(_missing_values(root))
    spec, broken = _validated(data, {finding.path for finding in missing})
    findings = [*missing, *_rule_findings(data), *broken]
    if findings or problems or spec is None:
        raise SpecErrors(
            filename, text, [*problems, *(placed(finding, root) for finding in findings)]
        )
    return spec


def parse_tree(text: str, filename: str) -> tuple[Node, list[Problem]]:
    """Return the root mapping of a spec's text, and a problem for each repeated key.

    Raises:
        SpecErrors: The text is not YAML, or uses YAML that a spec does not allow.
    """
    text = text.removeprefix("\ufeff")
    if text in _TREES:
        return _TREES[text]
    tree = _read_tree(text, filename)
    if len(_TREES) >= _REMEMBERED:
        _TREES.clear()
    _TREES[text] = tree
    return tree


def _read_tree(text: str, filename: str) -> tuple[Node, list[Problem]]:
    if len(text) > MAX_BYTES:
        raise _too_large(filename)
    hidden = _UNPRINTABLE.search(text)
    if hidden:
        raise SpecErrors(filename, text, [_hidden_character(text, hidden.start())])
    if may_have_markers(text):
        raise SpecErrors(filename, text, [_git_markers(text)])
    try:
        root, problems = nodes.read(text)
    except nodes.Unreadable as error:
        raise SpecErrors(filename, text, [error.problem]) from error
    if root is None or root.is_null():
        hint = 'it begins with "targcc: 1"; see targcc-gen schema'
        raise SpecErrors(filename, text, [Problem(0, 0, 0, "the file is empty", hint)])
    if root.kind != "mapping":
        hint = 'it begins with "targcc: 1"'
        where = root.start
        raise SpecErrors(
            filename, text, [Problem(where.line, where.column, 1, "a spec is a mapping", hint)]
        )
    return root, problems


def _validated(data: dict[str, Any], missing: set[Steps]) -> tuple[Spec | None, list[Finding]]:
    """Return the checked spec, or the findings that neither the rules nor the search for empty values report."""
    try:
        return Spec.model_validate(without_nulls(data)), []
    except ValidationError as error:
        findings = findings_of(error, KEYS)
        return None, [
            finding for finding in findings if not finding.rule and finding.path not in missing
        ]


def _rule_findings(data: dict[str, Any]) -> Iterator[Finding]:
    """Yield the findings of the rules, even where single values are wrong."""
    yield from rules.spec_findings(data)
    jobs = data.get("jobs")
    for key, job in jobs.items() if isinstance(jobs, dict) else ():
        if job is None or isinstance(job, dict):
            for finding in rules.job_findings(job or {}, f"job {shown(key)}"):
                yield replace(finding, path=("jobs", key, *finding.path))


def _missing_values(node: Node, path: Steps = ()) -> Iterator[Finding]:
    """Yield a finding for each key without a value, unless the key may be empty."""
    for key, (_, value) in node.entries.items():
        here = (*path, key)
        if value.is_null() and not _may_be_empty(here):
            message, hint = f"{shown(key)} has no value", "give it one, or remove the line"
            yield Finding(here, message, hint, at="key", code=MISSING_KEY)
        if value.entries:
            yield from _missing_values(value, here)


def _may_be_empty(path: Steps) -> bool:
    return path in _MAY_BE_EMPTY or kind_at(path) in {"job", "environment"}


def without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data without empty values: each is either reported already or the same as a missing key."""
    jobs = data.get("jobs")
    if isinstance(jobs, dict):
        jobs = {key: {} if job is None else job for key, job in jobs.items()}
        data = {**data, "jobs": jobs}
    places = data.get("environments")
    if isinstance(places, dict):
        places = {key: {} if place is None else place for key, place in places.items()}
        data = {**data, "environments": places}
    return _pruned(data)


def _pruned(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _pruned(item) if isinstance(item, dict) else item
        for key, item in values.items()
        if item is not None
    }


def placed(finding: Finding, root: Node) -> Problem:
    """Locate a finding in the file: at its value, else at the nearest key above."""
    node, key = root, None
    for step in finding.path:
        below = _below(node, step)
        if below is None:
            break
        key, node = below
    else:
        if finding.at == "value" and (node.text or node.style == "{"):
            return _at_value(finding, node)
    place = key or node
    length = 0 if place is root else max(1, place.end.column - place.start.column)
    return _problem(finding, place, 0, length)


def _below(node: Node, step: str | int) -> tuple[Node, Node] | None:
    """Return the key and value nodes one step down; an item of a list counts as its own key."""
    if isinstance(step, int):
        return (node.items[step], node.items[step]) if step < len(node.items) else None
    return node.entries.get(step)


def _at_value(finding: Finding, node: Node) -> Problem:
    if node.start.line != node.end.line:
        return _problem(finding, node, 0, 1)
    length = node.end.column - node.start.column
    quotes = 1 if node.style else 0
    is_literal = length == len(node.text) + 2 * quotes
    if finding.column is None or not is_literal:
        return _problem(finding, node, 0, length)
    return _problem(finding, node, finding.column + quotes, max(1, finding.length))


def _problem(finding: Finding, node: Node, shift: int, length: int) -> Problem:
    start = node.start
    return Problem(
        start.line, start.column + shift, length, finding.message, finding.hint, finding.code
    )


def _decoded(raw: bytes, name: str) -> str:
    """Decode UTF-8 bytes, with or without a byte order mark."""
    if raw[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise SpecErrors(
            name, "", [Problem(0, 0, 0, "the file is UTF-16", "save it as UTF-8", ENCODING)]
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        lines = split_lines(raw[: error.start].decode().removeprefix("\ufeff"))
        message = f"byte 0x{raw[error.start]:02X} is not UTF-8"
        bad = Problem(
            len(lines) - 1, len(lines[-1]), 1, message, "save the file as UTF-8", ENCODING
        )
        raise SpecErrors(name, raw.decode(errors="replace"), [bad]) from error


def _hidden_character(text: str, index: int) -> Problem:
    lines = split_lines(text[:index])
    message = f"U+{ord(text[index]):04X} is no character for a text file"
    return Problem(len(lines) - 1, len(lines[-1]), 1, message, "remove it", ENCODING)


def _git_markers(text: str) -> Problem:
    lines = split_lines(text)
    line = next(number for number, content in enumerate(lines) if content.startswith("<<<<<<< "))
    hint = "targcc-gen regenerate merges both sides, job by job"
    return Problem(line, 0, len(lines[line]), "git could not merge these lines", hint, GIT_MARKERS)


def _too_large(name: str) -> SpecErrors:
    message = f"the file is larger than {MAX_BYTES // 1_000_000} MB"
    return SpecErrors(
        name, "", [Problem(0, 0, 0, message, "a spec of 10,000 jobs has 2 MB", ENCODING)]
    )


def _displayed(path: Path) -> str:
    """Return the path as a person would type the path in the current folder."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)
