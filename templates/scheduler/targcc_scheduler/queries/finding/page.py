"""Pages of runs.

By job, state, cause and time an index of the table finds them in their order, those of a batch are sorted. For all else the newest are looked at one after the other
(:data:`_LOOKED_AT`), which is all that most searches need; then the index of texts names the older ones that may fit, and each is compared.
What the index cannot know yet is looked at too: runs that are not over, and those that no step has reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.util import ClauseAdapter

from ...core.states import ACTIVE
from ...search.terms import Pattern, Term
from ...storage.dialects import known
from ...storage.tables import job_run, job_text_due
from ...storage.texts import keeping
from ..history import known_jobs
from ..models import Run, run_of
from .filters import Condition, RunFilter, conditions
from .indexed import clauses

_LOOKED_AT = 1_000
_MOST_PARTS = 100  # SQLite takes at most 500 parts of a UNION
_Rows = Sequence[sa.Row[Any]]


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, newest first; ``next_before`` asks for the page after this one, ``None`` on the last."""

    runs: tuple[Run, ...]
    next_before: int | None


async def list_runs(connection: AsyncConnection, wanted: RunFilter) -> RunPage:
    """The runs that ``wanted`` describes, newest first, paged by key so that a page costs the same however deep it is."""
    wanted = await with_names(connection, wanted)
    asked = clauses(wanted)
    rows = await (_by_text(connection, wanted) if asked else _first(connection, wanted))
    runs = tuple(run_of(row) for row in rows[: wanted.limit])
    return RunPage(runs, runs[-1].id if len(rows) > wanted.limit else None)


async def with_names(connection: AsyncConnection, wanted: RunFilter) -> RunFilter:
    """The same, with the names of the jobs that a pattern such as ``Daily*`` means, so that an index finds their runs."""
    search = wanted.search
    for term in list(search.of("job")):
        if any(isinstance(value, Pattern) and not value.is_exact for value in term.values):
            names = await known_jobs(connection)
            fits = [Pattern.exactly(name) for name in names if _names(term, name)]
            search = search.but(term, replace(term, values=tuple(fits) or (Pattern(""),)))
    return replace(wanted, search=search)


def _names(term: Term, name: str) -> bool:
    return any(
        (
            value.text == name
            if value.is_exact
            else fnmatchcase(name.lower(), value.text.lower().replace("[", "[[]"))
        )
        for value in term.values
        if isinstance(value, Pattern)
    )


async def _first(connection: AsyncConnection, wanted: RunFilter, *more: Condition) -> _Rows:
    """The newest that fit, and one more than asked for."""
    limit = wanted.limit + 1
    select = _newest_of_few if _is_of_a_batch(wanted) else _all
    parts = [select([*where, *more], limit) for where in _parts(wanted)]
    statement = first_of(parts, [job_run.c.Id.desc()], limit)
    found: _Rows = (await connection.execute(statement)).all()
    return found


def _all(where: Sequence[Condition], _: int) -> sa.Select[Any]:
    return sa.select(job_run).where(*where)


def _newest_of_few(where: Sequence[Condition], limit: int) -> sa.Select[Any]:
    """The same where all that fit are sorted, by an order that no index has: they are not looked for among all runs, from the newest on."""
    ids = sa.select(job_run.c.Id).where(*where).order_by((job_run.c.Id + 0).desc()).limit(limit)
    return sa.select(job_run).where(job_run.c.Id.in_(ids.correlate(None)))


def _is_of_a_batch(wanted: RunFilter) -> bool:
    return any(not term.negated for term in wanted.search.of("batch"))


def _parts(wanted: RunFilter) -> Iterator[list[Condition]]:
    """The conditions once for each job and state, each of which an index finds in the order of the runs."""
    split = [one for key in ("job", "state") if (one := _single(wanted, key)) is not None]
    number = 1
    for one in split:
        number *= len(one.values)
    if number > _MOST_PARTS:
        split = []
    parts = [wanted.search]
    for term in split:
        parts = [one.but(term, replace(term, values=(value,))) for one in parts for value in term.values]  # fmt: skip
    return (list(conditions(replace(wanted, search=one))) for one in parts)


def _single(wanted: RunFilter, key: str) -> Term | None:
    """The only term with a key, if it says several values of which each is one."""
    found = list(wanted.search.of(key))
    return found[0] if len(found) == 1 and not found[0].negated else None


async def _by_text(connection: AsyncConnection, wanted: RunFilter) -> _Rows:
    """Runs by what no index of the table knows."""
    border = await _border(connection, wanted)
    near = [job_run.c.Id >= border] if border is not None else []
    found = {row.Id: row for row in await _first(connection, wanted, *near)}
    if border is not None and len(found) <= wanted.limit:
        for older in await _far(connection, wanted, border):
            found |= {row.Id: row for row in (await connection.execute(older)).all()}
    return [found[one] for one in sorted(found, reverse=True)[: wanted.limit + 1]]


async def _border(connection: AsyncConnection, wanted: RunFilter) -> int | None:
    """The id of the last of the newest runs that are looked at one after the other; ``None`` when these are all."""
    known_to_indexes = tuple(one for one in wanted.search.terms if one.key in _IN_ORDER and not one.negated)  # fmt: skip
    search = replace(wanted.search, terms=known_to_indexes)
    parts = [sa.select(job_run.c.Id).where(*where) for where in _parts(replace(wanted, search=search))]  # fmt: skip
    newest = first_of(parts, [job_run.c.Id.desc()], _LOOKED_AT).subquery()
    last = sa.select(sa.func.min(newest.c.Id), sa.func.count()).select_from(newest)
    border, count = (await connection.execute(last)).one()
    return border if count == _LOOKED_AT else None


_IN_ORDER = frozenset({"job", "state", "since", "until", "run"})


async def _far(connection: AsyncConnection, wanted: RunFilter, border: int) -> list[sa.Select[Any]]:
    """The statements that find what is older than the newest."""
    c, limit = job_run.c, wanted.limit + 1
    every = sa.and_(*conditions(wanted), c.Id < border)
    plain = sa.select(job_run).where(every).order_by(c.Id.desc()).limit(limit)
    index = known.of(connection).texts
    if not await index.is_there(connection):
        return [plain]
    active = [sa.select(job_run).where(c.State == state, every) for state in sorted(ACTIVE)]
    due = sa.select(job_run).select_from(job_text_due.join(job_run, _IS_DUE)).where(every)
    statements = [
        index.find(clauses(wanted), every, limit, border),
        first_of(active, [c.Id.desc()], limit),
        due.order_by(job_text_due.c.RunId.desc()).limit(limit),
    ]
    if unseen := await keeping.unseen(connection):
        statements.append(plain.where(c.Id <= unseen))
    return statements


_IS_DUE = sa.text("c_JobRun.Id = +c_JobTextDue.RunId")
"""The plus keeps SQLite from beginning with the longer table."""


def first_of(
    parts: Sequence[sa.Select[Any]], order: Sequence[sa.UnaryExpression[Any]], limit: int
) -> sa.Select[Any]:
    """The first rows of several selections, such as one for each state: each finds its own first rows by the index."""
    if len(parts) == 1:
        return parts[0].order_by(*order).limit(limit)
    firsts = [sa.select(part.order_by(*order).limit(limit).subquery()) for part in parts]
    every = sa.union_all(*firsts).subquery()
    outer = ClauseAdapter(every)
    return sa.select(every).order_by(*(outer.traverse(column) for column in order)).limit(limit)
