"""What a search asks of the index of texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...search.terms import Pattern, Term
from ...storage.texts import document
from ...storage.texts.document import Clause
from .arguments import fragments
from .filters import RunFilter

_NEEDS = frozenset({"", "arg", "by", "node", "queue", "took"})


def clauses(wanted: RunFilter) -> list[Clause]:
    """The clauses of a search that no index of the table can answer; none for one that it can."""
    terms = [one for one in wanted.search.terms if not one.negated]
    if not any(one.key in _NEEDS for one in terms):
        return []
    asked = [clause for one in terms if (clause := _clause(one))]
    return document.asked(asked)


def _clause(term: Term) -> Clause | None:
    make = _CLAUSES.get(term.key)
    return make(term.values, term.name) if make is not None else None


def _argument(values: Any, name: str) -> Clause:
    written = [one for value in values for one in fragments(name, value)]
    return document.holds(Pattern.exactly(one) for one in written)


_CLAUSES: dict[str, Callable[[Any, str], Clause]] = {
    "": lambda values, _: document.holds(values),
    "by": lambda values, _: document.holds(values),
    "job": lambda values, _: document.holds(values),
    "arg": _argument,
    "state": lambda values, _: document.is_one_of(document.STATE, map(str, values)),
    "queue": lambda values, _: document.is_one_of(document.QUEUE, values),
    "node": lambda values, _: document.is_one_of(document.NODE, values, end=""),
    "took": lambda values, _: document.took(values[0]),
}
