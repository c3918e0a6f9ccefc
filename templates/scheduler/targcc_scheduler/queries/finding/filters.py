"""Which runs are meant, and that as conditions on ``c_JobRun``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ...search.terms import EVERYTHING, Duration, Pattern, Search, Term
from ...storage.failures.groups import is_open
from ...storage.schema.elapsed import elapsed
from ...storage.tables import job_run
from .arguments import holds_argument
from .likeness import contains, is_like

_SKEW = timedelta(hours=1)
"""How far ids and times may be out of step: nodes have clocks of their own, and transactions take their time."""
_LAST_ID = 2**63 - 1
Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list.

    Args:
        search: What is looked for.
        arguments_of: The jobs in whose arguments texts are looked for too: those without secret ones.
        before: The id of the last run on the page before.
        limit: How many on a page.
    """

    search: Search = EVERYTHING
    arguments_of: frozenset[str] = frozenset()
    before: int | None = None
    limit: int = 50


def conditions(wanted: RunFilter) -> Iterator[Condition]:
    """What a run has to meet."""
    for term in wanted.search.terms:
        yield _condition(term, wanted)
    if wanted.before is not None:
        yield job_run.c.Id < wanted.before


def _condition(term: Term, wanted: RunFilter) -> Condition:
    """One term."""
    column, plain = _LISTED.get(term.key), [_plain(value) for value in term.values]
    if column is not None and None not in plain:
        found: Condition = column.in_(sorted(plain)) if len(plain) > 1 else column == plain[0]
    else:
        found = sa.or_(*(_ONE[term.key](value, term, wanted) for value in term.values))
    return sa.not_(sa.func.coalesce(found, sa.false())) if term.negated else found


def _plain(value: Any) -> Any:
    """A value that a column has or has not; ``None`` for one that says more."""
    if isinstance(value, Pattern):
        return value.text if value.is_exact else None
    return str(value) if isinstance(value, str) else value


def _pattern(column: sa.Column[Any]) -> Callable[[Any, Term, RunFilter], Condition]:
    return lambda value, _, __: is_like(column, value)


def _node(value: Any, _: Term, __: RunFilter) -> Condition:
    """A node by its name: the first part of its id, or the whole of it."""
    whole = job_run.c.ServerId == value.text
    if value.literal:
        value = Pattern.exactly(value.text)
    return sa.or_(whole, is_like(job_run.c.ServerId, value, more=":%"))


def _by(value: Any, _: Term, __: RunFilter) -> Condition:
    return contains(job_run.c.TriggeredBy, value)


def _text(value: Any, _: Term, wanted: RunFilter) -> Condition:
    columns = (job_run.c.JobName, job_run.c.Message, job_run.c.TriggeredBy)
    of_open = job_run.c.JobName.in_(sorted(wanted.arguments_of))
    return sa.or_(
        *(contains(column, value) for column in columns),
        of_open & contains(job_run.c.ArgumentsJson, value),
    )


def _argument(value: Any, term: Term, wanted: RunFilter) -> Condition:
    of_open = job_run.c.JobName.in_(sorted(wanted.arguments_of))
    return of_open & holds_argument(term.name, value)


def _took(value: Duration, _: Term, __: RunFilter) -> Condition:
    seconds = elapsed(job_run.c.StartedAt, job_run.c.CompletedAt)
    wanted = value.length.total_seconds()
    found: Condition = {
        ">": seconds > wanted,
        ">=": seconds >= wanted,
        "<": seconds < wanted,
        "<=": seconds <= wanted,
    }[value.operator]
    return found


def _since(value: datetime, term: Term, _: RunFilter) -> Condition:
    created = job_run.c.CreatedAt >= value
    if term.negated:
        return created
    return sa.and_(created, job_run.c.Id >= _last_before(value - _SKEW))


def _until(value: datetime, term: Term, _: RunFilter) -> Condition:
    created = job_run.c.CreatedAt < value
    if term.negated:
        return created
    return sa.and_(created, job_run.c.Id <= _first_from(value + _SKEW))


_LISTED: dict[str, sa.Column[Any]] = {
    "job": job_run.c.JobName,
    "state": job_run.c.State,
    "queue": job_run.c.Queue,
    "cause": job_run.c.Cause,
    "run": job_run.c.Id,
    "batch": job_run.c.BatchId,
}
_ONE: dict[str, Callable[[Any, Term, RunFilter], Condition]] = {
    "": _text,
    "job": _pattern(job_run.c.JobName),
    "since": _since,
    "until": _until,
    "took": _took,
    "queue": _pattern(job_run.c.Queue),
    "node": _node,
    "by": _by,
    "arg": _argument,
    "cause": _pattern(job_run.c.Cause),
    "is": lambda *_: sa.and_(*is_open()),
}


def _last_before(instant: datetime) -> sa.ColumnElement[int]:
    """The id of the last run from before a time, by the index of times: so a page of long ago is not sought from the newest run on."""
    c = job_run.alias().c
    near = sa.select(c.Id).where(c.CreatedAt < instant).order_by(c.CreatedAt.desc()).limit(1)
    return sa.func.coalesce(near.scalar_subquery(), 0)


def _first_from(instant: datetime) -> sa.ColumnElement[int]:
    """The id of the first run from a time on."""
    c = job_run.alias().c
    near = sa.select(c.Id).where(c.CreatedAt >= instant).order_by(c.CreatedAt).limit(1)
    return sa.func.coalesce(near.scalar_subquery(), _LAST_ID)
