"""The text index of runs: which text is indexed for a run, and how a search becomes index conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.search_language import Duration, Pattern

# Text and conditions of the index.
#
# The indexed text of a run holds its job, actor, message and arguments, then its state, queue, node and duration. Each of the
# last four stands between two marks: private-use characters that no text from a user contains. The index stores the text's grams
# (three consecutive characters). It returns every matching run and some more; the caller compares each returned run.

GRAM = 3
_LONGEST = 20_000
STATE, QUEUE, NODE, TOOK, CUT = "\ue001", "\ue002", "\ue003", "\ue004", "\ue005"
_CLASSES = 0xE100
_MOST_CLASS = 50
_MOST_SETS = 100
_OVER_CUT = CUT * GRAM
_WILD = re.compile(r"[*?]")

Clause = list[frozenset[str]]
"""Sets of grams. A matching run contains all grams of at least one set."""


def document(row: Any) -> str:
    """Return the indexed text of a run from its ``c_JobRun`` row."""
    texts = (row.JobName, row.TriggeredBy, row.Message or "", row.ArgumentsJson or "")
    text = "\n".join(texts).lower()
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\n{_OVER_CUT}"
    facts = ((STATE, row.State), (QUEUE, row.Queue), (NODE, row.ServerId or ""))
    marked = "\n".join(f"{mark}{value.lower()}{mark}" for mark, value in facts)
    took = _took(row.StartedAt, row.CompletedAt)
    return f"{text}\n{marked}" + (f"\n{_marked(took)}" if took is not None else "")


def grams(text: str) -> frozenset[str]:
    """Return all grams of a text: every three consecutive characters."""
    return frozenset([text[at : at + GRAM] for at in range(len(text) - GRAM + 1)])


def holds(patterns: Iterable[Pattern]) -> Clause:
    """Return the clause for texts that contain one of the patterns. A text that was cut at the limit matches every pattern."""
    return [*(_of(pattern) for pattern in patterns), frozenset({_OVER_CUT})]


def is_one_of(mark: str, values: Iterable[Pattern | str], *, end: str | None = None) -> Clause:
    """Return the clause for a fact (state, queue, node) with one of these values. ``end`` is the closing character, by default ``mark``."""
    return [_of(value, mark, mark if end is None else end) for value in values]


def took(wanted: Duration) -> Clause:
    """Return the clause for runs longer, or shorter, than a duration."""
    edge = _class(int(wanted.length.total_seconds() * 1000))
    among = range(edge, _MOST_CLASS + 1) if wanted.operator[0] == ">" else range(edge + 1)
    return [frozenset({_marked(duration_class)}) for duration_class in among]


def asked(clauses: Sequence[Clause]) -> list[Clause]:
    """Return the clauses that narrow a search. A clause with an empty set matches every run."""
    return [clause for clause in clauses if all(clause)]


def together(clauses: Sequence[Clause]) -> list[frozenset[str]]:
    """Combine clauses into one. An index that searches for all grams of a set at once begins with the rarest gram."""
    sets = [frozenset[str]()] if clauses else []
    for clause in clauses:
        every = {known | gram_set for known in sets for gram_set in clause}
        sets = [gram_set for gram_set in every if not any(other < gram_set for other in every)]
        if len(sets) > _MOST_SETS:  # the caller compares the remaining clauses run by run
            break
    return sorted(sets, key=sorted)


def _of(value: Pattern | str, begin: str = "", end: str = "") -> frozenset[str]:
    if isinstance(value, str):
        value = Pattern(value, literal=True)
    parts = [value.text] if value.is_exact else _WILD.split(value.text)
    parts[0], parts[-1] = begin + parts[0], parts[-1] + end
    return frozenset().union(*(grams(part.lower()) for part in parts))


def _took(started: datetime | None, completed: datetime | None) -> int | None:
    if started is None or completed is None:
        return None
    return _class(int((completed - started).total_seconds() * 1000))


def _class(milliseconds: int) -> int:
    """Return the duration class: the bit length of the milliseconds, so each class spans a factor of two."""
    return min(max(milliseconds, 0).bit_length(), _MOST_CLASS)


def own_number(gram: str) -> int | None:
    """Return a number below 256 for a gram that forms a set alone; ``None`` for any other gram."""
    if gram == _OVER_CUT:
        return _MOST_CLASS + 1
    return ord(gram[1]) - _CLASSES if gram[0] == gram[2] == TOOK else None


def _marked(number: int) -> str:
    return f"{TOOK}{chr(_CLASSES + number)}{TOOK}"


# Interface of the databases' text indexes.


class TextIndex(Protocol):
    """Text index of one kind of database, keyed by run id."""

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Return whether this database has the index and this process can use it."""

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Replace the indexed texts of runs; ``None`` removes a run's text."""

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> list[tuple[int, sa.Select[Any]]]:
        """Return the statements for the newest runs that match all clauses and a condition on ``c_JobRun``, with ids less than ``below``.

        Each statement has a bound above all ids of its results. A statement is not needed if the runs above its bound are enough.
        """
