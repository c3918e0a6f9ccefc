"""Parse a search with the project's job names and time zone."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from ..core.search_language import Pattern, Search, SearchError, Value, parse
from ..kernel.queries.jobs import open_arguments
from ..kernel.queries.run_search import RunFilter
from ..project import current
from ..scheduler import Scheduler
from ..schedules.zones import parse_zone

MOST_CONDITIONS = 100
"""Limit of conditions in a search: one for each term, or one for each pattern with a star in the term's list.

SQLite reads a thousand nested conditions.
"""
_SHOWN = 2_000


def looked_for(
    scheduler: Scheduler, text: str, *, before: int | None = None, limit: int = 50
) -> RunFilter:
    """Return the filter for a search.

    Args:
        scheduler: The project's scheduler.
        text: The search.
        before: Id of the last run on the previous page.
        limit: Number of runs on a page.

    Raises:
        SearchError: the search is invalid.
    """
    zone = parse_zone(current().timezone)
    query = parse(text, now=scheduler.clock.now(), zone=zone)
    _check_size(query, text)
    search = _with_known_jobs(query, scheduler)
    return RunFilter(
        search=search,
        arguments_of=open_arguments(scheduler.definitions.values()),
        before=before,
        limit=limit,
    )


def _check_size(search: Search, text: str) -> None:
    """Raise an error for a search with too many conditions. A list of exact values, such as run ids, counts as one condition."""
    conditions = 0
    for term in search.terms:
        patterns = [value for value in term.values if not _is_whole(value)]
        conditions += max(1, len(patterns))
        if conditions > MOST_CONDITIONS:
            raise SearchError(
                f"a search has at most {MOST_CONDITIONS} conditions: put words that stand together in quotation marks",
                text=text[:_SHOWN],
                at=min(term.at, _SHOWN),
            )


def _is_whole(value: Value) -> bool:
    return not isinstance(value, Pattern) or value.is_exact


def _with_known_jobs(search: Search, scheduler: Scheduler) -> Search:
    """Replace job names in a search by job keys. A search may use another name of a job, such as its display name."""
    for term in list(search.of("job")):
        values = [
            pattern
            for value in term.values
            if isinstance(value, Pattern)
            for pattern in _known(value, scheduler)
        ]
        search = search.but(term, replace(term, values=tuple(dict.fromkeys(values))))
    return search


def _known(value: Pattern, scheduler: Scheduler) -> list[Pattern]:
    if not value.is_exact:
        pattern = value.text.lower().replace("[", "[[]")
        shown = [
            Pattern.exactly(job.name)
            for job in scheduler.definitions.values()
            if fnmatchcase(job.display_name.lower(), pattern)
            and not fnmatchcase(job.name.lower(), pattern)
        ]
        return [value, *shown]
    key = scheduler.key_of(value.text)
    if key not in scheduler.definitions:
        for job in scheduler.definitions.values():
            if job.display_name.lower() == value.text.lower():
                key = job.name
    return [Pattern.exactly(key)]
