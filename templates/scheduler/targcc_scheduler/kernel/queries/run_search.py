"""Find runs: filters, text index, pages, saved searches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.util import ClauseAdapter

from ...core.search_language import EVERYTHING, Duration, Pattern, Search, Term
from ...core.states import ACTIVE, RunState
from ...db.columns import elapsed
from ...db.dialects import known
from ...db.dialects import text_index as index
from ...db.dialects.text_index import Clause
from ...db.tables import job_run, job_text_due, job_view
from .. import text_index as index_keeper
from ..error_groups import is_open
from .models import Run, run_of
from .system import known_jobs

# LIKE comparisons that ignore case. SQLite's ``lower`` folds ASCII only, so the texts are also compared as written.

_SPECIAL = ("\\", "%", "_", "[")  # the bracket is special on SQL Server


def escaped(text: str) -> str:
    """Escape a text for LIKE with backslashes."""
    for special in _SPECIAL:
        text = text.replace(special, f"\\{special}")
    return text


def like_pattern(pattern: Pattern) -> str:
    """Convert a pattern to LIKE syntax."""
    text = escaped(pattern.text)
    return text if pattern.literal else text.replace("*", "%").replace("?", "_")


def is_like(column: sa.Column[Any], pattern: Pattern, more: str = "") -> sa.ColumnElement[bool]:
    """Condition: the column's text matches the pattern followed by ``more``."""
    return _like(column, like_pattern(pattern) + more)


def contains(column: sa.Column[Any], pattern: Pattern) -> sa.ColumnElement[bool]:
    """Condition: the column's text contains the pattern."""
    return _like(column, f"%{like_pattern(pattern)}%")


def _like(column: sa.Column[Any], wanted: str) -> sa.ColumnElement[bool]:
    return sa.or_(
        sa.func.lower(column).like(wanted.lower(), escape="\\"),
        column.like(wanted, escape="\\"),
    )


# Arguments, compared as fragments of the JSON that :func:`json.dumps` writes: no database has to parse JSON.


def fragments(name: str, wanted: Pattern) -> list[str]:
    """Return the JSON fragments for an argument with this value: as a text, a number or a JSON word."""
    key, value = _in_json(name), wanted.text
    if not wanted.is_exact:
        begin = value.removesuffix("*")
        return [f'{key}: "{_in_json(begin)[1:-1]}', *([f"{key}: {begin}"] if begin else [])]
    texts = [f"{key}: {_in_json(value)}"]
    if value:
        texts += [f"{key}: {value}{end}" for end in (",", "}")]
    return texts


def holds_argument(name: str, wanted: Pattern) -> sa.ColumnElement[bool]:
    """Condition: the run has an argument with this value."""
    return sa.or_(
        *(
            job_run.c.ArgumentsJson.like(f"%{escaped(fragment)}%", escape="\\")
            for fragment in fragments(name, wanted)
        )
    )


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# Filters of runs, and their conditions on ``c_JobRun``.

_SKEW = timedelta(hours=1)
"""Maximal disorder between run ids and creation times: nodes' clocks differ, and transactions take time."""
_LAST_ID = 2**63 - 1
Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Filter of runs, with paging.

    Args:
        search: The parsed search.
        arguments_of: Jobs with searchable arguments: jobs without secret arguments.
        before: Id of the last run on the previous page.
        limit: Number of runs on a page.
        indexed_only: Leave out runs without an entry in the text index while there are many.
    """

    search: Search = EVERYTHING
    arguments_of: frozenset[str] = frozenset()
    before: int | None = None
    limit: int = 50
    indexed_only: bool = False


def conditions(wanted: RunFilter) -> Iterator[Condition]:
    """Yield the conditions that a run must meet."""
    for term in wanted.search.terms:
        yield _condition(term, wanted)
    if wanted.before is not None:
        yield job_run.c.Id < wanted.before


def _condition(term: Term, wanted: RunFilter) -> Condition:
    """Return the condition of one term."""
    column, plain = _LISTED.get(term.key), [_plain(value) for value in term.values]
    if column is not None and None not in plain:
        condition: Condition = column.in_(sorted(plain)) if len(plain) > 1 else column == plain[0]
    else:
        condition = sa.or_(*(_ONE[term.key](value, term, wanted) for value in term.values))
    return sa.not_(sa.func.coalesce(condition, sa.false())) if term.negated else condition


def _plain(value: Any) -> Any:
    """Return the value for an equality condition; ``None`` for a pattern with wildcards."""
    if isinstance(value, Pattern):
        return value.text if value.is_exact else None
    return str(value) if isinstance(value, str) else value


def _pattern(column: sa.Column[Any]) -> Callable[[Any, Term, RunFilter], Condition]:
    return lambda value, _, __: is_like(column, value)


def _node(value: Any, _: Term, __: RunFilter) -> Condition:
    """Condition: the node's name matches (the first part of its id), or the whole id is equal."""
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
    condition: Condition = {
        ">": seconds > wanted,
        ">=": seconds >= wanted,
        "<": seconds < wanted,
        "<=": seconds <= wanted,
    }[value.operator]
    return condition


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
    """Return the id of the last run created before an instant, by the index of creation times.

    So a page of old runs is not read from the newest run down.
    """
    c = job_run.alias().c
    near = sa.select(c.Id).where(c.CreatedAt < instant).order_by(c.CreatedAt.desc()).limit(1)
    return sa.func.coalesce(near.scalar_subquery(), 0)


def _first_from(instant: datetime) -> sa.ColumnElement[int]:
    """Return the id of the first run created at or after an instant."""
    c = job_run.alias().c
    near = sa.select(c.Id).where(c.CreatedAt >= instant).order_by(c.CreatedAt).limit(1)
    return sa.func.coalesce(near.scalar_subquery(), _LAST_ID)


# Conditions of a search for the text index.

_NEEDS = frozenset({"", "arg", "by", "node", "queue", "took"})


def clauses(wanted: RunFilter) -> list[Clause]:
    """Return the search's clauses for the text index, or an empty list if the indexes of ``c_JobRun`` suffice."""
    terms = [term for term in wanted.search.terms if not term.negated]
    if not any(term.key in _NEEDS for term in terms):
        return []
    text_clauses = [clause for term in terms if (clause := _clause(term))]
    return index.asked(text_clauses)


def _clause(term: Term) -> Clause | None:
    make = _CLAUSES.get(term.key)
    return make(term.values, term.name) if make is not None else None


def _indexed_argument(values: Any, name: str) -> Clause:
    written = [fragment for value in values for fragment in fragments(name, value)]
    return index.holds(Pattern.exactly(fragment) for fragment in written)


_CLAUSES: dict[str, Callable[[Any, str], Clause]] = {
    "": lambda values, _: index.holds(values),
    "by": lambda values, _: index.holds(values),
    "job": lambda values, _: index.holds(values),
    "arg": _indexed_argument,
    "state": lambda values, _: index.is_one_of(index.STATE, map(str, values)),
    "queue": lambda values, _: index.is_one_of(index.QUEUE, values),
    "node": lambda values, _: index.is_one_of(index.NODE, values, end=""),
    "took": lambda values, _: index.took(values[0]),
}


# Pages of runs.
#
# The indexes of ``c_JobRun`` return runs by job, state, cause and time in id order; runs of a batch are sorted. For other terms, the
# newest 1,000 runs (:data:`_LOOKED_AT`) are compared directly; most searches end here. Then the text index returns older
# candidates, and each candidate is compared. Runs that the index may lack are compared too: active runs, and ended runs that no step
# has indexed yet.

_LOOKED_AT = 1_000
_FEW_LEFT = 5_000
"""Number of unindexed runs that every search compares."""
_MOST_SCANS = 100
"""Limit of jobs whose runs are scanned job by job for a term without an index."""
_SAMPLE = 4
"""Size of the sample of many jobs' newest runs, in multiples of the limit."""
_Rows = Sequence[sa.Row[Any]]


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs, newest first.

    Args:
        runs: The runs.
        next_before: The ``before`` of the next page; ``None`` on the last page.
        indexed: Share of the indexed runs in per cent, if runs that are not indexed yet may be missing; otherwise ``None``.
    """

    runs: tuple[Run, ...]
    next_before: int | None
    indexed: int | None = None


async def list_runs(connection: AsyncConnection, wanted: RunFilter) -> RunPage:
    """Return a page of runs, newest first. Paging by id makes every page cost the same."""
    wanted = await with_names(connection, wanted)
    indexed = None
    if clauses(wanted):
        rows, indexed = await _by_text(connection, wanted)
    else:
        rows = await _first(connection, wanted)
    runs = tuple(run_of(row) for row in rows[: wanted.limit])
    return RunPage(runs, runs[-1].id if len(rows) > wanted.limit else None, indexed)


async def with_names(connection: AsyncConnection, wanted: RunFilter) -> RunFilter:
    """Replace job patterns such as ``Daily*`` by the matching job names, so that an index can find their runs."""
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
    """Return the newest matching runs, up to ``limit`` plus one."""
    limit = wanted.limit + 1
    if is_of_a_batch(wanted):
        parts = [_newest_of_few([*where, *more], limit) for where in _parts(wanted)]
        statement = first_of(parts, [job_run.c.Id.desc()], limit)
    else:
        statement = _newest(connection, list(job_run.c), wanted, limit, *more)
    rows: _Rows = (await connection.execute(statement)).all()
    return rows


def _newest(
    connection: AsyncConnection,
    columns: Sequence[sa.Column[Any]],
    wanted: RunFilter,
    limit: int,
    *more: Condition,
) -> sa.Select[Any]:
    """Select columns of the newest matching runs, up to ``limit``."""
    c, order, jobs = job_run.c, [job_run.c.Id.desc()], _jobs(wanted)
    if not jobs:
        parts = [sa.select(*columns).where(*where, *more) for where in _parts(wanted)]
        return first_of(parts, order, limit)
    ids = _ids_of_jobs(connection, jobs, _without(wanted, "job"), limit, more)
    return sa.select(*columns).where(c.Id.in_(ids)).order_by(*order)


def _ids_of_jobs(
    connection: AsyncConnection,
    jobs: Sequence[str],
    wanted: RunFilter,
    limit: int,
    more: Sequence[Condition],
) -> sa.Select[Any]:
    """Select the ids of the newest matching runs of many jobs, up to ``limit``.

    A sample of each job's newest runs bounds the ids, so that the statement does not read ``limit`` runs of each job.
    """
    c, dialect = job_run.c, known.of(connection)
    states = [[*where, *more] for where in _parts(wanted)]

    def newest(each: int, *above: Condition) -> sa.Select[Any]:
        parts = [dialect.newest_each([c.Id], jobs, each, [*where, *above]) for where in states]
        every = sa.union_all(*parts).subquery()
        return sa.select(every.c.Id).order_by(every.c.Id.desc()).limit(limit)

    each = _SAMPLE * limit // len(jobs) + 1
    if each >= limit:
        return newest(limit)
    sample = newest(each).subquery()
    smallest = sa.case((sa.func.count() == limit, sa.func.min(sample.c.Id)), else_=0)
    return newest(limit, c.Id >= sa.select(smallest).select_from(sample).scalar_subquery())


def _newest_of_few(where: Sequence[Condition], limit: int) -> sa.Select[Any]:
    """Select the newest matching runs of a batch by sorting all of them.

    ``Id + 0`` keeps the planner from scanning all runs from the newest down.
    """
    ids = sa.select(job_run.c.Id).where(*where).order_by((job_run.c.Id + 0).desc()).limit(limit)
    return sa.select(job_run).where(job_run.c.Id.in_(ids.correlate(None)))


def is_of_a_batch(wanted: RunFilter) -> bool:
    """Return whether the search asks for the members of a batch, which may be 100,000 runs."""
    return any(not term.negated for term in wanted.search.of("batch"))


def _parts(wanted: RunFilter) -> Iterator[list[Condition]]:
    """Yield conditions for each state. For each state, of a single job or of all jobs, an index returns the runs in id order."""
    search, states = wanted.search, _single(wanted, "state")
    parts = [search]
    if states is not None and not _several_jobs(wanted):
        parts = [search.but(states, replace(states, values=(value,))) for value in states.values]
    return (list(conditions(replace(wanted, search=part))) for part in parts)


def _jobs(wanted: RunFilter) -> list[str]:
    """Return the names of several jobs whose runs are read job by job; an empty list for other searches.

    For terms without an index, one scan of the runs of many jobs ends sooner than a scan for each job. The members of a batch are few.
    """
    names = _several_jobs(wanted)
    is_fast = all(map(_is_fast, wanted.search.terms))
    return names if is_fast or (len(names) <= _MOST_SCANS and not is_of_a_batch(wanted)) else []


def _several_jobs(wanted: RunFilter) -> list[str]:
    """Return the names of the search's only job term, if several."""
    term = _single(wanted, "job")
    names = {_plain(value) for value in term.values} if term is not None else set()
    return sorted(names) if len(names) > 1 and None not in names else []


def _single(wanted: RunFilter, key: str) -> Term | None:
    """Return the only term with this key, unless the term is negated or the key repeats."""
    terms = list(wanted.search.of(key))
    return terms[0] if len(terms) == 1 and not terms[0].negated else None


async def _by_text(connection: AsyncConnection, wanted: RunFilter) -> tuple[_Rows, int | None]:
    """Return the newest runs for a search that needs the text index, and the value of :attr:`RunPage.indexed`."""
    border, indexed = await _border(connection, wanted), None
    near = [job_run.c.Id >= border] if border is not None else []
    rows_by_id = {row.Id: row for row in await _first(connection, wanted, *near)}
    if border is not None and len(rows_by_id) <= wanted.limit:
        statements, indexed = await _far(connection, wanted, border)
        for newest_id, older in statements:
            if sum(run_id > newest_id for run_id in rows_by_id) <= wanted.limit:
                rows_by_id |= {row.Id: row for row in (await connection.execute(older)).all()}
    newest = sorted(rows_by_id, reverse=True)[: wanted.limit + 1]
    return [rows_by_id[run_id] for run_id in newest], indexed


async def _border(connection: AsyncConnection, wanted: RunFilter) -> int | None:
    """Return the smallest id of the newest runs that are compared directly; ``None`` if no older runs exist."""
    newest = _newest(connection, [job_run.c.Id], _fast_part(wanted), _LOOKED_AT).subquery()
    last = sa.select(sa.func.min(newest.c.Id), sa.func.count()).select_from(newest)
    border, count = (await connection.execute(last)).one()
    return border if count == _LOOKED_AT else None


_IN_ORDER = frozenset({"job", "state", "since", "until", "run"})


async def _far(
    connection: AsyncConnection, wanted: RunFilter, border: int
) -> tuple[list[tuple[int, sa.Select[Any]]], int | None]:
    """Return the statements for runs older than the border, and the value of :attr:`RunPage.indexed`.

    Each statement has the largest id of its results: the page does not need the statement if newer runs fill the page.
    """
    c, limit = job_run.c, wanted.limit + 1
    every = sa.and_(*conditions(wanted), c.Id < border)
    plain = sa.select(job_run).where(every).order_by(c.Id.desc()).limit(limit)
    index = known.of(connection).texts
    if not await index.is_there(connection):
        return [(border, plain)], None
    active = [sa.select(job_run).where(c.State == state, every) for state in sorted(ACTIVE)]
    due = sa.select(job_run).select_from(job_text_due.join(job_run, _IS_DUE)).where(every)
    statements = [
        *index.find(clauses(wanted), every, limit, border),
        (border, first_of(active, [c.Id.desc()], limit)),
    ]
    progress = await _behind(connection) if wanted.indexed_only else None
    if progress is not None:
        return statements, progress.per_cent
    statements.append((border, due.order_by(job_text_due.c.RunId.desc()).limit(limit)))
    if unseen := await index_keeper.unseen(connection):
        statements.append((unseen, plain.where(c.Id <= unseen)))
    return statements, None


async def _behind(connection: AsyncConnection) -> index_keeper.Progress | None:
    """Return the progress of the index if more than :data:`_FEW_LEFT` runs are not indexed yet."""
    waiting = (
        sa.select(job_text_due.c.RunId).order_by(job_text_due.c.RunId).offset(_FEW_LEFT).limit(1)
    )
    if await connection.scalar(waiting) is None and not await index_keeper.unseen(connection):
        return None
    progress = await index_keeper.progress(connection)
    return progress if progress.left > _FEW_LEFT else None


_IS_DUE = sa.text("c_JobRun.Id = +c_JobTextDue.RunId")
"""Join condition. The unary plus keeps SQLite from beginning with the longer table."""


def first_of(
    parts: Sequence[sa.Select[Any]], order: Sequence[sa.UnaryExpression[Any]], limit: int
) -> sa.Select[Any]:
    """Return the first rows of several selections, such as one selection a state. An index finds the first rows of each selection."""
    if len(parts) == 1:
        return parts[0].order_by(*order).limit(limit)
    firsts = [sa.select(part.order_by(*order).limit(limit).subquery()) for part in parts]
    every = sa.union_all(*firsts).subquery()
    outer = ClauseAdapter(every)
    return sa.select(every).order_by(*(outer.traverse(column) for column in order)).limit(limit)


# Facets: counts of matching runs by state, queue and job, for the filters of the runs page.
#
# The time of a count has a bound: each state counts up to :data:`COUNTED` runs, and queues and jobs are counted in the newest
# :data:`COUNTED` runs.

COUNTED = 1_000
"""Limit of runs that a facet counts."""


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts of runs by state, queue and job, most frequent first. The counts of a key ignore the search's terms with this key."""

    state: dict[str, int]
    queue: dict[str, int]
    job: dict[str, int]


async def facets(connection: AsyncConnection, wanted: RunFilter) -> Facets:
    """Count the matching runs by state, queue and job."""
    wanted = await with_names(connection, replace(wanted, before=None))
    any_state = _without(wanted, "state")
    by_state: sa.Executable
    if all(_is_fast(term) for term in any_state.search.terms):
        by_state = sa.union_all(*(_count_state(connection, any_state, state) for state in RunState))
    else:
        by_state = _count(connection, job_run.c.State, any_state)
    any_queue, any_job = _without(wanted, "queue"), _without(wanted, "job")
    return Facets(
        state=await _numbers(connection, by_state),
        queue=await _numbers(connection, _count(connection, job_run.c.Queue, any_queue)),
        job=await _numbers(connection, _count(connection, job_run.c.JobName, any_job)),
    )


def _without(wanted: RunFilter, key: str) -> RunFilter:
    """Return the filter without the terms of a key."""
    terms = tuple(term for term in wanted.search.terms if term.key != key)
    return replace(wanted, search=replace(wanted.search, terms=terms))


def _is_fast(term: Term) -> bool:
    """Return whether an index returns the term's runs in id order."""
    return not term.negated and term.key in _IN_ORDER


def _fast_part(wanted: RunFilter) -> RunFilter:
    """Return the filter without the terms that no index returns in id order."""
    terms = tuple(filter(_is_fast, wanted.search.terms))
    return replace(wanted, search=replace(wanted.search, terms=terms))


def _count_state(connection: AsyncConnection, wanted: RunFilter, state: RunState) -> sa.Select[Any]:
    """Select a state with the number of matching runs, up to :data:`COUNTED`. The count ends there, at any job."""
    c, jobs = job_run.c, _jobs(wanted)
    if jobs:
        where = [*conditions(_without(wanted, "job")), c.State == state]
        runs = known.of(connection).newest_each([c.Id], jobs, COUNTED, where)
    else:  # as a range and in this order, so that the planner uses the index of states
        runs = sa.select(c.Id).where(*conditions(wanted), c.State.between(state, state))
        runs = runs.order_by(c.State.asc(), c.Id.desc())
    columns: list[sa.ColumnElement[Any]] = [sa.literal(str(state)), sa.func.count()]
    counted = sa.select(*columns).select_from(runs.limit(COUNTED).subquery())
    return counted.having(sa.func.count() > 0)


def _count(
    connection: AsyncConnection, column: sa.Column[str], wanted: RunFilter
) -> sa.Select[Any]:
    """Select the column's values with the number of matching runs among the newest :data:`COUNTED` runs.

    The indexes find these runs by job, state and time; the other terms are compared with these runs only.
    """
    others = [_condition(term, wanted) for term in wanted.search.terms if not _is_fast(term)]
    columns = _COMPARED if others else (job_run.c.Id, column)
    newest = _newest(connection, columns, _fast_part(wanted), COUNTED).subquery()
    value, adapter = newest.c[column.name], ClauseAdapter(newest)
    counted = sa.select(value, sa.func.count()).where(*map(adapter.traverse, others))
    return counted.group_by(value)


_COMPARED = tuple(
    job_run.c[name]
    for name in (
        *("Id", "JobName", "State", "Queue", "Message", "TriggeredBy", "ArgumentsJson", "ServerId"),
        *("CreatedAt", "StartedAt", "CompletedAt", "Cause", "HandledAt", "BatchId"),
    )
)
"""Columns that the conditions of a search compare."""


async def _numbers(connection: AsyncConnection, statement: sa.Executable) -> dict[str, int]:
    """Map each value to its number, largest number first."""
    rows = [(str(value), int(number)) for value, number in await connection.execute(statement)]
    return dict(sorted(rows, key=lambda row: (-row[1], row[0])))


# Saved searches ("views") of a person.

MOST = 50
"""Limit of views a person."""
LONGEST_NAME, LONGEST_SEARCH = 100, 2_000


@dataclass(frozen=True, slots=True)
class View:
    """A saved search with a name."""

    name: str
    search: str


async def of(connection: AsyncConnection, person: str) -> tuple[View, ...]:
    """Return a person's views, ordered by name."""
    c = job_view.c
    query = sa.select(c.Name, c.Search).where(c.Person == person).order_by(c.Name).limit(MOST)
    return tuple(View(*row) for row in await connection.execute(query))


async def keep(connection: AsyncConnection, person: str, name: str, search: str) -> bool:
    """Save a search under a name, replacing an earlier search of this name. Return ``False`` if the person has too many views."""
    views = await of(connection, person)
    if len(views) >= MOST and name not in {view.name for view in views}:
        return False
    row = {"Person": person, "Name": name, "Search": search}
    keys = [job_view.c.Person, job_view.c.Name]
    await connection.execute(known.of(connection).upsert(job_view, keys, row))
    return True


async def forget(connection: AsyncConnection, person: str, name: str) -> None:
    """Remove a view."""
    c = job_view.c
    await connection.execute(sa.delete(job_view).where(c.Person == person, c.Name == name))
