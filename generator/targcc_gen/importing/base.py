"""The old table at the last import, ``.targcc/legacy.jsonl``, and three-way merges of a job's fields against it.

The file has a line of JSON for each row, sorted, so that git can merge branches that each imported rows. A row is identified by
its table and its ID there, because its name may change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from targcc_gen.errors import DamagedError, InputError, NewerProjectError
from targcc_gen.spec import build_job
from targcc_gen.sync.lock import json_object

# The base of the next import.

BASE_FILE = ".targcc/legacy.jsonl"
FORMAT = 1
_MARKERS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


@dataclass(frozen=True, slots=True)
class BaseRow:
    """A row as of the last import.

    Attributes:
        source: The row's table, as ``--source`` names it.
        row: The row's ID in the table.
        name: The old server's name of the job.
        key: The job's key in the project; empty for a row that is accepted as no job.
        job: The imported job, by the keys of the spec.
        theory: The job by the row alone, if the import followed the history instead.
        rejected: The reason that the row is no job, if a person accepted the rejection.
    """

    source: str
    row: str
    name: str
    key: str = ""
    job: Mapping[str, Any] = field(default_factory=dict)
    theory: Mapping[str, Any] = field(default_factory=dict)
    rejected: str = ""

    def to_line(self) -> str:
        """Return the row as a line of the file."""
        data: dict[str, Any] = {"source": self.source, "row": self.row, "name": self.name}
        if self.rejected:
            data["rejected"] = self.rejected
        else:
            data |= {"key": self.key, "job": dict(self.job)}
        if self.theory:
            data["theory"] = dict(self.theory)
        return json.dumps(data, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Base:
    """All rows of the last imports, by source and ID."""

    rows: Mapping[tuple[str, str], BaseRow] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """The distinct tables that were imported."""
        return list(dict.fromkeys(source for source, _ in self.rows))

    def of(self, source: str) -> dict[str, BaseRow]:
        """Return the rows of a table by their IDs."""
        return {row: known for (table, row), known in self.rows.items() if table == source}

    def with_source(self, source: str, rows: Iterable[BaseRow]) -> Base:
        """Return a copy with the rows of one table replaced."""
        others = {place: row for place, row in self.rows.items() if place[0] != source}
        return Base({**others, **{(row.source, row.row): row for row in rows}})

    @classmethod
    def load(cls, root: Path) -> Base:
        """Load the base of the project in ``root``; empty if nothing was imported.

        Raises:
            InputError: The file is damaged, or from a newer generator.
        """
        try:
            text = (root / BASE_FILE).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(1, f"it cannot be read: {error}") from error
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> Base:
        """Parse the output of ``dump``; the text is not trusted.

        Raises:
            InputError: A line is invalid.
        """
        rows: dict[tuple[str, str], BaseRow] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if line.startswith(_MARKERS):
                raise _damaged(number, "git left conflict markers in it")
            if not line.strip():
                continue
            data = _object(number, line)
            if "targcc_legacy" in data:
                if data["targcc_legacy"] != FORMAT:
                    raise NewerProjectError(
                        f"{BASE_FILE}:{number}: a newer targcc-gen wrote it",
                        hint="upgrade: uv tool install --upgrade targcc-gen",
                    )
                continue
            # A union merge of two branches may leave two lines for a row; the last line counts.
            row = _row(number, data)
            rows[row.source, row.row] = row
        return cls(rows)

    def dump(self) -> str:
        """Return the text of the file."""
        header = json.dumps({"targcc_legacy": FORMAT})
        lines = [self.rows[place].to_line() for place in sorted(self.rows, key=_order)]
        return "\n".join([header, *lines]) + "\n"


def plain(values: Any) -> Any:
    """Return the values as after a round trip through JSON."""
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    return str(values) if isinstance(values, str) else values


def _order(place: tuple[str, str]) -> tuple[str, int, str]:
    source, row = place
    return source, int(row) if row.isdecimal() and len(row) < len(str(2**64)) else -1, row


def _damaged(line: int, problem: str) -> InputError:
    hint = f"take it back from version control: git checkout {BASE_FILE}; of two branches keep every line"
    return DamagedError(f"{BASE_FILE}:{line}: it is damaged: {problem}", hint=hint)


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        return json_object(line)
    except ValueError as error:
        raise _damaged(number, str(error)) from error


def _row(number: int, data: dict[str, Any]) -> BaseRow:
    texts = {name: data.get(name, "") for name in ("source", "row", "name", "key", "rejected")}
    job, theory = data.get("job", {}), data.get("theory", {})
    mappings = isinstance(job, dict) and isinstance(theory, dict)
    if not all(isinstance(text, str) for text in texts.values()) or not mappings:
        raise _damaged(number, "a row needs source, row, name, key and job")
    if not texts["source"] or not texts["row"] or not (texts["key"] or texts["rejected"]):
        raise _damaged(number, "a row needs source, row and key")
    return BaseRow(**texts, job=job, theory=theory)


# Merge the fields of a job: the last import, this project, this import.

SCHEDULE = "schedule"
_SCHEDULE_KEYS = ("cron", "every", "anchor", "after", "at", "type")
_NESTED = ("alerts", "misfire")
NAMES = ("name", "display_name")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs, with its value on each side. None means that the field is absent.

    ``before`` is also None without an earlier import.
    """

    field: str
    before: Any
    mine: Any
    old: Any


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of a three-way merge.

    Attributes:
        values: The job by the keys of the spec; conflicts keep the project's values.
        taken: Changes of the old server.
        kept: Changes of the project.
        conflicts: Fields that both sides changed differently.
    """

    values: dict[str, Any]
    taken: tuple[FieldChange, ...]
    kept: tuple[FieldChange, ...]
    conflicts: tuple[FieldChange, ...]


Choose = Callable[[str], str | None]
"""Returns the chosen side of a field: ``mine``, ``old``, or None without a choice."""


def merge(
    base: Mapping[str, Any] | None,
    existing: Mapping[str, Any],
    old: Mapping[str, Any],
    choose: Choose,
    insist: Choose = lambda _: None,
) -> Merged:
    """Merge three versions of a job.

    Args:
        base: The job of the last import; None without an earlier import.
        existing: The job of the project.
        old: The job of this import.
        choose: Returns the user's choice for a field that both sides changed.
        insist: Returns the user's choice by the name of the job or field; it also applies to a field that one side changed.
    """
    was = None if base is None else split(base)
    here, incoming = split(existing), split(old)
    result = dict(here)
    taken, kept, conflicts = [], [], []
    for name in dict.fromkeys([*(was or {}), *here, *incoming]):
        change = FieldChange(name, (was or {}).get(name), here.get(name), incoming.get(name))
        if same(name, change.mine, change.old):
            continue
        side = insist(name)
        if side is None and was is not None and same(name, change.before, change.old):
            side = "mine"
        if side is None and was is not None and same(name, change.before, change.mine):
            side = "old"
        side = side or choose(name)
        if side is None:
            conflicts.append(change)
        elif side == "mine":
            kept.append(change)
        else:
            taken.append(change)
            result.pop(name, None)
            if change.old is not None:
                result[name] = change.old
    return Merged(joined(result), tuple(taken), tuple(kept), tuple(conflicts))


def split(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's values by field. The schedule's keys form one field; each part of ``alerts`` and ``misfire`` is a field."""
    fields: dict[str, Any] = {}
    schedule = {key: values[key] for key in _SCHEDULE_KEYS if key in values}
    if schedule:
        fields[SCHEDULE] = schedule
    for key, value in values.items():
        if key in _NESTED and isinstance(value, Mapping):
            fields |= {f"{key}.{part}": item for part, item in value.items()}
        elif key not in _SCHEDULE_KEYS:
            fields[key] = value
    return fields


def joined(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's values from the fields of ``split``."""
    values: dict[str, Any] = dict(fields.get(SCHEDULE, {}))
    for name, value in fields.items():
        outer, dot, part = name.partition(".")
        if dot:
            values.setdefault(outer, {})[part] = value
        elif name != SCHEDULE:
            values[name] = value
    return values


def same(name: str, left: Any, other: Any) -> bool:
    """Return whether two values of a field mean the same. Equal intervals mean the same if their anchors differ by a multiple of the interval."""
    return bool(left == other) or (name == SCHEDULE and _same_grid(left, other))


def _same_grid(left: Any, other: Any) -> bool:
    if not isinstance(left, Mapping) or not isinstance(other, Mapping):
        return False
    if (
        left.keys() != other.keys()
        or set(left) != {"every", "anchor"}
        or left["every"] != other["every"]
    ):
        return False
    try:
        first, second = (build_job("Job", dict(values)) for values in (left, other))
    except InputError:
        return False
    assert first.anchor is not None
    assert second.anchor is not None
    assert first.every is not None
    if (first.anchor.tzinfo is None) != (second.anchor.tzinfo is None):
        return False
    return not (second.anchor - first.anchor) % first.every


def shown(value: Any) -> str:
    """Return a field's value on a single line, as a spec would write it."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
