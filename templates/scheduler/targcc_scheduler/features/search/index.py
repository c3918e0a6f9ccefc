"""The index of runs' texts: what it stores of a run, and what a search asks of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .language import Duration, Pattern

# What the index keeps of a run, and what a search asks of it.
#
# A run is one text: its job, who started it, its message and arguments, then its state, queue, node and how long it took, each between
# two marks that no text of people holds. The index knows which three characters in a row (grams) are in it. So it names every run that fits and some more;
# whoever asks compares the run itself.

GRAM = 3
_LONGEST = 20_000
STATE, QUEUE, NODE, TOOK, CUT = "\ue001", "\ue002", "\ue003", "\ue004", "\ue005"
_CLASSES = 0xE100
_MOST_CLASS = 50
_MOST_SETS = 100
_OVER_CUT = CUT * GRAM
_WILD = re.compile(r"[*?]")

Clause = list[frozenset[str]]
"""Sets of grams, of which a run that fits has one whole set at least."""


def document(row: Any) -> str:
    """The text of a run, from its row of ``c_JobRun``."""
    texts = (row.JobName, row.TriggeredBy, row.Message or "", row.ArgumentsJson or "")
    said = "\n".join(texts).lower()
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]}\n{_OVER_CUT}"
    facts = ((STATE, row.State), (QUEUE, row.Queue), (NODE, row.ServerId or ""))
    marked = "\n".join(f"{mark}{value.lower()}{mark}" for mark, value in facts)
    took = _took(row.StartedAt, row.CompletedAt)
    return f"{said}\n{marked}" + (f"\n{_marked(took)}" if took is not None else "")


def grams(text: str) -> frozenset[str]:
    """Every three characters in a row."""
    return frozenset(text[at : at + GRAM] for at in range(len(text) - GRAM + 1))


def holds(patterns: Iterable[Pattern]) -> Clause:
    """The clause of runs in whose texts one of these stands; a text that was cut may hold any."""
    return [*(_of(one) for one in patterns), frozenset({_OVER_CUT})]


def is_one_of(mark: str, values: Iterable[Pattern | str], *, end: str | None = None) -> Clause:
    """The clause of runs of which a fact is one of these; ``end`` closes it, if its mark does not."""
    return [_of(one, mark, mark if end is None else end) for one in values]


def took(wanted: Duration) -> Clause:
    """The clause of runs that took longer, or shorter."""
    edge = _class(int(wanted.length.total_seconds() * 1000))
    among = range(edge, _MOST_CLASS + 1) if wanted.operator[0] == ">" else range(edge + 1)
    return [frozenset({_marked(one)}) for one in among]


def asked(clauses: Sequence[Clause]) -> list[Clause]:
    """The clauses that tell runs apart: one of which a set is empty fits any run."""
    return [clause for clause in clauses if all(clause)]


def together(clauses: Sequence[Clause]) -> list[frozenset[str]]:
    """One clause that says what several say: an index that looks for all grams of a set at once begins with the rarest."""
    sets = [frozenset[str]()] if clauses else []
    for clause in clauses:
        every = {known | one for known in sets for one in clause}
        sets = [one for one in every if not any(other < one for other in every)]
        if len(sets) > _MOST_SETS:  # the others are compared run by run
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
    """Lengths of time that differ by less than a factor of two."""
    return min(max(milliseconds, 0).bit_length(), _MOST_CLASS)


def own_number(gram: str) -> int | None:
    """A number below 256 for the grams that are asked for alone; ``None`` for all others."""
    if gram == _OVER_CUT:
        return _MOST_CLASS + 1
    return ord(gram[1]) - _CLASSES if gram[0] == gram[2] == TOOK else None


def _marked(number: int) -> str:
    return f"{TOOK}{chr(_CLASSES + number)}{TOOK}"


# The seam between databases: how each keeps the index.


class TextIndex(Protocol):
    """The index of one kind of database, by the ids of runs."""

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Whether this database has the index, and this process can use it."""

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Keep these texts of runs in the place of what is kept of them; ``None``: nothing."""

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> sa.Select[Any]:
        """The newest runs that the index names for all clauses and that meet a condition on ``c_JobRun``, newest first, from below an id on."""
